/* SPDX-License-Identifier: MIT */
/*
 * The walk's quirks, one test each, by hand: what no sample of combinations is sure to meet, and
 * what would be wrong in the same way in a predictor of the same mind.
 */
#include "guest/walk.h"
#include "tables.h"

enum { USER = RHZ_ACCESS_USER, WRITE = RHZ_ACCESS_WRITE, FETCH = RHZ_ACCESS_FETCH };

#define BIT(n) (1ull << (n))
#define ALL 0x67ull /* P, W, U, A, D */

/* 4-level tables for address 0 with every index 0: frames 1 (top) to 4, and the page at 9. */
static struct tables four_levels(void)
{
	struct tables t = { .count = 0 };

	tables_set(&t, 0x1000, 8, 0x2000 | ALL);
	tables_set(&t, 0x2000, 8, 0x3000 | ALL);
	tables_set(&t, 0x3000, 8, 0x4000 | ALL);
	tables_set(&t, 0x4000, 8, 0x9000 | ALL);
	return t;
}

static void test_paging_off(void **ctx)
{
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_AMD);
	struct rhz_regs regs = regs_of(RHZ_PAGING_NONE);
	struct tables t = { .count = 0 };
	struct rhz_walk w;

	(void)ctx;
	regs.cr4 = RHZ_CR4_SMEP | RHZ_CR4_SMAP | RHZ_CR4_PAE;
	w = walk_of(&cpuid, &regs, &t, 0x123456789abc, USER | WRITE);
	assert_int_equal(w.outcome, RHZ_WALK_OK);
	assert_int_equal(w.gpa.v, 0x56789abc); /* 32 bits */
	assert_int_equal(w.rights, RHZ_RIGHT_ALL);
	assert_int_equal(w.level, 0);
	assert_int_equal(w.top, 0);
	assert_int_equal(w.page_shift, 12);
}

/* [SDM3 4.3]: without CR4.PSE, bit 7 of a PDE means nothing. */
static void test_ps_ignored_without_pse(void **ctx)
{
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_INTEL);
	struct rhz_regs regs = regs_of(RHZ_PAGING_32);
	struct tables t = { .count = 0 };
	struct rhz_walk w;

	(void)ctx;
	tables_set(&t, 0x1004, 4, 0x3fe000 | BIT(7) | ALL);
	tables_set(&t, 0x3fe008, 4, 0xfffff000 | ALL);
	w = walk_of(&cpuid, &regs, &t, 0xffffffff00402123, USER | WRITE);
	assert_int_equal(w.outcome, RHZ_WALK_OK);
	assert_int_equal(w.gpa.v, 0xfffff123);
	assert_int_equal(w.level, 1);
	assert_int_equal(w.top, 2);
	assert_int_equal(w.table[1].v, 0x3fe008);
	assert_int_equal(w.entry[2], 0x3fe000 | BIT(7) | ALL);
	regs.cr4 = RHZ_CR4_PSE; /* now a 4 MiB leaf; bits 20:13 are 39:32, bit 21 is reserved */
	w = walk_of(&cpuid, &regs, &t, 0x402123, USER | WRITE);
	assert_int_equal(w.outcome, RHZ_WALK_RESERVED);
	assert_int_equal(w.error_code, RHZ_PF_P | RHZ_PF_W | RHZ_PF_U | RHZ_PF_RSVD);
	assert_int_equal(w.level, 2);
}

