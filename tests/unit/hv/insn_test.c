/* SPDX-License-Identifier: MIT */
/* The guest's instruction at its rip (hv/exit/insn.c): fetch, end, width. */
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
#include "svm/nsvm.h"

enum { CODE = 0x1000, TABLES = 0x3000, MEMORY = 0x9000 };

struct features features;
struct own_memory own_memory;
static uint8_t memory[MEMORY];
static struct vmcb vmcb;
static struct guest g = { .vmcb = &vmcb, .vmcb_of = { &vmcb } };

void *guest_memory_at(struct guest *of, uint64_t gpa, uint64_t bytes)
{
	(void)of;
	return gpa > MEMORY || bytes > MEMORY - gpa ? NULL : memory + gpa;
}

struct rhz_regs nsvm_regs(const struct guest *of)
{
	(void)of;
	fail_msg("there is no L2");
	return (struct rhz_regs){ 0 };
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

/* What lies across the end of readable memory cannot be fetched, and is never guessed. */
static void test_fetch(void **state)
{
	struct insn insn;
	uint64_t rip = 0;

	(void)state;
	put(MODE64, MEMORY - 3, "\xc7\x00\x78", 3);
	assert_int_equal(insn_at_rip(&g, &insn), INSN_CUT);
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
	assert_int_equal(insn_at_rip(&g, &insn), INSN_CUT);
}

/* Code that crosses a page is fetched from both. */
static void test_crossing(void **state)
{
	struct insn insn;

	(void)state;
	put(MODE32, 0x2000 - 3, "\xc7\x05\xb0\x00\xe0\xfe\x04\x03\x02\x01", 10);
	assert_int_equal(insn_at_rip(&g, &insn), INSN_OK);
	assert_int_equal(insn.immediate, 0x01020304);
	assert_int_equal(insn_advance(&g, insn.length), 0x2000 + 7);
}

static void put64(uint64_t at, uint64_t value)
{
	memcpy(memory + at, &value, sizeof(value));
}

/* The code at CODE, seen through tables of each kind at a page where it is not. */
static void test_paging(void **state)
{
	static const char code[] = "\x89\x08";
	struct insn insn;

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
	assert_int_equal(insn_at_rip(&g, &insn), INSN_OK);
	vmcb.cr4 = 1 << 5;               /* PAE: four PDPTEs at CR3 */
	put64(TABLES, 0x4001);
	put64(0x4000, 0x5003);
	put64(0x5000 + 7 * 8, CODE | 3);
	assert_int_equal(insn_at_rip(&g, &insn), INSN_OK);
	vmcb.efer = 0x1d00;              /* 4-level, and a page without execute rights */
	vmcb.cs.attributes = 0xa9b;
	put64(TABLES, 0x4003);
	put64(0x5000, 0x6003);
	put64(0x6000 + 7 * 8, CODE | 3 | 1ull << 63);
	assert_int_equal(insn_at_rip(&g, &insn), INSN_OK);
	vmcb.cr4 |= 1 << 12;             /* 5-level */
	put64(0x6000, 0x7003);
	put64(0x7000 + 7 * 8, CODE | 3);
	assert_int_equal(insn_at_rip(&g, &insn), INSN_OK);
	assert_int_equal(insn_advance(&g, insn.length), 0x7002);
	put64(0x7000 + 7 * 8, CODE | 2); /* not present any more */
	assert_int_equal(insn_at_rip(&g, &insn), INSN_CUT);
}

/* What was found and decoded at a rip before is not believed where anything of it has changed. */
static void test_remembered(void **state)
{
	struct insn insn;

	(void)state;
	put(MODE64, CODE, "\x89\x08", 2);
	memset(memory + TABLES, 0, MEMORY - TABLES);
	memcpy(memory + 2 * CODE, "\x89\x10", 2);
	vmcb.cr0 = 0x80000011;
	vmcb.cr3 = TABLES;
	vmcb.cr4 = 1 << 5;
	vmcb.efer = 0x1500;
	vmcb.rip = 0x7000;
	for (unsigned level = 0; level < 3; level++)
		put64(TABLES + level * 0x1000, (TABLES + (level + 1) * 0x1000) | 3);
	for (unsigned round = 0; round < 2; round++) {
		put64(TABLES + 0x3000 + 7 * 8, CODE | 3);
		for (unsigned again = 0; again < 2; again++) {
			assert_int_equal(insn_at_rip(&g, &insn), INSN_OK);
			assert_int_equal(insn.reg, 1);
		}
		put64(TABLES + 0x3000 + 7 * 8, 2 * CODE | 3); /* the page */
		assert_int_equal(insn_at_rip(&g, &insn), INSN_OK);
		assert_int_equal(insn.reg, 2);
		put64(TABLES + 0x2000, 0);                    /* a table */
		assert_int_equal(insn_at_rip(&g, &insn), INSN_CUT);
		put64(TABLES + 0x2000, (TABLES + 0x3000) | 3);
	}
	memory[2 * CODE + 1] = 0x18;                          /* the bytes */
	assert_int_equal(insn_at_rip(&g, &insn), INSN_OK);
	assert_int_equal(insn.reg, 3);
	vmcb.cs.attributes = 0xc9b;                           /* the width */
	assert_int_equal(insn_at_rip(&g, &insn), INSN_OK);
	assert_int_equal(insn.address_bytes, 4);
	vmcb.cr3 = CODE;                                      /* the tables */
	assert_int_equal(insn_at_rip(&g, &insn), INSN_CUT);
}

/* A segment's base counts outside 64-bit mode only. */
static void test_base(void **state)
{
	struct insn insn;

	(void)state;
	put(MODE32, CODE, "\x89\x08", 2);
	vmcb.rip = 0x10;
	vmcb.cs.base = CODE - 0x10;
	assert_int_equal(insn_at_rip(&g, &insn), INSN_OK);
	assert_int_equal(insn_advance(&g, insn.length), 0x12);
}

/* rip wraps as wide as the code is; FS and GS alone have a base in 64-bit code. */
static void test_widths(void **state)
{
	static const unsigned bits[] = { [MODE16] = 16, [MODE32] = 32, [MODE64] = 64 };
	static const uint64_t after[] = { [MODE16] = 1, [MODE32] = 1, [MODE64] = 0x100000001 };

	(void)state;
	for (enum mode mode = MODE16; mode <= MODE64; mode++) {
		put(mode, CODE, "\x90", 1);
		assert_int_equal(insn_bits(&g), bits[mode]);
		vmcb.rip = mode == MODE16 ? 0xffff : 0xffffffff;
		assert_int_equal(insn_advance(&g, 2), after[mode]);
		vmcb.ss.base = vmcb.gs.base = 0xfffff000;
		assert_int_equal(insn_linear(&g, INSN_SS, 0x1234),
		                 mode == MODE64 ? 0x1234 : 0x234);
		assert_int_equal(insn_linear(&g, INSN_GS, 0x1234),
		                 mode == MODE64 ? 0x100000234 : 0x234);
	}
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
		cmocka_unit_test(test_fetch),    cmocka_unit_test(test_crossing),
		cmocka_unit_test(test_base),     cmocka_unit_test(test_next_rip),
		cmocka_unit_test(test_paging),   cmocka_unit_test(test_widths),
		cmocka_unit_test(test_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
