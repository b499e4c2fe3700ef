/* SPDX-License-Identifier: MIT */
/* The hypervisor's decoder (hv/exit/insn.c): stores as kernels make them on APIC pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/features.h"
#include "exit/event.h"
#include "exit/insn.h"
#include "mem/guest.h"
#include "svm/guest.h"

enum { CODE = 0x1000, TABLES = 0x3000, MEMORY = 0x9000 };

struct features features;
static uint8_t memory[MEMORY];
static struct vmcb vmcb;
static struct guest g = { .vmcb = &vmcb };

void *guest_memory_at(struct guest *of, uint64_t gpa, uint64_t bytes)
{
	(void)of;
	return gpa > MEMORY || bytes > MEMORY - gpa ? NULL : memory + gpa;
}

void event_reflect(struct guest *of, uint64_t gva, const struct rhz_fault *fault)
{
	(void)of, (void)gva, (void)fault;
	fail_msg("nothing is reflected under nested paging");
}

bool guest_memory_read(struct guest *of, uint64_t gpa, void *to, uint64_t bytes)
{
	(void)of;
	if (gpa > MEMORY || bytes > MEMORY - gpa)
		return false;
	memcpy(to, memory + gpa, bytes);
	return true;
}

enum mode { MODE16, MODE32, MODE64 };

/* Puts code at an address, with paging off (64-bit code too: only the decoder is looked at). */
static void put(enum mode mode, uint64_t at, const char *code, size_t bytes)
{
	memset(memory, 0xcc, sizeof(memory));
	memcpy(memory + at, code, bytes);
	memset(&vmcb, 0, sizeof(vmcb));
	vmcb.rip = at;
	vmcb.efer = mode == MODE64 ? 0x1500 : 0x1000;
	vmcb.cs.attributes = mode == MODE64 ? 0xa9b : mode == MODE32 ? 0xc9b : 0x09b;
	for (unsigned i = 0; i < REGS; i++)
		g.reg[i] = 0x1111111100000000ull + i;
}

struct row {
	enum mode mode;
	const char *code;
	size_t bytes;
	enum insn_store_kind kind;
	uint32_t value;
	unsigned reg;
};
#define ROW(mode, code, kind, value, reg) { mode, code, sizeof(code) - 1, kind, value, reg }

static const struct row known[] = {
	ROW(MODE64, "\x89\x08", INSN_MOV, 1, 1), /* mov %ecx,(%rax) */
	ROW(MODE64, "\x89\x34\x25\x00\x03\x5f\xff", INSN_MOV, 6, 6), /* mov %esi,abs32 */
	ROW(MODE64, "\x44\x89\x87\x00\xd0\x5f\xff", INSN_MOV, 8, 8), /* mov %r8d,d32(%rdi) */
	ROW(MODE64, "\x89\xb7\xb0\x00\x00\x00", INSN_MOV, 6, 6), /* mov %esi,d32(%rdi) */
	ROW(MODE64, "\x89\x44\x24\x10", INSN_MOV, 0, 0), /* mov %eax,d8(%rsp) */
	ROW(MODE64, "\x89\x05\x44\x33\x22\x11", INSN_MOV, 0, 0), /* mov %eax,d32(%rip) */
	ROW(MODE64, "\x89\x04\xc5\x44\x33\x22\x11", INSN_MOV, 0, 0), /* no base, index */
	ROW(MODE64, "\x41\x89\x04\x24", INSN_MOV, 0, 0), /* mov %eax,(%r12) */
	ROW(MODE64, "\x3e\x89\x08", INSN_MOV, 1, 1), /* with a DS prefix */
	ROW(MODE64, "\xc7\x00\x78\x56\x34\x12", INSN_MOV, 0x12345678, 0), /* movl $,(%rax) */
	ROW(MODE64, "\xc7\x04\x25\xb0\x00\x5f\xff\x00\x00\x00\x00", INSN_MOV, 0, 0),
	ROW(MODE64, "\x87\x08", INSN_XCHG, 1, 1), /* xchg %ecx,(%rax) */
	ROW(MODE64, "\x44\x87\x08", INSN_XCHG, 9, 9),
	ROW(MODE64, "\xa3\xb0\x00\xe0\xfe\x00\x00\x00\x00", INSN_MOV, 0, 0), /* moffs64 */
	ROW(MODE32, "\xa3\xb0\x00\xe0\xfe", INSN_MOV, 0, 0), /* moffs32 */
	ROW(MODE32, "\x89\x0d\x00\x03\xe0\xfe", INSN_MOV, 1, 1), /* mov %ecx,abs32 */
	ROW(MODE32, "\x67\x89\x0e\x00\x03", INSN_MOV, 1, 1), /* 16-bit address */
	ROW(MODE32, "\x67\x89\x4f\x10", INSN_MOV, 1, 1),
	ROW(MODE16, "\x66\x89\x0f", INSN_MOV, 1, 1), /* mov %ecx,(%bx) */
	ROW(MODE16, "\x67\x66\x89\x0b", INSN_MOV, 1, 1), /* mov %ecx,(%ebx) */
	ROW(MODE16, "\x66\xa3\x00\x03", INSN_MOV, 0, 0),
};

