/* SPDX-License-Identifier: MIT */
/* The torture guest's machine: serial line, end, processor features, control registers. */
#ifndef GUESTS_TORTURE_MACHINE_H
#define GUESTS_TORTURE_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "torture/layout.h"

#define CR0_WP (1u << 16)
#define CR0_PG (1u << 31)
#define CR4_PSE (1u << 4)
#define CR4_PAE (1u << 5)
#define CR4_PGE (1u << 7)
#define CR4_LA57 (1u << 12)
#define CR4_PCIDE (1u << 17)
#define CR4_SMEP (1u << 20)
#define CR4_SMAP (1u << 21)
#define CR4_PKE (1u << 22)
#define MSR_EFER 0xc0000080u
#define EFER_NXE (1u << 11)
#define EFLAGS_AC (1u << 18)

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

static inline void cpuid(uint32_t leaf, uint32_t out[4])
{
	__asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
	                 : "a"(leaf), "c"(0));
}

#define CONTROL_REGISTER(name) \
	static inline unsigned long read_##name(void) \
	{ \
		unsigned long value; \
		__asm__ volatile("mov %%" #name ", %0" : "=r"(value)); \
		return value; \
	} \
	static inline void write_##name(unsigned long value) \
	{ \
		__asm__ volatile("mov %0, %%" #name : : "r"(value) : "memory"); \
	}
CONTROL_REGISTER(cr0)
CONTROL_REGISTER(cr3)
CONTROL_REGISTER(cr4)

static inline uint64_t read_msr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

static inline void write_msr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
	                 : "memory");
}

static inline void invlpg(unsigned long gva)
{
	__asm__ volatile("invlpg (%0)" : : "r"(gva) : "memory");
}

/* What a test may use: the processor has it, and "without=" did not take it away. */
struct features {
	bool pse, pge, nx, smep, smap, pku, gib, pcid, invpcid;
	bool split; /* instructions across two pages are fetched anew, as Bochs does not */
};
extern struct features features;

/* Serial line, descriptor tables, features; 'without' is the argument's value or null. */
void machine_init(const char *without);

void say(const char *text);
void say_number(uint64_t value);
void say_hex(uint64_t value);

/*
 * The machine's end: isa-debug-exit with the value, and where there is none, XCHG BX,BX, at which
 * Bochs ends.
 */
__attribute__((noreturn)) void leave(uint8_t value);

bool text_begins(const char *s, const char *with);

/* The handler of a fault that nobody asked for. */
void machine_stray(unsigned long vector, unsigned long error, unsigned long ip);

#endif
