/* SPDX-License-Identifier: MIT */
/*
 * A translation by the guest's own tables, remembered with the entries that it was read from. It
 * stands as long as they hold what they held: each use looks, so that nobody need tell of a change,
 * and the answer is that of a walk made now.
 */
#ifndef HV_EXIT_TRAIL_H
#define HV_EXIT_TRAIL_H

#include "cpu/x86.h"
#include "svm/guest.h"

/* What a walk in long mode depends on beside the entries. */
struct trail_regs { uint64_t cr0, cr3, cr4, efer; };

struct trail {
	uint64_t page; /* linear */
	struct trail_regs regs;
	unsigned entries; /* 0: nothing is remembered */
	const uint64_t *at[RHZ_MAX_LEVELS];
	uint64_t value[RHZ_MAX_LEVELS];
	uint64_t gpa; /* of the page that it leads to */
};

/* Does it lead from this page, under these registers, where it led? */
HV_INLINE bool trail_stands(const struct trail *trail, uint64_t page, struct trail_regs regs)
{
	if (trail->page != page || !trail->entries || trail->regs.cr0 != regs.cr0 ||
	    trail->regs.cr3 != regs.cr3 || trail->regs.cr4 != regs.cr4 ||
	    trail->regs.efer != regs.efer)
		return false;
	for (unsigned i = 0; i < trail->entries; i++) {
		if (*trail->at[i] != trail->value[i])
			return false;
	}
	return true;
}

/* Remembers a walk that came to a leaf: one in long mode, its entries in RAM of the guest's. */
void trail_note(struct guest *g, struct trail *trail, uint64_t page, struct trail_regs regs,
                const struct rhz_walk *walk);

#endif
