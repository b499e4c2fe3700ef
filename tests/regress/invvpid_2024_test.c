/* SPDX-License-Identifier: MIT */
/*
 * INVVPID (KVM, 2024 and 2026): the wrong VPID, then the wrong processor was flushed. Each
 * processor here has a TLB of its own by tag; vCPUs move between them, and what was invalidated on
 * one processor is not found on another when the vCPU comes back.
 */
#include "fixture.h"

static void test_migration(void **state)
{
	(void)state;
	for (unsigned by_tag = 0; by_tag < 2; by_tag++) {
		struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
			.vcpus = 2, .no_flush_by_tag = !by_tag });
		uint64_t root = table_new(world);

		map(world, root, 0x5000, 0x1000, PWU);
		map(world, root, 0x6000, 0x2000, PWU);
		map_window(world, root);
		start(world, 0, root);
		start(world, 1, root);
		for (unsigned n = 0; n < 24; n++) {
			uint64_t gpa = 0x1000 + n * 0x1000;

			/* both hold the old one, on two processors each */
			world->at[0].running = world->at[1].running = false;
			world->at[0].cpu = n % 3;
			world->at[1].cpu = (n + 1) % 3;
			reaches(world, 0x5000, USER, gpa);
			reaches_on(world, 1, 0x5000, USER, gpa);
			world->at[0].running = world->at[1].running = false;
			world->at[0].cpu = (n + 1) % 3;
			reaches(world, 0x5000, USER, gpa);
			entry_store(world, 0, root, 0x5000, 1, (gpa + 0x1000) | PWU | A | D);
			if (n & 1)
				load_ok(world, 0, root);
			else
				invlpg(world, 0, 0x5000);
			reaches(world, 0x5000, USER, gpa + 0x1000);
			/* back where it was: that TLB still has the old entry, under some tag */
			world->at[0].running = false;
			world->at[0].cpu = n % 3;
			reaches(world, 0x5000, USER, gpa + 0x1000);
			invlpg(world, 1, 0x5000);
			reaches_on(world, 1, 0x5000, USER, gpa + 0x1000);
		}
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_migration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
