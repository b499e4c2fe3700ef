/* SPDX-License-Identifier: MIT */
/* Shadow tables: what is synced before it is linked, what two roots share, what goes with what. */
#include "fixture.h"

/*
 * Two roots, one directory. While the first root runs, the guest rewrites a leaf entry in the
 * directory's table, which is out of sync and on the first root's own list. Then the second root
 * gets the directory and is loaded: a flush, so that it must not see the old entry.
 */
static void test_table_below_is_synced_before_link(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL });
	uint64_t first = table_new(world), second = table_new(world);

	(void)state;
	map(world, first, 0x5000, 0x1000, PWU);
	map(world, first, 0x6000, 0x2000, PWU);
	map_window(world, first);
	map(world, second, 0x8000000000, 0x1000, PWU);
	start(world, 0, first);
	reaches(world, 0x5000, USER, 0x1000);
	reaches(world, 0x6000, USER, 0x2000);
	entry_store(world, 0, first, 0x6000, 1, 0x3000 | PWU | A);
	assert_int_equal(VM_STAT(world, mmu_unsync), 1);
	/* the directory of level 2 below the second root's level-3 entry */
	map_at(world, second, 0x5000, 0, PWU, 3);
	entry_poke(world, second, 0x5000, 3, entry_get(world, first, 0x5000, 3));
	load_ok(world, 0, second);
	reaches(world, 0x5000, USER, 0x1000);
	reaches(world, 0x6000, USER, 0x3000);
	world_end(world);
}

/* The same when the link comes after the load: from not present to present no flush is due. */
static void test_link_after_load(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL, .vcpus = 2 });
	uint64_t first = table_new(world), second = table_new(world);

	(void)state;
	map(world, first, 0x5000, 0x1000, PWU);
	map(world, first, 0x6000, 0x2000, PWU);
	map_window(world, first);
	map(world, second, 0x8000000000, 0x1000, PWU);
	map_at(world, second, 0x5000, 0, 0, 3);
	start(world, 0, first);
	start(world, 1, second);
	reaches(world, 0x5000, USER, 0x1000);
	reaches(world, 0x6000, USER, 0x2000);
	faults_on(world, 1, 0x6000, USER, RHZ_PF_U);
	entry_store(world, 0, first, 0x6000, 1, 0x3000 | PWU | A);
	entry_poke(world, second, 0x5000, 3, entry_get(world, first, 0x5000, 3));
	reaches_on(world, 1, 0x5000, USER, 0x1000);
	reaches_on(world, 1, 0x6000, USER, 0x3000);
	world_end(world);
}

/* And within one root: a second directory entry to the same directory. */
static void test_link_twice_in_one_root(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL });
	uint64_t root = table_new(world);

	(void)state;
	map(world, root, 0x5000, 0x1000, PWU);
	map(world, root, 0x6000, 0x2000, PWU);
	map_window(world, root);
	map_at(world, root, 0x100005000, 0, 0, 3);
	start(world, 0, root);
	reaches(world, 0x5000, USER, 0x1000);
	reaches(world, 0x6000, USER, 0x2000);
	entry_store(world, 0, root, 0x6000, 1, 0x3000 | PWU | A);
	entry_poke(world, root, 0x100005000, 3, entry_get(world, root, 0x5000, 3));
	reaches(world, 0x100005000, USER, 0x1000);
	reaches(world, 0x100006000, USER, 0x3000);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table_below_is_synced_before_link),
		cmocka_unit_test(test_link_after_load),
		cmocka_unit_test(test_link_twice_in_one_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
