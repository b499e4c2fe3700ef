/* SPDX-License-Identifier: MIT */
/* Large pages of guest and host: 2 MiB, 4 MiB, 1 GiB; splitting, collapsing, tracking below. */
#include "fixture.h"

static unsigned level_of(struct world *world, uint64_t gva)
{
	unsigned level = 0;

	assert_true(leaf_of(world, 0, gva, &level));
	return level;
}

/* A large guest page becomes a large leaf of ours where RAM and slot allow. */
static void test_2m(void **state)
{
	static const enum rhz_paging modes[] = { RHZ_PAGING_32, RHZ_PAGING_PAE, RHZ_PAGING_4LEVEL,
		                                 RHZ_PAGING_5LEVEL };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct world *world = world_make(&(struct setup){ .mode = modes[i] });
		uint64_t root = table_new(world);

		map_at(world, root, 0x40400000, 0x400000, PWU, 2);
		start(world, 0, root);
		reaches(world, 0x40412345, USER, 0x412345);
		assert_int_equal(level_of(world, 0x40412345), 2);
		reaches(world, 0x40412345, USER | WRITE, 0x412345);
		assert_int_equal(level_of(world, 0x40412345), 2);
		assert_int_equal(entry_get(world, root, 0x40400000, 2) & (A | D), A | D);
		/* the other half of a 4 MiB page, the end of a 2 MiB page */
		if (modes[i] == RHZ_PAGING_32)
			reaches(world, 0x407fffff, USER | WRITE, 0x7fffff);
		else
			reaches(world, 0x405fffff, USER | WRITE, 0x5fffff);
		assert_int_equal(VM_STAT(world, pages_2m), modes[i] == RHZ_PAGING_32 ? 2 : 1);
		world_end(world);
	}
}

/* Without CR4.PSE the bit is ignored in 32-bit paging: the entry is a table [SDM3 4.3]. */
static void test_pse_off(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_32 });
	uint64_t root = table_new(world);

	(void)state;
	map_at(world, root, 0x400000, 0x400000, PWU, 2);
	guest_put(world, 0x400000 + 4 * 5, 4, 0x1000 | PWU);
	start(world, 0, root);
	reaches(world, 0x405010, READ, 0x405010);
	cr_change(world, 0, 0, RHZ_CR4_PSE, 0);
	reaches(world, 0x405010, READ, 0x1010);
	faults(world, 0x406010, READ, 0);
	cr_change(world, 0, 0, RHZ_CR4_PSE, 0);
	reaches(world, 0x405010, WRITE, 0x405010);
	world_end(world);
}

/* PSE-36 [SDM3 4.3, table 4-4]: bits 20:13 are address bits 39:32. */
static void test_pse36(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_32 });
	uint64_t root = table_new(world), high = 0x300000000ull, size = rhz_ram_size(0x400000);
	struct rhz_slot slot = { .gpa = { high }, .bytes = 0x400000 };
	void *at = aligned_alloc(4096, 0x400000);
	struct seen seen;
	unsigned id;

	(void)state;
	world->ram_memory[1] = malloc(size);
	assert_status(rhz_vm_add_ram(world->vm, world->ram_memory[1], size, (rhz_hpa){ RAM2_HPA },
	                             at, 0x400000, &slot.ram), RHZ_OK);
	assert_status(rhz_slot_add(world->vm, &slot, &id), RHZ_OK);
	map_at(world, root, 0x800000, 3 << 13, PWU, 2);
	map_at(world, root, 0xc00000, 4 << 13, PWU, 2);
	start(world, 0, root);
	seen = touch(world, 0, 0x812345, USER | WRITE);
	assert_int_equal(seen.how, REACHED);
	assert_int_equal(seen.hpa, RAM2_HPA + 0x12345);
	is_mmio(world, 0xc12345, READ, 0x400012345);
	world_end(world);
	free(at);
}

