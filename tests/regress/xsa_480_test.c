/* SPDX-License-Identifier: MIT */
/*
 * XSA-480 (Xen): pages were given back before the deferred flush had been done. Free after flush:
 * when a page is given back or used anew, every vCPU that may walk it has left the guest.
 */
#include "fixture.h"

static struct { rhz_hpa root; unsigned freed, checks; } before;

/* At the kick the pages that a running vCPU may walk are still what they were. */
static void at_kick(struct world *world)
{
	unsigned level;

	if (!world->at[1].running)
		return;
	before.checks++;
	assert_int_equal(world->at[1].entry.root.v, before.root.v);
	assert_int_equal(world->freed, before.freed);
	/* walks: fails if it meets a page that is not live; what was cut off is not present */
	leaf_of(world, 1, 0x5000, &level);
}

static void test_free_after_flush(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL, .vcpus = 2 });
	uint64_t root = table_new(world);

	(void)state;
	map(world, root, 0x5000, 0x1000, PWU);
	for (unsigned i = 0; i < 20; i++)
		map(world, root, 0x8000000000 + i * 0x40000000ull, i * 0x1000, PWU);
	start(world, 0, root);
	start(world, 1, root);
	world->on_kick = at_kick;
	for (unsigned n = 0; n < 8; n++) {
		unsigned checks = before.checks;

		for (unsigned i = 0; i < 20; i++)
			reaches(world, 0x8000000000 + i * 0x40000000ull, WRITE, i * 0x1000);
		reaches_on(world, 1, 0x5000, WRITE, 0x1000);
		before.root = world->at[1].entry.root;
		before.freed = world->freed;
		switch (n % 4) {
		case 0:
			rhz_vm_shrink(world->vm, 3);
			break;
		case 1:
			assert_true(rhz_vm_unshadow(world->vm, 0,
			                            (rhz_gpa){ entry_at(world, root, 0x5000, 1) }));
			break;
		case 2:
			assert_status(rhz_slot_delete(world->vm, world->slot), RHZ_OK);
			break;
		case 3:
			assert_status(rhz_ram_invalidate(world->vm, 0, 0, RAM), RHZ_OK);
			break;
		}
		audit(world);
		assert_true(before.checks > checks);
		assert_false(world->at[1].running);
		world->at[0].running = false;
		if (n % 4 == 2) {
			struct rhz_slot slot = { .bytes = RAM, .ram = world->ram_id };

			assert_status(rhz_slot_add(world->vm, &slot, &world->slot), RHZ_OK);
		}
	}
	assert_true(world->freed > 0);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_free_after_flush),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
