/* SPDX-License-Identifier: MIT */
/* What the files about vCPUs share. */
#ifndef RHZ_API_VCPU_H
#define RHZ_API_VCPU_H

#include "root/roots.h"

/*
 * Makes 'next' the registers of context 'number' and that the current one, under its root. Either
 * all of it happens or nothing. pdptes: they are to be read. flush: what is invalidated of what the
 * guests may have cached. The lists are emptied even without: another vCPU may have grown the
 * root's tree while we were away, by tables that we have no right to see out of date.
 */
enum rhz_load_result context_switch(struct rhz_vcpu *vcpu, unsigned number, struct context *next,
                                    bool pdptes, enum rhz_guest_flush flush);

/* The current root is synced, by a vCPU that does not have the lock. */
enum rhz_load_result load_synced(struct rhz_vcpu *vcpu);

/* The root was taken away since the entry: rhz_vcpu_enter will have it built anew. */
RHZ_INLINE bool root_is_gone(struct rhz_vcpu *vcpu)
{
	struct page *root = root_page(vcpu);

	return !root || root->flags & PAGE_DOOMED;
}

/* The end of every fault: what came out is counted and told, the lock given back. */
enum rhz_fault_result fault_end(struct rhz_vcpu *vcpu, uint64_t address, uint32_t error_code,
                                enum rhz_fault_result result);

#endif