static void test_1g(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
		                                          .ram = 1 << 30, .no_audit = true });
	uint64_t root = table_new(world);

	(void)state;
	map_at(world, root, 0x4000000000, 0, PWU, 3);
	start(world, 0, root);
	/* a 1 GiB leaf would cover the tables: only reading is allowed through one */
	reaches(world, 0x4000200000 + 0x123, READ, 0x200123);
	reaches(world, 0x4000400000, WRITE, 0x400000);
	assert_int_equal(level_of(world, 0x4000400000), 2);
	is_tracked(world, 0x4000000000 + root, WRITE, root);
	reaches(world, 0x4020000000, WRITE, 0x20000000);
	audit(world);
	world_end(world);
}

/* The tables lie elsewhere: then 1 GiB is one leaf, writable too. */
static void test_1g_whole(void **state)
{
	struct setup setup = { .mode = RHZ_PAGING_4LEVEL };
	struct world *world = world_make(&setup);
	uint64_t root = table_new(world), gib = 1 << 30, size = rhz_ram_size(gib);
	struct rhz_slot slot = { .gpa = { gib }, .bytes = gib };
	void *at = aligned_alloc(4096, gib);
	unsigned id;

	(void)state;
	world->setup.no_audit = true;
	world->ram_memory[1] = malloc(size);
	assert_status(rhz_vm_add_ram(world->vm, world->ram_memory[1], size, (rhz_hpa){ RAM2_HPA },
	                             at, gib, &slot.ram), RHZ_OK);
	assert_status(rhz_slot_add(world->vm, &slot, &id), RHZ_OK);
	map_at(world, root, 0x4000000000, gib, PWU, 3);
	start(world, 0, root);
	assert_int_equal(touch(world, 0, 0x4023456789, WRITE).hpa, RAM2_HPA + 0x23456789);
	assert_int_equal(level_of(world, 0x4000000000), 3);
	assert_int_equal(VM_STAT(world, pages_1g), 1);
	/* taken away by the host */
	world->at[0].running = false;
	assert_status(rhz_ram_invalidate(world->vm, slot.ram, 0x5000, 0x1000), RHZ_OK);
	assert_int_equal(VM_STAT(world, pages_1g), 0);
	assert_int_equal(touch(world, 0, 0x4023456789, READ).hpa, RAM2_HPA + 0x23456789);
	audit(world);
	world_end(world);
	free(at);
}

/* A table inside a large page: the leaf loses W when the table is tracked, and is split. */
static void test_split_by_tracking(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL });
	uint64_t root = table_new(world), table = 0x403000;

	(void)state;
	map_at(world, root, 0x40400000, 0x400000, PWU, 2);
	map(world, root, 0x5000, 0x1000, PWU);
	guest_put(world, entry_at(world, root, 0x800000, 3), 8,
	          guest_get(world, entry_at(world, root, 0x5000, 3), 8));
	guest_put(world, entry_at(world, root, 0x800000, 2), 8, table | PWU);
	guest_put(world, table, 8, 0x2000 | PWU);
	start(world, 0, root);
	reaches(world, 0x40400000, WRITE, 0x400000);
	assert_int_equal(level_of(world, 0x40400000), 2);
	reaches(world, 0x800000, WRITE, 0x2000);
	reaches(world, 0x40400000, WRITE, 0x400000);
	assert_int_equal(level_of(world, 0x40400000), 1);
	assert_true(VM_STAT(world, large_split) >= 1);
	/* a store to the table through the large page's pieces takes it out of sync */
	store(world, 0, 0x40403000, 8, 0x3000 | PWU);
	assert_int_equal(VM_STAT(world, mmu_unsync), 1);
	invlpg(world, 0, 0x800000);
	reaches(world, 0x800000, WRITE, 0x3000);
	world_end(world);
}