static void test_known(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		const struct row *row = &known[i];
		struct insn_store store;

		put(row->mode, CODE, row->code, row->bytes);
		assert_int_equal(insn_decode_store(&g, &store), INSN_OK);
		assert_int_equal(store.kind, row->kind);
		assert_int_equal(store.value, row->value);
		assert_int_equal(store.rip, CODE + row->bytes);
		if (row->kind == INSN_XCHG)
			assert_int_equal(store.reg, row->reg);
	}
}

static const struct row unknown[] = {
	ROW(MODE64, "\x48\x89\x08", 0, 0, 0), /* 64 bits */
	ROW(MODE64, "\x66\x89\x08", 0, 0, 0), /* 16 bits */
	ROW(MODE64, "\x88\x08", 0, 0, 0), /* 8 bits */
	ROW(MODE64, "\x89\xc8", 0, 0, 0), /* to a register */
	ROW(MODE64, "\xc7\x08\x01\x00\x00\x00", 0, 0, 0), /* group 11, but /1 */
	ROW(MODE64, "\xab", 0, 0, 0), /* stos */
	ROW(MODE64, "\x67\xa3\x00\x00\x00\x00", 0, 0, 0), /* moffs of 32 bits */
	ROW(MODE64, "\x09\x08", 0, 0, 0), /* or %ecx,(%rax) */
	ROW(MODE16, "\x89\x0f", 0, 0, 0), /* 16 bits by default */
};

static void test_unknown(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		struct insn_store store;

		put(unknown[i].mode, CODE, unknown[i].code, unknown[i].bytes);
		assert_int_equal(insn_decode_store(&g, &store), INSN_UNKNOWN);
	}
}

/* What lies across the end of readable memory cannot be fetched, and is never guessed. */
static void test_fetch(void **state)
{
	struct insn_store store;
	uint64_t rip = 0;

	(void)state;
	put(MODE64, MEMORY - 3, "\xc7\x00\x78", 3);
	assert_int_equal(insn_decode_store(&g, &store), INSN_NO_FETCH);
	put(MODE64, MEMORY - 2, "\x0f\x30", 2);
	assert_true(insn_end(&g, 2, &rip));
	assert_int_equal(rip, MEMORY);
	put(MODE64, MEMORY - 1, "\x0f", 1);
	assert_false(insn_end(&g, 2, &rip));
	put(MODE64, MEMORY - 4, "\x66\x66\x0f\x30", 4);
	assert_true(insn_end(&g, 2, &rip));
	assert_int_equal(rip, MEMORY);
	vmcb.rip = MEMORY + 1;
	assert_false(insn_end(&g, 2, &rip));
	assert_int_equal(insn_decode_store(&g, &store), INSN_NO_FETCH);
}

