/* SPDX-License-Identifier: MIT */
/* Frames: what maps them, and whether writes to them must come to us. */
#include "core/frame.h"

#include "core/entry.h"
#include "core/rmap.h"

/*
 * A leaf of level 2 or 3 stands in the reverse map of the first frame it covers, among the 4 KiB
 * leaves of that frame. These marks say whether looking for one is worth while; they are cleared
 * when a look finds none.
 */
#define LARGE_2M (1u << 15)
#define LARGE_1G (1u << 31)

static uint64_t region_2m(const struct rhz_ram *ram, uint64_t hfn)
{
	return (hfn >> 9) - (ram->first_hfn >> 9);
}

static uint64_t region_1g(const struct rhz_ram *ram, uint64_t hfn)
{
	return (hfn >> 18) - (ram->first_hfn >> 18);
}

void frame_set_tracked(struct rhz_vm *vm, uint32_t frame, bool tracked)
{
	struct rhz_ram *ram = ram_of_frame(vm, frame);
	uint32_t *head = &ram->head[frame - ram->first];
	uint64_t hfn = ram->first_hfn + (frame - ram->first);

	if (!!(*head & LINK_TRACKED) == tracked)
		return;
	*head ^= LINK_TRACKED;
	ram->tracked_2m[region_2m(ram, hfn)] += tracked ? 1 : -1;
	ram->tracked_1g[region_1g(ram, hfn)] += tracked ? 1 : -1;
}

uint32_t frame_region_count(const struct rhz_ram *ram, uint64_t hfn, unsigned level)
{
	return level == 3 ? ram->tracked_1g[region_1g(ram, hfn)] & ~LARGE_1G :
	                    ram->tracked_2m[region_2m(ram, hfn)] & ~LARGE_2M;
}

bool frame_region_tracked(struct rhz_vm *vm, uint32_t frame, unsigned level)
{
	struct rhz_ram *ram = ram_of_frame(vm, frame);
	uint64_t hfn = ram->first_hfn + (frame - ram->first);

	if (level > 1)
		return frame_region_count(ram, hfn, level);
	return ram->head[frame - ram->first] & LINK_TRACKED;
}

void frame_note_large(struct rhz_vm *vm, uint64_t hfn, unsigned level)
{
	struct rhz_ram *ram = ram_of_hfn(vm, hfn);

	if (level == 2)
		ram->tracked_2m[region_2m(ram, hfn)] |= LARGE_2M;
	else
		ram->tracked_1g[region_1g(ram, hfn)] |= LARGE_1G;
}

/* What to do with one leaf; true: count it. */
typedef bool (*leaf_op)(struct rhz_vm *vm, struct page *page, unsigned index);

/* Applies op to the leaves of one level in a reverse map; *seen: there were some. */
RHZ_INLINE uint64_t head_each(struct rhz_vm *vm, const uint32_t *head, unsigned level, leaf_op op,
                              bool *seen)
{
	uint64_t count = 0;
	uint32_t link = *head & ~LINK_TRACKED;

	while (link) {
		uint32_t id = link_first(vm, link, &link);
		struct page *page = page_at(vm, id >> 9);

		if (page->role.level != level)
			continue;
		*seen = true;
		/* op may remove this entry and the node that held it alone: 'link' stays good */
		if (op(vm, page, id & 511))
			count++;
	}
	return count;
}

/* The large leaves that map a host frame. */
static __attribute__((noinline)) uint64_t large_each(struct rhz_vm *vm, struct rhz_ram *ram,
                                                     uint64_t hfn, leaf_op op)
{
	uint16_t *marks_2m = &ram->tracked_2m[region_2m(ram, hfn)];
	uint32_t *marks_1g = &ram->tracked_1g[region_1g(ram, hfn)];
	uint64_t count = 0;
	bool seen;

	if (*marks_2m & LARGE_2M) {
		seen = false;
		count += head_each(vm, &ram->head[(hfn & ~511ull) - ram->first_hfn], 2, op, &seen);
		if (!seen)
			*marks_2m &= (uint16_t)~LARGE_2M;
	}
	if (*marks_1g & LARGE_1G) {
		seen = false;
		count += head_each(vm, &ram->head[(hfn & ~0x3ffffull) - ram->first_hfn], 3, op,
		                   &seen);
		if (!seen)
			*marks_1g &= ~LARGE_1G;
	}
	return count;
}

/* Applies op to every leaf, of any size, that maps the frame. */
RHZ_INLINE uint64_t frame_each(struct rhz_vm *vm, uint32_t frame, leaf_op op)
{
	struct rhz_ram *ram = ram_of_frame(vm, frame);
	uint64_t hfn = ram->first_hfn + (frame - ram->first);
	bool seen;
	uint64_t count = head_each(vm, &ram->head[frame - ram->first], 1, op, &seen);

	if (__builtin_expect((ram->tracked_2m[region_2m(ram, hfn)] & LARGE_2M) ||
	                     (ram->tracked_1g[region_1g(ram, hfn)] & LARGE_1G), 0))
		count += large_each(vm, ram, hfn, op);
	return count;
}

void frame_write_protect(struct rhz_vm *vm, uint32_t frame)
{
	frame_each(vm, frame, entry_write_protect);
}

void frame_protect(struct rhz_vm *vm, uint32_t frame)
{
	struct rhz_ram *ram = ram_of_frame(vm, frame);
	uint64_t hfn = ram->first_hfn + (frame - ram->first);
	uint32_t *head = &ram->head[frame - ram->first];
	uint16_t *marks_2m = &ram->tracked_2m[region_2m(ram, hfn)];
	uint32_t *marks_1g = &ram->tracked_1g[region_1g(ram, hfn)];
	bool seen;

	if (!(*head & LINK_TRACKED)) {
		*head |= LINK_TRACKED;
		++*marks_2m;
		++*marks_1g;
	}
	head_each(vm, head, 1, entry_write_protect, &seen);
	if (__builtin_expect((*marks_2m & LARGE_2M) || (*marks_1g & LARGE_1G), 0))
		large_each(vm, ram, hfn, entry_write_protect);
}

static bool leaf_drop(struct rhz_vm *vm, struct page *page, unsigned index)
{
	entry_clear(vm, page, index);
	return true;
}

void frame_unmap(struct rhz_vm *vm, uint32_t frame)
{
	frame_each(vm, frame, leaf_drop);
}

uint64_t frame_age(struct rhz_vm *vm, uint32_t frame)
{
	return frame_each(vm, frame, entry_age);
}