/* The guest replaces a large page by a table and back, with the invalidation due. */
static void test_guest_splits(void **state)
{
	static const enum rhz_paging modes[] = { RHZ_PAGING_32, RHZ_PAGING_PAE, RHZ_PAGING_4LEVEL };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct world *world = world_make(&(struct setup){ .mode = modes[i] });
		uint64_t root = table_new(world), table = table_new(world);
		unsigned bytes = entry_bytes(world);

		map_at(world, root, 0x40400000, 0x400000, PWU, 2);
		map_window(world, root);
		start(world, 0, root);
		reaches(world, 0x40405000, WRITE, 0x405000);
		guest_put(world, table + 5 * bytes, bytes, 0x1000 | PWU);
		entry_store(world, 0, root, 0x40400000, 2, table | PWU);
		invlpg(world, 0, 0x40405000);
		reaches(world, 0x40405000, WRITE, 0x1000);
		faults(world, 0x40406000, WRITE, RHZ_PF_W);
		entry_store(world, 0, root, 0x40400000, 2, 0x400000 | PWU | PS);
		invlpg(world, 0, 0x40405000);
		reaches(world, 0x40405000, WRITE, 0x405000);
		reaches(world, 0x40406000, WRITE, 0x406000);
		world_end(world);
	}
}

/* A page in pieces: the guest's entry is told to be written, but stays or only gains. */
static void test_pieces_stay(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
		                                          .options = RHZ_NO_LARGE_PAGES });
	uint64_t root = table_new(world), at, taken;

	(void)state;
	map_at(world, root, 0x40400000, 0x400000, P | U, 2);
	start(world, 0, root);
	reaches(world, 0x40401000, USER, 0x401000);
	at = entry_at(world, root, 0x40400000, 2);
	taken = VM_STAT(world, removals);
	guest_poke(world, at, 8, guest_get(world, at, 8));
	assert_int_equal(VM_STAT(world, removals), taken);
	/* CR0.WP = 0: promoted pieces are right too */
	cr_change(world, 0, RHZ_CR0_WP, 0, 0);
	reaches(world, 0x40401000, WRITE, 0x401000);
	taken = VM_STAT(world, removals);
	guest_poke(world, at, 8, guest_get(world, at, 8));
	assert_int_equal(VM_STAT(world, removals), taken);
	reaches(world, 0x40401000, USER, 0x401000);
	assert_true(VM_STAT(world, removals) > taken);
	guest_poke(world, at, 8, guest_get(world, at, 8) | W);
	reaches(world, 0x40401000, USER | WRITE, 0x401000);
	guest_poke(world, at, 8, guest_get(world, at, 8) & ~(uint64_t)(W | U));
	load_ok(world, 0, root);
	faults(world, 0x40401000, USER, RHZ_PF_P | RHZ_PF_U);
	reaches(world, 0x40401000, WRITE, 0x401000);
	world_end(world);
}

/* A processor without 1 GiB pages. */
static void test_no_1g(void **state)
{
	static const enum rhz_paging_kind kinds[] = { RHZ_SHADOW, RHZ_NPT_4LEVEL };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct world *world = world_make(&(struct setup){ .kind = kinds[i],
			.mode = RHZ_PAGING_4LEVEL, .ram = 1 << 30, .no_audit = true,
			.no_1g = true });
		uint64_t root = table_new(world);

		map_at(world, root, 0, 0, PWU, 3);
		start(world, 0, root);
		reaches(world, 0x12345678, WRITE, 0x12345678);
		assert_int_equal(level_of(world, 0x12345678), 2);
		audit(world);
		world_end(world);
	}
}

/* INVLPG on a large guest page that is shadowed in pieces drops all of them. */
static void test_invlpg_of_pieces(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
		                                          .options = RHZ_NO_LARGE_PAGES });
	uint64_t root = table_new(world);

	(void)state;
	map_at(world, root, 0x40400000, 0x400000, PWU, 2);
	map_window(world, root);
	start(world, 0, root);
	reaches(world, 0x40401000, WRITE, 0x401000);
	reaches(world, 0x40402000, WRITE, 0x402000);
	assert_int_equal(level_of(world, 0x40402000), 1);
	entry_store(world, 0, root, 0x40400000, 2, 0x600000 | PWU | PS);
	invlpg(world, 0, 0x40401000);
	reaches(world, 0x40401000, WRITE, 0x601000);
	reaches(world, 0x40402000, WRITE, 0x602000);
	world_end(world);
}

