/* SPDX-License-Identifier: MIT */
/*
 * The usual write to a guest table, let through quickly: the page is mapped, and all is right but
 * that write access was taken away for the table's sake. Whatever else may be is left to fault.c.
 */
#include "shadow/unprotect.h"

#include "shadow/fill.h"
#include "shadow/sync.h"

/*
 * Is this direct leaf table the piece of the guest's large page that the walk found? What else is
 * in its role all tables of the root share (child_of_piece).
 */
static bool is_piece(const struct page *page, const struct rhz_walk *walk)
{
	const uint64_t value = walk->entry[walk->level];
	const unsigned memory = (value & (PTE_PWT | PTE_PCD)) >> 3 |
	                        (value & PTE_PAT_LARGE ? MEMORY_PAT : 0);
	const union role role = page->role;

	return page->frame == walk->gpa.v >> 21 && role.rights == walk->rights &&
	       role.memory == memory &&
	       (role.host != ROLE_HOST_LONG || role.key == (value >> PTE_KEY_SHIFT & 15));
}

static bool is_right(struct rhz_vcpu *vcpu, const struct slot *slot, const struct page *page,
                     const struct rhz_walk *walk)
{
	if (page->role.guest == ROLE_DIRECT)
		return walk->level > 1 && is_piece(page, walk);
	return walk->level == 1 && is_walked(vcpu->guest, slot, page, walk);
}

/*
 * The leaf as it would be set now. A direct page's leaves are what its role says. In another page
 * what stands may be older: a table on a list can have had its entry changed, and write access must
 * not join rights that the guest took away.
 */
static uint64_t leaf_now(const struct rhz_vm *vm, const struct slot *slot, const struct page *page,
                         unsigned index, const struct rhz_walk *walk)
{
	const uint64_t hfn = (walk->gpa.v >> RHZ_PAGE_SHIFT) + (uint64_t)slot->to_hfn;
	struct leaf leaf = { .hfn = hfn, .level = 1, .rights = walk->rights };

	if (page->role.guest == ROLE_DIRECT)
		return (page->table[index] & ~SPTE_FRAME) | hfn << RHZ_PAGE_SHIFT | PTE_P | PTE_A |
		       PTE_W | PTE_D;
	leaf.attributes = attributes_of(page->role, walk->entry[1]);
	return leaf_make(vm, page->role, &leaf);
}

enum unprotect_result shadow_unprotect(struct rhz_vcpu *vcpu, rhz_gva gva,
                                       const struct rhz_walk *walk)
{
	const uint64_t gfn = walk->gpa.v >> RHZ_PAGE_SHIFT;
	const unsigned index = (gva.v >> RHZ_PAGE_SHIFT) & 511;
	struct rhz_vm *vm = vcpu->vm;
	const struct slot *slot;
	uint64_t spte, unlinks;
	struct page *page;

	if (!walk->accessed || !(walk->entry[walk->level] & PTE_D) || !vcpu->now->mode.wp ||
	    option(vm, RHZ_NO_QUICK_FILL))
		return UNPROTECT_UNUSUAL;
	slot = slot_at(vcpu->guest, walk->gpa.v);
	if (!slot || slot->dirty || slot->read_only)
		return UNPROTECT_UNUSUAL;
	page = leaf_table(vcpu, gva.v);
	if (!page || !is_right(vcpu, slot, page, walk))
		return UNPROTECT_UNUSUAL;
	spte = leaf_now(vm, slot, page, index, walk);
	if ((page->table[index] | PTE_A) != (spte & ~(PTE_W | PTE_D)) ||
	    !frame_is_tracked(vm, slot_frame(slot, gfn)))
		return UNPROTECT_UNUSUAL;
	unlinks = vm->unlinks;
	if (write_to_tracked(vcpu, slot_frame(slot, gfn)) == WRITE_EMULATE)
		return UNPROTECT_EMULATE;
	/* what was given up for the write's sake may have been on the way here */
	if (vm->unlinks != unlinks)
		return UNPROTECT_RETRY;
	entry_change_leaf(vm, page, index, spte);
	vcpu->stats.pf_fixed++;
	vcpu->last_spurious = 0;
	return UNPROTECT_DONE;
}
