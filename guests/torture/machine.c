/* SPDX-License-Identifier: MIT */
/* Serial line, end, processor features and descriptor tables of the torture guest. */
#include "torture/machine.h"

enum { COM1 = 0x3f8, EXIT_PORT = 0xf4, EXCEPTIONS = 32 };

struct __attribute__((packed)) table_register { uint16_t limit; unsigned long base; };
#ifdef __x86_64__
struct gate { uint16_t low, selector, type, middle; uint32_t high, zero; };
struct __attribute__((packed)) tss { uint32_t zero; uint64_t sp0; uint32_t rest[23]; };
#else
struct gate { uint16_t low, selector, type, middle; };
struct __attribute__((packed)) tss { uint32_t link, sp0, ss0, rest[23]; };
#endif

extern const char stubs[], done_stub[];
extern uint64_t gdt[];

static struct gate idt[VECTOR_DONE + 1];
static struct tss tss;
static char exception_stack[8192] __attribute__((aligned(16)));
struct features features;

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
	const uint32_t small = (uint32_t)value; /* 64-bit division has no place in 32-bit code */

	if (small >= 10)
		say_number(small / 10);
	put((char)('0' + small % 10));
}

void say_hex(uint64_t value)
{
	if (value >> 4)
		say_hex(value >> 4);
	put("0123456789abcdef"[value & 15]);
}

void leave(uint8_t value)
{
	/* The last bytes must have left before the machine does. */
	while (!(in8(COM1 + 5) & 0x40))
		;
	out8(EXIT_PORT, value);
	__asm__ volatile("xchg %bx, %bx");
	for (;;)
		__asm__ volatile("cli; hlt");
}

bool text_begins(const char *s, const char *with)
{
	while (*with && *s == *with)
		s++, with++;
	return !*with;
}

void machine_stray(unsigned long vector, unsigned long error, unsigned long ip)
{
	unsigned long cr2;

	__asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
	say("torture: FAILED stray exception ");
	say_number(vector);
	say(" error ");
	say_hex(error);
	say(" at ");
	say_hex(ip);
	say(" cr2 ");
	say_hex(cr2);
	say("\n");
	leave(2);
}

static void set_gate(unsigned vector, const char *at, uint16_t type)
{
	const unsigned long to = (unsigned long)at;

	idt[vector].low = (uint16_t)to;
	idt[vector].selector = SELECTOR_CODE;
	idt[vector].type = type;
	idt[vector].middle = (uint16_t)(to >> 16);
}

static void set_tables(void)
{
	const uint64_t at = (uintptr_t)&tss;
	const struct table_register idtr = { sizeof(idt) - 1, (unsigned long)idt };

	for (unsigned i = 0; i < EXCEPTIONS; i++)
		set_gate(i, stubs + 16 * i, 0x8e00);
	set_gate(VECTOR_DONE, done_stub, 0xee00);
	__asm__ volatile("lidt %0" : : "m"(idtr));

	tss.sp0 = (unsigned long)exception_stack + sizeof(exception_stack);
#ifndef __x86_64__
	tss.ss0 = SELECTOR_DATA;
#endif
	gdt[SELECTOR_TSS / 8] = (sizeof(tss) - 1) | (at & 0xffffff) << 16 | 0x89ull << 40 |
	                        (at >> 24 & 0xff) << 56;
	__asm__ volatile("ltr %w0" : : "r"(SELECTOR_TSS));
}

/* Whether "without" lacks the name: a list with commas between. */
static bool may(const char *without, const char *name)
{
	while (without && *without && *without != ' ') {
		if (text_begins(without, name))
			return false;
		while (*without && *without != ' ' && *without != ',')
			without++;
		if (*without == ',')
			without++;
	}
	return true;
}

static void find_features(const char *without)
{
	uint32_t one[4], seven[4], extended[4];

	cpuid(1, one);
	cpuid(7, seven);
	cpuid(0x80000001, extended);
	features.pse = one[3] >> 3 & 1 && may(without, "pse");
	features.pge = one[3] >> 13 & 1 && may(without, "pge");
	features.pcid = one[2] >> 17 & 1 && may(without, "pcid");
	features.smep = seven[1] >> 7 & 1 && may(without, "smep");
	features.invpcid = seven[1] >> 10 & 1 && may(without, "invpcid");
	features.smap = seven[1] >> 20 & 1 && may(without, "smap");
	features.pku = seven[2] >> 3 & 1 && may(without, "pku");
	features.nx = extended[3] >> 20 & 1 && may(without, "nx");
	features.split = may(without, "split");
	features.gib = extended[3] >> 26 & 1 && may(without, "gib");
#ifndef __x86_64__
	/* Long mode's alone. */
	features.pku = features.gib = features.pcid = features.invpcid = false;
#endif
}

void machine_init(const char *without)
{
	out8(COM1 + 3, 0x03); /* 8 data bits, 1 stop bit */
	/* The legacy controllers stay silent. */
	out8(0x21, 0xff);
	out8(0xa1, 0xff);
	find_features(without);
	set_tables();
}
