/* SPDX-License-Identifier: MIT */
/* What a leaf of ours should be: how large, and which bits. Shared by direct/ and shadow/. */
#ifndef RHZ_CORE_LEAF_H
#define RHZ_CORE_LEAF_H

#include "core/entry.h"
#include "core/frame.h"

/* PWT, PCD and PAT of a guest leaf, as the role keeps them. */
enum { MEMORY_PWT = 1, MEMORY_PCD = 2, MEMORY_PAT = 4 };

/* Write-back, in an EPT leaf [SDM3 28.3.7]. */
#define EPT_WRITE_BACK (6ull << EPT_MT_SHIFT)

struct leaf {
	uint64_t hfn;
	unsigned level;
	unsigned rights; /* RHZ_RIGHT_*: WRITE only if it is to be writable now */
	unsigned memory; /* MEMORY_* */
	unsigned key;
};

/* The leaf's bits in the format of a page with this role. */
RHZ_INLINE uint64_t leaf_make(const struct rhz_vm *vm, union role role, const struct leaf *leaf)
{
	uint64_t spte = leaf->hfn << RHZ_PAGE_SHIFT;

	if (role.host == ROLE_HOST_EPT) {
		spte |= EPT_R | EPT_WRITE_BACK;
		spte |= leaf->rights & RHZ_RIGHT_WRITE ? EPT_W : 0;
		spte |= leaf->rights & RHZ_RIGHT_EXEC ? EPT_X : 0;
		if (vm->config.host_cpu.ept_ad)
			spte |= EPT_A | (leaf->rights & RHZ_RIGHT_WRITE ? EPT_D : 0);
		return spte | (leaf->level > 1 ? EPT_PS : 0);
	}
	spte |= PTE_P | PTE_A;
	spte |= leaf->rights & RHZ_RIGHT_WRITE ? PTE_W | PTE_D : 0;
	spte |= leaf->rights & RHZ_RIGHT_USER ? PTE_U : 0;
	if (!(leaf->rights & RHZ_RIGHT_EXEC) && vm->config.host_cpu.nx)
		spte |= PTE_NX;
	spte |= (uint64_t)(leaf->memory & (MEMORY_PWT | MEMORY_PCD)) << 3;
	/* PAT is bit 7 in a 4 KiB leaf, bit 12 in a larger one [SDM3 4.9.2] */
	if (leaf->memory & MEMORY_PAT)
		spte |= leaf->level == 1 ? PTE_PAT_4K : PTE_PAT_LARGE;
	if (role.host == ROLE_HOST_LONG)
		spte |= (uint64_t)leaf->key << PTE_KEY_SHIFT;
	return spte | (leaf->level > 1 ? PTE_PS : 0);
}

/*
 * The largest leaf, at most of level 'most', that may map gfn: it lies in one slot, its guest and
 * host addresses are congruent, and it covers no tracked frame. exec: it would be executable.
 */
unsigned leaf_level(struct rhz_vm *vm, const struct slot *slot, uint64_t gfn, unsigned most,
                    bool exec);

/* May a leaf of this level over gfn be writable now? The dirty log is the caller's business. */
RHZ_INLINE bool leaf_may_write(struct rhz_vm *vm, const struct slot *slot, uint64_t gfn,
                               unsigned level)
{
	return !slot->read_only && !frame_region_tracked(vm, slot_frame(slot, gfn), level);
}

#endif
