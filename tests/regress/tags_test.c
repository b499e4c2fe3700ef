/* SPDX-License-Identifier: MIT */
/*
 * More roots than hardware tags: 64 roots on 15 and on 3 tags and without any, with and without
 * flush by tag, with migration between processors. No root ever runs on another one's translations,
 * and what was removed is gone from every tag.
 */
#include "fixture.h"

enum { ROOTS = 64 };

static void many_roots(unsigned tags, bool by_tag, bool migrate)
{
	struct world *world = world_make(&(struct setup){
		.mode = RHZ_PAGING_4LEVEL, .given_tags = true, .tags = tags,
		.no_flush_by_tag = !by_tag, .given_roots = true,
		.policy = RHZ_ROOTS_CURRENT_FIRST, .cached_roots = 64 });
	uint64_t root[ROOTS], state = tags + by_tag + 2 * migrate + 1;

	for (unsigned i = 0; i < ROOTS; i++) {
		root[i] = table_new(world);
		map(world, root[i], 0x1000, 0x5000 + i * 0x1000, PWU);
	}
	world->setup.no_audit = true; /* it is what takes the time */
	start(world, 0, root[0]);
	for (unsigned n = 0; n < 600; n++) {
		unsigned i;

		state = state * 6364136223846793005u + 1442695040888963407u;
		i = state >> 58;
		if (migrate && state >> 40 & 1) {
			world->at[0].running = false;
			world->at[0].cpu = state >> 41 & 1;
		}
		load_ok(world, 0, root[i]);
		reaches(world, 0x1000, WRITE, 0x5000 + i * 0x1000);
		if (n % 37 == 0) { /* frames leave, and come back at the next fault */
			world->at[0].running = false;
			assert_status(rhz_ram_invalidate(world->vm, world->ram_id, 0x5000,
			                                 ROOTS * 4096), RHZ_OK);
		}
		if (n % 100 == 0)
			audit(world);
	}
	world->setup.no_audit = false;
	world_end(world);
}

static void each_kind_of_processor(void **state)
{
	static const unsigned tags[] = { 0, 1, 3, 15 };

	(void)state;
	for (unsigned t = 0; t < 4; t++) {
		for (unsigned how = 0; how < 4; how++)
			many_roots(tags[t], how & 1, how & 2);
	}
}

/* With a tag for each, a switch among roots that have run flushes nothing. */
static void enough_tags(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL });
	uint64_t root[4];
	unsigned before;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		root[i] = table_new(world);
		map(world, root[i], 0x1000, 0x5000 + i * 0x1000, PWU);
	}
	start(world, 0, root[0]);
	for (unsigned n = 0; n < 8; n++) {
		load_ok(world, 0, root[n % 4]);
		reaches(world, 0x1000, WRITE, 0x5000 + n % 4 * 0x1000);
	}
	before = world->at[0].flushes[RHZ_FLUSH_NONE];
	for (unsigned n = 0; n < 8; n++) {
		load_ok(world, 0, root[n % 4]);
		reaches(world, 0x1000, WRITE, 0x5000 + n % 4 * 0x1000);
	}
	assert_int_equal(world->at[0].flushes[RHZ_FLUSH_NONE], before + 8);
	world_end(world);
}

/* L1 and L2 with one CR3, and L2 under two ASIDs: one root, never one tag. */
static void contexts_share_roots_not_tags(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL });
	uint64_t root = table_new(world), page;
	struct rhz_regs regs = regs_of(RHZ_PAGING_4LEVEL, root);
	uint32_t tag[3];

	(void)state;
	map(world, root, 0x1000, 0x5000, PWU);
	start(world, 0, root);
	reaches(world, 0x1000, WRITE, 0x5000);
	tag[0] = world->at[0].entry.tag;
	page = world->at[0].entry.root.v;
	for (unsigned asid = 1; asid < 3; asid++) {
		switch_ok(world, 0, RHZ_CONTEXT_L2, &regs, asid, false);
		reaches(world, 0x1000, WRITE, 0x5000);
		tag[asid] = world->at[0].entry.tag;
		assert_int_equal(world->at[0].entry.root.v, page);
	}
	assert_int_not_equal(tag[0], tag[1]);
	assert_int_not_equal(tag[0], tag[2]);
	assert_int_not_equal(tag[1], tag[2]);
	world_end(world);
}

/* The same with paging off in both: the direct root. */
static void contexts_on_one_direct_root(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_NONE });
	struct rhz_regs regs = regs_of(RHZ_PAGING_NONE, 0);
	uint32_t tag;

	(void)state;
	start(world, 0, 0);
	reaches(world, 0x5000, WRITE, 0x5000);
	tag = world->at[0].entry.tag;
	switch_ok(world, 0, RHZ_CONTEXT_L2, &regs, 1, true);
	reaches(world, 0x5000, WRITE, 0x5000);
	assert_int_not_equal(world->at[0].entry.tag, tag);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_of_processor),
		cmocka_unit_test(enough_tags),
		cmocka_unit_test(contexts_share_roots_not_tags),
		cmocka_unit_test(contexts_on_one_direct_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
