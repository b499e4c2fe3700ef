/* SPDX-License-Identifier: MIT */
/*
 * What is rare: one table at two addresses, tables that lose their root while they are out of sync,
 * CR0.WP = 0 beside the quick ways, pieces of large pages, one table in two slots.
 */
#include "fixture.h"

static struct world *begin(uint32_t options, uint64_t *root)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL, .vcpus = 2,
		                                          .options = options });

	*root = table_new(world);
	map_window(world, *root);
	map(world, *root, 0x5000, 0x1000, PWU | A | D);
	map(world, *root, 0x6000, 0x2000, PWU | A | D);
	return world;
}

/* One table is seen at two addresses, linked twice at some level: each has its own INVLPG. */
static void test_invlpg_of_two_addresses(void **state)
{
	static const uint64_t second[] = { 0x200000, 0x40000000, 0x8000000000 };

	(void)state;
	for (unsigned level = 2; level <= 4; level++) {
		uint64_t root, twin = second[level - 2] + 0x5000;
		struct world *world = begin(0, &root);

		/* the window's own address is in the first quarter of the root's tables */
		if (level == 3)
			twin = 0x80000000 + 0x5000;
		map(world, root, twin, 0x7000, PWU);
		guest_put(world, entry_at(world, root, twin, level), 8,
		          entry_get(world, root, 0x5000, level));
		start(world, 0, root);
		reaches(world, 0x5000, USER, 0x1000);
		reaches(world, twin, USER, 0x1000);
		entry_store(world, 0, root, 0x5000, 1, 0x3000 | PWU | A | D);
		reaches(world, 0x6000, USER, 0x2000);
		invlpg(world, 0, 0x5000);
		reaches(world, 0x5000, USER, 0x3000);
		invlpg(world, 0, twin);
		reaches(world, twin, USER, 0x3000);
		world_end(world);
	}
}

/* The same with PAE: the directory stands twice among the PDPTEs. */
static void test_invlpg_of_two_pdptes(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_PAE });
	uint64_t root = table_new(world), twin = 0x80005000;

	(void)state;
	map_window(world, root);
	map(world, root, 0x5000, 0x1000, PWU | A | D);
	guest_put(world, root + 16, 8, guest_get(world, root, 8));
	start(world, 0, root);
	reaches(world, 0x5000, USER, 0x1000);
	reaches(world, twin, USER, 0x1000);
	entry_store(world, 0, root, 0x5000, 1, 0x3000 | PWU | A | D);
	assert_true(enter(world, 0));
	invlpg(world, 0, 0x5000);
	reaches(world, 0x5000, USER, 0x3000);
	invlpg(world, 0, twin);
	reaches(world, twin, USER, 0x3000);
	world_end(world);
}

/* A directory with several tables out of sync goes from one root to another. */
static void test_disowned_together(void **state)
{
	uint64_t root, other, pdpte;
	struct world *world = begin(0, &root);

	(void)state;
	other = table_new(world);
	for (unsigned i = 1; i < 4; i++)
		map(world, root, 0x5000 + i * 0x200000, i * 0x1000, PWU | A | D);
	map(world, other, 0x5000, 0x7000, PWU);
	start(world, 0, root);
	for (unsigned i = 1; i < 4; i++)
		reaches(world, 0x5000 + i * 0x200000, USER, i * 0x1000);
	for (unsigned i = 1; i < 4; i++)
		entry_store(world, 0, root, 0x5000 + i * 0x200000, 1,
		            (0x8000 + i * 0x1000) | PWU | A | D);
	pdpte = entry_get(world, root, 0x5000, 3);
	entry_poke(world, root, 0x5000, 3, 0);
	audit(world);
	guest_put(world, entry_at(world, other, 0x5000, 3), 8, pdpte);
	load_ok(world, 0, other);
	for (unsigned i = 1; i < 4; i++)
		reaches(world, 0x5000 + i * 0x200000, USER, 0x8000 + i * 0x1000);
	world_end(world);
}

