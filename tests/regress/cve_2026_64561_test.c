/* SPDX-License-Identifier: MIT */
/*
 * CVE-2026-64561 (Zapscape, KVM): the root was checked for staleness before reclaim ran, and
 * reclaim took the root in use; a page was child and root at once (the child of a 5-level root is a
 * 4-level root, a long-mode directory is a PAE directory); children inherited 'invalid' from a
 * doomed root.
 */
#include "fixture.h"

/* The smallest quota, every fault reclaims: the processor walks no page that was given back. */
static void test_reclaim_spares_the_root(void **state)
{
	(void)state;
	for (enum rhz_paging mode = RHZ_PAGING_32; mode <= RHZ_PAGING_5LEVEL; mode++) {
		struct world *world = world_make(&(struct setup){ .mode = mode, .vcpus = 2,
			.quota = RHZ_MIN_SHADOW_PAGES });
		uint64_t roots[2] = { table_new(world), table_new(world) };

		for (unsigned n = 0; n < 32; n++) {
			map(world, roots[0], n * 0x4000000ull, n * 0x1000, PWU);
			map(world, roots[1], n * 0x4000000ull, n * 0x2000, PWU);
		}
		start(world, 0, roots[0]);
		start(world, 1, roots[1]);
		for (unsigned n = 0; n < 96; n++) {
			reaches(world, n % 32 * 0x4000000ull, WRITE, n % 32 * 0x1000);
			reaches_on(world, 1, n % 32 * 0x4000000ull, WRITE, n % 32 * 0x2000);
		}
		world_end(world);
	}
}

/* One guest table as 4-level root and as child of a 5-level one. */
static void test_child_and_root(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_5LEVEL, .vcpus = 2 });
	uint64_t root5 = table_new(world), root4;
	struct rhz_regs regs;

	(void)state;
	map(world, root5, 0x5000, 0x1000, PWU);
	root4 = entry_get(world, root5, 0x5000, 5) & FRAME;
	start(world, 0, root5);
	world->setup.mode = RHZ_PAGING_4LEVEL;
	start(world, 1, root4);
	reaches(world, 0x5000, WRITE, 0x1000);
	reaches_on(world, 1, 0x5000, WRITE, 0x1000);
	assert_int_equal(world->at[0].entry.levels, 5);
	assert_int_equal(world->at[1].entry.levels, 4);
	assert_true(world->at[0].entry.root.v != world->at[1].entry.root.v);
	/* the child goes with its entry; the root stays in use */
	guest_poke(world, root5, 8, 0);
	load_ok(world, 0, root5);
	faults(world, 0x5000, WRITE, RHZ_PF_W);
	reaches_on(world, 1, 0x5000, WRITE, 0x1000);
	assert_false(rhz_vm_unshadow(world->vm, 0, (rhz_gpa){ root4 }));
	rhz_vm_shrink(world->vm, 0);
	audit(world);
	reaches_on(world, 1, 0x5000, WRITE, 0x1000);
	/* and on one vCPU: from one to the other and back */
	regs = regs_of(RHZ_PAGING_5LEVEL, root5);
	assert_true(regs.cr4 & RHZ_CR4_LA57);
	world_end(world);
}

/* A directory of a 4-level guest under a PAE root: other entries, another page. */
static void test_long_and_pae(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL, .vcpus = 2 });
	uint64_t root = table_new(world), pdpt = table_new(world);

	(void)state;
	map(world, root, 0x5000, 0x1000, PWU);
	guest_put(world, pdpt, 8, (entry_get(world, root, 0x5000, 3) & FRAME) | P);
	start(world, 0, root);
	world->setup.mode = RHZ_PAGING_PAE;
	start(world, 1, pdpt);
	reaches_on(world, 1, 0x5000, WRITE, 0x1000);
	reaches(world, 0x5000, WRITE, 0x1000);
	guest_poke(world, entry_at(world, pdpt, 0x5000, 2), 8, 0);
	load_ok(world, 0, root);
	load_ok(world, 1, pdpt);
	faults(world, 0x5000, WRITE, RHZ_PF_W);
	faults_on(world, 1, 0x5000, WRITE, RHZ_PF_W);
	world_end(world);
}

