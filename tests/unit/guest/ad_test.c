/* SPDX-License-Identifier: MIT */
/* A and D bits: which entries get them, in which order, and what happens when one changes. */
#include "tables.h"

#define A 0x20ull
#define D 0x40ull
#define PWU 7ull

struct fixture {
	struct rhz_cpuid cpuid;
	struct rhz_regs regs;
	struct rhz_mode mode;
	struct tables t;
	struct rhz_walk walk;
};

static void walk(struct fixture *f, unsigned access)
{
	assert_int_equal(rhz_mode_init(&f->mode, &f->cpuid, &f->regs), RHZ_OK);
	assert_int_equal(rhz_guest_walk(&f->mode, &f->regs, (rhz_gva){ 0 }, access, tables_read,
					&f->t, &f->walk), RHZ_WALK_OK);
	f->t.swaps = 0;
}

static enum rhz_ad_result set(struct fixture *f, unsigned access)
{
	return rhz_guest_set_ad(&f->mode, &f->walk, access, tables_swap, &f->t);
}

static struct fixture four_levels(void)
{
	struct fixture f = { .cpuid = cpuid_of(RHZ_VENDOR_AMD),
			     .regs = regs_of(RHZ_PAGING_4LEVEL) };

	for (unsigned i = 1; i < 5; i++)
		tables_set(&f.t, i * 0x1000, 8, (i + 1) * 0x1000 | PWU);
	return f;
}

static void test_read_then_write(void **ctx)
{
	struct fixture f = four_levels();

	(void)ctx;
	walk(&f, 0);
	assert_int_equal(set(&f, 0), RHZ_AD_SET);
	assert_int_equal(f.t.swaps, 4);
	for (unsigned i = 1; i < 5; i++) {
		assert_int_equal(tables_get(&f.t, i * 0x1000), (i + 1) * 0x1000 | PWU | A);
		assert_int_equal(f.walk.entry[5 - i], (i + 1) * 0x1000 | PWU | A);
	}
	walk(&f, 0);
	assert_int_equal(set(&f, 0), RHZ_AD_UNCHANGED);
	assert_int_equal(f.t.swaps, 0);
	walk(&f, RHZ_ACCESS_WRITE);
	assert_int_equal(set(&f, RHZ_ACCESS_WRITE), RHZ_AD_SET);
	assert_int_equal(f.t.swaps, 1); /* D in the leaf alone */
	assert_int_equal(tables_get(&f.t, 0x4000), 0x5000 | PWU | A | D);
	assert_int_equal(tables_get(&f.t, 0x3000), 0x4000 | PWU | A);
	assert_int_equal(set(&f, RHZ_ACCESS_WRITE), RHZ_AD_UNCHANGED);
}

/* A and D of the leaf come in one exchange: no one may see D without A. */
static void test_one_exchange_per_entry(void **ctx)
{
	struct fixture f = four_levels();

	(void)ctx;
	walk(&f, RHZ_ACCESS_WRITE);
	assert_int_equal(set(&f, RHZ_ACCESS_WRITE), RHZ_AD_SET);
	assert_int_equal(f.t.swaps, 4);
	assert_int_equal(tables_get(&f.t, 0x4000), 0x5000 | PWU | A | D);
}

/* An entry that changed stops it there; what lies above keeps its A, the entry its new value. */
static void test_retry(void **ctx)
{
	(void)ctx;
	for (unsigned n = 1; n <= 4; n++) {
		struct fixture f = four_levels();

		walk(&f, RHZ_ACCESS_WRITE);
		f.t.fail_swap = n;
		assert_int_equal(set(&f, RHZ_ACCESS_WRITE), RHZ_AD_RETRY);
		assert_int_equal(f.t.swaps, n);
		for (unsigned i = 1; i < 5; i++)
			assert_int_equal(tables_get(&f.t, i * 0x1000),
					 (i + 1) * 0x1000 | PWU | (i < n ? A : 0));
	}
}

static void test_large_leaf(void **ctx)
{
	struct fixture f = four_levels();

	(void)ctx;
	tables_set(&f.t, 0x3000, 8, 0x80 | PWU);
	walk(&f, RHZ_ACCESS_WRITE);
	assert_int_equal(set(&f, RHZ_ACCESS_WRITE), RHZ_AD_SET);
	assert_int_equal(f.t.swaps, 3);
	assert_int_equal(tables_get(&f.t, 0x3000), 0x80 | PWU | A | D);
	assert_int_equal(tables_get(&f.t, 0x4000), 0x5000 | PWU);
}

/* Entries of 32-bit paging are exchanged as 4 bytes; PDPTE registers are not written at all. */
static void test_other_formats(void **ctx)
{
	struct fixture f = { .cpuid = cpuid_of(RHZ_VENDOR_INTEL), .regs = regs_of(RHZ_PAGING_32) };
	struct fixture pae = { .cpuid = f.cpuid, .regs = regs_of(RHZ_PAGING_PAE) };

	(void)ctx;
	tables_set(&f.t, 0x1000, 4, 0x2000 | PWU);
	tables_set(&f.t, 0x2000, 4, 0xfffff000 | PWU);
	walk(&f, RHZ_ACCESS_WRITE);
	assert_int_equal(set(&f, RHZ_ACCESS_WRITE), RHZ_AD_SET);
	assert_int_equal(f.t.entry[0].bytes, 4);
	assert_int_equal(tables_get(&f.t, 0x2000), 0xfffff000 | PWU | A | D);
	pae.regs.pdpte[0] = 0x2001;
	tables_set(&pae.t, 0x2000, 8, 0x3000 | PWU);
	tables_set(&pae.t, 0x3000, 8, 0x4000 | PWU);
	walk(&pae, 0);
	assert_int_equal(set(&pae, 0), RHZ_AD_SET);
	assert_int_equal(pae.t.swaps, 2);
	assert_int_equal(pae.walk.entry[3], 0x2001);
}

static void test_paging_off(void **ctx)
{
	struct fixture f = { .cpuid = cpuid_of(RHZ_VENDOR_INTEL),
			     .regs = regs_of(RHZ_PAGING_NONE) };

	(void)ctx;
	walk(&f, RHZ_ACCESS_WRITE);
	assert_int_equal(set(&f, RHZ_ACCESS_WRITE), RHZ_AD_UNCHANGED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_then_write),
		cmocka_unit_test(test_one_exchange_per_entry),
		cmocka_unit_test(test_retry),
		cmocka_unit_test(test_large_leaf),
		cmocka_unit_test(test_other_formats),
		cmocka_unit_test(test_paging_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
