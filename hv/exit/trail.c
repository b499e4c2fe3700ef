/* SPDX-License-Identifier: MIT */
/* Remembering a translation; whether it still stands is looked at inline (trail.h). */
#include "exit/trail.h"

#include "mem/guest.h"
#include "mem/layout.h"

void trail_note(struct guest *g, struct trail *trail, uint64_t page, struct trail_regs regs,
                const struct rhz_walk *walk)
{
	unsigned n = 0;

	trail->entries = 0;
	if (!(regs.efer & EFER_LMA))
		return;
	for (unsigned level = walk->top; level >= walk->level; level--, n++) {
		trail->value[n] = walk->entry[level];
		trail->at[n] = guest_memory_at(g, walk->table[level].v, sizeof(uint64_t));
		if (!trail->at[n])
			return;
	}
	trail->page = page;
	trail->regs = regs;
	trail->gpa = walk->gpa.v & -PAGE_BYTES;
	trail->entries = n;
}
