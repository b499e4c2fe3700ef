/* SPDX-License-Identifier: MIT */
/* Stores of each kind to an entry in use, with the translation looked at afterwards. */
#include "mark/machine.h"
#include "store/store.h"

#define SLOT_AT (&directory[SLOT])

/* Runs an instruction that makes the entry lead to the other leaf table, and looks. */
#define REMAPS(what, instruction, ...) \
	do { \
		uint64_t value = leaf_entry[1]; \
		__asm__ volatile(instruction \
		                 : "+a"(value) \
		                 : "D"(SLOT_AT), ##__VA_ARGS__ : "memory", "cc"); \
		check(directory[SLOT] == leaf_entry[1], what ": memory"); \
		check(slot_reads() == 2, what ": translation"); \
		restore(); \
	} while (0)

static void restore(void)
{
	*(volatile uint64_t *)SLOT_AT = leaf_entry[0];
	check(slot_reads() == 1, "restored");
}

void check_stores(void)
{
	const uint64_t other = leaf_entry[0] ^ leaf_entry[1];

	REMAPS("MOV", "mov %0, (%1)");
	REMAPS("MOV of halves", "movl %k0, (%1)");
	REMAPS("MOV of a word", "movw %w0, (%1)");
	REMAPS("MOV of a byte", "shr $8, %0\n\tmovb %b0, 1(%1)\n\tshr $8, %0\n\tmovb %b0, 2(%1)");
	REMAPS("MOVNTI", "movnti %0, (%1)");
	REMAPS("XCHG", "xchg %0, (%1)");
	REMAPS("XOR", "lock xor %2, (%1)", "d"(other));
	REMAPS("SUB and ADD", "lock sub %2, (%1)\n\tlock add %0, (%1)", "d"(leaf_entry[0]));
	REMAPS("AND and OR", "lock andq $0xfff, (%1)\n\tlock or %0, (%1)");
	REMAPS("XADD", "sub %2, %0\n\tlock xadd %0, (%1)", "d"(leaf_entry[0]));
	REMAPS("CMPXCHG", "mov %0, %%rbx\n\tmov %2, %0\n\tlock cmpxchg %%rbx, (%1)",
	       "d"(leaf_entry[0]), "b"(0ull));
	REMAPS("CMPXCHG8B", "mov %0, %%rbx\n\tmov %2, %%rax\n\tmov $0, %%edx\n\t"
	       "mov $0, %%ecx\n\tlock cmpxchg8b (%1)", "d"(leaf_entry[0]), "b"(0ull), "c"(0));
	REMAPS("CMPXCHG16B", "mov %0, %%rbx\n\tmov %2, %%rax\n\tmov 8(%1), %%rdx\n\t"
	       "mov %%rdx, %%rcx\n\tlock cmpxchg16b (%1)", "d"(leaf_entry[0]), "b"(0ull), "c"(0));
	REMAPS("STOS", "stosq");
	REMAPS("NOT and NEG", "not %0\n\tneg %0\n\tdec %0\n\tmov %0, (%1)\n\tnotq (%1)\n\t"
	       "negq (%1)\n\tdecq (%1)");
	check(leaf_entry[0] + 4096 < ~0ull, "tables lie where they do");
	__asm__ volatile("lock btsq %1, (%0)" : : "r"(directory),
	                 "r"(64ull * SLOT + 62) : "memory", "cc");
	check(directory[SLOT] == (leaf_entry[0] | 1ull << 62), "BTS from the table's start");
	__asm__ volatile("lock btrq %1, (%0)" : : "r"(directory + 16),
	                 "r"(64ll * (SLOT - 16) + 62) : "memory", "cc");
	check(directory[SLOT] == leaf_entry[0], "BTR from behind");
}

/* The same by instructions that no kernel uses on tables: each is single-stepped. */
void check_odd_stores(void)
{
	REMAPS("PUSH", "mov %%rsp, %%rbx\n\tlea 8(%1), %%rsp\n\tpush %0\n\tmov %%rbx, %%rsp",
	       "b"(0ull));
	REMAPS("POP", "push %0\n\tpopq (%1)");
	REMAPS("MOVUPS", "movq %0, %%xmm0\n\tpinsrq $1, 8(%1), %%xmm0\n\tmovups %%xmm0, (%1)");
	REMAPS("MOVQ", "movq %0, %%xmm0\n\tmovq %%xmm0, (%1)");
	REMAPS("MASKMOVDQU", "movq %0, %%xmm0\n\tpcmpeqb %%xmm1, %%xmm1\n\t"
	       "psrldq $8, %%xmm1\n\tmaskmovdqu %%xmm1, %%xmm0");
	REMAPS("FXSAVE", "movq %0, %%xmm0\n\tmov (%1), %%rbx\n\tfxsave 512(%1)\n\t"
	       "mov 512+160(%1), %%rbx\n\tmov %%rbx, (%1)", "b"(0ull));
	REMAPS("FISTP", "fninit\n\tmov %0, 64(%1)\n\tfildll 64(%1)\n\tfistpll (%1)");
	/* not RCL: TCG has the new CF already when it runs again after a fault */
	REMAPS("ROL", "mov %0, %%rbx\n\tror $1, %%rbx\n\tmov %%rbx, (%1)\n\trolq $1, (%1)",
	       "b"(0ull));
	REMAPS("SETcc", "mov %0, (%1)\n\tstc\n\tsetnc 1(%1)\n\tmov %0, %%rbx\n\tmovb %%bh, 1(%1)",
	       "b"(0ull));
	REMAPS("unaligned", "mov 4(%1), %%ebx\n\tshl $32, %0\n\tmov -4(%1), %%edx\n\t"
	       "or %%rdx, %0\n\tmov %0, -4(%1)\n\tmov 4(%1), %0", "b"(0ull), "d"(0ull));
}

/* Written so often that its shadow is given up; and the root, whose shadow cannot be. */
void check_floods(void)
{
	volatile uint64_t *root = (volatile uint64_t *)space.root;
	bool same = true;

	for (uint64_t i = 0; i < 200; i++) {
		directory[TABLE_ENTRIES - 1] = i << 12;
		root[TABLE_ENTRIES - 1] = i << 12;
		if (i % 50 == 49)
			same &= slot_reads() == 1;
	}
	for (uint64_t i = 0; i < 20; i++)
		*(volatile uint16_t *)((char *)directory + 4001) = (uint16_t)(2 * i);
	directory[500] = 0;
	same &= directory[TABLE_ENTRIES - 1] == 199 << 12 && root[TABLE_ENTRIES - 1] == 199 << 12;
	root[TABLE_ENTRIES - 1] = 0;
	check(same && slot_reads() == 1, "tables written again and again");
}

/* ---- strings ---- */

static uint64_t copy[TABLE_ENTRIES + 1];

static void repeat_movs(void *to, const void *from, uint64_t count)
{
	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

void check_strings(void)
{
	const uint64_t upper = TABLE_ENTRIES / 2;
	void *to = directory;
	const void *from = copy;
	uint64_t count = TABLE_ENTRIES, value = 0x1122334455667788 & ~1ull;
	bool same = true;

	repeat_movs(copy, directory, TABLE_ENTRIES);
	copy[SLOT] = leaf_entry[1];
	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
	check(count == 0 && to == directory + TABLE_ENTRIES && from == copy + TABLE_ENTRIES,
	      "REP MOVSQ: registers");
	check(slot_reads() == 2, "REP MOVSQ over a table");
	copy[SLOT] = leaf_entry[0];
	to = (char *)directory + 4095;
	from = (const char *)copy + 4095;
	count = 4096;
	__asm__ volatile("std\n\trep movsb\n\tcld" : "+D"(to), "+S"(from), "+c"(count)
	                 : : "memory");
	check(count == 0 && to == (char *)directory - 1, "REP MOVSB backwards: registers");
	check(slot_reads() == 1, "REP MOVSB backwards over a table");
	to = directory + upper;
	count = upper;
	__asm__ volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(value) : "memory");
	for (unsigned i = 0; i < TABLE_ENTRIES; i++)
		same &= directory[i] == (i < upper ? copy[i] : value);
	check(same && count == 0 && to == directory + TABLE_ENTRIES, "REP STOSQ to the end");
	/* across two tables, which lie side by side, and elements across the border */
	to = (char *)directory - 10;
	count = 3;
	value = directory[0] >> 32 << 32;
	directory[-1] = 0;
	__asm__ volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(value) : "memory");
	check(count == 0 && to == (char *)directory + 2, "REP STOSL over a border");
	*(volatile uint64_t *)directory = copy[0];
	directory[-1] = 0;
	check(slot_reads() == 1, "the directory is as it was");
	/* a whole table at once that cannot be given up: CR3 names it */
	repeat_movs(copy, (const uint64_t *)space.root, TABLE_ENTRIES);
	to = (uint64_t *)space.root;
	from = copy;
	count = TABLE_ENTRIES;
	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
	check(count == 0 && to == (uint64_t *)space.root + TABLE_ENTRIES &&
	      from == copy + TABLE_ENTRIES && slot_reads() == 1, "REP MOVSQ over the root");
}
