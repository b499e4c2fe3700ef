/* SPDX-License-Identifier: MIT */
/* The direct MMU: NPT, EPT, and paging off under shadow paging. */
#include "fixture.h"

static const enum rhz_paging_kind kinds[] = { RHZ_SHADOW, RHZ_NPT_4LEVEL, RHZ_NPT_5LEVEL,
	                                      RHZ_EPT_4LEVEL, RHZ_EPT_5LEVEL };

#define EACH_KIND(i) for (unsigned i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)

static void test_every_kind(void **state)
{
	(void)state;
	EACH_KIND(i) {
		struct world *world = world_make(&(struct setup){ .kind = kinds[i] });
		unsigned level, levels[] = { 3, 4, 5, 4, 5 };

		reaches(world, 0x1234, READ, 0x1234);
		reaches(world, 0x1234, WRITE, 0x1234);
		reaches(world, 0x201000, FETCH, 0x201000);
		leaf_of(world, 0, 0x201000, &level);
		assert_int_equal(level, 2);
		assert_int_equal(world->at[0].entry.levels, levels[i]);
		is_mmio(world, HOLE + 0x18, WRITE, HOLE + 0x18);
		is_mmio(world, HOLE + 0x18, READ, HOLE + 0x18);
		is_mmio(world, RAM, FETCH, RAM);
		if (kinds[i] != RHZ_SHADOW)
			is_mmio(world, 0xfffff00000000, READ, 0xfffff00000000);
		world_end(world);
	}
}

/* EPT leaves: write-back, R/W/X, no bits that would misconfigure [SDM3 28.3.3.1]. */
static void test_ept_bits(void **state)
{
	(void)state;
	for (unsigned ad = 0; ad < 2; ad++) {
		struct world *world = world_make(&(struct setup){ .kind = RHZ_EPT_4LEVEL,
			                                          .options = RHZ_NO_LARGE_PAGES,
			                                          .ept_ad = ad });
		uint64_t spte;

		reaches(world, 0x1000, WRITE, 0x1000);
		spte = leaf_of(world, 0, 0x1000, NULL);
		assert_int_equal(spte & 7, 7);
		assert_int_equal(spte >> 3 & 7, 6);
		assert_int_equal(spte >> 8 & 3, ad ? 3 : 0);
		assert_int_equal(spte >> 52, 0);
		world_end(world);
	}
}

/* 1 GiB, 2 MiB at the ends of an odd slot, 4 KiB where nothing else fits. */
static void test_sizes(void **state)
{
	struct world *world = world_make(&(struct setup){ .kind = RHZ_NPT_4LEVEL, .bare = true });
	struct rhz_slot slot = { .gpa = { 0x40001000 }, .bytes = RAM - 0x1000, .offset = 0x1000 };
	unsigned id, level;

	(void)state;
	world_vcpu_add(world, 0);
	assert_status(rhz_slot_add(world->vm, &slot, &id), RHZ_OK);
	reaches(world, 0x40001000, WRITE, 0x1000);
	leaf_of(world, 0, 0x40001000, &level);
	assert_int_equal(level, 1);
	reaches(world, 0x40234000, WRITE, 0x234000);
	leaf_of(world, 0, 0x40234000, &level);
	assert_int_equal(level, 2);
	is_mmio(world, 0x40000000, READ, 0x40000000);
	assert_int_equal(VM_STAT(world, pages_2m), 1);
	/* not congruent: small pages */
	slot = (struct rhz_slot){ .gpa = { 0x80000000 }, .bytes = 0x400000, .offset = 0x1000 };
	assert_status(rhz_slot_add(world->vm, &slot, &id), RHZ_OK);
	reaches(world, 0x80012345, WRITE, 0x13345);
	leaf_of(world, 0, 0x80012345, &level);
	assert_int_equal(level, 1);
	world_end(world);
}

