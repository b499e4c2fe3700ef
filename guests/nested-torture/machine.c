/* SPDX-License-Identifier: MIT */
/* The local APIC, and interrupts of L1's own. */
#include "nested-torture/machine.h"

#include "nested-torture/l2.h"
#include "torture/machine.h"

#define APIC 0xfee00000ull
#define APIC_ID 0x20
#define APIC_EOI 0xb0
#define APIC_SPURIOUS 0xf0
#define APIC_ICR 0x300
#define APIC_ICR_TO 0x310
#define ICR_NMI 0x400u
#define ICR_SELF (1u << 18)
#define ENABLED_SPURIOUS 0x1ffu
#define GIB_ENTRY 0x93ull /* present, writable, not cached, large */

struct gate { uint16_t low, selector, type, middle; uint32_t high, zero; };

extern uint64_t kernel_pdpt[];
extern volatile uint32_t l1_interrupts, l1_nmis;
void l1_interrupt(void);
void l1_nmi(void);

volatile uint32_t l1_interrupts, l1_nmis;

static volatile uint32_t *apic(unsigned offset)
{
	return (volatile uint32_t *)(APIC + offset);
}

static void set_handler(unsigned vector, void (*handler)(void))
{
	struct __attribute__((packed)) { uint16_t limit; uint64_t base; } idtr;
	struct gate *gate;

	__asm__ volatile("sidt %0" : "=m"(idtr));
	gate = (struct gate *)idtr.base + vector;
	*gate = (struct gate){ .low = (uint16_t)(uintptr_t)handler, .selector = SELECTOR_CODE,
	                       .type = 0x8e00, .middle = (uint16_t)((uintptr_t)handler >> 16) };
}

void machine_interrupts_init(void)
{
	kernel_pdpt[APIC >> 30] = (APIC & -(1ull << 30)) | GIB_ENTRY;
	set_handler(MACHINE_VECTOR, l1_interrupt);
	set_handler(2, l1_nmi);
	*apic(APIC_SPURIOUS) = ENABLED_SPURIOUS;
}

void machine_pend(bool nmi, bool enabled)
{
	l1_interrupts = l1_nmis = 0;
	__asm__ volatile("clgi" : : : "memory");
	if (nmi) {
		*apic(APIC_ICR_TO) = *apic(APIC_ID);
		*apic(APIC_ICR) = ICR_NMI;
	} else {
		*apic(APIC_ICR) = ICR_SELF | MACHINE_VECTOR;
	}
	if (enabled)
		__asm__ volatile("sti; nop; nop" : : : "memory");
	if (l1_interrupts || l1_nmis)
		tell("GIF = 0", "interrupts", 0, l1_interrupts + l1_nmis);
}

void machine_settle(bool nmi, bool ours)
{
	if (!ours)
		*apic(APIC_EOI) = 0;
	__asm__ volatile("sti; nop; nop; cli" : : : "memory");
	if (l1_interrupts != (ours && !nmi))
		tell("STGI", "interrupts of L1", ours && !nmi, l1_interrupts);
	if (l1_nmis != (ours && nmi))
		tell("STGI", "NMIs of L1", ours && nmi, l1_nmis);
}
