/* SPDX-License-Identifier: MIT */
/* What the registers amount to: paging mode, which features act in it, the table bits of CR3. */
#include "format/format.h"
#include "tables.h"

static struct rhz_mode mode_of(const struct rhz_cpuid *cpuid, const struct rhz_regs *regs)
{
	struct rhz_mode mode;

	memset(&mode, 0xa5, sizeof(mode));
	assert_int_equal(rhz_mode_init(&mode, cpuid, regs), RHZ_OK);
	return mode;
}

static void test_modes(void **ctx)
{
	static const struct {
		const struct rhz_format *format;
		uint8_t levels, va_bits;
		uint64_t cr3_table;
	} expected[] = {
		[RHZ_PAGING_NONE] = { NULL, 0, 32, 0 },
		[RHZ_PAGING_32] = { &rhz_format_32, 2, 32, 0xfffff000 },
		[RHZ_PAGING_PAE] = { &rhz_format_pae, 3, 32, 0xffffffe0 },
		[RHZ_PAGING_4LEVEL] = { &rhz_format_4level, 4, 48, 0x3ffffffff000 },
		[RHZ_PAGING_5LEVEL] = { &rhz_format_5level, 5, 57, 0x3ffffffff000 },
	};
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_AMD);

	(void)ctx;
	for (unsigned paging = RHZ_PAGING_NONE; paging <= RHZ_PAGING_5LEVEL; paging++) {
		struct rhz_regs regs = regs_of(paging);
		struct rhz_mode mode = mode_of(&cpuid, &regs);

		assert_int_equal(mode.paging, paging);
		assert_ptr_equal(mode.format, expected[paging].format);
		assert_int_equal(mode.levels, expected[paging].levels);
		assert_int_equal(mode.va_bits, expected[paging].va_bits);
		assert_int_equal(mode.cr3_table, expected[paging].cr3_table);
		assert_int_equal(mode.vendor, RHZ_VENDOR_AMD);
		assert_int_equal(mode.maxphyaddr, 46);
		assert_int_equal(mode.wp, paging != RHZ_PAGING_NONE);
		assert_int_equal(mode.pse, paging >= RHZ_PAGING_PAE);
		assert_false(mode.nested);
	}
}

/* Bits that are set but do not act in a mode are not in it, so that they make no role differ. */
static void test_what_acts(void **ctx)
{
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_INTEL);

	(void)ctx;
	for (unsigned paging = RHZ_PAGING_NONE; paging <= RHZ_PAGING_5LEVEL; paging++) {
		struct rhz_regs regs = regs_of(paging);
		bool on = paging != RHZ_PAGING_NONE, wide = paging >= RHZ_PAGING_4LEVEL;
		struct rhz_mode mode;

		regs.cr4 |= RHZ_CR4_PSE | RHZ_CR4_PGE | RHZ_CR4_SMEP | RHZ_CR4_SMAP |
			    RHZ_CR4_PKE | RHZ_CR4_PKS | (wide ? RHZ_CR4_PCIDE : 0);
		regs.efer |= RHZ_EFER_NXE;
		mode = mode_of(&cpuid, &regs);
		assert_int_equal(mode.wp, on);
		assert_int_equal(mode.smep, on);
		assert_int_equal(mode.smap, on);
		assert_int_equal(mode.pge, on);
		assert_int_equal(mode.pse, on);
		assert_int_equal(mode.nxe, paging >= RHZ_PAGING_PAE);
		assert_int_equal(mode.pke, wide);
		assert_int_equal(mode.pks, wide);
		assert_int_equal(mode.pcide, wide);
	}
}

/* One mode for all values of the registers that it does not depend on. */
static void test_cr3_plays_no_part(void **ctx)
{
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_INTEL);
	struct rhz_regs a = regs_of(RHZ_PAGING_4LEVEL), b = a;
	struct rhz_mode one, other;

	(void)ctx;
	b.cr3 = ~0ull;
	b.pkru = b.pkrs = ~0u;
	b.pdpte[2] = ~0ull;
	one = mode_of(&cpuid, &a);
	other = mode_of(&cpuid, &b);
	assert_memory_equal(one.reserved, other.reserved, sizeof(one.reserved));
	assert_memory_equal(&one.rules, &other.rules, sizeof(one.rules));
	assert_int_equal(one.cr3_table, other.cr3_table);
}

