/* SPDX-License-Identifier: MIT */
/*
 * A remote drop of a cached root during a hit. The hit path takes no lock: between a load that hits
 * and the entry another vCPU zaps the root, by every way there is. The entry sees it and asks to
 * prepare; no processor runs on a page that was given back.
 */
#include "fixture.h"

enum { WAYS = 5 };

static unsigned slot_of_root;

static void drop(struct world *world, unsigned way, uint64_t root)
{
	struct rhz_slot slot = { .gpa = { root }, .bytes = 0x1000, .offset = 0x700000 };

	switch (way) {
	case 0:
	case 1:
		assert_status(rhz_slot_delete(world->vm, slot_of_root), RHZ_OK);
		assert_status(rhz_slot_add(world->vm, &slot, &slot_of_root), RHZ_OK);
		break;
	case 2:
		rhz_vm_shrink(world->vm, 0);
		break;
	case 3:
		rhz_vm_unshadow(world->vm, 0, (rhz_gpa){ root });
		break;
	case 4:
		/* vCPU 1 is short of pages, and asks others to give up theirs */
		for (unsigned i = 0; i < 14; i++)
			load_ok(world, 1, 0x300000 + i * 0x1000);
		break;
	}
	audit(world);
}

static void test_drop(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 2 * WAYS; n++) {
		bool after = n & 1; /* the load, or before it */
		struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
			.vcpus = 2, .quota = RHZ_MIN_SHADOW_PAGES });
		uint64_t root = 0x800000, other = table_new(world);
		struct rhz_slot slot = { .gpa = { root }, .bytes = 0x1000, .offset = 0x700000 };

		assert_status(rhz_slot_add(world->vm, &slot, &slot_of_root), RHZ_OK);
		guest_put(world, 0x700000, 8, table_new(world) | PWU);
		map(world, 0x700000, 0x5000, 0x1000, PWU);
		map(world, other, 0x5000, 0x2000, PWU);
		start(world, 1, other);
		start(world, 0, root);
		reaches(world, 0x5000, WRITE, 0x1000);
		load_ok(world, 0, other);
		reaches(world, 0x5000, WRITE, 0x2000);
		world->at[0].running = false;
		if (!after)
			drop(world, n / 2, root);
		load_ok(world, 0, root);
		if (after)
			drop(world, n / 2, root);
		reaches(world, 0x5000, WRITE, 0x1000);
		/* and while it runs on it: it is kicked, or nothing happened to it */
		drop(world, n / 2, root);
		reaches(world, 0x5000, WRITE, 0x1000);
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