/* Code that crosses a page is fetched from both. */
static void test_crossing(void **state)
{
	struct insn_store store;

	(void)state;
	put(MODE32, 0x2000 - 3, "\xc7\x05\xb0\x00\xe0\xfe\x04\x03\x02\x01", 10);
	assert_int_equal(insn_decode_store(&g, &store), INSN_OK);
	assert_int_equal(store.value, 0x01020304);
	assert_int_equal(store.rip, 0x2000 + 7);
}

static void put64(uint64_t at, uint64_t value)
{
	memcpy(memory + at, &value, sizeof(value));
}

/* The code at CODE, seen through tables of each kind at a page where it is not. */
static void test_paging(void **state)
{
	static const char code[] = "\x89\x08";
	struct insn_store store;

	(void)state;
	put(MODE32, CODE, code, 2);
	memset(memory + TABLES, 0, MEMORY - TABLES);
	features.guest = (struct rhz_cpuid){ .vendor = RHZ_VENDOR_AMD, .maxphyaddr = 40,
	                                     .pae = true, .pse = true, .nx = true,
	                                     .la57 = true };
	vmcb.cr0 = 0x80000011;
	vmcb.cr3 = TABLES;
	vmcb.rip = 0x7000;
	put64(TABLES, 0x4003);           /* 32-bit: entries of 4 bytes */
	put64(0x4000 + 7 * 4, CODE | 3);
	assert_int_equal(insn_decode_store(&g, &store), INSN_OK);
	vmcb.cr4 = 1 << 5;               /* PAE: four PDPTEs at CR3 */
	put64(TABLES, 0x4001);
	put64(0x4000, 0x5003);
	put64(0x5000 + 7 * 8, CODE | 3);
	assert_int_equal(insn_decode_store(&g, &store), INSN_OK);
	vmcb.efer = 0x1d00;              /* 4-level, and a page without execute rights */
	vmcb.cs.attributes = 0xa9b;
	put64(TABLES, 0x4003);
	put64(0x5000, 0x6003);
	put64(0x6000 + 7 * 8, CODE | 3 | 1ull << 63);
	assert_int_equal(insn_decode_store(&g, &store), INSN_OK);
	vmcb.cr4 |= 1 << 12;             /* 5-level */
	put64(0x6000, 0x7003);
	put64(0x7000 + 7 * 8, CODE | 3);
	assert_int_equal(insn_decode_store(&g, &store), INSN_OK);
	assert_int_equal(store.rip, 0x7002);
	put64(0x7000 + 7 * 8, CODE | 2); /* not present any more */
	assert_int_equal(insn_decode_store(&g, &store), INSN_NO_FETCH);
}

/* A segment's base counts outside 64-bit mode only. */
static void test_base(void **state)
{
	struct insn_store store;

	(void)state;
	put(MODE32, CODE, "\x89\x08", 2);
	vmcb.rip = 0x10;
	vmcb.cs.base = CODE - 0x10;
	assert_int_equal(insn_decode_store(&g, &store), INSN_OK);
	assert_int_equal(store.rip, 0x12);
}

/* A processor that says where the next instruction is, is believed. */
static void test_next_rip(void **state)
{
	uint64_t rip = 0;

	(void)state;
	put(MODE64, CODE, "\x0f\x30", 2);
	features.next_rip = true;
	vmcb.next_rip = 0x4242;
	assert_true(insn_end(&g, 2, &rip));
	assert_int_equal(rip, 0x4242);
	features.next_rip = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),    cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_fetch),    cmocka_unit_test(test_crossing),
		cmocka_unit_test(test_base),     cmocka_unit_test(test_next_rip),
		cmocka_unit_test(test_paging),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
