/* SPDX-License-Identifier: MIT */
/* The probe guest's machine: serial line, exceptions that are survived, APIC, exit. */
#ifndef GUESTS_PROBE_MACHINE_H
#define GUESTS_PROBE_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

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

/* An expected exception goes on at 'resume', once; its vector and error code are noted. */
extern volatile uint32_t resume, noted, noted_error;

/* Serial line, IDT, APIC. */
void machine_init(void);

void say(const char *text);
void say_number(unsigned value);

/* Leaves by isa-debug-exit: the machine ends with (value << 1) | 1. */
__attribute__((noreturn)) void leave(uint8_t value);

/* False: the access raised #GP. */
bool read_msr(uint32_t msr, uint64_t *value);
bool write_msr(uint32_t msr, uint64_t value);

/* True if the instruction raised #UD. */
bool faults_on_ud2(void);
bool vmrun_faults(void);
bool vmmcall_faults(void);
bool clgi_faults(void);

uint32_t apic_read(uint32_t offset);
void apic_write(uint32_t offset, uint32_t value);

/* Writes a register of the I/O APIC and returns what it then holds. */
uint32_t ioapic_write(uint32_t index, uint32_t value);

/* Sends itself an interrupt and returns how many arrived. */
unsigned self_interrupt(uint8_t vector);

enum delivery { DELIVER_INTERRUPT, DELIVER_SOFTWARE, DELIVER_UD, DELIVER_GP, DELIVER_NMI,
                DELIVERIES };

/* Takes whatever interrupts wait, of any vector. */
void drain_interrupts(void);

/* Has an event delivered on a stack that ends at 'stack'; how many times its handler ran. */
unsigned deliver_on(uint32_t stack, enum delivery what);

void triple_fault(void);

#endif
