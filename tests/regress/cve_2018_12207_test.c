/* SPDX-License-Identifier: MIT */
/*
 * CVE-2018-12207, XSA-304: an executable large page that the guest splits while another processor
 * fetches from it can stop the machine (a machine check in the instruction TLB). The switch
 * RHZ_NO_EXEC_LARGE maps in 4 KiB whatever executes.
 */
#include "fixture.h"

static bool is_executable_large(struct world *world, uint64_t addr)
{
	bool ept = world->setup.kind == RHZ_EPT_4LEVEL;
	unsigned level = 0;
	uint64_t spte = leaf_of(world, 0, addr, &level);

	return spte && level > 1 && (ept ? !!(spte & 4) : !(spte & NX));
}

static void test_direct(void **state)
{
	static const enum rhz_paging_kind kinds[] = { RHZ_SHADOW, RHZ_NPT_4LEVEL, RHZ_EPT_4LEVEL };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct world *world = world_make(&(struct setup){ .kind = kinds[i],
			.options = RHZ_NO_EXEC_LARGE });

		for (unsigned n = 0; n < 3; n++) {
			reaches(world, 0x212000, WRITE, 0x212000);
			assert_false(is_executable_large(world, 0x212000));
			reaches(world, 0x213000, FETCH, 0x213000);
			assert_false(is_executable_large(world, 0x213000));
			reaches(world, 0x214000, READ, 0x214000);
			assert_false(is_executable_large(world, 0x214000));
			world->at[0].running = false;
			assert_status(rhz_slot_collapse(world->vm, world->slot), RHZ_OK);
			audit(world);
		}
		world_end(world);
	}
}

static void test_shadow(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
		.options = RHZ_NO_EXEC_LARGE });
	uint64_t root = table_new(world);

	(void)state;
	map_at(world, root, 0x40000000, 0x400000, PWU, 2);
	map_at(world, root, 0x40200000, 0x400000, PWU | NX, 2);
	start(world, 0, root);
	reaches(world, 0x40012000, WRITE, 0x412000);
	assert_false(is_executable_large(world, 0x40012000));
	reaches(world, 0x40012000, FETCH, 0x412000);
	reaches(world, 0x40212000, WRITE, 0x412000);
	faults(world, 0x40212000, FETCH, RHZ_PF_P | RHZ_PF_I);
	/* the guest makes the large one executable; a sync must not */
	entry_poke(world, root, 0x40200000, 2, 0x400000 | PWU | PS | A | D);
	audit(world);
	assert_false(is_executable_large(world, 0x40212000));
	invlpg(world, 0, 0x40212000);
	reaches(world, 0x40212000, FETCH, 0x412000);
	assert_false(is_executable_large(world, 0x40212000));
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_direct),
		cmocka_unit_test(test_shadow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
