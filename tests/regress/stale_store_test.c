/* SPDX-License-Identifier: MIT */
/*
 * A store through a stale writable TLB entry while a table is being synced, or is made a shadowed
 * one. Protect, flush, then read: in any other order the store is lost for ever.
 */
#include "fixture.h"

static uint64_t root, table, late_value;
static bool stored;

/* vCPU 1 leaves the guest; just before, it stores through what its TLB has. */
static void store_before_leaving(struct world *world)
{
	const struct translation *to = tlb_find(world, 1, WINDOW + table);

	if (!world->at[1].running || stored || !to || !to->w)
		return;
	guest_put(world, table + 8 * 6, 8, late_value);
	stored = true;
}

static struct world *begin(void)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL, .vcpus = 2 });

	root = table_new(world);
	map(world, root, 0x5000, 0x1000, PWU);
	map(world, root, 0x6000, 0x2000, PWU);
	map_window(world, root);
	table = entry_get(world, root, 0x6000, 2) & FRAME;
	start(world, 0, root);
	start(world, 1, root);
	late_value = 0x9000 | PWU | A | D;
	stored = false;
	world->on_kick = store_before_leaving;
	return world;
}

/* The store that comes during the sync is seen by it, or the table is out of sync again. */
static void during_a_sync(void **state)
{
	struct world *world = begin();

	(void)state;
	reaches_on(world, 0, 0x6000, WRITE, 0x2000);
	entry_store(world, 1, root, 0x6000, 1, 0x3000 | PWU | A | D);
	assert_true(world->at[1].running);
	load_ok(world, 0, root);
	assert_true(stored);
	reaches_on(world, 0, 0x6000, WRITE, 0x9000);
	load_ok(world, 1, root);
	reaches_on(world, 1, 0x6000, WRITE, 0x9000);
	world_end(world);
}

/* The table was plain memory to vCPU 1 until vCPU 0's fault shadows it. */
static void while_a_table_becomes_shadowed(void **state)
{
	struct world *world = begin();

	(void)state;
	store(world, 1, WINDOW + table + 8 * 7, 8, 0);
	assert_true(world->at[1].running);
	load_ok(world, 0, root);
	reaches_on(world, 0, 0x5000, READ, 0x1000);
	assert_true(stored);
	load_ok(world, 0, root);
	reaches_on(world, 0, 0x6000, WRITE, 0x9000);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(during_a_sync),
		cmocka_unit_test(while_a_table_becomes_shadowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