/* PSE-36: bits 20:13 are frame bits as far as MAXPHYADDR goes, 40 at most [SDM3 4.3]. */
static void test_pse36(void **ctx)
{
	static const struct { bool pse36; uint8_t width; unsigned bit; bool fine; } cases[] = {
		{ true, 52, 20, true }, { true, 52, 21, false }, { true, 40, 20, true },
		{ true, 39, 20, false }, { true, 39, 19, true }, { true, 36, 16, true },
		{ true, 36, 17, false }, { true, 32, 13, false }, { false, 40, 13, false },
		{ false, 40, 20, false }, { false, 40, 12, true },
	};
	struct rhz_regs regs = regs_of(RHZ_PAGING_32);

	(void)ctx;
	regs.cr4 = RHZ_CR4_PSE;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rhz_cpuid cpuid = cpuid_of(i % 2 ? RHZ_VENDOR_AMD : RHZ_VENDOR_INTEL);
		struct tables t = { .count = 0 };
		uint64_t high = cases[i].bit > 12 ? BIT(cases[i].bit + 19) : 0;
		struct rhz_walk w;

		cpuid.pse36 = cases[i].pse36;
		cpuid.maxphyaddr = cases[i].width;
		tables_set(&t, 0x1ffc, 4, 0x80000000 | BIT(cases[i].bit) | BIT(7) | ALL);
		w = walk_of(&cpuid, &regs, &t, 0xffc12345, 0);
		assert_int_equal(w.outcome, cases[i].fine ? RHZ_WALK_OK : RHZ_WALK_RESERVED);
		if (cases[i].fine)
			assert_int_equal(w.gpa.v, 0x80012345 | high);
		if (cases[i].fine)
			assert_int_equal(w.page_shift, 22);
	}
}

/* Without PAT its bit is reserved, but not in 32-bit paging without CR4.PSE [SDM3 4.3, 4.4.2]. */
static void test_no_pat(void **ctx)
{
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_INTEL);
	struct rhz_regs regs = regs_of(RHZ_PAGING_32);
	struct tables t = { .count = 0 };

	(void)ctx;
	cpuid.pat = false;
	tables_set(&t, 0x1000, 4, 0x2000 | ALL);
	tables_set(&t, 0x2000, 4, 0x9000 | BIT(7) | ALL);
	tables_set(&t, 0x1004, 4, 0x400000 | BIT(12) | BIT(7) | ALL);
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, 0).outcome, RHZ_WALK_OK);
	regs.cr4 = RHZ_CR4_PSE;
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, 0).outcome, RHZ_WALK_RESERVED);
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0x400000, 0).outcome, RHZ_WALK_RESERVED);
	regs = regs_of(RHZ_PAGING_PAE);
	regs.pdpte[0] = 0x3001;
	tables_set(&t, 0x3000, 8, 0x4000 | ALL);
	tables_set(&t, 0x4000, 8, 0x9000 | BIT(7) | ALL);
	tables_set(&t, 0x3008, 8, 0x200000 | BIT(12) | BIT(7) | ALL);
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, 0).outcome, RHZ_WALK_RESERVED);
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0x200000, 0).outcome, RHZ_WALK_RESERVED);
	cpuid.pat = true;
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, 0).outcome, RHZ_WALK_OK);
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0x200123, 0).gpa.v, 0x200123);
}

/* The PDPTE registers: no rights, no A bit, no table read; a reserved bit met at use counts. */
static void test_pdptes(void **ctx)
{
	static const unsigned reserved[] = { 1, 2, 5, 6, 7, 8, 46, 52, 62, 63 };
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_AMD);
	struct rhz_regs regs = regs_of(RHZ_PAGING_PAE);
	struct tables t = { .count = 0 };
	struct rhz_walk w;

	(void)ctx;
	regs.pdpte[3] = 0x5000 | BIT(3) | BIT(4) | BIT(9) | BIT(11) | 1;
	tables_set(&t, 0x5ff8, 8, 0x6000 | ALL);
	tables_set(&t, 0x6ff8, 8, BIT(45) | ALL);
	w = walk_of(&cpuid, &regs, &t, 0x00000000fffffabc, USER | WRITE);
	assert_int_equal(w.outcome, RHZ_WALK_OK);
	assert_int_equal(w.gpa.v, BIT(45) | 0xabc);
	assert_int_equal(w.rights, RHZ_RIGHT_ALL);
	assert_int_equal(w.top, 3);
	assert_int_equal(w.entry[3], regs.pdpte[3]);
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0xbfffffff, 0).outcome, RHZ_WALK_NOT_PRESENT);
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0xbfffffff, 0).level, 3);
	for (unsigned i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
		regs.pdpte[3] = 0x5001 | BIT(reserved[i]);
		w = walk_of(&cpuid, &regs, &t, 0xffffffff, 0);
		assert_int_equal(w.outcome, RHZ_WALK_RESERVED);
		assert_int_equal(w.error_code, RHZ_PF_P | RHZ_PF_RSVD);
		assert_int_equal(w.level, 3);
	}
}

