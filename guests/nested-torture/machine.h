/* SPDX-License-Identifier: MIT */
/* L1's own interrupts: its local APIC, and a count of what has come. */
#ifndef GUESTS_NESTED_TORTURE_MACHINE_H
#define GUESTS_NESTED_TORTURE_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

enum { MACHINE_VECTOR = 0x60 };

void machine_interrupts_init(void);

/*
 * Sends itself an interrupt (MACHINE_VECTOR) or an NMI under GIF = 0, which the next VMRUN finds
 * pending; with RFLAGS.IF as it shall be at the VMRUN.
 */
void machine_pend(bool nmi, bool enabled);

/*
 * After STGI: takes what is pending. ours: it must have come to L1, just once; else L2 has had it,
 * and it is over.
 */
void machine_settle(bool nmi, bool ours);

#endif
