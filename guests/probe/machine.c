/* SPDX-License-Identifier: MIT */
/* The probe guest's machine. An expected exception resumes where 'resume' says, and is noted. */
#include "probe/machine.h"

enum { COM1 = 0x3f8, EXIT_PORT = 0xf4, VECTORS = 256, EXCEPTIONS = 32, VECTOR_NMI = 2 };
#define APIC_BASE 0xfee00000u
#define IOAPIC_BASE 0xfec00000u

struct gate { uint16_t low, selector, type, high; };
struct __attribute__((packed)) table_register { uint16_t limit; uint32_t base; };
struct frame { uint32_t pusha[8], vector, error_code, eip, cs, eflags; };

extern const char stubs[], interrupt_stub[];
void probe_exception(struct frame *frame);
void probe_interrupt(void);

static struct gate idt[VECTORS];
volatile uint32_t resume, noted = ~0u, noted_error;

static volatile unsigned interrupts, exceptions;

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

void say_number(unsigned value)
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

void probe_exception(struct frame *frame)
{
	exceptions++;
	if (frame->vector == VECTOR_NMI)
		return;
	if (!resume) {
		say("NOT OK exception ");
		say_number(frame->vector);
		say(" was not expected\n");
		leave(99);
	}
	noted = frame->vector;
	noted_error = frame->error_code;
	frame->eip = resume;
	resume = 0;
}

uint32_t apic_read(uint32_t offset)
{
	return *(volatile uint32_t *)(APIC_BASE + offset);
}

void apic_write(uint32_t offset, uint32_t value)
{
	*(volatile uint32_t *)(APIC_BASE + offset) = value;
}

uint32_t ioapic_write(uint32_t index, uint32_t value)
{
	volatile uint32_t *page = (void *)IOAPIC_BASE;

	page[0] = index;
	page[4] = value;
	return page[4];
}

void probe_interrupt(void)
{
	interrupts++;
	apic_write(0xb0, 0);
}

static void set_gate(unsigned vector, const char *at)
{
	idt[vector] = (struct gate){ (uint16_t)(uint32_t)at, 8, 0x8e00,
	                             (uint16_t)((uint32_t)at >> 16) };
}

static void set_gates(void)
{
	for (unsigned i = 0; i < VECTORS; i++)
		set_gate(i, i < EXCEPTIONS ? stubs + 16 * i : interrupt_stub);
}

void machine_init(void)
{
	const struct table_register idtr = { sizeof(idt) - 1, (uint32_t)idt };

	set_gates();
	__asm__ volatile("lidt %0" : : "m"(idtr));
	out8(COM1 + 3, 0x03); /* 8 data bits, 1 stop bit */
	/* The legacy controllers stay silent. */
	out8(0x21, 0xff);
	out8(0xa1, 0xff);
	apic_write(0xf0, 0x1ff);
}

/* Runs an instruction; 'noted' is then the vector that it raised, or ~0. */
#define TRY(instruction, ...) \
	do { \
		noted = ~0u; \
		__asm__ volatile("movl $1f, %0\n\t" instruction "\n1:\n\tmovl $0, %0" \
		                 : "+m"(resume) __VA_ARGS__); \
	} while (0)

bool read_msr(uint32_t msr, uint64_t *value)
{
	uint32_t low = 0, high = 0;

	TRY("rdmsr", , "+a"(low), "+d"(high) : "c"(msr) : "memory");
	*value = (uint64_t)high << 32 | low;
	return noted == ~0u;
}

bool write_msr(uint32_t msr, uint64_t value)
{
	TRY("wrmsr", : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
	return noted == ~0u;
}

bool faults_on_ud2(void)
{
	TRY("ud2", : : "memory");
	return noted == 6;
}

bool vmrun_faults(void)
{
	TRY("vmrun %%eax", : "a"(0x1000) : "memory");
	return noted == 6;
}

bool vmmcall_faults(void)
{
	TRY("vmmcall", : : "memory");
	return noted == 6;
}

bool clgi_faults(void)
{
	TRY("clgi", : : "memory");
	return noted == 6;
}

unsigned self_interrupt(uint8_t vector)
{
	interrupts = 0;
	apic_write(0x300, 1u << 18 | vector);
	__asm__ volatile("sti");
	for (unsigned i = 0; i < 100000 && !interrupts; i++)
		__asm__ volatile("pause");
	__asm__ volatile("cli");
	return interrupts;
}

void drain_interrupts(void)
{
	/* An interrupt pushes no error code, even where an exception of its vector would. */
	for (unsigned i = 0; i < EXCEPTIONS; i++)
		set_gate(i, interrupt_stub);
	__asm__ volatile("sti");
	for (unsigned i = 0; i < 1000; i++)
		__asm__ volatile("pause");
	__asm__ volatile("cli");
	set_gates();
}

/* Instructions with the stack elsewhere; an expected exception goes on behind them. */
#define ON_STACK(stack, instructions, ...) \
	__asm__ volatile("movl $1f, %0\n\tmovl %%esp, %%edi\n\tmovl %1, %%esp\n\t" \
	                 instructions "\n1:\n\tmovl %%edi, %%esp\n\tmovl $0, %0" \
	                 : "+m"(resume) : "r"(stack), ##__VA_ARGS__ : "edi", "memory")

unsigned deliver_on(uint32_t stack, enum delivery what)
{
	interrupts = exceptions = 0;
	switch (what) {
	case DELIVER_INTERRUPT:
		apic_write(0x300, 1u << 18 | 0x42);
		ON_STACK(stack, "sti\n\tnop\n\tnop\n\tcli");
		break;
	case DELIVER_SOFTWARE:
		ON_STACK(stack, "int $0x43");
		break;
	case DELIVER_UD:
		ON_STACK(stack, "ud2");
		break;
	case DELIVER_GP:
		/* A selector beyond the GDT's limit. */
		ON_STACK(stack, "movw %%ax, %%gs", "a"(0xfff8));
		break;
	case DELIVER_NMI:
		apic_write(0x310, apic_read(0x20));
		/* The jump: TCG looks for interrupts between blocks of instructions only. */
		ON_STACK(stack, "movl %2, 0xfee00300\n\tjmp 2f\n2:\n\tnop", "r"(0x4400));
		break;
	case DELIVERIES:
		break;
	}
	return interrupts + exceptions;
}

void triple_fault(void)
{
	const struct table_register none = { 0, 0 };

	__asm__ volatile("lidt %0\n\tud2" : : "m"(none));
}
