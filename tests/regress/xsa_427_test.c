/* SPDX-License-Identifier: MIT */
/*
 * XSA-427 (Xen): what was reserved before a fault was smaller than its worst case, so that a page
 * in use was freed in its middle. The worst case is all levels below the root, and pieces of a
 * large page below those, at the smallest quota, with roots of several contexts held.
 */
#include "fixture.h"

static void test_worst_case(void **state)
{
	(void)state;
	for (enum rhz_paging mode = RHZ_PAGING_32; mode <= RHZ_PAGING_5LEVEL; mode++) {
		struct world *world = world_make(&(struct setup){ .mode = mode, .vcpus = 2,
			.quota = RHZ_MIN_SHADOW_PAGES, .options = RHZ_NO_LARGE_PAGES });
		uint64_t root = table_new(world), other = table_new(world), far[3];
		struct rhz_regs regs = regs_of(mode, other);

		far[0] = mode == RHZ_PAGING_5LEVEL ? 0x00ff000000000000 :
		         mode == RHZ_PAGING_4LEVEL ? 0x00007f8000000000 : 0x40000000;
		far[1] = mode >= RHZ_PAGING_4LEVEL ? far[0] - 0x8000000000 : 0x80000000;
		far[2] = mode >= RHZ_PAGING_4LEVEL ? far[0] - 0x4000000000 : 0xc0000000;
		for (unsigned i = 0; i < 3; i++) {
			map(world, root, far[i] + 0x5000, 0x1000, PWU);
			map_at(world, root, far[i] + 0x800000, 0x400000, PWU, 2);
			if (mode >= RHZ_PAGING_4LEVEL)
				map_at(world, root, far[i] + 0x80000000, 0, PWU, 3);
		}
		map(world, other, 0x5000, 0x3000, PWU);
		start(world, 1, other);
		reaches_on(world, 1, 0x5000, WRITE, 0x3000);
		start(world, 0, root);
		switch_ok(world, 0, RHZ_CONTEXT_L2, &regs, 1, true);
		reaches(world, 0x5000, WRITE, 0x3000);
		switch_ok(world, 0, RHZ_CONTEXT_L1, NULL, 0, false);
		for (unsigned n = 0; n < 12; n++) {
			reaches(world, far[n % 3] + 0x5000, WRITE, 0x1000);
			reaches(world, far[(n + 1) % 3] + 0x812345, WRITE, 0x412345);
			if (mode >= RHZ_PAGING_4LEVEL)
				reaches(world, far[n % 3] + 0x80612345, WRITE, 0x612345);
			reaches_on(world, 1, 0x5000, WRITE, 0x3000);
			assert_true(VM_STAT(world, mmu_shadow_pages) <= RHZ_MIN_SHADOW_PAGES);
		}
		world_end(world);
	}
}

/* Nested tables less deep than the processor's: pages above their top, and pieces below. */
static void test_nested_worst_case(void **state)
{
	static const enum rhz_paging_kind kinds[] = { RHZ_NPT_5LEVEL, RHZ_EPT_5LEVEL };

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		enum rhz_paging mode = i & 1 ? RHZ_PAGING_4LEVEL + i / 4 : RHZ_PAGING_32 + i / 2;
		bool ept = i & 1, gib = mode >= RHZ_PAGING_4LEVEL;
		struct world *world = world_make(&(struct setup){ .mode = mode, .amd = !ept,
			.nested = kinds[ept], .quota = RHZ_MIN_SHADOW_PAGES,
			.options = RHZ_NO_LARGE_PAGES });
		uint64_t root = table_new(world), table = table_new(world), far;
		struct rhz_regs nested = regs_of(mode, table);

		if (ept)
			nested.cr3 |= 6 | (mode_levels(world) - 1) << 3;
		map(world, root, 0x5000, 0x3000, PWU);
		if (!ept)
			start(world, 0, root);
		for (unsigned n = 0; n < 3; n++) {
			far = n * 0x40000000ull;
			map(world, table, far + 0x5000, 0x1000, PWU);
			map_at(world, table, far + 0x800000, 0x400000, PWU, 2);
			if (gib)
				map_at(world, table, 0x8000000000 + far, 0, PWU, 3);
		}
		for (unsigned n = 0; n < 12; n++) {
			far = n % 3 * 0x40000000ull;
			nested_ok(world, 0, &nested, 1, RHZ_GUEST_KEEP);
			reaches(world, far + 0x5000, WRITE, 0x1000);
			reaches(world, far + 0x812345, WRITE, 0x412345);
			if (gib)
				reaches(world, 0x8000612345 + far, WRITE, 0x612345);
			assert_true(VM_STAT(world, mmu_shadow_pages) <= RHZ_MIN_SHADOW_PAGES);
			exit_ok(world, 0);
			if (!ept)
				reaches(world, 0x5000, WRITE, 0x3000);
		}
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_worst_case),
		cmocka_unit_test(test_nested_worst_case),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
