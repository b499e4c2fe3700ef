/* SPDX-License-Identifier: MIT */
/* The I/O APICs: which interrupts the guest may make of a line. */
#ifndef HV_CPU_IOAPIC_H
#define HV_CPU_IOAPIC_H

#include <stdint.h>

/* The guest writes a register of an I/O APIC at its physical address: done, or changed. */
void ioapic_write(uint64_t at, uint32_t value);

#endif
