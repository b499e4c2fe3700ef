/* SPDX-License-Identifier: MIT */
/*
 * Corners that random runs seldom come to: entries without A or P in full tables, slots at several
 * distances, tables unlinked and linked again, large leaves over tables, the order of reclaim.
 */
#include "fixture.h"

static struct world *begin(uint32_t options, uint64_t *root)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL, .vcpus = 2,
		                                          .options = options });

	*root = table_new(world);
	map_window(world, *root);
	return world;
}

/* A directory's entry goes and comes back: the table is filled only when it is linked again. */
static void test_unlinked_between_faults(void **state)
{
	uint64_t root, entry;
	struct world *world = begin(RHZ_NO_PREFETCH, &root);

	(void)state;
	map(world, root, 0x5000, 0x1000, PWU | A | D);
	map(world, root, 0x6000, 0x2000, PWU | A | D);
	start(world, 0, root);
	reaches(world, 0x5000, USER, 0x1000);
	entry = entry_get(world, root, 0x5000, 2);
	entry_poke(world, root, 0x5000, 2, 0);
	entry_poke(world, root, 0x5000, 2, entry);
	assert_int_equal(touch(world, 0, 0x6000, USER).faults, 1);
	world_end(world);
}

enum { FULL = 0x200000, PAGES = 64 };

/* 64 entries in a row, all used. */
static struct world *begin_full(bool each, uint64_t *root)
{
	struct world *world = begin(each ? RHZ_NO_PREFETCH : 0, root);

	for (unsigned i = 0; i < PAGES; i++)
		map(world, *root, FULL + i * 0x1000, i * 0x1000, PWU | A | D);
	start(world, 0, *root);
	for (unsigned i = 0; i < PAGES; i += each ? 1 : 8)
		reaches(world, FULL + i * 0x1000, USER | WRITE, i * 0x1000);
	return world;
}

/* The guest takes A from an entry whose leaf has none either. */
static void test_unused_leaf_loses_a(void **state)
{
	(void)state;
	for (unsigned aged = 0; aged < 2; aged++) {
		uint64_t root, young;
		struct world *world = begin_full(aged, &root);

		if (aged) {
			assert_status(rhz_ram_age(world->vm, world->ram_id, 0x7000, 0x1000,
			                          &young), RHZ_OK);
			assert_int_equal(young, 1);
		}
		entry_store(world, 0, root, FULL + 0x7000, 1, 0x7000 | PWU | D);
		load_ok(world, 0, root);
		audit(world);
		assert_int_equal(leaf_of(world, 0, FULL + 0x7000, &(unsigned){ 0 }), 0);
		reaches(world, FULL + 0x7000, USER, 0x7000);
		assert_true(entry_get(world, root, FULL + 0x7000, 1) & A);
		world_end(world);
	}
}

/* An entry that is not present, and looks like the MMIO entry that we have for what it was. */
static void test_mmio_among_leaves(void **state)
{
	uint64_t root, value = HOLE - RAM_HPA;
	struct world *world = begin_full(true, &root);

	(void)state;
	entry_store(world, 0, root, FULL + 0x9000, 1, HOLE | PWU | A | D);
	invlpg(world, 0, FULL + 0x9000);
	load_ok(world, 0, root);
	is_mmio(world, FULL + 0x9000, USER, HOLE);
	/* mark and rights of such an entry (core/entry.h), moved as a leaf's frame is */
	entry_store(world, 0, root, FULL + 0x9000, 1, value | 0xf8);
	load_ok(world, 0, root);
	faults(world, FULL + 0x9000, USER, RHZ_PF_U);
	world_end(world);
}

/* An entry that leads, by the distance of another slot, to where it led before. */
static void test_distances(void **state)
{
	uint64_t root;
	struct world *world = begin(0, &root);
	struct rhz_slot low = { .bytes = 4 << 20 };
	struct rhz_slot high = { .gpa = { 0x10000000 }, .bytes = 0x10000, .offset = 0x600000 };
	unsigned id;

	(void)state;
	assert_status(rhz_slot_delete(world->vm, world->slot), RHZ_OK);
	low.ram = high.ram = world->ram_id;
	assert_status(rhz_slot_add(world->vm, &low, &world->slot), RHZ_OK);
	assert_status(rhz_slot_add(world->vm, &high, &id), RHZ_OK);
	map(world, root, 0x5000, 0x10000000, PWU | A | D);
	start(world, 0, root);
	assert_int_equal(touch(world, 0, 0x5000, USER).hpa, RAM_HPA + 0x600000);
	entry_store(world, 0, root, 0x5000, 1, 0x600000 | PWU | A | D);
	load_ok(world, 0, root);
	is_mmio(world, 0x5000, USER, 0x600000);
	world_end(world);
}

