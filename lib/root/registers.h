/* SPDX-License-Identifier: MIT */
/* From registers to what a context is: mode, role of its roots, depth of its tables. */
#ifndef RHZ_ROOT_REGISTERS_H
#define RHZ_ROOT_REGISTERS_H

#include "root/vcpu.h"

/*
 * Fills in everything of a context that follows from its registers and the address space.
 * RHZ_ERR_FEATURE: no processor with the guest's CPUID can hold them.
 */
enum rhz_status context_init(struct context *context, const struct rhz_vm *vm, unsigned space,
                             const struct rhz_regs *regs);

/*
 * What WP of this CR0, whose other bits are as before, makes of the role of a context that pages by
 * shadow tables; and the context with that CR0.
 */
union role context_role_wp(const struct context *context, uint64_t cr0);
void context_load_wp(struct context *context, uint64_t cr0);

/* Does going from one set of registers to another reload the PDPTEs [SDM3 4.4.1]? */
bool registers_reload_pdptes(const struct context *from, const struct context *to);

/* Fills vm->mode: what entries mean, for every kind of guest table that this CPUID has. */
void modes_init(struct rhz_vm *vm);

#endif