/* A large page that reaches beyond the slot: pieces where there is memory, MMIO where not. */
static void test_across_slot_end(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
		                                          .ram = RAM - 0x3000 });
	uint64_t root = table_new(world);

	(void)state;
	map_at(world, root, 0x40000000, RAM - 0x200000, PWU, 2);
	start(world, 0, root);
	reaches(world, 0x401fc010, WRITE, RAM - 0x4000 + 0x10);
	is_mmio(world, 0x401fd010, WRITE, RAM - 0x3000 + 0x10);
	world_end(world);
}

/* PAT moves from bit 12 of a large leaf to bit 7 of its pieces; PWT and PCD stay. */
static void test_memory_types(void **state)
{
	(void)state;
	for (unsigned type = 0; type < 8; type++) {
		uint64_t low = (type & 1 ? PWT : 0) | (type & 2 ? PCD : 0), spte;
		struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_PAE });
		uint64_t root = table_new(world);

		map_at(world, root, 0x400000, 0x400000, PWU | low | (type & 4 ? PAT_LARGE : 0), 2);
		map_at(world, root, 0x600000, 0x000000, PWU | low | (type & 4 ? PAT_LARGE : 0), 2);
		map(world, root, 0x5000, 0x1000, PWU | low | (type & 4 ? PAT : 0));
		start(world, 0, root);
		reaches(world, 0x400000, WRITE, 0x400000);
		assert_int_equal(level_of(world, 0x400000), 2);
		spte = leaf_of(world, 0, 0x400000, NULL);
		assert_int_equal(spte & (PWT | PCD | PAT_LARGE), low | (type & 4 ? PAT_LARGE : 0));
		reaches(world, 0x5000, WRITE, 0x1000);
		spte = leaf_of(world, 0, 0x5000, NULL);
		assert_int_equal(spte & (PWT | PCD | PAT), low | (type & 4 ? PAT : 0));
		/* this one covers guest tables once the next 2 MiB do: pieces by a log */
		assert_status(rhz_slot_set_flags(world->vm, world->slot, RHZ_SLOT_DIRTY_LOG,
		                                 (uint64_t[RAM / 4096 / 64]){ 0 }), RHZ_OK);
		world->at[0].running = false;
		reaches(world, 0x600000, WRITE, 0);
		spte = leaf_of(world, 0, 0x600000, NULL);
		assert_int_equal(level_of(world, 0x600000), 1);
		assert_int_equal(spte & (PWT | PCD | PAT), low | (type & 4 ? PAT : 0));
		assert_status(rhz_slot_set_flags(world->vm, world->slot, 0, NULL), RHZ_OK);
		world_end(world);
	}
}

/* CVE-2018-12207's switch: what executes is mapped in 4 KiB. */
static void test_no_executable_large(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
		                                          .options = RHZ_NO_EXEC_LARGE });
	uint64_t root = table_new(world);

	(void)state;
	map_at(world, root, 0x400000, 0x400000, PWU, 2);
	map_at(world, root, 0x600000, 0x400000, PWU | NX, 2);
	start(world, 0, root);
	reaches(world, 0x400000, WRITE, 0x400000);
	assert_int_equal(level_of(world, 0x400000), 1);
	reaches(world, 0x400000, FETCH, 0x400000);
	reaches(world, 0x600000, WRITE, 0x400000);
	assert_int_equal(level_of(world, 0x600000), 2);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_2m),
		cmocka_unit_test(test_pse_off),
		cmocka_unit_test(test_pse36),
		cmocka_unit_test(test_1g),
		cmocka_unit_test(test_1g_whole),
		cmocka_unit_test(test_split_by_tracking),
		cmocka_unit_test(test_guest_splits),
		cmocka_unit_test(test_pieces_stay),
		cmocka_unit_test(test_no_1g),
		cmocka_unit_test(test_invlpg_of_pieces),
		cmocka_unit_test(test_across_slot_end),
		cmocka_unit_test(test_memory_types),
		cmocka_unit_test(test_no_executable_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
