/* SPDX-License-Identifier: MIT */
/* What the files that work out a mode share; the walk is in walk.h. */
#ifndef RHZ_GUEST_REGS_H
#define RHZ_GUEST_REGS_H

#include <rhizome/guest.h>

/* Whether a processor with this CPUID can hold these CR0, CR4 and EFER at the same time. */
bool rhz_regs_possible(const struct rhz_cpuid *cpuid, const struct rhz_regs *regs);

/* Sets mode->rules from its wp, smep, smap, pke and pks. */
void rhz_rules_init(struct rhz_mode *mode);

#endif
