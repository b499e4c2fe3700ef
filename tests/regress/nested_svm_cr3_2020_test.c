/* SPDX-License-Identifier: MIT */
/*
 * Nested SVM's CR3 (KVM, 2020): a nested guest's CR3 was checked as if it were an address of L1's,
 * so that legal entries failed. In the library kinds of address are types and do not mix; and no
 * CR3 is refused because no memory stands there: its tables read as not present.
 */
#include "fixture.h"

static void test_cr3_outside_memory(void **state)
{
	static const enum rhz_paging_kind kinds[] = { RHZ_SHADOW, RHZ_NPT_4LEVEL };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct world *world = world_make(&(struct setup){ .kind = kinds[i],
			.mode = RHZ_PAGING_4LEVEL });
		struct rhz_regs regs = regs_of(RHZ_PAGING_4LEVEL, HOLE);

		switch_ok(world, 0, RHZ_CONTEXT_L2, &regs, 1, true);
		if (kinds[i] == RHZ_SHADOW)
			faults(world, 0x5000, USER, RHZ_PF_U);
		else
			reaches(world, 0x5000, WRITE, 0x5000);
		regs.cr3 = 1ull << 40;
		assert_int_equal(rhz_vcpu_switch_context(world->vcpu[0], RHZ_CONTEXT_L2, &regs, 1,
		                                         true), RHZ_LOAD_GP);
		world_end(world);
	}
}

/* Nor need there be memory behind an nCR3 or an EPTP, nor where L1 has what L2's CR3 names. */
static void test_nested_table_outside_memory(void **state)
{
	static const enum rhz_paging_kind kinds[] = { RHZ_NPT_4LEVEL, RHZ_EPT_4LEVEL };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct world *world = world_make(&(struct setup){ .nested = kinds[i],
			.mode = RHZ_PAGING_4LEVEL });
		struct rhz_regs nested = regs_of(RHZ_PAGING_4LEVEL, HOLE | (i ? 6 | 3 << 3 : 0));
		struct rhz_regs l2 = regs_of(RHZ_PAGING_4LEVEL, 0x40000000);
		struct rhz_l2_walk walk;

		nested_ok(world, 0, &nested, 1, RHZ_GUEST_FLUSH_ASID);
		if (i)
			exits_on(world, 0, 0x5000, READ, RHZ_L1_EPT_VIOLATION,
			         RHZ_EPT_QUAL_READ | RHZ_EPT_QUAL_GVA | RHZ_EPT_QUAL_FINAL);
		else
			npf(world, 0x5000, READ, RHZ_NPF_FINAL | RHZ_PF_U);
		/* L2's CR3 lies where L1 has no memory, and its nested tables lead somewhere */
		exit_ok(world, 0);
		nested.cr3 = (nested.cr3 & ~FRAME) | table_new(world);
		map(world, nested.cr3 & FRAME, 0x40000000, table_new(world), PWU);
		map(world, nested.cr3 & FRAME, 0, 0, PWU);
		nested_ok(world, 0, &nested, 1, RHZ_GUEST_FLUSH_ASID);
		assert_status(rhz_vcpu_translate_l2(world->vcpu[0], &l2, (rhz_gva){ 0x5000 }, USER,
		                                    &walk), RHZ_OK);
		assert_int_equal(walk.outcome, RHZ_L2_EXCEPTION);
		assert_int_equal(walk.walk.error_code, RHZ_PF_U);
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cr3_outside_memory),
		cmocka_unit_test(test_nested_table_outside_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