/* CR0.WP = 0: a supervisor's write to its own read-only page takes one fault, as any other. */
static void test_nowp_takes_one_fault(void **state)
{
	uint64_t root;
	struct world *world = begin(0, &root);

	(void)state;
	for (unsigned i = 0; i < 16; i++)
		map(world, root, 0x300000 + i * 0x1000, i * 0x1000, P | A | D);
	start(world, 0, root);
	cr_change(world, 0, RHZ_CR0_WP, 0, 0);
	reaches(world, 0x300000, READ, 0);
	/* filled beside it */
	assert_int_equal(touch(world, 0, 0x301000, WRITE).faults, 0);
	assert_int_equal(touch(world, 0, 0x308000, WRITE).faults, 1);
	/* found at a sync */
	entry_store(world, 0, root, 0x308000, 1, 0x20000 | P | A | D);
	load_ok(world, 0, root);
	assert_int_equal(touch(world, 0, 0x308000, WRITE).faults, 0);
	reaches(world, 0x308000, WRITE, 0x20000);
	world_end(world);
}

/* Keys with CR0.WP = 0: a page that is only promoted could not be told from a supervisor's. */
static void test_keys_nowp(void **state)
{
	static const uint64_t bits[] = { RHZ_CR4_PKE, RHZ_CR4_PKS, RHZ_CR4_SMAP };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		uint64_t root;
		struct world *world = begin(0, &root);

		map(world, root, 0x300000, 0x4000, P | U | A | D);
		start(world, 0, root);
		cr_change(world, 0, RHZ_CR0_WP, bits[i], 0);
		is_tracked(world, 0x300000, WRITE | AC, 0x4000);
		world_end(world);
	}
}

/* The first access to a page of tables is a write: one fault, after which they are out of sync. */
static void test_first_write_to_a_table(void **state)
{
	uint64_t root, table;
	struct world *world = begin(RHZ_NO_PREFETCH, &root);

	(void)state;
	start(world, 0, root);
	reaches(world, 0x5000, USER, 0x1000);
	table = entry_get(world, root, 0x5000, 2) & FRAME;
	/* its neighbour, so that all tables for the window are there */
	touch(world, 0, WINDOW + table + 0x10000, READ);
	assert_int_equal(touch(world, 0, WINDOW + table, WRITE).faults, 1);
	world_end(world);
}

/* A read of a page that is clean in the log does not make it dirty, though the guest's D is set. */
static void test_reads_are_not_logged(void **state)
{
	(void)state;
	for (unsigned quick = 0; quick < 2; quick++) {
		uint64_t root, dirty[RAM / 4096 / 64] = { 0 };
		struct world *world = begin(quick ? 0 : RHZ_NO_QUICK_FILL, &root);

		start(world, 0, root);
		world->at[0].running = false;
		assert_status(rhz_slot_set_flags(world->vm, world->slot, RHZ_SLOT_DIRTY_LOG, dirty),
		              RHZ_OK);
		reaches(world, 0x5000, USER, 0x1000);
		assert_int_equal(dirty[0], 0);
		reaches(world, 0x5000, USER | WRITE, 0x1000);
		assert_int_equal(dirty[0], 1 << 1);
		world_end(world);
	}
}

/*
 * A page in pieces, since a table lay in it. Now none does: what is in use stays as it is, if it is
 * what the guest's entry says.
 */
static struct world *begin_pieces(uint64_t *root, uint64_t bits)
{
	const uint64_t table = 0x403000;
	struct world *world = begin(RHZ_NO_PREFETCH, root);

	map_at(world, *root, 0x40800000, 0x400000, bits, 2);
	guest_put(world, table, 8, 0x2000 | PWU | A | D);
	guest_put(world, entry_at(world, *root, 0x800000, 2), 8, table | PWU | A);
	start(world, 0, *root);
	reaches(world, 0x800000, USER, 0x2000);
	reaches(world, 0x40801000, USER, 0x401000);
	world->at[0].running = false;
	assert_true(rhz_vm_unshadow(world->vm, 0, (rhz_gpa){ table }));
	return world;
}