/* A table that lies under a leaf of 1 GiB: that loses W. */
static void test_table_in_1g(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
		                                          .no_audit = true });
	uint64_t root = table_new(world), gib = 1 << 30, size = rhz_ram_size(gib);
	struct rhz_slot slot = { .gpa = { gib }, .bytes = gib };
	const uint64_t table = gib + 0x403000, large = 0x4000000000;
	uint8_t *at = aligned_alloc(4096, gib);
	unsigned id;
	uint64_t entry = 0x2000 | PWU | A | D;

	(void)state;
	world->ram_memory[1] = malloc(size);
	assert_status(rhz_vm_add_ram(world->vm, world->ram_memory[1], size, (rhz_hpa){ RAM2_HPA },
	                             at, gib, &slot.ram), RHZ_OK);
	assert_status(rhz_slot_add(world->vm, &slot, &id), RHZ_OK);
	map_at(world, root, large, gib, PWU, 3);
	map(world, root, 0x5000, 0x1000, PWU);
	guest_put(world, entry_at(world, root, 0x200000, 2), 8, table | PWU | A);
	memset(at + 0x403000, 0, 4096);
	memcpy(at + 0x403000, &entry, 8);
	start(world, 0, root);
	assert_int_equal(touch(world, 0, large + 0x403000, WRITE).hpa, RAM2_HPA + 0x403000);
	assert_int_equal(VM_STAT(world, pages_1g), 1);
	reaches(world, 0x200000, USER, 0x2000);
	assert_int_equal(leaf_of(world, 0, large, &(unsigned){ 0 }) & W, 0);
	audit(world);
	world_end(world);
	free(at);
}

/* Growing pages back drops what maps no guest table alone. */
static void test_collapse_leaves_shadows(void **state)
{
	uint64_t root;
	struct world *world = begin(0, &root);

	(void)state;
	map(world, root, 0x5000, 0x1000, PWU);
	start(world, 0, root);
	reaches(world, 0x5000, USER, 0x1000);
	assert_status(rhz_slot_collapse(world->vm, world->slot), RHZ_OK);
	assert_true(leaf_of(world, 0, 0x5000, &(unsigned){ 0 }));
	world_end(world);
}

/* What was used last goes last. */
static void test_oldest_goes_first(void **state)
{
	uint64_t root;
	struct world *world = begin(RHZ_NO_QUICK_FILL | RHZ_NO_PREFETCH, &root);
	uint32_t used;

	(void)state;
	map(world, root, 0x5000, 0x1000, PWU);
	map(world, root, 0x6000, 0x2000, PWU);
	map(world, root, 0xc0005000, 0x3000, PWU);
	start(world, 0, root);
	/* asked for memory, the vCPU lets the root go that it had before paging; that goes too */
	rhz_vm_shrink(world->vm, 0);
	assert_true(enter(world, 0));
	assert_int_equal(rhz_vm_shrink(world->vm, 1), 1);
	reaches(world, 0x5000, USER, 0x1000);
	reaches(world, 0xc0005000, USER, 0x3000);
	reaches(world, 0x6000, USER, 0x2000);
	used = (uint32_t)VM_STAT(world, mmu_shadow_pages);
	assert_true(rhz_vm_shrink(world->vm, used - 1) < used);
	assert_true(leaf_of(world, 0, 0x5000, &(unsigned){ 0 }));
	assert_int_equal(leaf_of(world, 0, 0xc0005000, &(unsigned){ 0 }), 0);
	world_end(world);
}

/* Asked for memory, a vCPU gives up what it does not use. */
static void test_current_root_is_kept(void **state)
{
	uint64_t root, missed, dropped;
	struct world *world = begin(0, &root);

	(void)state;
	start(world, 0, root);
	load_ok(world, 0, table_new(world));
	load_ok(world, 0, root);
	missed = STAT(world, root_missed);
	dropped = STAT(world, root_dropped);
	rhz_vm_shrink(world->vm, 0);
	world->at[0].running = false;
	assert_true(enter(world, 0));
	assert_int_equal(STAT(world, root_missed), missed);
	assert_true(STAT(world, root_dropped) > dropped);
	world_end(world);
}

