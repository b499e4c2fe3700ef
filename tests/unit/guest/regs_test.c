/* SPDX-License-Identifier: MIT */
/* Which loads of CR0, CR3, CR4, EFER and the PDPTEs raise #GP(0). */
#include "tables.h"

static const struct rhz_cpuid nothing = { .maxphyaddr = 36 };

static bool faults(const struct rhz_cpuid *cpuid, const struct rhz_regs *now,
		   const struct rhz_regs *next)
{
	return rhz_regs_check(cpuid, now, next) == RHZ_LOAD_FAULTS;
}

/* Every mode may be kept, and left and entered by way of paging off. */
static void test_mode_changes(void **ctx)
{
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_INTEL);

	(void)ctx;
	for (unsigned paging = RHZ_PAGING_NONE; paging <= RHZ_PAGING_5LEVEL; paging++) {
		struct rhz_regs on = regs_of(paging), off = on;

		off.cr0 &= ~RHZ_CR0_PG;
		off.efer &= ~RHZ_EFER_LMA;
		assert_false(faults(&cpuid, &on, &on));
		assert_false(faults(&cpuid, &off, &on));
		assert_false(faults(&cpuid, &on, &off));
	}
}

static void test_cr0(void **ctx)
{
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_INTEL);
	struct rhz_regs now = regs_of(RHZ_PAGING_NONE), next = now;

	(void)ctx;
	next.cr0 |= RHZ_CR0_NW;
	assert_true(faults(&cpuid, &now, &next));
	next.cr0 |= RHZ_CR0_CD;
	assert_false(faults(&cpuid, &now, &next));
	next.cr0 &= ~RHZ_CR0_NW;
	assert_false(faults(&cpuid, &now, &next));
	for (unsigned bit = 32; bit < 64; bit++) {
		next.cr0 = now.cr0 | 1ull << bit;
		assert_true(faults(&cpuid, &now, &next));
	}
	next.cr0 = RHZ_CR0_PG; /* without PE */
	assert_true(faults(&cpuid, &now, &next));
	next = regs_of(RHZ_PAGING_4LEVEL);
	next.cr4 &= ~RHZ_CR4_PAE; /* PG with LME and without PAE */
	assert_true(faults(&cpuid, &now, &next));
}

static void test_cr3(void **ctx)
{
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_INTEL);
	struct rhz_regs now = regs_of(RHZ_PAGING_4LEVEL), next = now;

	(void)ctx;
	for (unsigned bit = 0; bit < 64; bit++) {
		now.cr4 &= ~RHZ_CR4_PCIDE;
		next = now;
		next.cr3 = 1ull << bit;
		assert_int_equal(faults(&cpuid, &now, &next), bit >= 46);
		now.cr4 |= RHZ_CR4_PCIDE;
		next.cr4 |= RHZ_CR4_PCIDE;
		assert_int_equal(faults(&cpuid, &now, &next), bit >= 46 && bit != 63);
	}
	cpuid.maxphyaddr = 52;
	next.cr3 = 1ull << 51;
	assert_false(faults(&cpuid, &now, &next));
}

/* Each bit of CR4 that paging owns needs its feature; EFER.NXE likewise. */
static void test_features(void **ctx)
{
	static const struct { uint64_t cr4, efer; size_t feature; } cases[] = {
		{ RHZ_CR4_PSE, 0, offsetof(struct rhz_cpuid, pse) },
		{ RHZ_CR4_PAE, 0, offsetof(struct rhz_cpuid, pae) },
		{ RHZ_CR4_PGE, 0, offsetof(struct rhz_cpuid, pge) },
		{ RHZ_CR4_LA57, 0, offsetof(struct rhz_cpuid, la57) },
		{ RHZ_CR4_SMEP, 0, offsetof(struct rhz_cpuid, smep) },
		{ RHZ_CR4_SMAP, 0, offsetof(struct rhz_cpuid, smap) },
		{ RHZ_CR4_PKE, 0, offsetof(struct rhz_cpuid, pku) },
		{ RHZ_CR4_PKS, 0, offsetof(struct rhz_cpuid, pks) },
		{ 0, RHZ_EFER_NXE, offsetof(struct rhz_cpuid, nx) },
	};

	(void)ctx;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rhz_regs now = regs_of(RHZ_PAGING_NONE), next = now;
		struct rhz_cpuid cpuid = nothing;

		next.cr4 |= cases[i].cr4;
		next.efer |= cases[i].efer;
		assert_true(faults(&cpuid, &now, &next));
		*((bool *)&cpuid + cases[i].feature) = true;
		assert_false(faults(&cpuid, &now, &next));
	}
}

