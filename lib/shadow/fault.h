/* SPDX-License-Identifier: MIT */
/* Faults under shadow tables. */
#ifndef RHZ_SHADOW_FAULT_H
#define RHZ_SHADOW_FAULT_H

#include "root/roots.h"

/* A page fault of the current context, whose root shadows a guest table. With the lock. */
enum rhz_fault_result shadow_fault(struct rhz_vcpu *vcpu, rhz_gva gva, uint32_t error_code,
                                   unsigned access, struct rhz_fault *fault);

/*
 * The guest invalidated one address: re-reads the entry that may be out of date. False: nothing was
 * looked at, or other addresses may have translations of what changed.
 */
bool shadow_invalidate(struct rhz_vcpu *vcpu, rhz_gva gva);

#endif
