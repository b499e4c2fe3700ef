/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor's own GDT, TSS and IDT. Interrupts never reach it (GIF is 0 whenever it runs after
 * the first VMRUN), exceptions end it or are fixed up. Double fault, NMI and machine check have
 * stacks of their own, so that a stack overflow shows a screen too.
 */
#include "boot/descriptors.h"

#include "boot/exception.h"
#include "cpu/x86.h"

enum { SELECTOR_CODE = 8, SELECTOR_DATA = 16, SELECTOR_TSS = 24 };
enum { IST_BYTES = 4096, IST_DOUBLE_FAULT = 1, IST_NMI = 2, IST_MACHINE_CHECK = 3, ISTS = 3,
       VECTOR_MC = 18 };

/* [APM2 12.2.5] */
struct __attribute__((packed)) tss {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3, io_map;
};

/* [APM2 4.8.4] */
struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_middle;
	uint32_t offset_high, reserved;
};

struct __attribute__((packed)) table_register { uint16_t limit; uint64_t base; };

static uint64_t gdt[5] = {
	0,
	0x00af9b000000ffff, /* 64-bit code, ring 0 */
	0x00cf93000000ffff, /* data */
	0, 0,               /* TSS */
};
static struct tss tss;
static struct gate idt[VECTORS];
static char ist_stacks[ISTS][IST_BYTES] __attribute__((aligned(16)));

static void set_tss(void)
{
	const uint64_t base = (uint64_t)&tss, limit = sizeof(tss) - 1;

	for (unsigned i = 0; i < ISTS; i++)
		tss.ist[i] = (uint64_t)ist_stacks[i] + IST_BYTES;
	tss.io_map = sizeof(tss);
	/* Present, type 9: an available 64-bit TSS [APM2 4.8.3]. */
	gdt[3] = limit | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	gdt[4] = base >> 32;
}

static void set_gate(unsigned vector, uint8_t ist)
{
	const uint64_t at = (uint64_t)exception_stubs + vector * EXCEPTION_STUB_BYTES;

	idt[vector] = (struct gate){
		.offset_low = (uint16_t)at,
		.selector = SELECTOR_CODE,
		.ist = ist,
		.type = 0x8e, /* present interrupt gate */
		.offset_middle = (uint16_t)(at >> 16),
		.offset_high = (uint32_t)(at >> 32),
	};
}

void descriptors_load(void)
{
	const struct table_register gdtr = { sizeof(gdt) - 1, (uint64_t)gdt };
	const struct table_register idtr = { sizeof(idt) - 1, (uint64_t)idt };

	set_tss();
	for (unsigned i = 0; i < VECTORS; i++)
		set_gate(i, 0);
	set_gate(VECTOR_DF, IST_DOUBLE_FAULT);
	set_gate(VECTOR_NMI, IST_NMI);
	set_gate(VECTOR_MC, IST_MACHINE_CHECK);
	__asm__ volatile(
		"lgdt %0\n\t"
		"lidt %1\n\t"
		"pushq %2\n\t"
		"leaq 1f(%%rip), %%rax\n\t"
		"pushq %%rax\n\t"
		"lretq\n"
		"1:\n\t"
		"mov %3, %%ds\n\t"
		"mov %3, %%es\n\t"
		"mov %3, %%ss\n\t"
		"mov %4, %%fs\n\t"
		"mov %4, %%gs\n\t"
		"ltr %w5"
		: : "m"(gdtr), "m"(idtr), "i"(SELECTOR_CODE), "r"(SELECTOR_DATA), "r"(0),
		  "r"(SELECTOR_TSS)
		: "rax", "memory");
}
