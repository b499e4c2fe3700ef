/* SPDX-License-Identifier: MIT */
/* The local APIC of the processor that runs the guest: which writes of the guest's may reach it. */
#ifndef HV_CPU_APIC_H
#define HV_CPU_APIC_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The page of its registers. Read once; the guest cannot move it. Behind it, up to APIC_BYTES, a
 * write is a message of a device's: an interrupt of any mode.
 */
#define APIC_BYTES (1ull << 20)
uint64_t apic_page(void);

/* The processor's APIC ID in xAPIC form. */
uint8_t apic_id(void);

/* The guest writes at an offset below APIC_BYTES: done, changed or dropped. */
void apic_write(uint32_t offset, uint32_t value);

/* The same by MSR, in x2APIC mode. False: the guest gets #GP. */
bool apic_write_msr(uint32_t msr, uint64_t value);

/* Sends this processor an NMI, which waits until GIF is 1: it reaches the guest. */
void apic_send_nmi(void);

/* The guest writes APIC_BASE: it may switch modes, not move the page. False: #GP. */
bool apic_write_base(uint64_t value);

#endif
