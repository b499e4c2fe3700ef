/* SPDX-License-Identifier: MIT */
/*
 * KVM 65855ed8b034: an out-of-sync page was linked without a sync; from not-present to present the
 * guest need not flush, so nothing else would have brought it up to date.
 * What must hold: an existing table is synced before it is linked or becomes a root, and so is what
 * lies below it.
 */
#include "fixture.h"

static const enum rhz_paging modes[] = { RHZ_PAGING_32, RHZ_PAGING_PAE, RHZ_PAGING_4LEVEL,
	                                 RHZ_PAGING_5LEVEL };

/* The leaf table is out of sync; a directory entry that was empty is pointed at it. */
static void link_an_out_of_sync_table(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct world *world = world_make(&(struct setup){ .mode = modes[i] });
		uint64_t root = table_new(world), other = 0x30000000;

		map(world, root, 0x5000, 0x1000, PWU);
		map(world, root, 0x6000, 0x2000, PWU);
		map(world, root, other, 0x7000, PWU);
		map_window(world, root);
		entry_poke(world, root, other, 2, 0);
		start(world, 0, root);
		reaches(world, 0x6000, WRITE, 0x2000);
		faults(world, other + 0x6000, READ, 0);
		entry_store(world, 0, root, 0x6000, 1, 0x3000 | PWU | A | D);
		entry_store(world, 0, root, other, 2, entry_get(world, root, 0x6000, 2));
		reaches(world, other + 0x6000, WRITE, 0x3000);
		world_end(world);
	}
}

/* A whole subtree with an out-of-sync leaf table below it, under a root of its own. */
static void link_above_an_out_of_sync_table(void **state)
{
	(void)state;
	for (unsigned i = 1; i < 4; i++) {
		struct world *world = world_make(&(struct setup){ .mode = modes[i], .vcpus = 2 });
		uint64_t root[2] = { table_new(world), table_new(world) };

		map(world, root[0], 0x5000, 0x1000, PWU);
		map(world, root[0], 0x6000, 0x2000, PWU);
		map_window(world, root[0]);
		guest_put(world, root[1], 8, guest_get(world, root[0], 8));
		start(world, 0, root[0]);
		reaches(world, 0x6000, WRITE, 0x2000);
		entry_store(world, 0, root[0], 0x6000, 1, 0x3000 | PWU | A | D);
		/* a vCPU that never had it, and then this one, under the other root */
		start(world, 1, root[1]);
		reaches_on(world, 1, 0x5000, READ, 0x1000);
		reaches_on(world, 1, 0x6000, WRITE, 0x3000);
		entry_store(world, 0, root[0], 0x6000, 1, 0x4000 | PWU | A | D);
		load_ok(world, 0, root[1]);
		reaches(world, 0x6000, WRITE, 0x4000);
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(link_an_out_of_sync_table),
		cmocka_unit_test(link_above_an_out_of_sync_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
