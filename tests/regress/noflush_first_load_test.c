/* SPDX-License-Identifier: MIT */
/*
 * A no-flush load on a vCPU that never held the root: it has no history there, so nothing old may
 * be used that another vCPU's shadow tables still have.
 */
#include "fixture.h"

static void test_first_load(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL, .vcpus = 3 });
	uint64_t root = table_new(world), other = table_new(world);

	(void)state;
	map(world, root, 0x5000, 0x1000, PWU);
	map(world, root, 0x6000, 0x1000, PWU);
	map_window(world, root);
	map(world, other, 0x5000, 0x2000, PWU);
	for (unsigned i = 0; i < 3; i++) {
		start(world, i, i ? other : root);
		cr_change(world, i, 0, RHZ_CR4_PCIDE, 0);
	}
	reaches(world, 0x5000, USER, 0x1000);
	reaches(world, 0x6000, USER, 0x1000);
	entry_store(world, 0, root, 0x5000, 1, 0x3000 | PWU | A | D);
	entry_store(world, 0, root, 0x6000, 1, 0x4000 | PWU | A | D);
	load_ok(world, 1, root | RHZ_CR3_NOFLUSH);
	reaches_on(world, 1, 0x6000, USER, 0x4000);
	reaches_on(world, 1, 0x5000, USER, 0x3000);
	/* the root went from all caches, and is found again by frame and role */
	entry_store(world, 0, root, 0x6000, 1, 0x5000 | PWU | A | D);
	load_ok(world, 2, root | 7 | RHZ_CR3_NOFLUSH);
	reaches_on(world, 2, 0x6000, USER, 0x5000);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
