/* SPDX-License-Identifier: MIT */
/*
 * KVM aad885e77496 (2026): an MMIO entry was written over a present one, whose frame stayed in the
 * reverse map with nothing behind it.
 *
 * Here a leaf is present, the guest turns its entry to a hole while the table is out of sync, and
 * an access that the old leaf does not satisfy brings the MMIO entry.
 */
#include "fixture.h"

static void test_present_to_mmio(void **state)
{
	(void)state;
	for (enum rhz_paging mode = RHZ_PAGING_32; mode <= RHZ_PAGING_5LEVEL; mode++) {
		struct world *world = world_make(&(struct setup){ .mode = mode });
		uint64_t root = table_new(world);

		map(world, root, 0x5000, 0x1000, P | U);
		map(world, root, 0x6000, 0x2000, PWU);
		map_window(world, root);
		start(world, 0, root);
		reaches(world, 0x5000, USER, 0x1000);
		reaches(world, 0x6000, USER, 0x2000);
		entry_store(world, 0, root, 0x5000, 1, HOLE | PWU);
		is_mmio(world, 0x5000, USER | WRITE, HOLE);
		is_mmio(world, 0x5000, USER, HOLE);
		/* and straight over it again */
		entry_store(world, 0, root, 0x5000, 1, 0x3000 | PWU);
		invlpg(world, 0, 0x5000);
		reaches(world, 0x5000, USER | WRITE, 0x3000);
		assert_int_equal(VM_STAT(world, mmio_entries), 0);
		world->at[0].running = false;
		assert_status(rhz_ram_invalidate(world->vm, 0, 0, RAM), RHZ_OK);
		audit(world);
		assert_int_equal(VM_STAT(world, pages_4k), 0);
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_present_to_mmio),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
