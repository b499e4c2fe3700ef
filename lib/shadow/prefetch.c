/* SPDX-License-Identifier: MIT */
/* Filling neighbours. Only entries that the guest has used (A set): this never sets an A bit. */
#include "shadow/prefetch.h"

#include "shadow/gpte.h"

/* Eight entries are a cache line of the guest's table, read already. */
enum { PREFETCH = 8 };

static __attribute__((noinline)) bool prefetch_one(struct rhz_vm *vm, struct page *page,
                                                   unsigned index)
{
	union role role = page->role;
	struct leaf leaf = { .level = 1 };
	struct slot *slot;
	struct gpte gpte;

	gpte_decode(vm, page, index, gpte_read(vm, page, index), &gpte);
	if (!gpte.usable)
		return false;
	slot = slot_find(vm, role.space, gpte.gfn);
	if (!slot)
		return false;
	leaf.hfn = gpte.gfn + (uint64_t)slot->to_hfn;
	leaf.rights = gpte_leaf_rights(role, gpte.rights, gpte.dirty);
	if (!(leaf.rights & (RHZ_RIGHT_READ | RHZ_RIGHT_EXEC)))
		return false;
	leaf.attributes = gpte.attributes;
	if (!slot_logged(slot, gpte.gfn) || !leaf_may_write(vm, slot, gpte.gfn, 1))
		leaf.rights &= ~(unsigned)RHZ_RIGHT_WRITE;
	/* not yet used through us: its accessed bit says so to whoever ages pages */
	return entry_set_leaf(vm, page, index,
	                      leaf_make(vm, role, &leaf) & ~spte_accessed_bit(role));
}

/*
 * The entries in 'set', of a table that is the shadow of entries of 64 bits, had P and A. In short
 * for those that lie in the slot found last, if that takes no rights away.
 */
static __attribute__((noinline)) unsigned prefetch_set(struct rhz_vm *vm, struct page *page,
                                                       const uint64_t *guest, unsigned set)
{
	union role role = page->role;
	const struct slot *slot = vm->space[role.space].hint;
	const struct rhz_ram *ram = &vm->ram[slot->ram];
	uint64_t refused = page_mode(vm, role)->reserved[1][1] | PTE_P | PTE_A;
	/* not yet used through us: its accessed bit says so to whoever ages pages */
	uint64_t taken = (leaf_taken(role) | PTE_W | PTE_D) & ~PTE_A;
	uint64_t to_hpa = (uint64_t)slot->to_hfn << RHZ_PAGE_SHIFT, start = slot->start;
	uint64_t bytes = role.wp && !slot->dirty && !slot->read_only ? slot->bytes : 0;
	uint32_t to_head = (uint32_t)slot->first - ram->first, *heads = ram->head;
	unsigned filled = 0, first = (uintptr_t)guest % RHZ_PAGE_SIZE / 8;

	page->flags |= PAGE_ODD;
	for (; set; set &= set - 1) {
		unsigned i = (unsigned)__builtin_ctz(set);
		uint64_t gpte = __atomic_load_n(guest + i, __ATOMIC_RELAXED);
		uint64_t offset = (gpte & SPTE_FRAME) - start, moved = (gpte + to_hpa) & taken;
		uint32_t *head;

		if ((gpte ^ (PTE_P | PTE_A)) & refused)
			continue;
		if (offset < bytes) {
			head = &heads[to_head + (offset >> RHZ_PAGE_SHIFT)];
			if (link_empty(*head) || vm->nodes_free) {
				moved = leaf_take(vm, role, moved, !(*head & LINK_TRACKED));
				entry_fill(vm, page, first + i, moved, head);
				filled++;
				continue;
			}
		}
		filled += prefetch_one(vm, page, first + i);
	}
	return filled;
}

unsigned prefetch_around(struct rhz_vm *vm, struct page *page, unsigned index)
{
	unsigned first = index & ~(PREFETCH - 1u), set = 0, filled = 0;
	const uint64_t *table = page->table + first, *guest;

	if (__builtin_expect(!role_is_quick(page->role), 0)) {
		for (unsigned i = 0; i < PREFETCH; i++) {
			if (!table[i])
				filled += prefetch_one(vm, page, first + i);
		}
		return filled;
	}
	guest = (const uint64_t *)frame_at(vm, page->frame) + first;
	RHZ_UNROLL
	for (unsigned i = 0; i < PREFETCH; i++) {
		uint64_t gpte = __atomic_load_n(guest + i, __ATOMIC_RELAXED);

		set |= (unsigned)(gpte & gpte / PTE_A & PTE_P) << i;
	}
	set &= (unsigned)~(page->used[first / 64] >> first % 64);
	return set ? prefetch_set(vm, page, guest, set) : 0;
}
