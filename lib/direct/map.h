/* SPDX-License-Identifier: MIT */
/*
 * The direct MMU: guest-physical to host-physical, by faults, in any host format. NPT, EPT, and
 * guests with paging off under shadow paging (a 32-bit identity map in PAE format).
 *
 *   root -> page -> page -> page -> frame     pages by number of the run of memory they map
 */
#ifndef RHZ_DIRECT_MAP_H
#define RHZ_DIRECT_MAP_H

#include "root/roots.h"

/* A fault at gpa under the current root, which is direct. With the lock. */
enum rhz_fault_result direct_fault(struct rhz_vcpu *vcpu, rhz_gpa gpa, unsigned access,
                                   struct rhz_fault *fault);

/* The root for a direct role: found or made (*built). Null: no memory. */
struct page *direct_root(struct rhz_vcpu *vcpu, union role role, bool *built);

#endif