/* A doomed root: its children serve the next one. */
static void test_doomed_is_not_inherited(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL, .vcpus = 2 });
	struct rhz_slot slot = { .gpa = { 0x800000 }, .bytes = 0x1000, .offset = 0x700000 };
	unsigned id;

	(void)state;
	slot.ram = world->ram_id;
	assert_status(rhz_slot_add(world->vm, &slot, &id), RHZ_OK);
	/* the root alone lies in the second slot */
	guest_put(world, 0x700000, 8, table_new(world) | PWU);
	map(world, 0x700000, 0x5000, 0x1000, PWU);
	start(world, 0, 0x800000);
	start(world, 1, 0x800000);
	reaches(world, 0x5000, WRITE, 0x1000);
	reaches_on(world, 1, 0x5000, WRITE, 0x1000);
	for (unsigned n = 0; n < 3; n++) {
		assert_status(rhz_slot_delete(world->vm, id), RHZ_OK);
		audit(world);
		assert_false(world->at[1].running);
		world->at[0].running = false;
		assert_status(rhz_slot_add(world->vm, &slot, &id), RHZ_OK);
		audit(world);
		reaches(world, 0x5000, WRITE, 0x1000);
		reaches_on(world, 1, 0x5000, WRITE, 0x1000);
	}
	world_end(world);
}

/* The same with L1's roots and L2's: each fault reclaims, and takes none of them. */
static void test_nested_reclaim(void **state)
{
	static const enum rhz_paging_kind kinds[] = { RHZ_NPT_4LEVEL, RHZ_NPT_5LEVEL };

	(void)state;
	for (unsigned i = 0; i < 2 * 3; i++) {
		enum rhz_paging mode = RHZ_PAGING_PAE + i % 2;
		struct world *world = world_make(&(struct setup){ .mode = mode, .amd = true,
			.nested = kinds[i / 2 % 2], .quota = RHZ_MIN_SHADOW_PAGES });
		uint64_t root = table_new(world);
		struct rhz_regs l1 = regs_of(mode, table_new(world));

		for (unsigned n = 0; n < 24; n++) {
			map(world, root, n * 0x4000000ull, n * 0x1000, PWU);
			map(world, l1.cr3, n * 0x4000000ull, n * 0x2000, PWU);
		}
		start(world, 0, root);
		for (unsigned n = 0; n < 48; n++) {
			reaches(world, n % 24 * 0x4000000ull, WRITE, n % 24 * 0x1000);
			nested_ok(world, 0, &l1, 1 + n % 2, RHZ_GUEST_KEEP);
			reaches(world, n % 24 * 0x4000000ull, WRITE, n % 24 * 0x2000);
			reaches(world, (n + 1) % 24 * 0x4000000ull, WRITE, (n + 1) % 24 * 0x2000);
			exit_ok(world, 0);
		}
		world_end(world);
	}
}

/*
 * Nested tables of four levels, on a processor of five, that are also the child of others of five:
 * the page above them, their own, and the child are three.
 */
static void test_nested_child_and_root(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_5LEVEL, .amd = true,
		.nested = RHZ_NPT_5LEVEL, .vcpus = 2 });
	struct rhz_regs deep = regs_of(RHZ_PAGING_5LEVEL, table_new(world)), flat;

	(void)state;
	map(world, deep.cr3, 0x5000, 0x1000, PWU);
	flat = regs_of(RHZ_PAGING_4LEVEL, entry_get(world, deep.cr3, 0x5000, 5) & FRAME);
	for (unsigned n = 0; n < 3; n++) {
		nested_ok(world, 0, &deep, 1, RHZ_GUEST_KEEP);
		nested_ok(world, 1, &flat, 1, RHZ_GUEST_KEEP);
		reaches(world, 0x5000, WRITE, 0x1000);
		reaches_on(world, 1, 0x5000, WRITE, 0x1000);
		assert_int_equal(world->at[1].entry.levels, 5);
		assert_true(world->at[0].entry.root.v != world->at[1].entry.root.v);
		/* the child goes with its entry; the root stays in use */
		guest_poke(world, deep.cr3, 8, 0);
		nested_ok(world, 0, &deep, 1, RHZ_GUEST_FLUSH_ASID);
		npf(world, 0x5000, READ, RHZ_NPF_FINAL | RHZ_PF_U);
		reaches_on(world, 1, 0x5000, WRITE, 0x1000);
		exits_on(world, 1, 1ull << 48 | 0x5000, READ, RHZ_L1_NPF,
		         RHZ_NPF_FINAL | RHZ_PF_U);
		rhz_vm_shrink(world->vm, 0);
		audit(world);
		reaches_on(world, 1, 0x5000, WRITE, 0x1000);
		guest_poke(world, deep.cr3, 8, flat.cr3 | PWU);
	}
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reclaim_spares_the_root),
		cmocka_unit_test(test_child_and_root),
		cmocka_unit_test(test_long_and_pae),
		cmocka_unit_test(test_doomed_is_not_inherited),
		cmocka_unit_test(test_nested_reclaim),
		cmocka_unit_test(test_nested_child_and_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
