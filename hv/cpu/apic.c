/* SPDX-License-Identifier: MIT */
/*
 * What the guest may tell the local APIC. It owns one processor: INIT, start-up and SMI go nowhere,
 * other interrupts only to itself. An INIT to itself would take the processor from us whatever is
 * intercepted; processors that the guest does not own wait in the firmware's halt and must not be
 * woken by an NMI.
 */
#include "cpu/apic.h"

#include "cpu/features.h"
#include "cpu/x86.h"
#include "mem/layout.h"

/* Registers by page offset [APM2 16.3.2]. */
enum { APIC_FIRST = 0x20, APIC_ID = 0x20, APIC_LOGICAL = 0xd0, APIC_FORMAT = 0xe0, APIC_ICR = 0x300,
       APIC_ICR_HIGH = 0x310, APIC_LVT_CMCI = 0x2f0, APIC_LVT_FIRST = 0x320,
       APIC_LVT_LAST = 0x370, APIC_LVT_EXTENDED = 0x500, APIC_LVT_EXTENDED_LAST = 0x530 };

/* Interrupt command register [APM2 16.5]. */
#define ICR_MODE (7ull << 8)
#define ICR_FIXED (0ull << 8)
#define ICR_LOWEST (1ull << 8)
#define ICR_NMI (4ull << 8)
#define ICR_LOGICAL (1ull << 11)
#define ICR_SHORTHAND (3ull << 18)
#define ICR_SELF (1ull << 18)
#define ICR_ALL (2ull << 18)
#define LVT_MODE (7u << 8)
#define LVT_SMI (2u << 8)
#define LVT_NMI (4u << 8)
#define LVT_EXTERNAL (7u << 8)
#define LVT_MASKED (1u << 16)

#define APIC_BASE_X2APIC (1ull << 10)
#define APIC_BASE_ENABLED (1ull << 11)
#define APIC_BASE_PAGE 0x000ffffffffff000ull

static uint64_t page;

uint64_t apic_page(void)
{
	if (!page)
		page = rdmsr(MSR_APIC_BASE) & APIC_BASE_PAGE;
	return page;
}

static volatile uint32_t *reg(uint32_t offset)
{
	return direct(apic_page() + offset);
}

uint8_t apic_id(void)
{
	return (uint8_t)(*reg(APIC_ID) >> 24);
}

/* Does a destination in xAPIC mode include this processor? [APM2 16.6.1] */
static bool is_for_us(uint32_t low, uint8_t destination)
{
	const uint8_t logical = (uint8_t)(*reg(APIC_LOGICAL) >> 24);

	switch (low & ICR_SHORTHAND) {
	case ICR_SELF:
	case ICR_ALL:
		return true;
	case 0:
		break;
	default: /* all but self: nobody else is the guest's */
		return false;
	}
	if (destination == 0xff)
		return true;
	if (!(low & ICR_LOGICAL))
		return destination == apic_id();
	if (*reg(APIC_FORMAT) >> 28 == 0xf)
		return destination & logical;
	return destination >> 4 == logical >> 4 && (destination & logical & 0xf);
}

static bool is_allowed_mode(uint64_t command)
{
	const uint64_t mode = command & ICR_MODE;

	return mode == ICR_FIXED || mode == ICR_LOWEST || mode == ICR_NMI;
}

/* Sends what is left of a command: to this processor by its physical ID, or nothing. */
static void send(uint32_t low)
{
	const uint32_t destination = *reg(APIC_ICR_HIGH);

	if (!is_allowed_mode(low) || !is_for_us(low, (uint8_t)(destination >> 24)))
		return;
	low &= ~(uint32_t)(ICR_SHORTHAND | ICR_LOGICAL);
	*reg(APIC_ICR_HIGH) = (uint32_t)apic_id() << 24;
	*reg(APIC_ICR) = low;
	*reg(APIC_ICR_HIGH) = destination;
}

/* A local vector may raise interrupts and NMIs; INIT and SMI stay masked. */
static uint32_t filter_lvt(uint32_t value)
{
	const uint32_t mode = value & LVT_MODE;

	return mode == 0 || mode == LVT_NMI || mode == LVT_EXTERNAL ? value : value | LVT_MASKED;
}

static bool is_lvt(uint32_t offset)
{
	return (offset >= APIC_LVT_FIRST && offset <= APIC_LVT_LAST) || offset == APIC_LVT_CMCI ||
	       (offset >= APIC_LVT_EXTENDED && offset <= APIC_LVT_EXTENDED_LAST);
}

void apic_write(uint32_t offset, uint32_t value)
{
	if (offset == APIC_ICR)
		send(value);
	else if (offset >= APIC_FIRST && offset < PAGE_BYTES)
		*reg(offset) = is_lvt(offset) ? filter_lvt(value) : value;
}

void apic_send_nmi(void)
{
	if (rdmsr(MSR_APIC_BASE) & APIC_BASE_X2APIC)
		wrmsr(MSR_X2APIC + APIC_ICR / 16,
		      rdmsr(MSR_X2APIC + APIC_ID / 16) << 32 | ICR_NMI);
	else
		send(ICR_NMI | ICR_SELF);
}

bool apic_write_msr(uint32_t msr, uint64_t value)
{
	const uint32_t offset = (msr - MSR_X2APIC) * 16;

	if (offset != APIC_ICR)
		return wrmsr_safe(msr, is_lvt(offset) ? filter_lvt((uint32_t)value) : value);
	if (!is_allowed_mode(value))
		return true;
	/* 32-bit destinations: only our own physical ID and the shorthands are passed on. */
	if ((value & ICR_SHORTHAND) == ICR_ALL || (value & ICR_SHORTHAND) == ICR_SELF ||
	    value >> 32 == 0xffffffff) {
		value &= ~ICR_SHORTHAND;
	} else if (value & ICR_SHORTHAND) {
		return true;
	} else if (value & ICR_LOGICAL) {
		const uint32_t logical = (uint32_t)rdmsr(MSR_X2APIC + APIC_LOGICAL / 16);

		if (value >> 48 != logical >> 16 || !(value >> 32 & logical & 0xffff))
			return true;
	} else if (value >> 32 != rdmsr(MSR_X2APIC + APIC_ID / 16)) {
		return true;
	}
	value = (uint32_t)value & ~ICR_LOGICAL;
	return wrmsr_safe(msr, value | rdmsr(MSR_X2APIC + APIC_ID / 16) << 32);
}

bool apic_write_base(uint64_t value)
{
	if ((value & APIC_BASE_PAGE) != apic_page())
		return false;
	if ((value & APIC_BASE_X2APIC) && !features.x2apic)
		return false;
	return wrmsr_safe(MSR_APIC_BASE, value);
}
