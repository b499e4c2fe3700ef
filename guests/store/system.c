/* SPDX-License-Identifier: MIT */
/* Stores of the processor's own: flags, descriptors, code inside a table, the stack. */
#include "mark/machine.h"
#include "store/events.h"
#include "store/store.h"

struct __attribute__((packed)) table_register { uint16_t limit; uint64_t base; };

enum { ROOM = TABLE_ENTRIES / 2, CODE = 0x20, DATA = 0x28, TSS = 0x30, ACCESSED = 1 };

static uint64_t push_flags(uint64_t *top, uint64_t set)
{
	uint64_t before;

	__asm__ volatile("pushfq\n\tpopq %0\n\tmov %%rsp, %%rbx\n\tmov %1, %%rsp\n\t"
	                 "push %2\n\tpopfq\n\tpushfq\n\tmov %%rbx, %%rsp\n\t"
	                 "push %0\n\tpopfq"
	                 : "=&r"(before) : "r"(top), "r"(set) : "rbx", "memory", "cc");
	return top[-1];
}

/* Descriptors in a table: loading them sets their accessed and busy bits there. */
static void check_descriptors(void)
{
	static const uint64_t filler;
	uint64_t *gdt = directory + ROOM;
	const struct table_register gdtr = { 0x7f, (uint64_t)gdt };
	struct table_register old;
	uint64_t tss = (uint64_t)&filler;

	__asm__ volatile("sgdt %0" : "=m"(old));
	for (unsigned i = 0; i < 16; i++)
		gdt[i] = i < 3 ? ((const uint64_t *)old.base)[i] : 0;
	gdt[CODE / 8] = 0x00af9a000000ffff;
	gdt[DATA / 8] = 0x00cf92000000ffff;
	gdt[TSS / 8] = 0x0000890000000067 | (tss & 0xffffff) << 16 | (tss >> 24 & 0xff) << 56;
	gdt[TSS / 8 + 1] = tss >> 32;
	__asm__ volatile("lgdt %0" : : "m"(gdtr));
	__asm__ volatile("mov %0, %%ds" : : "r"(DATA) : "memory");
	check(gdt[DATA / 8] >> 40 & ACCESSED, "MOV DS sets the accessed bit");
	gdt[DATA / 8] = 0x00cf92000000ffff;
	__asm__ volatile("mov %0, %%ss" : : "r"(DATA) : "memory");
	check(gdt[DATA / 8] >> 40 & ACCESSED, "MOV SS sets the accessed bit");
	__asm__ volatile("push %0\n\tlea 1f(%%rip), %%rax\n\tpush %%rax\n\tlretq\n1:"
	                 : : "r"((uint64_t)CODE) : "rax", "memory");
	/* TCG does not set CS' accessed bit here */
	__asm__ volatile("ltr %w0" : : "r"(TSS) : "memory");
	check((gdt[TSS / 8] >> 40 & 15) == 11, "LTR sets the busy bit");
	__asm__ volatile("push $8\n\tlea 1f(%%rip), %%rax\n\tpush %%rax\n\tlretq\n1:"
	                 : : : "rax", "memory");
	__asm__ volatile("mov %0, %%ds\n\tmov %0, %%ss" : : "r"(16));
	__asm__ volatile("lgdt %0" : : "m"(old));
	__asm__ volatile("sgdt %0" : "=m"(*(struct table_register *)(directory + ROOM)));
	check(((struct table_register *)(directory + ROOM))->base == old.base, "SGDT");
}

/* Code in a table that writes to that table. */
static void check_code(void)
{
	/* mov %rax,(%rdi); push %rax; popq 8(%rdi); ret */
	static const uint8_t code[] = { 0x48, 0x89, 0x07, 0x50, 0x8f, 0x47, 0x08, 0xc3 };
	uint8_t *at = (uint8_t *)(directory + ROOM);

	for (unsigned i = 0; i < sizeof(code); i++)
		at[i] = code[i];
	__asm__ volatile("call *%0" : : "r"(at), "a"(0x123450ull), "D"(directory + ROOM + 4)
	                 : "memory");
	check(directory[ROOM + 4] == 0x123450 && directory[ROOM + 5] == 0x123450,
	      "code in a table writes to it");
}

/* The entries that map this very code, stack and tables. */
static void check_own_tables(void)
{
	uint64_t *upper = (uint64_t *)(*(uint64_t *)space.root & ~0xfffull);
	const uint64_t entry = upper[0];

	for (unsigned i = 0; i < 100; i++) {
		*(volatile uint64_t *)upper = entry & ~PTE_A;
		__asm__ volatile("push %1\n\tpopq %0" : "=m"(upper[0]) : "r"(entry) : "memory");
		write_cr3(space.root);
	}
	check(upper[0] == entry, "the tables of the code itself");
}

static uint64_t sum(uint64_t n)
{
	volatile uint64_t most = n;

	return most ? most + sum(most - 1) : 0;
}

void check_system_stores(void)
{
	uint64_t flags = push_flags(directory + ROOM + 8, 0x246);

	check((flags & 0x0fff) == 0x246, "PUSHF and POPF on a table");
	flags = push_flags(directory + ROOM + 8, 0x40c93);
	check((flags & 0x50fff) == 0x40c93, "PUSHF of other flags");
	check_descriptors();
	check_code();
	check_own_tables();
}

void check_stack(void)
{
	uint64_t result = 0, count = 10;

	__asm__ volatile("mov %%rsp, %%rbx\n\tmov %2, %%rsp\n\tcall *%3\n\tmov %%rbx, %%rsp"
	                 : "=a"(result), "+D"(count) : "r"(directory + TABLE_ENTRIES), "r"(sum)
	                 : "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
	check(result == 55, "a function with its stack in a table");
	check(slot_reads() == 1, "the directory still maps");
}
