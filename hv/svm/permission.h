/* SPDX-License-Identifier: MIT */
/* Which ports and MSRs exit [APM2 15.10, 15.11]. */
#ifndef HV_SVM_PERMISSION_H
#define HV_SVM_PERMISSION_H

#include <stdbool.h>
#include <stdint.h>

/* Allocates both maps, with nothing intercepted, and writes their addresses to the VMCB. */
struct vmcb;
void permission_init(struct vmcb *vmcb);

void permission_port(uint16_t port, bool exits);
void permission_msr_read(uint32_t msr);
void permission_msr_write(uint32_t msr);

#endif
