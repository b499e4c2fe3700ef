/* SPDX-License-Identifier: MIT */
/*
 * The usual fault, done quickly: a guest page of 4 KiB that was not mapped yet, under shadow tables
 * that are all there. Whatever is out of the ordinary is left to fault.c, which does this too.
 * Inlined, with all that it needs, into the one function of api/ that takes such faults.
 */
#ifndef RHZ_SHADOW_FILL_H
#define RHZ_SHADOW_FILL_H

#include "core/page.h"
#include "core/rmap.h"
#include "root/walk.h"
#include "shadow/fault.h"
#include "shadow/gpte.h"
#include "shadow/prefetch.h"
#include "shadow/tree.h"

RHZ_INLINE unsigned access_of(uint32_t error_code, unsigned access)
{
	access &= RHZ_ACCESS_AC | RHZ_ACCESS_IMPLICIT;
	access |= error_code & RHZ_PF_W ? RHZ_ACCESS_WRITE : 0u;
	access |= error_code & RHZ_PF_U ? RHZ_ACCESS_USER : 0u;
	access |= error_code & RHZ_PF_I ? RHZ_ACCESS_FETCH : 0u;
	return access;
}

/* The page linked below an entry; null: none is. */
RHZ_INLINE struct page *linked_below(const struct rhz_vm *vm, const struct page *page,
                                     unsigned index)
{
	uint64_t spte = page->table[index];

	if (__builtin_expect((spte & (PTE_P | PTE_PS)) != PTE_P, 0))
		return NULL;
	return page_of_hpa(vm, spte & SPTE_FRAME);
}

/* The leaf table for the address, if all tables above it are linked; else null. */
RHZ_INLINE struct page *leaf_table_find(struct rhz_vcpu *vcpu, uint64_t addr)
{
	const struct rhz_vm *vm = vcpu->vm;
	unsigned depth = vcpu->now->levels;
	struct page *page = vcpu->now->root;

	if (depth == 5 && !(page = linked_below(vm, page, tree_index(5, addr))))
		return NULL;
	if (depth >= 4 && !(page = linked_below(vm, page, tree_index(4, addr))))
		return NULL;
	/* a PAE root has four entries */
	page = linked_below(vm, page, tree_index(3, addr) & (depth == 3 ? 3 : 511));
	if (!page || !(page = linked_below(vm, page, tree_index(2, addr))))
		return NULL;
	vcpu->leaf_table = (struct leaf_table){ page, vcpu->now->root, addr >> 21, vm->unlinks };
	return page;
}

/* Faults come in runs: the same table again, unless any table was unlinked since. */
RHZ_INLINE struct page *leaf_table(struct rhz_vcpu *vcpu, uint64_t addr)
{
	const struct leaf_table *last = &vcpu->leaf_table;

	if (last->run == addr >> 21 && last->root == vcpu->now->root &&
	    last->unlinks == vcpu->vm->unlinks)
		return last->page;
	return leaf_table_find(vcpu, addr);
}

/* The walk and the address space are such that the leaf follows from the guest's entry alone. */
RHZ_INLINE bool is_usual(const struct rhz_vcpu *vcpu, const struct rhz_walk *walk)
{
	return walk->level == 1 && vcpu->now->mode.wp && !option(vcpu->vm, RHZ_NO_QUICK_FILL);
}

/*
 * Is the page that our links lead to the shadow of the table that the walk has just read, with the
 * rights that it found? The embedder may have written an upper table and not told us yet.
 */
RHZ_INLINE bool is_walked(struct space *space, const struct slot *slot, const struct page *page,
                          const struct rhz_walk *walk)
{
	/* 'slot' is the page's: nearly always the table's too */
	if (__builtin_expect(walk->table[1].v - slot->start >= slot->bytes, 0))
		slot = slot_at(space, walk->table[1].v);
	return slot && !slot->read_only && !page->role.rom &&
	       page->frame == slot_frame(slot, walk->table[1].v >> RHZ_PAGE_SHIFT) &&
	       walk->rights == (page->role.rights & gpte_rights(walk->entry[1]));
}

/*
 * After a walk that came through. True: the leaf is set. False: nothing was done, but that some A
 * bits may be set where another vCPU changed the entry meanwhile.
 */
RHZ_INLINE bool fill_quickly(struct rhz_vcpu *vcpu, rhz_gva gva, unsigned access,
                             struct rhz_walk *walk)
{
	unsigned index = (gva.v >> RHZ_PAGE_SHIFT) & 511;
	struct leaf leaf = { .level = 1, .rights = walk->rights };
	struct rhz_vm *vm = vcpu->vm;
	struct space *space = vcpu->guest;
	uint64_t gfn = walk->gpa.v >> RHZ_PAGE_SHIFT;
	struct page *page;
	struct slot *slot;
	union role role;
	uint32_t *head;

	/* 'level' is only written by walks that found a leaf */
	if (__builtin_expect(!is_usual(vcpu, walk), 0))
		return false;
	slot = slot_at(space, walk->gpa.v);
	if (__builtin_expect(!slot || slot->dirty || slot->read_only, 0))
		return false;
	page = leaf_table(vcpu, gva.v);
	if (__builtin_expect(!page || !is_walked(space, slot, page, walk), 0))
		return false;
	head = frame_head(vm, slot_frame(slot, gfn));
	role = page->role;
	if (__builtin_expect(page->table[index] || role.guest == ROLE_DIRECT || !vm->nodes_free ||
	                     (access & RHZ_ACCESS_WRITE && *head & LINK_TRACKED), 0))
		return false;
	/* A and D may be something else to another shadow of the table: fault.c knows */
	if (__builtin_expect(!vcpu_ad_set(vcpu, access, walk), 0) &&
	    (vm->formats_differ || vcpu_set_ad(vcpu, access, walk) == RHZ_AD_RETRY))
		return false;
	if (*head & LINK_TRACKED || !(walk->entry[1] & PTE_D))
		leaf.rights &= ~(unsigned)RHZ_RIGHT_WRITE;
	leaf.hfn = gfn + (uint64_t)slot->to_hfn;
	role.level = 1; /* as it is: for the compiler */
	leaf.attributes = attributes_of(role, walk->entry[1]);
	entry_fill(vm, page, index, leaf_make(vm, role, &leaf), head);
	vcpu->stats.pf_fixed++;
	vcpu->last_spurious = 0;
	if (!option(vm, RHZ_NO_PREFETCH))
		vcpu->stats.prefetched += prefetch_around(vm, page, index);
	return true;
}

/* A page fault of the current context, whose root shadows a guest table. With the lock. */
RHZ_INLINE enum rhz_fault_result fill_fault(struct rhz_vcpu *vcpu, rhz_gva gva,
                                            uint32_t error_code, unsigned access,
                                            struct rhz_fault *fault)
{
	struct rhz_walk walk;

	access = access_of(error_code, access);
	if (!(error_code & RHZ_PF_P) && vcpu->vm->stats.mmio_entries &&
	    shadow_mmio_cached(vcpu, gva, access, &fault->gpa))
		return RHZ_FAULT_MMIO;
	if (__builtin_expect(vcpu_walk(vcpu, gva, access, &walk) != RHZ_WALK_OK ||
	                     !fill_quickly(vcpu, gva, access, &walk), 0))
		return shadow_fault(vcpu, gva, error_code, access, &walk, fault);
	fault->level = 1;
	return RHZ_FAULT_RESUME;
}

#endif
