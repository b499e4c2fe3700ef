/* SPDX-License-Identifier: MIT */
/* RAM and slots: adding, deleting, moving, flags. The dirty log's harvest is in dirty.c. */
#include "core/slot.h"

#include "core/entry.h"
#include "core/flush.h"
#include "core/frame.h"
#include "core/mem.h"
#include "core/page.h"

struct slot *slot_search(struct space *space, uint64_t gpa)
{
	unsigned low = 0, high = space->count;

	while (low < high) {
		unsigned middle = (low + high) / 2;
		struct slot *slot = &space->slots[space->order[middle]];

		if (gpa - slot->start < slot->bytes) {
			space->hint = slot;
			return slot;
		}
		if (gpa < slot->start)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* ---- RAM ---- */

static uint64_t regions(uint64_t first, uint64_t count, unsigned shift)
{
	return ((first + count - 1) >> shift) - (first >> shift) + 1;
}

static size_t ram_size(uint64_t first, uint64_t count)
{
	size_t heads = count * sizeof(uint32_t);
	size_t gigas = regions(first, count, 18) * sizeof(uint32_t);

	return heads + gigas + regions(first, count, 9) * sizeof(uint16_t);
}

size_t rhz_ram_size(uint64_t bytes)
{
	if (!bytes || bytes % RHZ_PAGE_SIZE || bytes / RHZ_PAGE_SIZE >= UINT32_MAX)
		return 0;
	/* one region more at each size, for a start that is not aligned to it */
	return ram_size(0x3ffff, bytes / RHZ_PAGE_SIZE) + 8;
}

static enum rhz_status ram_check(const struct rhz_vm *vm, size_t size, rhz_hpa hpa, const void *at,
                                 uint64_t bytes)
{
	uint64_t limit = 1ull << vm->config.host_cpu.maxphyaddr;

	if ((hpa.v | bytes | (uintptr_t)at) % RHZ_PAGE_SIZE)
		return RHZ_ERR_ALIGNMENT;
	if (!bytes || bytes > limit || hpa.v > limit - bytes)
		return RHZ_ERR_RANGE;
	if (vm->rams == RHZ_MAX_RAMS)
		return RHZ_ERR_TOO_MANY_RAMS;
	if (bytes / RHZ_PAGE_SIZE >= UINT32_MAX - vm->frames)
		return RHZ_ERR_TOO_MANY_FRAMES;
	if (size < ram_size(hpa.v / RHZ_PAGE_SIZE, bytes / RHZ_PAGE_SIZE))
		return RHZ_ERR_MEMORY_SIZE;
	for (unsigned i = 0; i < vm->rams; i++) {
		const struct rhz_ram *ram = &vm->ram[i];
		uint64_t first = hpa.v / RHZ_PAGE_SIZE;

		if (first < ram->first_hfn + ram->count &&
		    ram->first_hfn < first + bytes / RHZ_PAGE_SIZE)
			return RHZ_ERR_OVERLAP;
	}
	return RHZ_OK;
}

enum rhz_status rhz_vm_add_ram(struct rhz_vm *vm, void *memory, size_t size, rhz_hpa hpa, void *at,
                               uint64_t bytes, unsigned *ram)
{
	enum rhz_status status;
	struct rhz_ram *new;

	if (!vm || !memory || !at || !ram || (uintptr_t)memory % 4)
		return RHZ_ERR_ARGUMENT;
	vm_lock(vm);
	status = ram_check(vm, size, hpa, at, bytes);
	if (status == RHZ_OK) {
		uint64_t count = bytes / RHZ_PAGE_SIZE;

		new = &vm->ram[vm->rams];
		new->first_hfn = hpa.v / RHZ_PAGE_SIZE;
		new->at = at;
		new->first = vm->frames + 1;
		new->count = (uint32_t)count;
		new->head = memory;
		new->tracked_1g = new->head + count;
		new->tracked_2m =
			(uint16_t *)(new->tracked_1g + regions(new->first_hfn, count, 18));
		memset(memory, 0, ram_size(new->first_hfn, count));
		vm->frames += new->count;
		*ram = vm->rams++;
	}
	vm_unlock(vm);
	return status;
}

/* ---- slots ---- */

static enum rhz_status slot_check(const struct rhz_vm *vm, const struct rhz_slot *slot)
{
	uint64_t limit = 1ull << vm->config.cpuid.maxphyaddr;

	if ((slot->gpa.v | slot->bytes | slot->offset) % RHZ_PAGE_SIZE)
		return RHZ_ERR_ALIGNMENT;
	if (!slot->bytes || slot->bytes > limit || slot->gpa.v > limit - slot->bytes)
		return RHZ_ERR_RANGE;
	if (slot->address_space >= RHZ_MAX_ADDRESS_SPACES)
		return RHZ_ERR_ADDRESS_SPACE;
	if (slot->ram >= vm->rams)
		return RHZ_ERR_NOT_FOUND;
	if (slot->offset / RHZ_PAGE_SIZE > vm->ram[slot->ram].count ||
	    slot->bytes / RHZ_PAGE_SIZE > vm->ram[slot->ram].count - slot->offset / RHZ_PAGE_SIZE)
		return RHZ_ERR_RANGE;
	if (slot->flags & ~(unsigned)(RHZ_SLOT_READ_ONLY | RHZ_SLOT_DIRTY_LOG) ||
	    (slot->flags & RHZ_SLOT_DIRTY_LOG && !slot->dirty))
		return RHZ_ERR_ARGUMENT;
	return RHZ_OK;
}

/* Does a range touch any slot of its address space but 'except'? */
static bool slot_overlaps(const struct rhz_vm *vm, unsigned space, uint64_t gfn, uint64_t pages,
                          const struct slot *except)
{
	for (unsigned i = 0; i < vm->space[space].count; i++) {
		const struct slot *slot = &vm->slot[vm->space[space].order[i]];

		if (slot != except && gfn < slot->gfn + slot->pages && slot->gfn < gfn + pages)
			return true;
	}
	return false;
}

/* A slot of the space came, went or changed. */
static void space_changed(struct rhz_vm *vm, struct space *space)
{
	space->hint = &vm->no_slot;
	space->uniform = true;
	for (unsigned i = 0; i < space->count; i++) {
		const struct slot *slot = &space->slots[space->order[i]];

		if (slot->to_hfn != space->slots[space->order[0]].to_hfn)
			space->uniform = false;
	}
}

static void order_insert(struct rhz_vm *vm, unsigned id)
{
	struct slot *slot = &vm->slot[id];
	struct space *space = &vm->space[slot->space];
	unsigned i = space->count++;

	for (; i && vm->slot[space->order[i - 1]].gfn > slot->gfn; i--)
		space->order[i] = space->order[i - 1];
	space->order[i] = (uint16_t)id;
	space_changed(vm, space);
}

static void order_remove(struct rhz_vm *vm, unsigned id)
{
	struct space *space = &vm->space[vm->slot[id].space];
	unsigned i = 0;

	while (space->order[i] != id)
		i++;
	space->count--;
	for (; i < space->count; i++)
		space->order[i] = space->order[i + 1];
	space_changed(vm, space);
}

/* Every MMIO entry is out of date now; before the numbers come round again, all are swept. */
static void generation_advance(struct rhz_vm *vm)
{
	vm->generation++;
	if (vm->generation & MMIO_GENERATION_MASK)
		return;
	for (uint32_t number = 1; number <= vm->pages_fresh; number++) {
		struct page *page = page_at(vm, number);

		if (!(page->flags & PAGE_LIVE))
			continue;
		for (unsigned i = page_next_used(page, 0); i < TABLE_ENTRIES;
		     i = page_next_used(page, i + 1)) {
			if (spte_is_mmio(page->table[i]))
				entry_clear(vm, page, i);
		}
	}
}

/* Gives up the shadow pages of guest tables in frames first .. first + pages - 1. */
static void tables_zap(struct rhz_vm *vm, uint64_t first, uint64_t pages)
{
	for (uint32_t number = 1; number <= vm->pages_fresh; number++) {
		struct page *page = page_at(vm, number);

		if (page->flags & PAGE_LIVE && page->role.guest != ROLE_DIRECT &&
		    page->frame - first < pages)
			page_zap(vm, page);
	}
}

/* The slot starts to exist for translations: what was read as absent is looked at again. */
static void slot_appear(struct rhz_vm *vm, unsigned id)
{
	order_insert(vm, id);
	generation_advance(vm);
	tables_zap(vm, FRAME_NONE, 1);
}

/* The slot ceases to exist for translations. */
static void slot_vanish(struct rhz_vm *vm, unsigned id)
{
	struct slot *slot = &vm->slot[id];

	order_remove(vm, id);
	generation_advance(vm);
	tables_zap(vm, slot->first, slot->pages);
	for (uint64_t i = 0; i < slot->pages; i++)
		frame_unmap(vm, (uint32_t)(slot->first + i));
	vm->kick_wanted = true;
}

static struct slot *slot_by_id(struct rhz_vm *vm, unsigned id)
{
	return id < RHZ_MAX_SLOTS && vm->slot[id].used ? &vm->slot[id] : NULL;
}

static void slot_place(struct slot *slot, uint64_t gfn, const struct rhz_ram *ram)
{
	uint64_t page = slot->offset / RHZ_PAGE_SIZE;

	slot->gfn = gfn;
	slot->start = gfn << RHZ_PAGE_SHIFT;
	slot->bytes = slot->pages << RHZ_PAGE_SHIFT;
	slot->base = (uintptr_t)ram->at + slot->offset - slot->start;
	slot->first = ram->first + page;
	slot->to_hfn = (int64_t)(ram->first_hfn + page - gfn);
	slot->at = ram->at + slot->offset;
}

static enum rhz_status slot_new(struct rhz_vm *vm, const struct rhz_slot *wanted, unsigned *id)
{
	enum rhz_status status = slot_check(vm, wanted);
	unsigned i = 0;
	struct slot *slot;

	if (status != RHZ_OK)
		return status;
	if (slot_overlaps(vm, wanted->address_space, wanted->gpa.v / RHZ_PAGE_SIZE,
	                  wanted->bytes / RHZ_PAGE_SIZE, NULL))
		return RHZ_ERR_OVERLAP;
	while (i < RHZ_MAX_SLOTS && vm->slot[i].used)
		i++;
	if (i == RHZ_MAX_SLOTS)
		return RHZ_ERR_TOO_MANY_SLOTS;
	slot = &vm->slot[i];
	*slot = (struct slot){
		.pages = wanted->bytes / RHZ_PAGE_SIZE,
		.dirty = wanted->flags & RHZ_SLOT_DIRTY_LOG ? wanted->dirty : NULL,
		.ram = (uint8_t)wanted->ram,
		.space = (uint8_t)wanted->address_space,
		.used = true,
		.read_only = wanted->flags & RHZ_SLOT_READ_ONLY,
		.offset = wanted->offset,
	};
	slot_place(slot, wanted->gpa.v / RHZ_PAGE_SIZE, &vm->ram[wanted->ram]);
	slot_appear(vm, i);
	*id = i;
	return RHZ_OK;
}

enum rhz_status rhz_slot_add(struct rhz_vm *vm, const struct rhz_slot *slot, unsigned *id)
{
	enum rhz_status status;

	if (!vm || !slot || !id)
		return RHZ_ERR_ARGUMENT;
	vm_lock(vm);
	status = slot_new(vm, slot, id);
	vm_unlock(vm);
	return status;
}

enum rhz_status rhz_slot_delete(struct rhz_vm *vm, unsigned id)
{
	struct slot *slot;

	vm_lock(vm);
	slot = slot_by_id(vm, id);
	if (slot) {
		slot_vanish(vm, id);
		slot->used = false;
	}
	vm_unlock(vm);
	return slot ? RHZ_OK : RHZ_ERR_NOT_FOUND;
}

static enum rhz_status slot_move_to(struct rhz_vm *vm, unsigned id, uint64_t gpa)
{
	struct slot *slot = slot_by_id(vm, id);
	uint64_t limit = (1ull << vm->config.cpuid.maxphyaddr) / RHZ_PAGE_SIZE;
	uint64_t gfn = gpa / RHZ_PAGE_SIZE;

	if (!slot)
		return RHZ_ERR_NOT_FOUND;
	if (gpa % RHZ_PAGE_SIZE)
		return RHZ_ERR_ALIGNMENT;
	if (gfn > limit - slot->pages)
		return RHZ_ERR_RANGE;
	if (slot_overlaps(vm, slot->space, gfn, slot->pages, slot))
		return RHZ_ERR_OVERLAP;
	slot_vanish(vm, id);
	slot_place(slot, gfn, &vm->ram[slot->ram]);
	slot_appear(vm, id);
	return RHZ_OK;
}

enum rhz_status rhz_slot_move(struct rhz_vm *vm, unsigned id, rhz_gpa gpa)
{
	enum rhz_status status;

	vm_lock(vm);
	status = slot_move_to(vm, id, gpa.v);
	vm_unlock(vm);
	return status;
}

void slot_write_protect(struct rhz_vm *vm, struct slot *slot, uint64_t first, uint64_t pages)
{
	for (uint64_t i = first; i < first + pages; i++)
		frame_write_protect(vm, (uint32_t)(slot->first + i));
	vm->kick_wanted = true;
}

static enum rhz_status slot_change_flags(struct rhz_vm *vm, unsigned id, unsigned flags,
                                         uint64_t *dirty)
{
	struct slot *slot = slot_by_id(vm, id);
	bool log = flags & RHZ_SLOT_DIRTY_LOG, read_only = flags & RHZ_SLOT_READ_ONLY;

	if (!slot)
		return RHZ_ERR_NOT_FOUND;
	if (flags & ~(unsigned)(RHZ_SLOT_READ_ONLY | RHZ_SLOT_DIRTY_LOG) || (log && !dirty))
		return RHZ_ERR_ARGUMENT;
	/* a log that begins anew knows nothing of what is writable already */
	if (read_only != slot->read_only)
		tables_zap(vm, slot->first, slot->pages);
	if ((log && slot->dirty != dirty) || (read_only && !slot->read_only))
		slot_write_protect(vm, slot, 0, slot->pages);
	if (slot->dirty && !log)
		slot_collapse(vm, slot);
	slot->dirty = log ? dirty : NULL;
	slot->read_only = read_only;
	space_changed(vm, &vm->space[slot->space]);
	return RHZ_OK;
}

enum rhz_status rhz_slot_set_flags(struct rhz_vm *vm, unsigned id, unsigned flags, uint64_t *dirty)
{
	enum rhz_status status;

	vm_lock(vm);
	status = slot_change_flags(vm, id, flags, dirty);
	vm_unlock(vm);
	return status;
}

enum rhz_status rhz_slot_get(struct rhz_vm *vm, unsigned id, struct rhz_slot *out)
{
	struct slot *slot;

	vm_lock(vm);
	slot = slot_by_id(vm, id);
	if (slot) {
		*out = (struct rhz_slot){
			.gpa = { slot->gfn * RHZ_PAGE_SIZE },
			.bytes = slot->pages * RHZ_PAGE_SIZE,
			.ram = slot->ram,
			.offset = slot->offset,
			.address_space = slot->space,
			.flags = (slot->read_only ? (unsigned)RHZ_SLOT_READ_ONLY : 0u) |
			         (slot->dirty ? (unsigned)RHZ_SLOT_DIRTY_LOG : 0u),
			.dirty = slot->dirty,
		};
	}
	vm_unlock(vm);
	return slot ? RHZ_OK : RHZ_ERR_NOT_FOUND;
}

void *rhz_vm_at(struct rhz_vm *vm, unsigned address_space, rhz_gpa gpa, uint64_t *bytes)
{
	uint64_t gfn = gpa.v / RHZ_PAGE_SIZE;
	struct slot *slot = NULL;
	void *at = NULL;

	if (address_space >= RHZ_MAX_ADDRESS_SPACES)
		return NULL;
	vm_lock(vm);
	slot = slot_find(vm, address_space, gfn);
	if (slot) {
		uint64_t offset = gpa.v - slot->gfn * RHZ_PAGE_SIZE;

		at = slot->at + offset;
		if (bytes)
			*bytes = slot->pages * RHZ_PAGE_SIZE - offset;
	}
	vm_unlock(vm);
	return at;
}
