/* SPDX-License-Identifier: MIT */
/*
 * Nested NPT (KVM, 6.14): the root was built before guest mode was entered, and carried the role of
 * L1's registers. The context is complete before the switch: after it L2's rights are judged by
 * L2's own registers, and L1's by L1's.
 */
#include "fixture.h"

static void test_role_is_the_new_context(void **state)
{
	static const enum rhz_paging modes[] = { RHZ_PAGING_NONE, RHZ_PAGING_32, RHZ_PAGING_PAE,
		                                 RHZ_PAGING_4LEVEL, RHZ_PAGING_5LEVEL };

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		struct world *world = world_make(&(struct setup){ .mode = modes[i] });
		uint64_t l2 = table_new(world), l1 = table_new(world);
		struct rhz_regs regs = regs_of(modes[i], l2);

		if (modes[i])
			map(world, l2, 0x5000, 0x1000, P | U);
		regs.cr0 &= ~RHZ_CR0_WP;
		world->setup.mode = RHZ_PAGING_4LEVEL;
		map(world, l1, 0x5000, 0x2000, P | U | NX);
		start(world, 0, l1);
		for (unsigned n = 0; n < 2; n++) {
			reaches(world, 0x5000, USER, 0x2000);
			faults(world, 0x5000, WRITE, RHZ_PF_P | RHZ_PF_W);
			faults(world, 0x5000, FETCH, RHZ_PF_P | RHZ_PF_I);
			switch_ok(world, 0, RHZ_CONTEXT_L2, &regs, 1, n);
			reaches(world, 0x5000, WRITE, modes[i] ? 0x1000 : 0x5000);
			reaches(world, 0x5000, FETCH, modes[i] ? 0x1000 : 0x5000);
			switch_ok(world, 0, RHZ_CONTEXT_L1, NULL, 0, n);
		}
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_role_is_the_new_context),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
