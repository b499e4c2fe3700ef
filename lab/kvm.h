/* SPDX-License-Identifier: MIT */
/*
 * KVM's own array of roots, as Linux 6.1 has it, replayed beside current-first with the same
 * capacity: to explain, request by request, why KVM loaded an MMU where the pool would not have,
 * or the other way round. The difference is the holes: a cached root that KVM drops (its page was
 * zapped) leaves a hole that moves through the array like a root, and costs a slot until then.
 */
#ifndef LAB_KVM_H
#define LAB_KVM_H

#include <stdbool.h>
#include <stdint.h>

enum {
	LAB_KVM_CAPACITY = 3,  /* KVM_MMU_NUM_PREV_ROOTS */
	LAB_KVM_DROPPED = 256, /* dropped roots that are remembered */
};

struct lab_kvm_array {
	uint64_t table[1 + LAB_KVM_CAPACITY]; /* the current root, then the previous ones */
	bool held[1 + LAB_KVM_CAPACITY];
};

struct lab_kvm_check {
	struct lab_kvm_array array;
	uint64_t dropped_table[LAB_KVM_DROPPED];
	unsigned dropped_next;
	/* the request that is still open: how it ended is known at the next one */
	bool open, entered, pool_missed, array_missed, kvm_missed, was_dropped;

	uint64_t requests;
	uint64_t pool_misses, array_misses, kvm_misses;
	uint64_t drops;    /* cached roots that KVM dropped: in the array, known to us */
	uint64_t drops_unknown; /* ... from before the trace */
	/* the array misses, the pool does not: */
	uint64_t after_drop; /* KVM had dropped that root */
	uint64_t after_hole; /* a hole had pushed it out */
	/* the pool misses, the array does not */
	uint64_t kept;
	/* KVM did not load, the array misses: cached before the trace began; and the reverse */
	uint64_t warm, unexplained;
	uint64_t unasked;  /* loads of an MMU that no request came before: a change of mode */
	uint64_t frees_asked, frees_unasked; /* of the current root, likewise */
};

/* A request for a root. False if KVM would have had to load an MMU anew. */
bool lab_kvm_load(struct lab_kvm_array *array, uint64_t table);

/* kvm_mmu_free_roots(which): bit 0 is the current root, built again at once; bit n+1 the cached
   root n. Returns how many cached roots went. */
unsigned lab_kvm_drop(struct lab_kvm_array *array, uint64_t which);

/* The same moments for the check, and more. */
void lab_kvm_check_request(struct lab_kvm_check *check, uint64_t table, bool pool_missed);
void lab_kvm_check_drop(struct lab_kvm_check *check, uint64_t which);
void lab_kvm_check_loaded(struct lab_kvm_check *check);
/* The processor enters the guest: what was asked for is done. */
void lab_kvm_check_entered(struct lab_kvm_check *check);
/* No more requests come. */
void lab_kvm_check_end(struct lab_kvm_check *check);

#endif
