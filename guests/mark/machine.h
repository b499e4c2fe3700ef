/* SPDX-License-Identifier: MIT */
/* The mark guest's machine: instructions, serial line, exceptions, the local APIC, the end. */
#ifndef GUESTS_MARK_MACHINE_H
#define GUESTS_MARK_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#define CR0_WP (1ull << 16)
#define CR4_PGE (1ull << 7)

enum { PORT_PIC1_MASK = 0x21, PORT_PIC2_MASK = 0xa1 };

static inline uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint64_t ticks(void)
{
	return __builtin_ia32_rdtsc();
}

#define CONTROL_REGISTER(n) \
	static inline uint64_t read_cr##n(void) \
	{ \
		uint64_t value; \
		__asm__ volatile("mov %%cr" #n ", %0" : "=r"(value)); \
		return value; \
	} \
	static inline void write_cr##n(uint64_t value) \
	{ \
		__asm__ volatile("mov %0, %%cr" #n : : "r"(value) : "memory"); \
	}
CONTROL_REGISTER(0)
CONTROL_REGISTER(3)
CONTROL_REGISTER(4)

static inline void invlpg(uint64_t gva)
{
	__asm__ volatile("invlpg (%0)" : : "r"(gva) : "memory");
}

static inline uint64_t read_cr2(void)
{
	uint64_t value;

	__asm__ volatile("mov %%cr2, %0" : "=r"(value));
	return value;
}

static inline void cpuid(uint32_t leaf, uint32_t out[4])
{
	__asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
	                 : "a"(leaf), "c"(0));
}

/* Serial line, descriptors of exceptions, legacy interrupts masked, local APIC on. */
void machine_init(void);

void say(const char *text);
void say_number(uint64_t value);

/* Leaves by isa-debug-exit: the machine ends with (value << 1) | 1. */
__attribute__((noreturn)) void leave(uint8_t value);

/* Says {"error": "what name"} and leaves with 1. */
__attribute__((noreturn)) void fail(const char *what, const char *name);

/* Called for a page fault with its address; while null, one is the end. */
extern void (*on_page_fault)(uint64_t gva);

/* Sends itself an interrupt and waits until its handler has run. Interrupts must be on. */
void self_interrupt(void);

#endif