/* Bits 62:52 are reserved under PAE, ignored in long mode but for keys; bit 63 goes by NXE. */
static void test_high_bits(void **ctx)
{
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_AMD);

	(void)ctx;
	for (unsigned bit = 46; bit < 64; bit++) {
		struct rhz_regs pae = regs_of(RHZ_PAGING_PAE), four = regs_of(RHZ_PAGING_4LEVEL);
		struct tables t = four_levels();

		pae.pdpte[0] = 0x3001;
		tables_set(&t, 0x4000, 8, 0x9000 | ALL | BIT(bit));
		assert_int_equal(walk_of(&cpuid, &pae, &t, 0, 0).outcome, RHZ_WALK_RESERVED);
		assert_int_equal(walk_of(&cpuid, &four, &t, 0, 0).outcome,
				 bit < 52 || bit == 63 ? RHZ_WALK_RESERVED : RHZ_WALK_OK);
		pae.efer = four.efer |= RHZ_EFER_NXE;
		pae.efer &= ~(RHZ_EFER_LMA | RHZ_EFER_LME);
		assert_int_equal(walk_of(&cpuid, &pae, &t, 0, 0).outcome,
				 bit < 63 ? RHZ_WALK_RESERVED : RHZ_WALK_OK);
		assert_int_equal(walk_of(&cpuid, &four, &t, 0, 0).outcome,
				 bit < 52 ? RHZ_WALK_RESERVED : RHZ_WALK_OK);
		assert_int_equal(walk_of(&cpuid, &four, &t, 0, FETCH).outcome,
				 bit < 52 ? RHZ_WALK_RESERVED :
				 bit < 63 ? RHZ_WALK_OK : RHZ_WALK_RIGHTS);
	}
}

/* Bits 7 and 8 of tables: Intel ignores bit 8 everywhere, AMD reserves it from level 4 up. */
static void test_upper_bits(void **ctx)
{
	(void)ctx;
	for (int vendor = RHZ_VENDOR_INTEL; vendor <= RHZ_VENDOR_AMD; vendor++) {
		struct rhz_cpuid cpuid = cpuid_of(vendor);
		bool amd = vendor == RHZ_VENDOR_AMD;
		enum rhz_walk_outcome top = amd ? RHZ_WALK_RESERVED : RHZ_WALK_OK;
		struct rhz_regs four = regs_of(RHZ_PAGING_4LEVEL);
		struct rhz_regs five = regs_of(RHZ_PAGING_5LEVEL);
		struct tables t = four_levels();

		tables_set(&t, 0x2000, 8, 0x3000 | ALL | BIT(8));
		tables_set(&t, 0x3000, 8, 0x4000 | ALL | BIT(8));
		assert_int_equal(walk_of(&cpuid, &four, &t, 0, 0).outcome, RHZ_WALK_OK);
		tables_set(&t, 0x1000, 8, 0x2000 | ALL | BIT(8));
		assert_int_equal(walk_of(&cpuid, &four, &t, 0, 0).outcome, top);
		tables_set(&t, 0x8000, 8, 0x1000 | ALL);
		five.cr3 = 0x8000;
		assert_int_equal(walk_of(&cpuid, &five, &t, 0, 0).outcome, top);
		tables_set(&t, 0x1000, 8, 0x2000 | ALL);
		assert_int_equal(walk_of(&cpuid, &five, &t, 0, 0).outcome, RHZ_WALK_OK);
		tables_set(&t, 0x8000, 8, 0x1000 | ALL | BIT(8));
		assert_int_equal(walk_of(&cpuid, &five, &t, 0, 0).outcome, top);
		tables_set(&t, 0x8000, 8, 0x1000 | ALL | BIT(7));
		assert_int_equal(walk_of(&cpuid, &five, &t, 0, 0).outcome, RHZ_WALK_RESERVED);
		tables_set(&t, 0x1000, 8, 0x2000 | ALL | BIT(7));
		assert_int_equal(walk_of(&cpuid, &four, &t, 0, 0).outcome, RHZ_WALK_RESERVED);
	}
}