static void test_pieces_in_use_stay(void **state)
{
	uint64_t root;
	struct world *world = begin_pieces(&root, PWU | A | D);
	unsigned level;

	(void)state;
	reaches(world, 0x40805000, USER, 0x405000);
	assert_true(leaf_of(world, 0, 0x40801000, &level));
	assert_true(level == 1 || leaf_of(world, 0, 0x40805000, &level));
	assert_int_equal(VM_STAT(world, pages_2m), 0);
	world_end(world);
}

/* The guest's entry gives more now, and nobody has told us yet. */
static void test_pieces_of_old_rights_go(void **state)
{
	uint64_t root;
	struct world *world = begin_pieces(&root, P | U | A | D);

	(void)state;
	guest_put(world, entry_at(world, root, 0x40800000, 2), 8, 0x400000 | PWU | PS | A | D);
	reaches(world, 0x40805000, USER | WRITE, 0x405000);
	audit(world);
	world_end(world);
}

/* One table, in a slot that is read-only and in one that is not: two roots. */
static void test_root_in_two_slots(void **state)
{
	uint64_t root, alias = 0x10000000;
	struct world *world = begin(0, &root);
	struct rhz_slot slot = { .gpa = { alias }, .bytes = RAM, .ram = world->ram_id,
		                 .flags = RHZ_SLOT_READ_ONLY };
	unsigned id;

	(void)state;
	assert_status(rhz_slot_add(world->vm, &slot, &id), RHZ_OK);
	start(world, 0, root);
	load_ok(world, 0, root + alias);
	audit(world);
	reaches(world, 0x5000, USER, 0x1000);
	audit(world);
	world_end(world);
}

/* With roots not reused, no load finds one in the cache. */
static void test_no_reuse(void **state)
{
	uint64_t root, other;
	struct world *world = begin(RHZ_NO_ROOT_REUSE, &root);

	(void)state;
	other = table_new(world);
	start(world, 0, root);
	for (unsigned i = 0; i < 4; i++)
		load_ok(world, 0, i & 1 ? root : other);
	assert_int_equal(STAT(world, root_cached_reused), 0);
	world_end(world);
}

/* An MMIO entry does not answer where a key forbids. */
static void test_mmio_by_key(void **state)
{
	uint64_t root;
	struct world *world = begin(0, &root);

	(void)state;
	map(world, root, 0x7000, HOLE, PWU | A | D | KEY(1));
	start(world, 0, root);
	cr_change(world, 0, 0, RHZ_CR4_PKE, 0);
	is_mmio(world, 0x7000, USER, HOLE);
	is_mmio(world, 0x7000, USER, HOLE);
	world->at[0].running = false;
	rhz_vcpu_set_keys(world->vcpu[0], 1u << 2, 0);
	faults(world, 0x7000, USER, RHZ_PF_P | RHZ_PF_U | RHZ_PF_PK);
	world_end(world);
}

static uint64_t late_at, late_value;

/* vCPU 1 leaves the guest; just before, it stores through what its TLB has. */
static void store_before_leaving(struct world *world)
{
	const struct translation *to = tlb_find(world, 1, WINDOW + (late_at & ~0xfffull));

	if (world->at[1].running && to && to->w && late_at)
		guest_put(world, late_at, 8, late_value);
	late_at = 0;
}

/* A table that is out of sync gets a second link: what is stored until the kick is seen. */
static void test_last_store_before_a_link(void **state)
{
	uint64_t root, table;
	struct world *world = begin(RHZ_NO_PREFETCH, &root);

	(void)state;
	map(world, root, 0x40205000, 0x8000, PWU | A | D);
	start(world, 0, root);
	start(world, 1, root);
	reaches(world, 0x40205000, USER, 0x8000);
	reaches(world, 0x6000, USER, 0x2000);
	table = entry_get(world, root, 0x6000, 2) & FRAME;
	entry_store(world, 1, root, 0x5000, 1, 0x3000 | PWU | A | D);
	assert_int_equal(VM_STAT(world, mmu_unsync), 1);
	guest_put(world, entry_at(world, root, 0x40005000, 2), 8, table | PWU | A);
	late_at = table + 8 * 6;
	late_value = 0x7000 | PWU | A | D;
	world->on_kick = store_before_leaving;
	reaches(world, 0x40005000, USER, 0x3000);
	assert_int_equal(late_at, 0);
	world->on_kick = NULL;
	load_ok(world, 0, root);
	reaches(world, 0x40006000, USER, 0x7000);
	world_end(world);
}

