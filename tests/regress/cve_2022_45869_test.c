/* SPDX-License-Identifier: MIT */
/*
 * CVE-2022-45869 (KVM): reclaim ran under a lock too weak for it, beside a fault that used the
 * page.
 *
 * Here there is one lock by contract. The fixture's callbacks fail the test if a page is taken or
 * given back or a vCPU kicked without it, or if it is taken twice; all that reclaims runs under
 * that watch.
 */
#include "fixture.h"

static void test_reclaim_under_the_lock(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL, .vcpus = 2,
		.quota = RHZ_MIN_SHADOW_PAGES });
	uint64_t roots[16], found;
	unsigned locks;

	(void)state;
	for (unsigned n = 0; n < 16; n++) {
		roots[n] = table_new(world);
		map(world, roots[n], 0x5000, n * 0x1000, PWU);
	}
	start(world, 0, roots[0]);
	start(world, 1, roots[0]);
	for (unsigned n = 0; n < 32; n++) {
		load_ok(world, n & 1, roots[n % 16]);
		reaches_on(world, n & 1, 0x5000, WRITE, n % 16 * 0x1000);
	}
	assert_true(VM_STAT(world, mmu_recycled));
	assert_true(world->freed || world->allocated);
	rhz_vm_shrink(world->vm, 0);
	assert_status(rhz_ram_age(world->vm, 0, 0, RAM, &found), RHZ_OK);
	assert_int_equal(world->locked, 0);
	locks = world->locks;
	rhz_vm_unshadow(world->vm, 0, (rhz_gpa){ roots[3] });
	assert_int_equal(world->locks, locks + 1);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reclaim_under_the_lock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
