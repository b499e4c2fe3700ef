/* SPDX-License-Identifier: MIT */
/* The guest's own tables, walked through the VM's slots. With the lock. */
#ifndef RHZ_ROOT_WALK_H
#define RHZ_ROOT_WALK_H

#include "root/vcpu.h"

typedef enum rhz_walk_outcome (*vcpu_walk_fn)(struct rhz_vcpu *vcpu, rhz_gva gva, unsigned access,
                                              struct rhz_walk *walk);

/* For each enum rhz_paging: through the slot found last alone, and through any. */
struct vcpu_walks {
	vcpu_walk_fn slot, slots;
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

/* Sets A and D after a walk that came through. In a read-only slot nothing is set. */
RHZ_INLINE enum rhz_ad_result vcpu_set_ad(struct rhz_vcpu *vcpu, unsigned access,
                                          struct rhz_walk *walk)
{
	bool dirty = walk->entry[walk->level] & PTE_D;

	/* nearly always they are set already */
	if (__builtin_expect(walk->accessed && (dirty || !(access & RHZ_ACCESS_WRITE)), 1))
		return RHZ_AD_UNCHANGED;
	return vcpu_set_ad_now(vcpu, access, walk);
}

/* Has an entry the value that a walk found there (and left there: A and D bits)? */
bool vcpu_entry_still(struct rhz_vcpu *vcpu, rhz_gpa at, unsigned bytes, uint64_t value);

/* Reads one entry of a guest table, for PDPTEs. */
uint64_t vcpu_read_entry(struct rhz_vcpu *vcpu, rhz_gpa at, unsigned bytes);

#endif
