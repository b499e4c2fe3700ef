/* SPDX-License-Identifier: MIT */
/* Which ports and MSRs exit [APM2 15.10, 15.11]. */
#ifndef HV_SVM_PERMISSION_H
#define HV_SVM_PERMISSION_H

#include <stdbool.h>
#include <stdint.h>

/* Allocates both maps, with nothing intercepted, and writes their addresses to the VMCB. */
struct vmcb;
void permission_init(struct vmcb *vmcb);

/* L1's and ours together, for L2: allocates the maps. */
struct guest;
void permission_nested_init(void);

/* Gives L2's block its maps, 'control' being what L1 asks for. */
void permission_nested(struct guest *g, struct vmcb *l2, const struct vmcb *control);

/* Has L1 asked for this access of L2's? info: EXITINFO1 of an IN or OUT. */
bool permission_nested_port(struct guest *g, uint64_t info);
bool permission_nested_msr(struct guest *g, uint32_t msr, bool write);

void permission_port(uint16_t port, bool exits);
void permission_msr_read(uint32_t msr);
void permission_msr_write(uint32_t msr);

#endif