static void test_widths(void **ctx)
{
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_INTEL);
	struct rhz_regs regs = regs_of(RHZ_PAGING_4LEVEL);
	struct rhz_mode mode;

	(void)ctx;
	for (unsigned width = 0; width < 256; width++) {
		cpuid.maxphyaddr = (uint8_t)width;
		assert_int_equal(rhz_mode_init(&mode, &cpuid, &regs),
				 width < 32 || width > 52 ? RHZ_ERR_FEATURE : RHZ_OK);
	}
	cpuid.maxphyaddr = 52;
	mode = mode_of(&cpuid, &regs);
	assert_int_equal(mode.reserved[1][1], PTE_NX); /* no address bit is left to be reserved */
	cpuid.maxphyaddr = 32;
	mode = mode_of(&cpuid, &regs);
	assert_int_equal(mode.reserved[1][1], PTE_NX | 0xfffff00000000);
	assert_int_equal(mode.cr3_table, 0xfffff000);
}

/* Registers that this processor cannot hold. */
static void test_impossible(void **ctx)
{
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_INTEL);
	struct rhz_regs regs;
	struct rhz_mode mode;

	(void)ctx;
	regs = regs_of(RHZ_PAGING_32);
	regs.cr0 &= ~RHZ_CR0_PE;
	assert_int_equal(rhz_mode_init(&mode, &cpuid, &regs), RHZ_ERR_FEATURE);
	regs = regs_of(RHZ_PAGING_4LEVEL);
	regs.efer &= ~RHZ_EFER_LMA;
	assert_int_equal(rhz_mode_init(&mode, &cpuid, &regs), RHZ_ERR_FEATURE);
	regs = regs_of(RHZ_PAGING_PAE);
	regs.efer |= RHZ_EFER_LMA;
	assert_int_equal(rhz_mode_init(&mode, &cpuid, &regs), RHZ_ERR_FEATURE);
	regs = regs_of(RHZ_PAGING_4LEVEL);
	regs.cr4 &= ~RHZ_CR4_PAE;
	assert_int_equal(rhz_mode_init(&mode, &cpuid, &regs), RHZ_ERR_FEATURE);
	regs = regs_of(RHZ_PAGING_PAE);
	regs.cr4 |= RHZ_CR4_PCIDE;
	assert_int_equal(rhz_mode_init(&mode, &cpuid, &regs), RHZ_ERR_FEATURE);
	regs = regs_of(RHZ_PAGING_NONE); /* LME before PG is how long mode is entered */
	regs.efer = RHZ_EFER_LME;
	assert_int_equal(rhz_mode_init(&mode, &cpuid, &regs), RHZ_OK);
}

/* NPT: every access is a user's, keys, SMEP, SMAP and G do not act, addresses have no sign. */
static void test_nested(void **ctx)
{
	struct rhz_cpuid cpuid = cpuid_of(RHZ_VENDOR_AMD);
	struct rhz_regs regs = regs_of(RHZ_PAGING_4LEVEL);
	struct rhz_mode mode;

	(void)ctx;
	regs.cr4 |= RHZ_CR4_SMEP | RHZ_CR4_SMAP | RHZ_CR4_PKE | RHZ_CR4_PKS | RHZ_CR4_PGE |
		    RHZ_CR4_PCIDE;
	regs.efer |= RHZ_EFER_NXE;
	assert_int_equal(rhz_npt_mode_init(&mode, &cpuid, &regs), RHZ_OK);
	assert_true(mode.nested && mode.nxe && mode.wp);
	assert_false(mode.smep || mode.smap || mode.pke || mode.pks || mode.pge || mode.pcide);
	regs = regs_of(RHZ_PAGING_NONE);
	assert_int_equal(rhz_npt_mode_init(&mode, &cpuid, &regs), RHZ_ERR_FEATURE);
	cpuid.maxphyaddr = 53;
	assert_int_equal(rhz_npt_mode_init(&mode, &cpuid, &regs), RHZ_ERR_FEATURE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_what_acts),
		cmocka_unit_test(test_cr3_plays_no_part),
		cmocka_unit_test(test_widths),
		cmocka_unit_test(test_impossible),
		cmocka_unit_test(test_nested),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
