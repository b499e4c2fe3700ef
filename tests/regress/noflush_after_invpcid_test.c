/* SPDX-License-Identifier: MIT */
/*
 * A load with the no-flush bit after INVPCID of a PCID that is not current [SDM3 4.10.4.1]: what
 * was invalidated for that PCID must not come back with its cached root, though the load itself
 * flushes nothing. Of the rules of sync: every root load empties the lists, no-flush loads too.
 */
#include "fixture.h"

static void test_noflush(void **state)
{
	(void)state;
	for (unsigned type = 0; type < 4; type++) {
		struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL });
		uint64_t roots[2] = { table_new(world), table_new(world) };
		struct rhz_vcpu *vcpu = world->vcpu[0];
		const rhz_gva gva = { 0x5000 };
		enum rhz_flush flush;

		map(world, roots[0], 0x5000, 0x1000, PWU);
		map(world, roots[1], 0x5000, 0x2000, PWU);
		map_window(world, roots[1]);
		start(world, 0, roots[0]);
		cr_change(world, 0, 0, RHZ_CR4_PCIDE, 0);
		load_ok(world, 0, roots[0] | 1);
		reaches(world, 0x5000, USER | WRITE, 0x1000);
		load_ok(world, 0, roots[1] | 2);
		reaches(world, 0x5000, USER | WRITE, 0x2000);
		entry_store(world, 0, roots[0], 0x5000, 1, 0x3000 | PWU | A | D);
		assert_int_equal(rhz_vcpu_invpcid(vcpu, type, type < 2, gva, &flush),
		                 RHZ_LOAD_OK);
		audit(world);
		load_ok(world, 0, roots[0] | 1 | RHZ_CR3_NOFLUSH);
		reaches(world, 0x5000, USER | WRITE, 0x3000);
		load_ok(world, 0, roots[1] | 2 | RHZ_CR3_NOFLUSH);
		reaches(world, 0x5000, USER | WRITE, 0x2000);
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_noflush),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
