/* SPDX-License-Identifier: MIT */
/* Harvesting the dirty log, growing pages back after it, and what the host does to its RAM. */
#include "core/entry.h"
#include "core/flush.h"
#include "core/frame.h"
#include "core/page.h"
#include "core/rmap.h"
#include "core/slot.h"

static struct slot *slot_of(struct rhz_vm *vm, unsigned id)
{
	return id < RHZ_MAX_SLOTS && vm->slot[id].used ? &vm->slot[id] : NULL;
}

/*
 * Bits are copied and cleared before write access is taken: a write between the two is either by
 * the old mapping, and then in 'out' too, or faults and logs itself anew. The kick comes before
 * the lock goes, so that no processor writes by an old mapping after we return.
 */
static enum rhz_status harvest(struct rhz_vm *vm, struct slot *slot, uint64_t first, uint64_t pages,
                               uint64_t *out, uint64_t *found)
{
	*found = 0;
	if (!slot)
		return RHZ_ERR_NOT_FOUND;
	if (!slot->dirty || first % 64)
		return RHZ_ERR_ARGUMENT;
	if (first > slot->pages || pages > slot->pages - first)
		return RHZ_ERR_RANGE;
	for (uint64_t done = 0; done < pages; done += 64) {
		uint64_t *word = &slot->dirty[(first + done) / 64];
		uint64_t mask = pages - done >= 64 ? ~0ull : (1ull << (pages - done)) - 1;
		uint64_t bits = *word & mask;

		*word &= ~mask;
		out[done / 64] = bits;
		for (; bits; bits &= bits - 1) {
			slot_write_protect(vm, slot, first + done + (uint64_t)__builtin_ctzll(bits),
			                   1);
			++*found;
		}
	}
	return RHZ_OK;
}

enum rhz_status rhz_slot_harvest(struct rhz_vm *vm, unsigned id, uint64_t first, uint64_t pages,
                                 uint64_t *out, uint64_t *found)
{
	enum rhz_status status;

	if (!vm || !out || !found)
		return RHZ_ERR_ARGUMENT;
	vm_lock(vm);
	status = harvest(vm, slot_of(vm, id), first, pages, out, found);
	vm_unlock(vm);
	return status;
}

/* The 4 KiB leaves in tables that shadow no guest table: only there has the guest no say. */
static void frame_drop_direct(struct rhz_vm *vm, uint32_t frame)
{
	uint32_t link = *frame_head(vm, frame) & ~LINK_TRACKED;

	while (link) {
		uint32_t id = link_first(vm, link, &link);
		struct page *page = page_at(vm, id >> 9);

		if (page->role.guest == ROLE_DIRECT && page->role.level == 1)
			entry_clear(vm, page, id & 511);
	}
}

void slot_collapse(struct rhz_vm *vm, struct slot *slot)
{
	if (option(vm, RHZ_NO_LARGE_PAGES) || slot->pages < 512)
		return;
	for (uint64_t i = 0; i < slot->pages; i++)
		frame_drop_direct(vm, (uint32_t)(slot->first + i));
	vm->kick_wanted = true;
}

enum rhz_status rhz_slot_collapse(struct rhz_vm *vm, unsigned id)
{
	struct slot *slot;

	vm_lock(vm);
	slot = slot_of(vm, id);
	if (slot)
		slot_collapse(vm, slot);
	vm_unlock(vm);
	return slot ? RHZ_OK : RHZ_ERR_NOT_FOUND;
}

/* ---- the host's side ---- */

/* A run of host memory: *first is its first frame. */
static enum rhz_status run_find(const struct rhz_vm *vm, unsigned ram, uint64_t offset,
                                uint64_t bytes, uint32_t *first)
{
	if (ram >= vm->rams)
		return RHZ_ERR_NOT_FOUND;
	if ((offset | bytes) % RHZ_PAGE_SIZE)
		return RHZ_ERR_ALIGNMENT;
	if (offset / RHZ_PAGE_SIZE > vm->ram[ram].count ||
	    bytes / RHZ_PAGE_SIZE > vm->ram[ram].count - offset / RHZ_PAGE_SIZE)
		return RHZ_ERR_RANGE;
	*first = vm->ram[ram].first + (uint32_t)(offset / RHZ_PAGE_SIZE);
	return RHZ_OK;
}

enum rhz_status rhz_ram_invalidate(struct rhz_vm *vm, unsigned ram, uint64_t offset, uint64_t bytes)
{
	enum rhz_status status;
	uint32_t first;

	vm_lock(vm);
	status = run_find(vm, ram, offset, bytes, &first);
	if (status == RHZ_OK) {
		for (uint64_t i = 0; i < bytes / RHZ_PAGE_SIZE; i++)
			frame_unmap(vm, first + (uint32_t)i);
		vm->kick_wanted = true;
	}
	vm_unlock(vm);
	return status;
}

enum rhz_status rhz_ram_age(struct rhz_vm *vm, unsigned ram, uint64_t offset, uint64_t bytes,
                            uint64_t *young)
{
	enum rhz_status status;
	uint32_t first;

	*young = 0;
	vm_lock(vm);
	status = run_find(vm, ram, offset, bytes, &first);
	if (status == RHZ_OK) {
		for (uint64_t i = 0; i < bytes / RHZ_PAGE_SIZE; i++)
			*young += frame_age(vm, first + (uint32_t)i);
	}
	vm_unlock(vm);
	return status;
}