/* All pages are roots: the vCPU at hand lets one of its own go, and its fault comes through. */
static void test_own_roots_make_room(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL, .vcpus = 8,
		                                          .quota = RHZ_MIN_SHADOW_PAGES });
	uint64_t roots[14];

	(void)state;
	for (unsigned i = 0; i < 14; i++) {
		roots[i] = table_new(world);
		map(world, roots[i], 0x5000, i * 0x1000, PWU);
	}
	start(world, 0, roots[0]);
	for (unsigned i = 1; i < 8; i++)
		load_ok(world, 0, roots[i]);
	for (unsigned v = 1; v < 7; v++)
		start(world, v, roots[7 + v]);
	assert_true(VM_STAT(world, mmu_shadow_pages) >= RHZ_MIN_SHADOW_PAGES - 2);
	reaches(world, 0x5000, USER, 0x7000);
	world_end(world);
}

/* Both vCPUs' roots were given up; the second to build one finds the first's, and syncs it. */
static void test_found_again_at_entry(void **state)
{
	uint64_t root;
	struct world *world = begin(0, &root);

	(void)state;
	map(world, root, 0x5000, 0x1000, PWU);
	start(world, 0, root);
	start(world, 1, root);
	reaches(world, 0x5000, USER, 0x1000);
	reaches_on(world, 1, 0x5000, USER, 0x1000);
	world->at[0].running = world->at[1].running = false;
	assert_status(rhz_slot_set_flags(world->vm, world->slot, RHZ_SLOT_READ_ONLY, NULL), RHZ_OK);
	assert_status(rhz_slot_set_flags(world->vm, world->slot, 0, NULL), RHZ_OK);
	reaches_on(world, 1, 0x5000, USER, 0x1000);
	entry_store(world, 1, root, 0x5000, 1, 0x3000 | PWU | A | D);
	assert_int_equal(VM_STAT(world, mmu_unsync), 1);
	rhz_vcpu_flush_guest(world->vcpu[0]);
	reaches(world, 0x5000, USER, 0x3000);
	world_end(world);
}

/* A load does not find a root that was given up, by either way. */
static void test_load_after_loss(void **state)
{
	(void)state;
	for (unsigned cr3 = 0; cr3 < 2; cr3++) {
		uint64_t root, missed, reused;
		struct world *world = begin(0, &root);
		struct rhz_regs regs;

		map(world, root, 0x5000, 0x1000, PWU);
		start(world, 0, root);
		reaches(world, 0x5000, USER, 0x1000);
		world->at[0].running = false;
		assert_status(rhz_slot_set_flags(world->vm, world->slot, RHZ_SLOT_READ_ONLY, NULL),
		              RHZ_OK);
		assert_status(rhz_slot_set_flags(world->vm, world->slot, 0, NULL), RHZ_OK);
		missed = STAT(world, root_missed);
		reused = STAT(world, root_current_reused);
		regs = *rhz_vcpu_regs(world->vcpu[0]);
		if (cr3)
			load_ok(world, 0, root);
		else
			regs_ok(world, 0, &regs);
		assert_int_equal(STAT(world, root_missed), missed + 1);
		assert_int_equal(STAT(world, root_current_reused), reused);
		reaches(world, 0x5000, USER, 0x1000);
		world_end(world);
	}
}

/* Where the processor walks guest tables itself, a switch that invalidates flushes the tag. */
static void test_switch_flushes(void **state)
{
	static const enum rhz_guest_flush asked[] = { RHZ_GUEST_KEEP, RHZ_GUEST_FLUSH_ASID,
		                                      RHZ_GUEST_FLUSH_ALL };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct world *world = world_make(&(struct setup){ .kind = RHZ_NPT_4LEVEL });
		struct rhz_regs regs = regs_of(RHZ_PAGING_4LEVEL, 0x1000);
		unsigned *flushes = world->at[0].flushes;

		switch_ok(world, 0, RHZ_CONTEXT_L2, &regs, 1, RHZ_GUEST_KEEP);
		assert_true(enter(world, 0));
		memset(flushes, 0, sizeof(world->at[0].flushes));
		switch_ok(world, 0, RHZ_CONTEXT_L2, &regs, 1, asked[i]);
		assert_true(enter(world, 0));
		assert_int_equal(flushes[RHZ_FLUSH_TAG], i > 0);
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unlinked_between_faults),
		cmocka_unit_test(test_unused_leaf_loses_a),
		cmocka_unit_test(test_mmio_among_leaves),
		cmocka_unit_test(test_distances),
		cmocka_unit_test(test_table_in_1g),
		cmocka_unit_test(test_collapse_leaves_shadows),
		cmocka_unit_test(test_oldest_goes_first),
		cmocka_unit_test(test_current_root_is_kept),
		cmocka_unit_test(test_own_roots_make_room),
		cmocka_unit_test(test_found_again_at_entry),
		cmocka_unit_test(test_load_after_loss),
		cmocka_unit_test(test_switch_flushes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