static void test_1g(void **state)
{
	for (unsigned exec = 0; exec < 2; exec++) {
		struct world *world = world_make(&(struct setup){ .kind = RHZ_EPT_4LEVEL,
			.ram = 1 << 30, .no_audit = true,
			.options = exec ? RHZ_NO_EXEC_LARGE : 0 });
		unsigned level;

		(void)state;
		reaches(world, 0x12345678, WRITE, 0x12345678);
		leaf_of(world, 0, 0x12345678, &level);
		assert_int_equal(level, 3);
		reaches(world, 0x12345678, FETCH, 0x12345678);
		leaf_of(world, 0, 0x12345678, &level);
		assert_int_equal(level, exec ? 1 : 3);
		reaches(world, 0x12346678, WRITE, 0x12346678);
		reaches(world, 0x22346678, WRITE, 0x22346678);
		audit(world);
		world_end(world);
	}
}

static void test_options(void **state)
{
	struct world *world = world_make(&(struct setup){ .kind = RHZ_NPT_4LEVEL,
		                                          .options = RHZ_NO_LARGE_PAGES });
	unsigned level;

	(void)state;
	reaches(world, 0x234000, WRITE, 0x234000);
	leaf_of(world, 0, 0x234000, &level);
	assert_int_equal(level, 1);
	world_end(world);
}

static void test_read_only(void **state)
{
	(void)state;
	EACH_KIND(i) {
		struct world *world = world_make(&(struct setup){ .kind = kinds[i] });
		struct seen seen;

		reaches(world, 0x201000, WRITE, 0x201000);
		world->at[0].running = false;
		assert_status(rhz_slot_set_flags(world->vm, world->slot, RHZ_SLOT_READ_ONLY, NULL),
		              RHZ_OK);
		seen = touch(world, 0, 0x201000, WRITE);
		assert_true(seen.how == WAS_MMIO && seen.read_only);
		reaches(world, 0x201000, READ, 0x201000);
		reaches(world, 0x201000, FETCH, 0x201000);
		world_end(world);
	}
}

/* One vCPU without paging stores to a table that another's root shadows. */
static void test_write_to_anothers_table(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_PAE, .vcpus = 2 });
	uint64_t root = table_new(world), leaf, directory;

	(void)state;
	map(world, root, 0x5000, 0x1000, PWU);
	map(world, root, 0x6000, 0x2000, PWU);
	reaches_on(world, 1, TABLES, WRITE, TABLES);
	start(world, 0, root);
	reaches(world, 0x5000, WRITE, 0x1000);
	reaches(world, 0x6000, WRITE, 0x2000);
	leaf = entry_at(world, root, 0x6000, 1);
	directory = entry_at(world, root, 0x6000, 2);
	assert_int_equal(store(world, 1, leaf, 8, 0x3000 | PWU).how, REACHED);
	invlpg(world, 0, 0x6000);
	reaches(world, 0x6000, WRITE, 0x3000);
	assert_int_equal(store(world, 1, directory, 8, 0).how, WAS_TRACKED);
	load_ok(world, 0, root);
	faults(world, 0x6000, WRITE, RHZ_PF_W);
	world_end(world);
}

/* Under NPT and EPT the guest's invalidations flush its tags: we do not see its tables. */
static void test_guest_flushes(void **state)
{
	(void)state;
	for (unsigned i = 1; i < sizeof(kinds) / sizeof(*kinds); i++) {
		struct world *world = world_make(&(struct setup){ .kind = kinds[i] });

		reaches(world, 0x1000, WRITE, 0x1000);
		world->at[0].running = false;
		assert_true(enter(world, 0));
		assert_int_equal(world->at[0].entry.flush, RHZ_FLUSH_NONE);
		world->at[0].running = false;
		assert_int_equal(rhz_vcpu_invlpg(world->vcpu[0], (rhz_gva){ 0x1000 }),
		                 RHZ_FLUSH_ADDRESS);
		rhz_vcpu_flush_guest(world->vcpu[0]);
		assert_true(enter(world, 0));
		assert_int_equal(world->at[0].entry.flush, RHZ_FLUSH_TAG);
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_kind),
		cmocka_unit_test(test_ept_bits),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_1g),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_write_to_anothers_table),
		cmocka_unit_test(test_guest_flushes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
