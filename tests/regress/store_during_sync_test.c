/* SPDX-License-Identifier: MIT */
/*
 * A store through a stale writable tag while a table is synced. The order is: write-protect every
 * mapping, flush with running vCPUs kicked and waited for, and only then re-read. The other order
 * loses the store for ever. The store is made here at the last moment: from within the kick.
 */
#include "fixture.h"

static uint64_t table_entry;
static unsigned stores;

static void store_at_kick(struct world *world)
{
	const struct translation *to = tlb_find(world, 1, WINDOW + table_entry);

	/* vCPU 1 has not left yet: its TLB may write */
	if (world->at[1].running && to && to->w) {
		guest_put(world, table_entry, entry_bytes(world),
		          (0x4000 + stores * 0x1000) | PWU | A);
		stores++;
	}
}

static void test_last_store_is_seen(void **state)
{
	(void)state;
	for (enum rhz_paging mode = RHZ_PAGING_32; mode <= RHZ_PAGING_5LEVEL; mode++) {
		struct world *world = world_make(&(struct setup){ .mode = mode, .vcpus = 2 });
		uint64_t root = table_new(world);

		map(world, root, 0x5000, 0x1000, PWU);
		map_window(world, root);
		start(world, 0, root);
		start(world, 1, root);
		table_entry = entry_at(world, root, 0x5000, 1);
		stores = 0;
		world->on_kick = store_at_kick;
		for (unsigned n = 0; n < 4; n++) {
			reaches(world, 0x5000, USER, n ? 0x3000 + n * 0x1000 : 0x1000);
			entry_store(world, 1, root, 0x5000, 1, 0x2000 | PWU | A);
			assert_int_equal(VM_STAT(world, mmu_unsync), 1);
			assert_int_equal(stores, n);
			load_ok(world, 0, root);
			assert_int_equal(stores, n + 1);
			assert_false(world->at[1].running);
			reaches(world, 0x5000, USER, 0x4000 + n * 0x1000);
			/* vCPU 1 cannot write it unseen any more */
			assert_true(enter(world, 1));
			assert_null(tlb_find(world, 1, WINDOW + table_entry));
		}
		world_end(world);
	}
}

/*
 * The same where a table is shadowed for the first time: the walk has read it, then it is
 * protected, and a store comes in between.
 */
static void test_store_before_first_shadow(void **state)
{
	(void)state;
	for (enum rhz_paging mode = RHZ_PAGING_32; mode <= RHZ_PAGING_5LEVEL; mode++) {
		struct world *world = world_make(&(struct setup){ .mode = mode, .vcpus = 2 });
		uint64_t root = table_new(world), other = table_new(world);

		map(world, root, 0x5000, 0x1000, PWU);
		map(world, root, 0x6000, 0x2000, PWU);
		map_window(world, other);
		start(world, 0, root);
		start(world, 1, other);
		table_entry = entry_at(world, root, 0x5000, 1);
		stores = 0;
		reaches_on(world, 1, WINDOW + table_entry, WRITE, table_entry);
		world->on_kick = store_at_kick;
		reaches(world, 0x5000, USER, 0x4000);
		assert_int_equal(stores, 1);
		assert_true(enter(world, 1));
		assert_null(tlb_find(world, 1, WINDOW + table_entry));
		world->on_kick = NULL;
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_last_store_is_seen),
		cmocka_unit_test(test_store_before_first_shadow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
