/* SPDX-License-Identifier: MIT */
/* The store guest's IDT, and what its entries come to. */
#include "store/events.h"

#include "mark/machine.h"

#define APIC_PAGE 0xfee00000u
#define APIC_EOI 0xb0
#define APIC_ICR 0x300
#define ICR_SELF (1u << 18)
#define ICR_NMI (4u << 8)
#define ICR_ASSERT (1u << 14)

struct gate { uint16_t low, selector, type, middle; uint32_t high, reserved; };
struct __attribute__((packed)) table_register { uint16_t limit; uint64_t base; };

extern const char store_entries[];
void store_event(struct event_frame *frame);

volatile struct events events;
volatile uint64_t event_resume;

static struct gate idt[EVENT_VECTORS];

static void apic_write(uint32_t offset, uint32_t value)
{
	*(volatile uint32_t *)(uint64_t)(APIC_PAGE + offset) = value;
}

static void note_trap(const struct event_frame *frame)
{
	uint64_t dr6;

	__asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
	if (events.traps < TRAPS) {
		events.trap_rip[events.traps] = frame->rip;
		events.trap_dr6[events.traps] = dr6 & 0xe00f;
	}
	events.traps++;
	__asm__ volatile("mov %0, %%dr6" : : "r"(0xffff0ff0ull));
}

void store_event(struct event_frame *frame)
{
	const unsigned vector = (unsigned)frame->vector % EVENT_VECTORS;

	events.of[vector]++;
	if (vector == VECTOR_DB) {
		note_trap(frame);
		return;
	}
	events.last = *frame;
	if (vector == VECTOR_PF)
		events.cr2 = read_cr2();
	if (vector == VECTOR_SELF || vector - VECTOR_STORM < STORM_VECTORS)
		apic_write(APIC_EOI, 0);
	if (vector == VECTOR_NMI || vector == VECTOR_BP || vector >= 32)
		return;
	if (!event_resume) {
		say("NOT OK: exception ");
		say_number(vector);
		say(", error code ");
		say_number(frame->error_code);
		say(", at ");
		say_number(frame->rip);
		say("\n");
		leave(99);
	}
	frame->rip = event_resume;
	event_resume = 0;
}

void events_clear(void)
{
	events = (struct events){ .traps = 0 };
}

void events_init(void)
{
	const struct table_register idtr = { sizeof(idt) - 1, (uint64_t)idt };

	for (unsigned i = 0; i < EVENT_VECTORS; i++) {
		const uint64_t at = (uint64_t)store_entries + 16 * i;

		idt[i] = (struct gate){ (uint16_t)at, 8, 0x8e00, (uint16_t)(at >> 16),
		                        (uint32_t)(at >> 32), 0 };
	}
	__asm__ volatile("lidt %0" : : "m"(idtr));
}

void event_send(unsigned vector)
{
	apic_write(APIC_ICR, ICR_SELF | vector);
}

void event_send_self(void)
{
	event_send(VECTOR_SELF);
}

void event_send_nmi(void)
{
	/* NMIs have no shorthand to oneself: by number, which is the APIC's own */
	apic_write(APIC_ICR + 0x10, *(volatile uint32_t *)(uint64_t)(APIC_PAGE + 0x20));
	apic_write(APIC_ICR, ICR_NMI | ICR_ASSERT);
}
