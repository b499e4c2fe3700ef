/* SPDX-License-Identifier: MIT */
/*
 * A write lets a guest table go out of sync through a mapping that is itself out of date: write
 * access must not join rights that the guest's entry has no more.
 */
#include "fixture.h"

/*
 * 0x5000 maps a table in use, first for users to read, then for the kernel to write: at no time
 * may a user write there.
 */
static void test_user_right_taken(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL });
	uint64_t root = table_new(world), used;

	(void)state;
	map(world, root, 0x205000, 0x1000, PWU);
	map(world, root, 0x6000, 0x2000, PWU);
	map_window(world, root);
	used = entry_get(world, root, 0x205000, 2) & FRAME;
	map(world, root, 0x5000, used, P | U);
	start(world, 0, root);
	reaches(world, 0x205000, WRITE, 0x1000);
	reaches(world, 0x5000, READ | USER, used);
	/* the leaf table goes out of sync, and so stays what it was */
	entry_store(world, 0, root, 0x5000, 1, used | P | W | A | D);
	reaches(world, 0x5000, WRITE, used);
	faults(world, 0x5000, WRITE | USER, RHZ_PF_P | RHZ_PF_W | RHZ_PF_U);
	world_end(world);
}

/* The same of the right to execute. */
static void test_exec_right_taken(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL });
	uint64_t root = table_new(world), used;

	(void)state;
	map(world, root, 0x205000, 0x1000, PWU);
	map_window(world, root);
	used = entry_get(world, root, 0x205000, 2) & FRAME;
	map(world, root, 0x5000, used, P);
	start(world, 0, root);
	reaches(world, 0x205000, WRITE, 0x1000);
	reaches(world, 0x5000, FETCH, used);
	entry_store(world, 0, root, 0x5000, 1, used | P | W | A | D | NX);
	reaches(world, 0x5000, WRITE, used);
	faults(world, 0x5000, FETCH, RHZ_PF_P | RHZ_PF_I);
	world_end(world);
}

/*
 * The directory leads to another table, which the library is not told yet: the old one's leaf, the
 * same but for write access, must not become writable.
 */
static void test_table_replaced(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL });
	uint64_t root = table_new(world), used, at;

	(void)state;
	map(world, root, 0x205000, 0x1000, PWU);
	map(world, root, 0x405000, 0, 0);
	map_window(world, root);
	used = entry_get(world, root, 0x205000, 2) & FRAME;
	map(world, root, 0x5000, used, P | A);
	map(world, root, 0x405000, used, P | W | A | D);
	at = entry_at(world, root, 0x5000, 2);
	start(world, 0, root);
	reaches(world, 0x205000, WRITE, 0x1000);
	reaches(world, 0x5000, READ, used);
	guest_put(world, at, 8, entry_get(world, root, 0x405000, 2) | A);
	reaches(world, 0x5000, WRITE, used);
	audit(world);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_user_right_taken),
		cmocka_unit_test(test_exec_right_taken),
		cmocka_unit_test(test_table_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
