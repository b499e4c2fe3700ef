/* SPDX-License-Identifier: MIT */
/* Faults under shadow tables. */
#ifndef RHZ_SHADOW_FAULT_H
#define RHZ_SHADOW_FAULT_H

#include "root/roots.h"

/* What fill_fault leaves, by the walk that it has made. 'access' is what error_code says too. */
enum rhz_fault_result shadow_fault(struct rhz_vcpu *vcpu, rhz_gva gva, uint32_t error_code,
                                   unsigned access, const struct rhz_walk *walk,
                                   struct rhz_fault *fault);

/* An MMIO entry answers without a guest walk, as a TLB entry would: *gpa. */
bool shadow_mmio_cached(struct rhz_vcpu *vcpu, rhz_gva gva, unsigned access, rhz_gpa *gpa);

/*
 * The guest invalidated one address: re-reads the entry that may be out of date. False: nothing was
 * looked at, or other addresses may have translations of what changed.
 */
bool shadow_invalidate(struct rhz_vcpu *vcpu, rhz_gva gva);

#endif