static void test_large_pages(void **ctx)
{
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_INTEL);
	struct rhz_regs regs = regs_of(RHZ_PAGING_4LEVEL);
	struct tables t = four_levels();
	struct rhz_walk w;

	(void)ctx;
	/* bit 12 is PAT, not an address bit; bits 20:13 and 29:13 are reserved */
	tables_set(&t, 0x3000, 8, 0x600000 | BIT(12) | BIT(7) | ALL);
	w = walk_of(&cpuid, &regs, &t, 0x1fffff, USER | WRITE);
	assert_int_equal(w.gpa.v, 0x7fffff);
	assert_int_equal(w.page_shift, 21);
	assert_int_equal(w.level, 2);
	tables_set(&t, 0x2000, 8, 0x80000000 | BIT(12) | BIT(7) | ALL);
	w = walk_of(&cpuid, &regs, &t, 0x3fffffff, USER | WRITE);
	assert_int_equal(w.gpa.v, 0xbfffffff);
	assert_int_equal(w.page_shift, 30);
	assert_int_equal(w.level, 3);
	for (unsigned bit = 13; bit < 30; bit++) {
		tables_set(&t, 0x2000, 8, BIT(bit) | BIT(7) | ALL);
		assert_int_equal(walk_of(&cpuid, &regs, &t, 0, 0).outcome, RHZ_WALK_RESERVED);
		tables_set(&t, 0x2000, 8, 0x3000 | ALL);
		tables_set(&t, 0x3000, 8, BIT(bit) | BIT(7) | ALL);
		assert_int_equal(walk_of(&cpuid, &regs, &t, 0, 0).outcome,
				 bit < 21 ? RHZ_WALK_RESERVED : RHZ_WALK_OK);
	}
	cpuid.gbpages = false; /* then PS at level 3 is reserved [SDM3 4.5.4] */
	tables_set(&t, 0x2000, 8, 0x80000000 | BIT(7) | ALL);
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, 0).outcome, RHZ_WALK_RESERVED);
}

static void test_canonical(void **ctx)
{
	static const struct { uint64_t gva; bool four, five; } cases[] = {
		{ 0x00007fffffffffff, true, true }, { 0x0000800000000000, false, true },
		{ 0xffff7fffffffffff, false, true }, { 0xffff800000000000, true, true },
		{ 0x00ffffffffffffff, false, true }, { 0x0100000000000000, false, false },
		{ 0xfeffffffffffffff, false, false }, { 0xff00000000000000, false, true },
		{ 0xffffffffffffffff, true, true }, { 0x8000000000000000, false, false },
	};
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_INTEL);
	struct rhz_regs four = regs_of(RHZ_PAGING_4LEVEL), five = regs_of(RHZ_PAGING_5LEVEL);
	struct tables none = { .count = 0 };

	(void)ctx;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rhz_walk w = walk_of(&cpuid, &four, &none, cases[i].gva, WRITE);

		assert_int_equal(w.outcome,
				 cases[i].four ? RHZ_WALK_TABLE : RHZ_WALK_NON_CANONICAL);
		assert_int_equal(w.error_code, 0);
		w = walk_of(&cpuid, &five, &none, cases[i].gva, WRITE);
		assert_int_equal(w.outcome,
				 cases[i].five ? RHZ_WALK_TABLE : RHZ_WALK_NON_CANONICAL);
		assert_int_equal(w.top, 5);
	}
}

