/* SPDX-License-Identifier: MIT */
/*
 * CVE-2022-1789 (KVM): INVPCID with paging off called a null pointer. Invalidation with paging off
 * is defined [SDM2 INVPCID, INVLPG]: nothing is cached for linear addresses, so there is nothing to
 * do.
 */
#include "fixture.h"

static void test_paging_off(void **state)
{
	static const enum rhz_paging_kind kinds[] = { RHZ_SHADOW, RHZ_NPT_4LEVEL, RHZ_EPT_4LEVEL };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct world *world = world_make(&(struct setup){ .kind = kinds[i] });
		struct rhz_vcpu *vcpu = world->vcpu[0];
		const rhz_gva gva = { 0x1000 };
		enum rhz_flush flush;

		for (unsigned n = 0; n < 2; n++) {
			for (unsigned type = 0; type < 4; type++) {
				assert_int_equal(rhz_vcpu_invpcid(vcpu, type, 0, gva, &flush),
				                 RHZ_LOAD_OK);
				assert_true(flush == RHZ_FLUSH_NONE || flush == RHZ_FLUSH_ADDRESS);
				audit(world);
			}
			invlpg(world, 0, 0x1000);
			invlpg(world, 0, ~0ull);
			rhz_vcpu_flush_guest(vcpu);
			assert_int_equal(rhz_vcpu_invpcid(vcpu, 0, 1, gva, &flush), RHZ_LOAD_GP);
			/* the second time with a root in place */
			world->at[0].running = false;
			reaches(world, 0x1000, WRITE, 0x1000);
		}
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paging_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