/* All pages but two are roots in use: a path of three is not begun, though one of it is there. */
static void test_path_that_cannot_be(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL, .vcpus = 13,
		.quota = RHZ_MIN_SHADOW_PAGES });
	uint64_t roots[13];

	(void)state;
	for (unsigned i = 0; i < 13; i++) {
		roots[i] = table_new(world);
		map(world, roots[i], 0x5000, i * 0x1000, PWU);
	}
	for (unsigned v = 0; v < 10; v++)
		start(world, v, roots[v]);
	reaches(world, 0x5000, USER, 0);
	world->at[0].running = false;
	for (unsigned level = 1; level <= 2; level++)
		assert_true(rhz_vm_unshadow(world->vm, 0, (rhz_gpa){
			entry_at(world, roots[0], 0x5000, level) & ~0xfffull }));
	for (unsigned v = 10; v < 13; v++)
		start(world, v, roots[v]);
	/* with the root from before paging */
	assert_int_equal(VM_STAT(world, mmu_shadow_pages), 13 + 1 + 1);
	assert_int_equal(touch(world, 0, 0x5000, USER).how, WAS_NO_MEMORY);
	audit(world);
	world_vcpu_remove(world, 11);
	world_vcpu_remove(world, 12);
	reaches(world, 0x5000, USER, 0);
	world_end(world);
}

/* Nested paging: data in a large page that is executed in small ones leaves these alone. */
static void test_direct_pieces_stay(void **state)
{
	struct world *world = world_make(&(struct setup){ .kind = RHZ_NPT_4LEVEL,
		                                          .options = RHZ_NO_EXEC_LARGE });

	(void)state;
	reaches(world, 0x200000, FETCH, 0x200000);
	reaches(world, 0x201000, WRITE, 0x201000);
	assert_int_equal(touch(world, 0, 0x200000, FETCH).faults, 0);
	world_end(world);
}

/* Nested paging: what was used last goes last. */
static void test_direct_oldest_goes_first(void **state)
{
	struct world *world = world_make(&(struct setup){ .kind = RHZ_NPT_4LEVEL,
		.options = RHZ_NO_LARGE_PAGES | RHZ_NO_QUICK_FILL });
	struct rhz_slot slot = { .gpa = { 0x40000000 }, .bytes = 0x10000, .ram = world->ram_id };
	uint32_t used;
	unsigned id;

	(void)state;
	assert_status(rhz_slot_add(world->vm, &slot, &id), RHZ_OK);
	reaches(world, 0x5000, WRITE, 0x5000);
	assert_int_equal(touch(world, 0, 0x40005000, READ).hpa, RAM_HPA + 0x5000);
	reaches(world, 0x6000, WRITE, 0x6000);
	used = (uint32_t)VM_STAT(world, mmu_shadow_pages);
	assert_true(rhz_vm_shrink(world->vm, used - 1) < used);
	assert_true(leaf_of(world, 0, 0x5000, &(unsigned){ 0 }));
	assert_int_equal(leaf_of(world, 0, 0x40005000, &(unsigned){ 0 }), 0);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_invlpg_of_two_addresses),
		cmocka_unit_test(test_invlpg_of_two_pdptes),
		cmocka_unit_test(test_disowned_together),
		cmocka_unit_test(test_nowp_takes_one_fault),
		cmocka_unit_test(test_keys_nowp),
		cmocka_unit_test(test_first_write_to_a_table),
		cmocka_unit_test(test_reads_are_not_logged),
		cmocka_unit_test(test_pieces_in_use_stay),
		cmocka_unit_test(test_pieces_of_old_rights_go),
		cmocka_unit_test(test_root_in_two_slots),
		cmocka_unit_test(test_no_reuse),
		cmocka_unit_test(test_mmio_by_key),
		cmocka_unit_test(test_last_store_before_a_link),
		cmocka_unit_test(test_path_that_cannot_be),
		cmocka_unit_test(test_direct_pieces_stay),
		cmocka_unit_test(test_direct_oldest_goes_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
