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
	unsigned rights;     /* RHZ_RIGHT_*: WRITE only if it is to be writable now */
	uint64_t attributes; /* PWT, PCD, PAT and the key, or EPT's memory type */
};

/* The attributes of a guest leaf that a leaf of ours of the same level takes over. */
RHZ_INLINE uint64_t attributes_of(union role role, uint64_t guest)
{
	uint64_t pat = role.level == 1 ? PTE_PAT_4K : PTE_PAT_LARGE;

	return guest & (PTE_PWT | PTE_PCD | pat | (role.host == ROLE_HOST_LONG ? PTE_KEY : 0));
}

/* The same of an EPT leaf: memory type, and whether L2's PAT is ignored. */
RHZ_INLINE uint64_t attributes_of_ept(uint64_t guest)
{
	return guest & (EPT_MT | EPT_IPAT);
}

/* The attributes of a piece of a guest's large page: its role keeps them. */
RHZ_INLINE uint64_t attributes_of_piece(union role role)
{
	if (role.host == ROLE_HOST_EPT)
		return (uint64_t)role.memory << EPT_MT_SHIFT | (role.key & 1 ? EPT_IPAT : 0);
	/* PAT is bit 7 in a 4 KiB leaf, bit 12 in a larger one [SDM3 4.9.2] */
	uint64_t pat = role.level == 1 ? PTE_PAT_4K : PTE_PAT_LARGE;

	return (uint64_t)(role.memory & (MEMORY_PWT | MEMORY_PCD)) << 3 |
	       (role.memory & MEMORY_PAT ? pat : 0) | (uint64_t)role.key << PTE_KEY_SHIFT;
}

static inline uint64_t leaf_make_ept(const struct rhz_vm *vm, const struct leaf *leaf)
{
	bool write = leaf->rights & RHZ_RIGHT_WRITE;
	uint64_t spte = leaf->hfn << RHZ_PAGE_SHIFT | leaf->attributes;

	spte |= leaf->rights & RHZ_RIGHT_READ ? EPT_R : 0;
	spte |= (write ? EPT_W : 0) | (leaf->rights & RHZ_RIGHT_EXEC ? EPT_X : 0);
	if (vm->config.host_cpu.ept_ad)
		spte |= EPT_A | (write ? EPT_D : 0);
	return spte | (leaf->level > 1 ? EPT_PS : 0);
}

/* The leaf's bits in the format of a page with this role. */
RHZ_INLINE uint64_t leaf_make(const struct rhz_vm *vm, union role role, const struct leaf *leaf)
{
	uint64_t rights = leaf->rights, spte;

	if (__builtin_expect(role.host == ROLE_HOST_EPT, 0))
		return leaf_make_ept(vm, leaf);
	/* rights are an entry's bits rotated left by one; D goes with W */
	spte = (rights >> 1 & (PTE_W | PTE_U)) | (rights & RHZ_RIGHT_WRITE) << 4 |
	       ((~rights & RHZ_RIGHT_EXEC) << 63 & vm->nx);
	spte |= leaf->hfn << RHZ_PAGE_SHIFT | PTE_P | PTE_A | leaf->attributes;
	return spte | (leaf->level > 1 ? PTE_PS : 0);
}

_Static_assert(RHZ_RIGHT_WRITE >> 1 == PTE_W && RHZ_RIGHT_USER >> 1 == PTE_U &&
               RHZ_RIGHT_WRITE << 4 == PTE_D && RHZ_RIGHT_EXEC == 1, "rotated by one");

/*
 * What a 4 KiB leaf takes over from a guest entry of 64 bits as it is, by a role whose format is
 * not EPT's: frame (moved to host memory), memory type, key, P, A, and of U and NX what the levels
 * above leave to this one.
 */
RHZ_INLINE uint64_t leaf_taken(union role role)
{
	return SPTE_FRAME | PTE_PWT | PTE_PCD | PTE_PAT_4K | PTE_P | PTE_A |
	       (role.rights & RHZ_RIGHT_USER ? PTE_U : 0) |
	       (role.rights & RHZ_RIGHT_EXEC ? PTE_NX : 0) |
	       (role.host == ROLE_HOST_LONG ? PTE_KEY : 0);
}

/*
 * leaf_make in short, for a role with WP. moved: of the guest's entry, moved to host memory,
 * leaf_taken's bits, W and D. write: slot and tracking let it be writable.
 */
RHZ_INLINE uint64_t leaf_take(const struct rhz_vm *vm, union role role, uint64_t moved, bool write)
{
	if (!write || !(role.rights & RHZ_RIGHT_WRITE) ||
	    (moved & (PTE_W | PTE_D)) != (PTE_W | PTE_D))
		moved &= ~(PTE_W | PTE_D);
	return role.rights & RHZ_RIGHT_EXEC ? moved : moved | vm->nx;
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
	uint32_t frame = slot_frame(slot, gfn);

	if (slot->read_only)
		return false;
	return !(level == 1 ? frame_is_tracked(vm, frame) : frame_region_tracked(vm, frame, level));
}

#endif
