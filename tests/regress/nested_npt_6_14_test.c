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

/* L1's nested tables follow the mode that L1 is in at its VMRUN, at whatever address they are. */
static void test_role_of_nested_tables(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL, .amd = true,
		.nested = RHZ_NPT_4LEVEL });
	struct rhz_regs l1 = regs_of(RHZ_PAGING_4LEVEL, table_new(world)), without = l1, pae;

	(void)state;
	without.efer &= ~RHZ_EFER_NXE;
	pae = regs_of(RHZ_PAGING_PAE, l1.cr3);
	map(world, l1.cr3, 0x5000, 0x1000, PWU | NX);
	map(world, l1.cr3, 0x6000, 0x2000, PWU);
	/* as PAE's, its top entry has reserved bits */
	for (unsigned n = 0; n < 3; n++) {
		nested_ok(world, 0, &l1, 1, RHZ_GUEST_KEEP);
		reaches(world, 0x5000, WRITE, 0x1000);
		npf(world, 0x5000, FETCH, RHZ_NPF_FINAL | RHZ_PF_P | RHZ_PF_U | RHZ_PF_I);
		nested_ok(world, 0, &without, 1, RHZ_GUEST_KEEP);
		npf(world, 0x5000, READ, RHZ_NPF_FINAL | RHZ_PF_P | RHZ_PF_U | RHZ_PF_RSVD);
		reaches(world, 0x6000, FETCH, 0x2000);
		nested_ok(world, 0, &pae, 1, RHZ_GUEST_KEEP);
		npf(world, 0x6000, READ, RHZ_NPF_FINAL | RHZ_PF_P | RHZ_PF_U | RHZ_PF_RSVD);
	}
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_role_is_the_new_context),
		cmocka_unit_test(test_role_of_nested_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
