/* SPDX-License-Identifier: MIT */
/* The usual fault, done quickly. */
#include "shadow/fill.h"

#include "core/rmap.h"
#include "shadow/gpte.h"
#include "shadow/prefetch.h"

/* The leaf table for the address, if all tables above it are linked; else null. */
RHZ_INLINE struct page *leaf_table(struct rhz_vcpu *vcpu, uint64_t addr)
{
	unsigned depth = vcpu->now->levels, shift = 9 * depth + 3;
	uint64_t at = (addr >> shift) & (depth == 3 ? 3 : 511); /* three levels: a PAE root */
	struct page *page = vcpu->now->root;

	for (; depth > 1; depth--) {
		uint64_t spte = page->table[at];

		if (__builtin_expect((spte & (PTE_P | PTE_PS)) != PTE_P, 0))
			return NULL;
		page = page_of_hpa(vcpu->vm, spte & SPTE_FRAME);
		shift -= 9;
		at = (addr >> shift) & 511;
	}
	return page;
}

/* The walk and the address space are such that the leaf follows from the guest's entry alone. */
RHZ_INLINE bool is_usual(const struct rhz_vcpu *vcpu, unsigned access, const struct rhz_walk *walk)
{
	bool settled = walk->entry[1] & PTE_D || !(access & RHZ_ACCESS_WRITE);

	return walk->level == 1 && walk->accessed && settled && vcpu->now->mode.wp &&
	       !option(vcpu->vm, RHZ_NO_QUICK_FILL);
}

bool fill_quickly(struct rhz_vcpu *vcpu, rhz_gva gva, unsigned access, const struct rhz_walk *walk)
{
	unsigned index = (gva.v >> RHZ_PAGE_SHIFT) & 511;
	struct leaf leaf = { .level = 1, .rights = walk->rights };
	struct rhz_vm *vm = vcpu->vm;
	uint64_t gfn = walk->gpa.v >> RHZ_PAGE_SHIFT;
	struct page *page;
	struct slot *slot;
	uint32_t *head;

	/* 'level' is only written by walks that found a leaf */
	if (__builtin_expect(!is_usual(vcpu, access, walk), 0))
		return false;
	slot = slot_find(vm, vcpu->space, gfn);
	page = leaf_table(vcpu, gva.v);
	if (__builtin_expect(!slot || !page || slot->dirty || slot->read_only, 0))
		return false;
	head = frame_head(vm, slot_frame(slot, gfn));
	if (__builtin_expect(page->table[index] || page->role.guest == ROLE_DIRECT ||
	                     !vm->nodes_free || (access & RHZ_ACCESS_WRITE && *head & LINK_TRACKED), 0))
		return false;
	if (*head & LINK_TRACKED || !(walk->entry[1] & PTE_D))
		leaf.rights &= ~(unsigned)RHZ_RIGHT_WRITE;
	leaf.hfn = gfn + (uint64_t)slot->to_hfn;
	leaf.attributes = attributes_of(page->role, walk->entry[1]);
	entry_fill(vm, page, index, leaf_make(vm, page->role, &leaf), head);
	vcpu->stats.pf_fixed++;
	vcpu->last_spurious = 0;
	if (!option(vm, RHZ_NO_PREFETCH))
		vcpu->stats.prefetched += prefetch_around(vm, page, index);
	return true;
}