/* Existence is judged before rights: P is clear although the upper levels forbid the access. */
static void test_existence_first(void **ctx)
{
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_INTEL);
	struct rhz_regs regs = regs_of(RHZ_PAGING_4LEVEL);
	struct tables t = four_levels();
	struct rhz_walk w;

	(void)ctx;
	tables_set(&t, 0x1000, 8, 0x2000 | BIT(0)); /* read-only, supervisor */
	tables_set(&t, 0x4000, 8, ~BIT(0));         /* every bit but P: a hole all the same */
	w = walk_of(&cpuid, &regs, &t, 0, USER | WRITE);
	assert_int_equal(w.outcome, RHZ_WALK_NOT_PRESENT);
	assert_int_equal(w.error_code, RHZ_PF_W | RHZ_PF_U);
	assert_int_equal(w.level, 1);
	assert_int_equal(w.rights, RHZ_RIGHT_READ | RHZ_RIGHT_EXEC);
	assert_int_equal(w.gpa.v, 0);
	tables_set(&t, 0x4000, 8, 0x9000 | ALL);
	w = walk_of(&cpuid, &regs, &t, 0x10, USER | WRITE);
	assert_int_equal(w.outcome, RHZ_WALK_RIGHTS);
	assert_int_equal(w.error_code, RHZ_PF_P | RHZ_PF_W | RHZ_PF_U);
	assert_int_equal(w.gpa.v, 0x9010);
}

static void test_unreadable_table(void **ctx)
{
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_INTEL);
	struct rhz_regs regs = regs_of(RHZ_PAGING_4LEVEL);
	struct tables t = four_levels();
	struct rhz_walk w;

	(void)ctx;
	tables_set(&t, 0x3000, 8, 0xdead000 | BIT(0));
	w = walk_of(&cpuid, &regs, &t, 0x1000, 0);
	assert_int_equal(w.outcome, RHZ_WALK_TABLE);
	assert_int_equal(w.level, 1);
	assert_int_equal(w.table[1].v, 0xdead008);
	assert_int_equal(w.error_code, 0);
	assert_int_equal(w.rights, RHZ_RIGHT_READ | RHZ_RIGHT_EXEC);
	regs.cr3 = 0xbad000 | 0xfff; /* flags and PCID are no part of the address */
	w = walk_of(&cpuid, &regs, &t, 0, 0);
	assert_int_equal(w.level, 4);
	assert_int_equal(w.table[4].v, 0xbad000);
	regs = regs_of(RHZ_PAGING_32);
	regs.cr3 = 0xfffffffffull;
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, 0).table[2].v, 0xfffff000);
}

/* The I flag of the error code needs NXE under PAE or long mode, or SMEP [SDM3 4.7]. */
static void test_fetch_flag(void **ctx)
{
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_INTEL);
	struct rhz_regs regs = regs_of(RHZ_PAGING_32);
	struct tables t = { .count = 0 };

	(void)ctx;
	tables_set(&t, 0x1000, 4, 0);
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, FETCH).error_code, 0);
	regs.efer = RHZ_EFER_NXE; /* no meaning in 32-bit paging */
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, FETCH).error_code, 0);
	regs.cr4 = RHZ_CR4_SMEP;
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, FETCH).error_code, RHZ_PF_I);
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, 0).error_code, 0);
	regs = regs_of(RHZ_PAGING_PAE);
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, FETCH).error_code, 0);
	regs.efer = RHZ_EFER_NXE;
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, FETCH | USER).error_code,
			 RHZ_PF_I | RHZ_PF_U);
}

/* SMAP: AC excuses explicit accesses only; an implicit one is a supervisor's at CPL 3 too. */
static void test_smap(void **ctx)
{
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_AMD);
	struct rhz_regs regs = regs_of(RHZ_PAGING_4LEVEL);
	struct tables t = four_levels();
	struct rhz_walk w;

	(void)ctx;
	regs.cr4 |= RHZ_CR4_SMAP;
	w = walk_of(&cpuid, &regs, &t, 0, 0);
	assert_int_equal(w.outcome, RHZ_WALK_RIGHTS);
	assert_int_equal(w.error_code, RHZ_PF_P);
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, RHZ_ACCESS_AC).outcome, RHZ_WALK_OK);
	w = walk_of(&cpuid, &regs, &t, 0, RHZ_ACCESS_AC | RHZ_ACCESS_IMPLICIT | WRITE);
	assert_int_equal(w.outcome, RHZ_WALK_RIGHTS);
	assert_int_equal(w.error_code, RHZ_PF_P | RHZ_PF_W);
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, FETCH).outcome, RHZ_WALK_OK); /* no SMEP */
	tables_set(&t, 0x2000, 8, 0x3000 | (ALL & ~BIT(2)));
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, RHZ_ACCESS_IMPLICIT).outcome, RHZ_WALK_OK);
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, USER | RHZ_ACCESS_AC).outcome,
			 RHZ_WALK_RIGHTS);
}

