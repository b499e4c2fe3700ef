/* SPDX-License-Identifier: MIT */
/* The usual fault, done quickly. */
#include "shadow/fill.h"

#include "core/rmap.h"
#include "shadow/gpte.h"
#include "shadow/prefetch.h"

/* The leaf table for the address, if all tables above it are linked; else null. */
static __attribute__((noinline)) struct page *leaf_table_find(struct rhz_vcpu *vcpu, uint64_t addr)
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
	vcpu->leaf_table = (struct leaf_table){ page, vcpu->now->root, addr >> 21,
		                                vcpu->vm->unlinks };
	return page;
}

/* Faults come in runs: the same table again, unless any table was unlinked since. */
RHZ_INLINE struct page *leaf_table(struct rhz_vcpu *vcpu, uint64_t addr)
{
	const struct leaf_table *last = &vcpu->leaf_table;

	if (__builtin_expect(last->root == vcpu->now->root && last->run == addr >> 21 &&
	                     last->unlinks == vcpu->vm->unlinks, 1))
		return last->page;
	return leaf_table_find(vcpu, addr);
}

/* The walk and the address space are such that the leaf follows from the guest's entry alone. */
RHZ_INLINE bool is_usual(const struct rhz_vcpu *vcpu, unsigned access, const struct rhz_walk *walk)
{
	bool settled = walk->entry[1] & PTE_D || !(access & RHZ_ACCESS_WRITE);

	return walk->level == 1 && walk->accessed && settled && vcpu->now->mode.wp &&
	       !option(vcpu->vm, RHZ_NO_QUICK_FILL);
}

/*
 * Is the page that our links lead to the shadow of the table that the walk has just read, with the
 * rights that it found? The embedder may have written an upper table and not told us yet.
 */
RHZ_INLINE bool is_walked(struct rhz_vcpu *vcpu, const struct page *page,
                          const struct rhz_walk *walk)
{
	const struct slot *slot = slot_at(&vcpu->vm->space[vcpu->space], walk->table[1].v);

	return slot && !slot->read_only && !page->role.rom &&
	       page->frame == slot_frame(slot, walk->table[1].v >> RHZ_PAGE_SHIFT) &&
	       walk->rights == (page->role.rights & gpte_rights(walk->entry[1]));
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
	if (__builtin_expect(!slot || !page || slot->dirty || slot->read_only ||
	                     !is_walked(vcpu, page, walk), 0))
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
