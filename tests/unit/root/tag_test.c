/* SPDX-License-Identifier: MIT */
/*
 * Leases of tags: 15, 3, 1 and no tags, with and without flush by tag, over processors. Each access
 * goes through a TLB that knows tags, so a tag lent wrongly reaches the wrong frame.
 */
#include "fixture.h"

enum { ROOTS = 64 };

static void roots_make(struct world *world, uint64_t roots[ROOTS])
{
	for (unsigned i = 0; i < ROOTS; i++) {
		roots[i] = table_new(world);
		/* the same address leads to another frame in each */
		guest_put(world, roots[i], 8, table_new(world) | PWU);
	}
	for (unsigned i = 0; i < ROOTS; i++) {
		uint64_t next = guest_get(world, roots[i], 8) & FRAME;

		/* level 2 and 1 in one table each, for half of them shared */
		if (i & 1)
			guest_put(world, next, 8,
			          guest_get(world, guest_get(world, roots[0], 8) & FRAME, 8));
		else
			map(world, roots[i], 0x5000, i * 0x1000, PWU);
		map(world, roots[i], 0x40000000, i * 0x1000, PWU);
	}
}

/* 64 roots in a row and back, on every kind of processor, moving between processors. */
static void test_64_roots(void **state)
{
	static const unsigned tags[] = { 15, 3, 1, 0 };

	(void)state;
	for (unsigned i = 0; i < 16; i++) {
		unsigned count = tags[i / 4];
		bool flush = i & 1, migrate = i & 2;
		struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
			.given_tags = true, .tags = count, .no_flush_by_tag = !flush, .ram = RAM,
			.given_roots = true, .cached_roots = 64, .quota = 1024,
			.policy = RHZ_ROOTS_CURRENT_FIRST });
		uint64_t roots[ROOTS];

		roots_make(world, roots);
		start(world, 0, roots[0]);
		for (unsigned n = 0; n < 3 * ROOTS; n++) {
			unsigned r = n < ROOTS ? n : n < 2 * ROOTS ? 2 * ROOTS - 1 - n :
			                                             n * 7 % ROOTS;

			world->at[0].running = false;
			assert_int_equal(rhz_vcpu_load_cr3(world->vcpu[0], roots[r]), RHZ_LOAD_OK);
			if (migrate && n % 5 == 0)
				world->at[0].cpu = n / 5 % 3;
			assert_int_equal(touch(world, 0, 0x40000000, WRITE).gpa, r * 0x1000);
			if (!(r & 1))
				assert_int_equal(touch(world, 0, 0x5000, WRITE).gpa, r * 0x1000);
			assert_true(count ? world->at[0].entry.tag >= 1 &&
			                    world->at[0].entry.tag <= count :
			                    !world->at[0].entry.tag);
		}
		assert_int_equal(STAT(world, root_built), ROOTS + 1);
		assert_int_equal(STAT(world, root_switches),
		                 STAT(world, root_cached_reused) + STAT(world, root_built) +
		                 STAT(world, root_current_reused));
		audit(world);
		world_end(world);
	}
}

/* A switch among few roots with enough tags flushes nothing; with too few, each switch all. */
static void test_flushes(void **state)
{
	static const struct { unsigned tags, all; } cases[] = { { 15, 0 }, { 3, 0 }, { 1, 20 },
		                                                { 0, 20 } };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
			.given_tags = true, .tags = cases[i].tags });
		uint64_t a = table_new(world), b = table_new(world);
		unsigned before;

		map(world, a, 0x5000, 0x1000, PWU);
		map(world, b, 0x5000, 0x2000, PWU);
		start(world, 0, a);
		reaches(world, 0x5000, WRITE, 0x1000);
		load_ok(world, 0, b);
		reaches(world, 0x5000, WRITE, 0x2000);
		before = world->at[0].flushes[RHZ_FLUSH_ALL];
		for (unsigned n = 0; n < 20; n++) {
			load_ok(world, 0, n & 1 ? b : a);
			reaches(world, 0x5000, WRITE, n & 1 ? 0x2000 : 0x1000);
		}
		assert_int_equal(world->at[0].flushes[RHZ_FLUSH_ALL] - before, cases[i].all);
		assert_int_equal(world->at[0].flushes[RHZ_FLUSH_TAG], 0);
		assert_int_equal(STAT(world, flush_all), world->at[0].flushes[RHZ_FLUSH_ALL]);
		world_end(world);
	}
}

