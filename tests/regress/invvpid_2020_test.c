/* SPDX-License-Identifier: MIT */
/*
 * INVVPID without EPT (2020): roots that were cached but not current were not dropped, and a later
 * fast switch brought stale entries back.
 * INVVPID (2024, 2026): the wrong VPID, then the wrong processor, was flushed.
 * What must hold: an invalidation reaches cached roots too, and their TLB entries on whichever
 * processor they are.
 */
#include "fixture.h"

static uint64_t root;

static struct world *begin(void)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL });

	root = table_new(world);
	map(world, root, 0x1000, 0x5000, PWU);
	map_window(world, root);
	start(world, 0, root);
	return world;
}

static void switch_to(struct world *world, enum rhz_context context, const struct rhz_regs *regs,
                      uint32_t asid, bool flush)
{
	world->at[0].running = false;
	assert_int_equal(rhz_vcpu_switch_context(world->vcpu[0], context, regs, asid, flush),
	                 RHZ_LOAD_OK);
	audit(world);
}

static void flush_guest(struct world *world)
{
	world->at[0].running = false;
	rhz_vcpu_flush_guest(world->vcpu[0]);
	audit(world);
}

/* The entry changes while its root is cached; the flush comes while another is current. */
static void cached_roots_are_reached(void **state)
{
	struct world *world = begin();
	uint64_t other = table_new(world);

	(void)state;
	map(world, other, 0x1000, 0x7000, PWU);
	map_window(world, other);
	reaches(world, 0x1000, WRITE, 0x5000);
	load_ok(world, 0, other);
	reaches(world, 0x1000, WRITE, 0x7000);
	entry_store(world, 0, root, 0x1000, 1, 0x6000 | PWU | A | D);
	flush_guest(world);
	load_ok(world, 0, root);
	reaches(world, 0x1000, WRITE, 0x6000);
	world_end(world);
}

/* L2 under its ASID: what L1 flushes of it is gone when L2 comes back without a flush. */
static void flush_of_a_nested_asid(void **state)
{
	struct world *world = begin();
	struct rhz_regs regs = regs_of(RHZ_PAGING_4LEVEL, root);

	(void)state;
	switch_to(world, RHZ_CONTEXT_L2, &regs, 3, true);
	reaches(world, 0x1000, WRITE, 0x5000);
	entry_store(world, 0, root, 0x1000, 1, 0x6000 | PWU | A | D);
	flush_guest(world);
	reaches(world, 0x1000, WRITE, 0x6000);
	switch_to(world, RHZ_CONTEXT_L1, NULL, 0, false);
	entry_store(world, 0, root, 0x1000, 1, 0x8000 | PWU | A | D);
	switch_to(world, RHZ_CONTEXT_L2, NULL, 3, true);
	reaches(world, 0x1000, WRITE, 0x8000);
	world_end(world);
}

/* The TLB entry is on one processor, the invalidation happens on another, the vCPU goes back. */
static void the_right_processor(void **state)
{
	struct world *world = begin();

	(void)state;
	for (unsigned round = 0; round < 6; round++) {
		uint64_t frame = 0x5000 + (round & 1) * 0x1000;

		entry_store(world, 0, root, 0x1000, 1, (frame ^ 0x3000) | PWU | A | D);
		invlpg(world, 0, 0x1000);
		world->at[0].running = false;
		world->at[0].cpu = 0;
		reaches(world, 0x1000, WRITE, frame ^ 0x3000);
		world->at[0].running = false;
		world->at[0].cpu = 1;
		entry_store(world, 0, root, 0x1000, 1, frame | PWU | A | D);
		if (round % 3 == 0)
			invlpg(world, 0, 0x1000);
		else if (round % 3 == 1)
			flush_guest(world);
		else
			load_ok(world, 0, root);
		world->at[0].running = false;
		world->at[0].cpu = 0;
		reaches(world, 0x1000, WRITE, frame);
	}
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cached_roots_are_reached),
		cmocka_unit_test(flush_of_a_nested_asid),
		cmocka_unit_test(the_right_processor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
