/* SPDX-License-Identifier: MIT */
/*
 * KVM's own array of roots, as Linux 6.1 has it: to tell how far a replay can be from what KVM did
 * in the same trace. The difference to a pool is the holes: a cached root that KVM drops (its page
 * was zapped) leaves a hole that moves through the array like a root, and costs a slot until then.
 */
#ifndef LAB_KVM_H
#define LAB_KVM_H

#include <stdbool.h>
#include <stdint.h>

enum { LAB_KVM_CAPACITY = 3 }; /* KVM_MMU_NUM_PREV_ROOTS */

struct lab_kvm_array {
	uint64_t table[1 + LAB_KVM_CAPACITY]; /* the current root, then the previous ones */
	bool held[1 + LAB_KVM_CAPACITY];
};

/* A request for a root. False if KVM would have had to load an MMU anew. */
bool lab_kvm_load(struct lab_kvm_array *array, uint64_t table);

/* kvm_mmu_free_roots(which): bit 0 is the current root, built again at once; bit n+1 the cached
   root n. Returns how many cached roots went. */
unsigned lab_kvm_drop(struct lab_kvm_array *array, uint64_t which);

#endif
