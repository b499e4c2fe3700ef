/* SPDX-License-Identifier: MIT */
/* Nested tables as L1 made them: the same walk in a mode of its own; EXITINFO1 of its faults. */
#include "predict.h"
#include "tables.h"

#define ALL 0x67ull /* P, W, U, A, D */

static struct rhz_walk nested_walk(const struct rhz_regs *regs, struct tables *t, uint64_t ngpa,
				   unsigned access)
{
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_AMD);
	struct rhz_mode mode;
	struct rhz_walk walk;

	assert_int_equal(rhz_npt_mode_init(&mode, &cpuid, regs), RHZ_OK);
	rhz_guest_walk(&mode, regs, (rhz_gva){ ngpa }, access | RHZ_ACCESS_USER, tables_read, t,
		       &walk);
	return walk;
}

/* Bit 47 of a physical address is no sign; what the tables do not reach is not mapped. */
static void test_addresses(void **ctx)
{
	static const struct { enum rhz_paging paging; uint64_t last; } cases[] = {
		{ RHZ_PAGING_32, BIT(32) - 1 }, { RHZ_PAGING_PAE, BIT(32) - 1 },
		{ RHZ_PAGING_4LEVEL, BIT(48) - 1 }, { RHZ_PAGING_5LEVEL, BIT(52) - 1 },
	};

	(void)ctx;
	for (unsigned i = 0; i < 4; i++) {
		struct rhz_regs regs = regs_of(cases[i].paging);
		struct tables none = { .count = 0 };
		struct rhz_walk w;

		regs.pdpte[3] = 0x1001;
		w = nested_walk(&regs, &none, cases[i].last, 0);
		assert_int_equal(w.outcome, RHZ_WALK_TABLE);
		if (cases[i].paging == RHZ_PAGING_5LEVEL)
			continue; /* it reaches all 52 bits */
		w = nested_walk(&regs, &none, cases[i].last + 1, RHZ_ACCESS_WRITE);
		assert_int_equal(w.outcome, RHZ_WALK_NOT_PRESENT);
		assert_int_equal(w.error_code, RHZ_PF_W | RHZ_PF_U);
		assert_int_equal(w.level, w.top);
	}
}

/* All nested accesses are user accesses: a supervisor entry is a violation [APM2 15.25.5]. */
static void test_user(void **ctx)
{
	struct rhz_regs regs = regs_of(RHZ_PAGING_4LEVEL);
	struct tables t = { .count = 0 };
	struct rhz_walk w;

	(void)ctx;
	regs.cr4 |= RHZ_CR4_PKE | RHZ_CR4_SMEP | RHZ_CR4_SMAP;
	regs.cr0 &= ~RHZ_CR0_WP;
	regs.pkru = ~0u; /* keys do not act */
	tables_set(&t, 0x1800, 8, 0x2000 | ALL); /* bit 47 alone: entry 256 */
	tables_set(&t, 0x2000, 8, 0x3000 | ALL);
	tables_set(&t, 0x3000, 8, 0x4000 | ALL);
	tables_set(&t, 0x4000, 8, 0x9000 | ALL | 5ull << 59);
	w = nested_walk(&regs, &t, BIT(47) | 0x10, RHZ_ACCESS_WRITE);
	assert_int_equal(w.outcome, RHZ_WALK_OK);
	assert_int_equal(w.gpa.v, 0x9010);
	assert_int_equal(nested_walk(&regs, &t, BIT(47), RHZ_ACCESS_FETCH).outcome, RHZ_WALK_OK);
	tables_set(&t, 0x2000, 8, 0x3000 | (ALL & ~BIT(2)));
	w = nested_walk(&regs, &t, BIT(47), 0);
	assert_int_equal(w.outcome, RHZ_WALK_RIGHTS);
	assert_int_equal(w.error_code, RHZ_PF_P | RHZ_PF_U);
	tables_set(&t, 0x2000, 8, 0x3000 | (ALL & ~BIT(1))); /* WP is of no interest to a user */
	w = nested_walk(&regs, &t, BIT(47), RHZ_ACCESS_WRITE);
	assert_int_equal(w.outcome, RHZ_WALK_RIGHTS);
	assert_int_equal(nested_walk(&regs, &t, BIT(47), 0).outcome, RHZ_WALK_OK);
}

static void test_info(void **ctx)
{
	struct rhz_walk w = { .outcome = RHZ_WALK_RIGHTS, .error_code = RHZ_PF_P | RHZ_PF_W };

	(void)ctx;
	assert_int_equal(rhz_npf_info(&w, false), RHZ_PF_P | RHZ_PF_W | RHZ_PF_U | 1ull << 32);
	assert_int_equal(rhz_npf_info(&w, true), RHZ_PF_P | RHZ_PF_W | RHZ_PF_U | 1ull << 33);
	w.error_code = 0;
	assert_int_equal(rhz_npf_info(&w, true), RHZ_PF_U | 1ull << 33);
}

/* Flags of every entry of a 4-level walk, all at once, against the predictor. */
static void test_combinations(void **ctx)
{
	struct given g = { .paging = RHZ_PAGING_4LEVEL, .nested = true,
			   .cpuid = cpuid_of(RHZ_VENDOR_AMD), .regs = regs_of(RHZ_PAGING_4LEVEL) };

	(void)ctx;
	g.regs.cr4 |= RHZ_CR4_PKE | RHZ_CR4_SMEP | RHZ_CR4_SMAP | RHZ_CR4_PGE;
	g.regs.pkru = ~0u;
	for (unsigned n = 0; n < 1u << 19; n++) {
		static const unsigned what[] = { 0, RHZ_ACCESS_WRITE, RHZ_ACCESS_FETCH, 0 };
		struct tables t = { .count = 0 };
		struct expected e;
		struct rhz_walk w;

		g.access = what[n >> 16 & 3] | RHZ_ACCESS_USER;
		g.regs.efer &= ~RHZ_EFER_NXE;
		g.regs.efer |= n >> 18 & 1 ? RHZ_EFER_NXE : 0;
		for (unsigned level = 4; level > 0; level--) {
			unsigned flags = n >> (4 * (level - 1)) & 15;

			g.entry[level] = (5ull - level + 1) << 12 | (~flags & 7) |
					 (flags & 8 ? BIT(63) : 0);
			tables_set(&t, (5 - level) << 12, 8, g.entry[level]);
		}
		e = predict(&g);
		w = nested_walk(&g.regs, &t, 0, g.access);
		if (w.outcome != e.outcome || w.error_code != e.code || w.gpa.v != e.gpa)
			fail_msg("case %#x: outcome %d, expected %d; code %#x, expected %#x", n,
				 w.outcome, e.outcome, w.error_code, e.code);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_user),
		cmocka_unit_test(test_info),
		cmocka_unit_test(test_combinations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
