/* SPDX-License-Identifier: MIT */
/*
 * XSA-438, then XSA-494 (Xen): the old top level was released before the switch to the new one was
 * done. The old root outlives the switch: here the load fails for want of memory, at each
 * allocation, under each policy, and the processor goes on with the old root.
 */
#include "fixture.h"

static void test_old_root_outlives(void **state)
{
	(void)state;
	for (unsigned i = 0; i < RHZ_ROOT_POLICIES * 4; i++) {
		enum rhz_paging mode = RHZ_PAGING_32 + i % 4;
		struct world *world = world_make(&(struct setup){ .mode = mode, .given_roots = true,
			.policy = i / 4, .quota = RHZ_MIN_SHADOW_PAGES });
		uint64_t roots[16];
		unsigned now = 0;

		for (unsigned r = 0; r < 16; r++) {
			roots[r] = table_new(world);
			map(world, roots[r], 0x5000, r * 0x1000, PWU);
		}
		start(world, 0, roots[0]);
		for (unsigned n = 1; n < 48; n++) {
			enum rhz_load_result result;

			reaches(world, 0x5000, WRITE, now * 0x1000);
			/* the page that the processor walks until the next entry */
			world->fail_at = n % 4;
			world->no_memory = n % 7 == 0;
			result = rhz_vcpu_load_cr3(world->vcpu[0], roots[n * 5 % 16]);
			audit(world);
			if (result == RHZ_LOAD_OK)
				now = n * 5 % 16;
			else
				assert_int_equal(result, RHZ_LOAD_NO_MEMORY);
			world->fail_at = 0;
			world->no_memory = false;
			world->at[0].running = false;
			assert_true(enter(world, 0));
			reaches(world, 0x5000, WRITE, now * 0x1000);
		}
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_old_root_outlives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
