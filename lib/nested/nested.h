/* SPDX-License-Identifier: MIT */
/*
 * L2 by L1's nested tables: a context like any other, whose addresses are L2's physical ones, and
 * whose tables, L1's NPT or EPT, shadow/ shadows as it shadows all others:
 *
 *   ngva  --L2's tables-->  ngpa  --L1's nested tables-->  gpa  --slots-->  hpa
 *           the processor           `------ our shadow NPT or EPT ------'
 *
 * Here is what is different about it: which registers make its mode and role, the walks of nested
 * tables, what L1 is told of a fault, and the whole way, for the embedder (compose.c).
 */
#ifndef RHZ_NESTED_NESTED_H
#define RHZ_NESTED_NESTED_H

#include "root/vcpu.h"

/* Fills what a VM keeps for nested tables, from its configuration. */
void nested_init(struct rhz_vm *vm);

/*
 * Fills in the context of L1's nested tables. RHZ_ERR_FEATURE: no processor takes them so, or the
 * VM has no nested paging.
 */
enum rhz_status nested_context_init(struct context *context, const struct rhz_vm *vm,
                                    unsigned space, const struct rhz_nested *nested);

/* The accesses, RHZ_ACCESS_*, that EXITINFO1 or an exit qualification tells of. */
unsigned nested_access(const struct rhz_vcpu *vcpu, uint64_t info);

/*
 * One address by L1's nested tables as they are now. True: *gpa. False: they forbid the access, and
 * *exit is what L1 is to be told.
 */
bool nested_walk(struct rhz_vcpu *vcpu, rhz_ngpa ngpa, uint64_t info, rhz_gpa *gpa,
                 struct rhz_l1_exit *exit);

/* See rhz_vcpu_translate_l2. With the lock, in the context of the nested tables. */
void nested_translate(struct rhz_vcpu *vcpu, const struct rhz_mode *mode,
                      const struct rhz_regs *regs, rhz_gva gva, unsigned access,
                      struct rhz_l2_walk *walk);

#endif