/* [SDM3 4.10.1]: PCIDE only in long mode and from CR3[11:0] = 0; while set, PG cannot go. */
static void test_pcide(void **ctx)
{
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_INTEL);
	struct rhz_regs now = regs_of(RHZ_PAGING_4LEVEL), next = now;

	(void)ctx;
	next.cr4 |= RHZ_CR4_PCIDE;
	assert_false(faults(&cpuid, &now, &next));
	cpuid.pcid = false;
	assert_true(faults(&cpuid, &now, &next));
	cpuid.pcid = true;
	now.cr3 = next.cr3 = 0x1001;
	assert_true(faults(&cpuid, &now, &next));
	now.cr4 |= RHZ_CR4_PCIDE; /* already set: CR3 is free */
	assert_false(faults(&cpuid, &now, &next));
	next.cr4 &= ~RHZ_CR4_PCIDE; /* clearing it is free too */
	assert_false(faults(&cpuid, &now, &next));
	next = now;
	next.cr0 &= ~RHZ_CR0_PG;
	next.efer &= ~RHZ_EFER_LMA;
	assert_true(faults(&cpuid, &now, &next));
	now = next = regs_of(RHZ_PAGING_PAE);
	next.cr4 |= RHZ_CR4_PCIDE;
	assert_true(faults(&cpuid, &now, &next));
}

/* In long mode PAE and LA57 are fixed; with paging on LME is. */
static void test_long_mode(void **ctx)
{
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_AMD);
	struct rhz_regs four = regs_of(RHZ_PAGING_4LEVEL), five = regs_of(RHZ_PAGING_5LEVEL);
	struct rhz_regs pae = regs_of(RHZ_PAGING_PAE), next;

	(void)ctx;
	assert_true(faults(&cpuid, &four, &five));
	assert_true(faults(&cpuid, &five, &four));
	next = pae;
	next.cr4 |= RHZ_CR4_LA57; /* outside long mode it is free, and means nothing */
	assert_false(faults(&cpuid, &pae, &next));
	next = four;
	next.cr4 &= ~RHZ_CR4_PAE;
	assert_true(faults(&cpuid, &four, &next));
	assert_true(faults(&cpuid, &pae, &four));
	assert_true(faults(&cpuid, &four, &pae));
	next = pae;
	next.efer |= RHZ_EFER_LME; /* LMA would have to follow */
	assert_true(faults(&cpuid, &pae, &next));
	next.efer = RHZ_EFER_LMA;
	assert_true(faults(&cpuid, &pae, &next));
}

/* [SDM3 4.4.1]: 2:1, 8:5 and from MAXPHYADDR up, in present PDPTEs only; both vendors. */
static void test_pdptes(void **ctx)
{
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_INTEL);
	struct rhz_regs regs = regs_of(RHZ_PAGING_PAE);
	struct rhz_mode mode;

	(void)ctx;
	for (int vendor = RHZ_VENDOR_INTEL; vendor <= RHZ_VENDOR_AMD; vendor++)
		for (unsigned bit = 1; bit < 64; bit++) {
			bool reserved = bit == 1 || bit == 2 || (bit >= 5 && bit <= 8) || bit >= 46;
			uint64_t pdpte[4] = { 0x1001, 0, 0, 0x2019 };

			cpuid.vendor = vendor;
			assert_int_equal(rhz_mode_init(&mode, &cpuid, &regs), RHZ_OK);
			pdpte[bit % 4] = 1 | 1ull << bit;
			assert_int_equal(rhz_pdptes_check(&mode, pdpte),
					 reserved ? RHZ_LOAD_FAULTS : RHZ_LOAD_FINE);
			pdpte[bit % 4] = 1ull << bit;
			assert_int_equal(rhz_pdptes_check(&mode, pdpte), RHZ_LOAD_FINE);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mode_changes),
		cmocka_unit_test(test_cr0),
		cmocka_unit_test(test_cr3),
		cmocka_unit_test(test_features),
		cmocka_unit_test(test_pcide),
		cmocka_unit_test(test_long_mode),
		cmocka_unit_test(test_pdptes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
