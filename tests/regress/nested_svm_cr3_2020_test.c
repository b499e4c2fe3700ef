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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cr3_outside_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
