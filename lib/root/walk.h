/* SPDX-License-Identifier: MIT */
/* The guest's own tables, walked through the VM's slots. With the lock. */
#ifndef RHZ_ROOT_WALK_H
#define RHZ_ROOT_WALK_H

#include "root/vcpu.h"

typedef enum rhz_walk_outcome (*vcpu_walk_fn)(struct rhz_vcpu *vcpu, rhz_gva gva, unsigned access,
                                              struct rhz_walk *walk);

typedef enum rhz_ad_result (*vcpu_set_ad_fn)(struct rhz_vcpu *vcpu, unsigned access,
                                             struct rhz_walk *walk);

/*
 * For each enum rhz_paging: through the slot found last alone, and through any. What walks L1's
 * nested tables is in nested/.
 */
struct vcpu_walks {
	vcpu_walk_fn slot, slots;
	vcpu_set_ad_fn set_ad;
};
extern const struct vcpu_walks rhz_vcpu_walks[];

/*
 * Translates in the current context; paging off: the address as it is, with all rights. A table
 * outside every slot reads as zero, so that its entries are not present.
 */
RHZ_INLINE enum rhz_walk_outcome vcpu_walk(struct rhz_vcpu *vcpu, rhz_gva gva, unsigned access,
                                           struct rhz_walk *walk)
{
	enum rhz_walk_outcome outcome = vcpu->now->walks->slot(vcpu, gva, access, walk);

	if (__builtin_expect(outcome == RHZ_WALK_TABLE, 0))
		return vcpu->now->walks->slots(vcpu, gva, access, walk);
	return outcome;
}

enum rhz_ad_result vcpu_set_ad_now(struct rhz_vcpu *vcpu, unsigned access, struct rhz_walk *walk);

/* D of the guest's leaf; where the format has none, it counts as set. */
RHZ_INLINE bool vcpu_walk_dirty(const struct rhz_vcpu *vcpu, const struct rhz_walk *walk)
{
	return !(~walk->entry[walk->level] & vcpu->now->dirty);
}

/* Are the A and D bits that the access sets set already? */
RHZ_INLINE bool vcpu_ad_set(const struct rhz_vcpu *vcpu, unsigned access,
                            const struct rhz_walk *walk)
{
	bool dirty = vcpu_walk_dirty(vcpu, walk);

	return walk->accessed && (dirty || !(access & RHZ_ACCESS_WRITE));
}

/* Sets A and D after a walk that came through. In a read-only slot nothing is set. */
RHZ_INLINE enum rhz_ad_result vcpu_set_ad(struct rhz_vcpu *vcpu, unsigned access,
                                          struct rhz_walk *walk)
{
	/* nearly always they are set already */
	if (__builtin_expect(vcpu_ad_set(vcpu, access, walk), 1))
		return RHZ_AD_UNCHANGED;
	return vcpu->now->walks->set_ad(vcpu, access, walk);
}

/* Has an entry the value that a walk found there (and left there: A and D bits)? */
bool vcpu_entry_still(struct rhz_vcpu *vcpu, rhz_gpa at, unsigned bytes, uint64_t value);

/* Reads one entry of a guest table, for PDPTEs. */
uint64_t vcpu_read_entry(struct rhz_vcpu *vcpu, rhz_gpa at, unsigned bytes);

/* rhz_read_entry and rhz_swap_entry through any slot; ctx: the vCPU. */
bool vcpu_slots_read(void *ctx, rhz_gpa at, unsigned bytes, uint64_t *value);
bool vcpu_slots_swap(void *ctx, rhz_gpa at, unsigned bytes, uint64_t old, uint64_t new);

#endif