/* Something taken away: each tag is flushed once at its next entry, or given up for a fresh one. */
static void test_removal(void **state)
{
	(void)state;
	for (unsigned by_tag = 0; by_tag < 2; by_tag++) {
		struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
			.no_flush_by_tag = !by_tag });
		uint64_t a = table_new(world), b = table_new(world);
		uint32_t tag;

		map(world, a, 0x5000, 0x1000, PWU);
		map(world, b, 0x5000, 0x2000, PWU);
		start(world, 0, a);
		reaches(world, 0x5000, WRITE, 0x1000);
		load_ok(world, 0, b);
		reaches(world, 0x5000, WRITE, 0x2000);
		tag = world->at[0].entry.tag;
		world->at[0].running = false;
		assert_status(rhz_ram_invalidate(world->vm, 0, 0x1000, 0x1000), RHZ_OK);
		assert_true(enter(world, 0));
		assert_int_equal(world->at[0].entry.flush, by_tag ? RHZ_FLUSH_TAG : RHZ_FLUSH_NONE);
		assert_int_equal(world->at[0].entry.tag == tag, by_tag);
		world->at[0].running = false;
		assert_true(enter(world, 0));
		assert_int_equal(world->at[0].entry.flush, RHZ_FLUSH_NONE);
		load_ok(world, 0, a);
		assert_true(enter(world, 0));
		assert_null(tlb_find(world, 0, 0x5000));
		reaches(world, 0x5000, WRITE, 0x1000);
		world_end(world);
	}
}

/* Tags are a processor's, for all VMs that run on it. */
static void test_two_vms_on_one_processor(void **state)
{
	struct world *one = world_make(&(struct setup){ .mode = RHZ_PAGING_NONE });
	struct world *two = world_make(&(struct setup){ .mode = RHZ_PAGING_NONE });
	struct rhz_entry first, again;
	struct rhz_cpu cpu;

	(void)state;
	rhz_cpu_init(&cpu, 0, 5, 2, true);
	assert_int_equal(rhz_vcpu_prepare(one->vcpu[0]), RHZ_LOAD_OK);
	assert_int_equal(rhz_vcpu_prepare(two->vcpu[0]), RHZ_LOAD_OK);
	assert_int_equal(rhz_vcpu_enter(one->vcpu[0], &cpu, &first), RHZ_ENTER_OK);
	assert_int_equal(first.tag, 5);
	assert_int_equal(first.flush, RHZ_FLUSH_ALL);
	assert_int_equal(rhz_vcpu_enter(two->vcpu[0], &cpu, &again), RHZ_ENTER_OK);
	assert_int_equal(again.tag, 6);
	assert_int_equal(again.flush, RHZ_FLUSH_NONE);
	assert_int_equal(rhz_vcpu_enter(one->vcpu[0], &cpu, &again), RHZ_ENTER_OK);
	assert_int_equal(again.tag, 5);
	assert_int_equal(again.flush, RHZ_FLUSH_NONE);
	/* the third lease begins a new generation: the first VM's is void then */
	assert_int_equal(rhz_vcpu_load_regs(two->vcpu[0], &(struct rhz_regs){
		.cr0 = RHZ_CR0_PE | RHZ_CR0_PG | RHZ_CR0_WP }), RHZ_LOAD_OK);
	assert_int_equal(rhz_vcpu_enter(two->vcpu[0], &cpu, &again), RHZ_ENTER_OK);
	assert_int_equal(again.tag, 5);
	assert_int_equal(again.flush, RHZ_FLUSH_ALL);
	assert_int_equal(rhz_vcpu_enter(one->vcpu[0], &cpu, &again), RHZ_ENTER_OK);
	assert_int_equal(again.tag, 6);
	world_end(one);
	world_end(two);
}

/* Without tags as an option: each switch flushes all. */
static void test_no_tags(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
		                                          .options = RHZ_NO_TAGS });
	uint64_t a = table_new(world), b = table_new(world);

	(void)state;
	map(world, a, 0x5000, 0x1000, PWU);
	map(world, b, 0x5000, 0x2000, PWU);
	start(world, 0, a);
	for (unsigned n = 0; n < 6; n++) {
		unsigned before = world->at[0].flushes[RHZ_FLUSH_ALL];

		load_ok(world, 0, n & 1 ? b : a);
		reaches(world, 0x5000, READ, n & 1 ? 0x2000 : 0x1000);
		if (n > 1)
			assert_int_equal(world->at[0].flushes[RHZ_FLUSH_ALL] - before, 1);
	}
	world_end(world);
}

/* A leased tag of a dead vCPU is never handed to the next without a flush in between. */
static void test_vcpu_destroyed(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL, .vcpus = 2,
		                                          .given_tags = true, .tags = 2 });
	uint64_t a = table_new(world), b = table_new(world);

	(void)state;
	map(world, a, 0x5000, 0x1000, PWU);
	map(world, b, 0x5000, 0x2000, PWU);
	start(world, 0, a);
	start(world, 1, a);
	for (unsigned n = 0; n < 6; n++) {
		reaches_on(world, 1, 0x5000, WRITE, n & 1 ? 0x2000 : 0x1000);
		world_vcpu_remove(world, 1);
		audit(world);
		world_vcpu_add(world, 1);
		start(world, 1, n & 1 ? a : b);
	}
	reaches(world, 0x5000, WRITE, 0x1000);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_64_roots),
		cmocka_unit_test(test_flushes),
		cmocka_unit_test(test_removal),
		cmocka_unit_test(test_two_vms_on_one_processor),
		cmocka_unit_test(test_no_tags),
		cmocka_unit_test(test_vcpu_destroyed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
