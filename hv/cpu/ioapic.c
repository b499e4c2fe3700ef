/* SPDX-License-Identifier: MIT */
/*
 * A line of an I/O APIC may raise interrupts. One that would send INIT, SMI or NMI stays masked: an
 * INIT would take the processor from us, an NMI wake one that the guest does not own.
 */
#include "cpu/ioapic.h"

#include "mem/layout.h"

/* Registers in the page: an index, and the register that it chooses. */
enum { IOAPIC_INDEX = 0x00, IOAPIC_DATA = 0x10, IOAPIC_REDIRECTION = 0x10 };

#define REDIRECTION_MODE (7u << 8)
#define REDIRECTION_LOWEST (1u << 8)
#define REDIRECTION_EXTERNAL (7u << 8)
#define REDIRECTION_MASKED (1u << 16)

static uint32_t filter(uint32_t value)
{
	const uint32_t mode = value & REDIRECTION_MODE;

	return mode == 0 || mode == REDIRECTION_LOWEST || mode == REDIRECTION_EXTERNAL
	               ? value : value | REDIRECTION_MASKED;
}

void ioapic_write(uint64_t at, uint32_t value)
{
	const uint64_t page = at & -PAGE_BYTES;
	const uint32_t index = *(volatile uint32_t *)direct(page + IOAPIC_INDEX) & 0xff;

	/* The low half of an entry has an even index. */
	if (at % PAGE_BYTES == IOAPIC_DATA && index >= IOAPIC_REDIRECTION && index % 2 == 0)
		value = filter(value);
	*(volatile uint32_t *)direct(at) = value;
}
