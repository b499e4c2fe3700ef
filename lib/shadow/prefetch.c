/* SPDX-License-Identifier: MIT */
/* Filling neighbours. Only entries that the guest has used (A set): no A bit is ever set by this. */
#include "shadow/prefetch.h"

#include "shadow/gpte.h"

/* Eight entries are a cache line of the guest's table, read already. */
enum { PREFETCH = 8 };

static bool prefetch_one(struct rhz_vm *vm, struct page *page, unsigned index)
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
	leaf.attributes = gpte.attributes;
	if (!slot_logged(slot, gpte.gfn) || !leaf_may_write(vm, slot, gpte.gfn, 1))
		leaf.rights &= ~(unsigned)RHZ_RIGHT_WRITE;
	/* not yet used through us: its accessed bit says so to whoever ages pages */
	return entry_set_leaf(vm, page, index,
	                      leaf_make(vm, role, &leaf) & ~spte_accessed_bit(role));
}

unsigned prefetch_around(struct rhz_vm *vm, struct page *page, unsigned index)
{
	unsigned first = index & ~(PREFETCH - 1u), filled = 0;

	for (unsigned i = first; i < first + PREFETCH; i++) {
		if (!page->table[i])
			filled += prefetch_one(vm, page, i);
	}
	return filled;
}
