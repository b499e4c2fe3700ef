/* SPDX-License-Identifier: MIT */
/* The mark guest's machine. An exception that no row expects ends the run with a line. */
#include "mark/machine.h"

enum { COM1 = 0x3f8, EXIT_PORT = 0xf4, VECTORS = 256, EXCEPTIONS = 32, VECTOR_PF = 14,
       VECTOR_SELF = 0x40 };
#define APIC_PAGE 0xfee00000u
#define APIC_EOI 0xb0
#define APIC_SPURIOUS 0xf0
#define APIC_ICR 0x300
#define ICR_SELF (1u << 18)

struct gate { uint16_t low, selector, type, middle; uint32_t high, reserved; };
struct __attribute__((packed)) table_register { uint16_t limit; uint64_t base; };
struct frame { uint64_t reg[15], vector, error_code, rip, cs, rflags, rsp, ss; };

extern const char stubs[], interrupt_stub[];
void mark_event(const struct frame *frame);

void (*on_page_fault)(uint64_t gva);

static struct gate idt[VECTORS];
static volatile unsigned interrupts;

static void put(char c)
{
	while (!(in8(COM1 + 5) & 0x20))
		;
	out8(COM1, (uint8_t)c);
}

void say(const char *text)
{
	for (; *text; text++)
		put(*text);
}

void say_number(uint64_t value)
{
	if (value >= 10)
		say_number(value / 10);
	put((char)('0' + value % 10));
}

void leave(uint8_t value)
{
	/* The last bytes must have left before the machine does. */
	while (!(in8(COM1 + 5) & 0x40))
		;
	out8(EXIT_PORT, value);
	/* Where there is no such port: Bochs ends at this, elsewhere it does nothing. */
	__asm__ volatile("xchg %bx, %bx");
	for (;;)
		__asm__ volatile("cli; hlt");
}

void fail(const char *what, const char *name)
{
	say("{\"error\": \"");
	say(what);
	say(name);
	say("\"}\n");
	leave(1);
}

static void apic_write(uint32_t offset, uint32_t value)
{
	*(volatile uint32_t *)(uint64_t)(APIC_PAGE + offset) = value;
}

void mark_event(const struct frame *frame)
{
	if (frame->vector >= EXCEPTIONS) {
		interrupts++;
		apic_write(APIC_EOI, 0);
	} else if (frame->vector == VECTOR_PF && on_page_fault) {
		on_page_fault(read_cr2());
	} else {
		say("{\"exception\": ");
		say_number(frame->vector);
		say(", \"rip\": ");
		say_number(frame->rip);
		say("}\n");
		leave(2);
	}
}

void self_interrupt(void)
{
	const unsigned before = interrupts;

	apic_write(APIC_ICR, ICR_SELF | VECTOR_SELF);
	while (interrupts == before)
		;
}

static void set_gate(unsigned vector, const char *at)
{
	const uint64_t address = (uint64_t)at;

	idt[vector] = (struct gate){ (uint16_t)address, 8, 0x8e00, (uint16_t)(address >> 16),
	                             (uint32_t)(address >> 32), 0 };
}

void machine_init(void)
{
	const struct table_register idtr = { sizeof(idt) - 1, (uint64_t)idt };

	for (unsigned i = 0; i < VECTORS; i++)
		set_gate(i, i < EXCEPTIONS ? stubs + 16 * i : interrupt_stub);
	__asm__ volatile("lidt %0" : : "m"(idtr));
	out8(COM1 + 3, 0x03); /* 8 data bits, 1 stop bit */
	out8(PORT_PIC1_MASK, 0xff);
	out8(PORT_PIC2_MASK, 0xff);
	apic_write(APIC_SPURIOUS, 0x1ff);
}
