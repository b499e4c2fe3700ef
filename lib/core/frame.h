/* SPDX-License-Identifier: MIT */
/* Frames: from guest frame number to slot, from slot to frame, from frame to memory and back. */
#ifndef RHZ_CORE_FRAME_H
#define RHZ_CORE_FRAME_H

#include "core/vm.h"

struct slot *slot_search(struct space *space, uint64_t gpa);

/* The slot that holds the address, or null. */
RHZ_INLINE struct slot *slot_at(struct space *space, uint64_t gpa)
{
	struct slot *hint = space->hint;

	if (__builtin_expect(gpa - hint->start < hint->bytes, 1))
		return hint;
	return slot_search(space, gpa);
}

/* The slot that holds gfn, or null. */
RHZ_INLINE struct slot *slot_find(struct rhz_vm *vm, unsigned space, uint64_t gfn)
{
	return slot_at(&vm->space[space], gfn << RHZ_PAGE_SHIFT);
}

RHZ_INLINE uint32_t slot_frame(const struct slot *slot, uint64_t gfn)
{
	return (uint32_t)(slot->first + (gfn - slot->gfn));
}

/* The frame behind gfn, FRAME_NONE if there is no slot. */
RHZ_INLINE uint32_t frame_of_gfn(struct rhz_vm *vm, unsigned space, uint64_t gfn)
{
	struct slot *slot = slot_find(vm, space, gfn);

	return slot ? slot_frame(slot, gfn) : FRAME_NONE;
}

/* The frame of a guest table at gfn, and whether that is in a read-only slot. */
RHZ_INLINE uint32_t frame_of_table(struct rhz_vm *vm, unsigned space, uint64_t gfn, bool *rom)
{
	struct slot *slot = slot_find(vm, space, gfn);

	*rom = slot && slot->read_only;
	return slot ? slot_frame(slot, gfn) : FRAME_NONE;
}

/* The RAM of a frame that exists. */
RHZ_INLINE struct rhz_ram *ram_of_frame(struct rhz_vm *vm, uint32_t frame)
{
	struct rhz_ram *ram = vm->ram;

	while (frame - ram->first >= ram->count)
		ram++;
	return ram;
}

/* The RAM of a host frame that one of our leaves maps. */
RHZ_INLINE struct rhz_ram *ram_of_hfn(struct rhz_vm *vm, uint64_t hfn)
{
	struct rhz_ram *ram = vm->ram;

	while (hfn - ram->first_hfn >= ram->count)
		ram++;
	return ram;
}

RHZ_INLINE void *frame_at(struct rhz_vm *vm, uint32_t frame)
{
	struct rhz_ram *ram = ram_of_frame(vm, frame);

	return ram->at + (uint64_t)(frame - ram->first) * RHZ_PAGE_SIZE;
}

RHZ_INLINE uint32_t *frame_head(struct rhz_vm *vm, uint32_t frame)
{
	struct rhz_ram *ram = ram_of_frame(vm, frame);

	return &ram->head[frame - ram->first];
}

RHZ_INLINE bool frame_is_tracked(struct rhz_vm *vm, uint32_t frame)
{
	return *frame_head(vm, frame) & LINK_TRACKED;
}

/* Marks a frame: writes to it must come to us, or need not any more. No mapping is touched. */
void frame_set_tracked(struct rhz_vm *vm, uint32_t frame, bool tracked);

/* True if a leaf of this level over the frame would cover a tracked one. */
bool frame_region_tracked(struct rhz_vm *vm, uint32_t frame, unsigned level);

/* Tracked frames in the aligned 2 MiB (level 2) or 1 GiB (level 3) around a host frame. */
uint32_t frame_region_count(const struct rhz_ram *ram, uint64_t hfn, unsigned level);

/* Takes write access to the frame from every leaf that maps it. */
void frame_write_protect(struct rhz_vm *vm, uint32_t frame);

/* Tracked from now on, and write-protected. */
void frame_protect(struct rhz_vm *vm, uint32_t frame);

/* Drops every leaf that maps the frame. */
void frame_unmap(struct rhz_vm *vm, uint32_t frame);

/* Clears the accessed bits of the leaves that map the frame; returns how many were set. */
uint64_t frame_age(struct rhz_vm *vm, uint32_t frame);

/* May the page be writable as far as the dirty log goes: there is none, or it is in it? */
RHZ_INLINE bool slot_logged(const struct slot *slot, uint64_t gfn)
{
	uint64_t page = gfn - slot->gfn;

	return !slot->dirty || slot->dirty[page / 64] >> (page & 63) & 1;
}

RHZ_INLINE void slot_log_dirty(struct rhz_vm *vm, struct slot *slot, uint64_t gfn)
{
	if (__builtin_expect(slot->dirty != NULL, 0)) {
		uint64_t page = gfn - slot->gfn;
		uint64_t bit = 1ull << (page & 63);

		if (!(slot->dirty[page / 64] & bit)) {
			slot->dirty[page / 64] |= bit;
			vm->stats.dirty_pages_logged++;
		}
	}
}

#endif