/* PK is told whenever the key forbids, also where W or U does; never for fetches [SDM3 4.7]. */
static void test_keys(void **ctx)
{
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_INTEL);
	struct rhz_regs regs = regs_of(RHZ_PAGING_4LEVEL);
	struct tables t = four_levels();
	struct rhz_walk w;

	(void)ctx;
	regs.cr4 |= RHZ_CR4_PKE;
	regs.pkru = 2u << 2 * 15; /* key 15: WD */
	tables_set(&t, 0x4000, 8, 0x9000 | ALL | 15ull << 59);
	w = walk_of(&cpuid, &regs, &t, 0, USER);
	assert_int_equal(w.outcome, RHZ_WALK_OK);
	assert_int_equal(w.key, 15);
	w = walk_of(&cpuid, &regs, &t, 0, USER | WRITE);
	assert_int_equal(w.outcome, RHZ_WALK_KEY);
	assert_int_equal(w.error_code, RHZ_PF_P | RHZ_PF_W | RHZ_PF_U | RHZ_PF_PK);
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, WRITE).outcome, RHZ_WALK_KEY);
	regs.cr0 &= ~RHZ_CR0_WP; /* WD binds a supervisor with WP only */
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, WRITE).outcome, RHZ_WALK_OK);
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, USER | WRITE).outcome, RHZ_WALK_KEY);
	tables_set(&t, 0x4000, 8, 0x9000 | (ALL & ~BIT(1)) | 15ull << 59);
	w = walk_of(&cpuid, &regs, &t, 0, USER | WRITE);
	assert_int_equal(w.outcome, RHZ_WALK_RIGHTS);
	assert_int_equal(w.error_code, RHZ_PF_P | RHZ_PF_W | RHZ_PF_U | RHZ_PF_PK);
	regs.pkru = 1u << 2 * 15; /* AD */
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, 0).outcome, RHZ_WALK_KEY);
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, FETCH).outcome, RHZ_WALK_OK);
	tables_set(&t, 0x4000, 8, 0x9000 | (ALL & ~BIT(2)) | 15ull << 59);
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, 0).outcome, RHZ_WALK_OK); /* PKRS is off */
	regs.cr4 |= RHZ_CR4_PKS;
	regs.pkrs = 1u << 2 * 15;
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, 0).outcome, RHZ_WALK_KEY);
	regs.cr4 &= ~(RHZ_CR4_PKE | RHZ_CR4_PKS);
	assert_int_equal(walk_of(&cpuid, &regs, &t, 0, 0).key, 0);
}

static void test_global(void **ctx)
{
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_INTEL);
	struct rhz_regs regs = regs_of(RHZ_PAGING_4LEVEL);
	struct tables t = four_levels();

	(void)ctx;
	tables_set(&t, 0x4000, 8, 0x9000 | ALL | BIT(8));
	assert_false(walk_of(&cpuid, &regs, &t, 0, 0).global);
	regs.cr4 |= RHZ_CR4_PGE;
	assert_true(walk_of(&cpuid, &regs, &t, 0, 0).global);
	tables_set(&t, 0x4000, 8, 0x9000 | ALL);
	tables_set(&t, 0x3000, 8, 0x4000 | ALL | BIT(8)); /* G of a table means nothing */
	assert_false(walk_of(&cpuid, &regs, &t, 0, 0).global);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paging_off),
		cmocka_unit_test(test_ps_ignored_without_pse),
		cmocka_unit_test(test_pse36),
		cmocka_unit_test(test_no_pat),
		cmocka_unit_test(test_pdptes),
		cmocka_unit_test(test_high_bits),
		cmocka_unit_test(test_upper_bits),
		cmocka_unit_test(test_large_pages),
		cmocka_unit_test(test_canonical),
		cmocka_unit_test(test_existence_first),
		cmocka_unit_test(test_unreadable_table),
		cmocka_unit_test(test_fetch_flag),
		cmocka_unit_test(test_smap),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_global),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
