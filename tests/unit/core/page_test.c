/* SPDX-License-Identifier: MIT */
/* The pool: quota, reclaim, shrinking, and every allocation failing once. */
#include "fixture.h"

static const enum rhz_paging modes[] = { RHZ_PAGING_32, RHZ_PAGING_PAE, RHZ_PAGING_4LEVEL,
	                                 RHZ_PAGING_5LEVEL };

#define EACH_MODE(i) for (unsigned i = 0; i < sizeof(modes) / sizeof(*modes); i++)

/* More tables than the quota: all are reached, the quota holds, a root in use never goes. */
static void test_quota(void **state)
{
	(void)state;
	EACH_MODE(i) {
		struct world *world = world_make(&(struct setup){ .mode = modes[i],
			                                          .quota = RHZ_MIN_SHADOW_PAGES });
		uint64_t root = table_new(world), step = 0x400000;

		for (unsigned n = 0; n < 48; n++)
			map(world, root, n * step * 3, n * 0x1000, PWU);
		start(world, 0, root);
		for (unsigned round = 0; round < 2; round++) {
			for (unsigned n = 0; n < 48; n++)
				reaches(world, n * step * 3, WRITE, n * 0x1000);
			assert_true(VM_STAT(world, mmu_shadow_pages) <= RHZ_MIN_SHADOW_PAGES);
		}
		assert_true(VM_STAT(world, mmu_recycled) > 40);
		assert_int_equal(STAT(world, root_dropped), 0);
		world_end(world);
	}
}

/* Many roots on a small quota: cached ones are given up, the loads go through. */
static void test_quota_of_roots(void **state)
{
	(void)state;
	EACH_MODE(i) {
		struct world *world = world_make(&(struct setup){ .mode = modes[i], .vcpus = 2,
			.quota = RHZ_MIN_SHADOW_PAGES, .given_roots = true,
			.policy = RHZ_ROOTS_CURRENT_FIRST, .cached_roots = 64 });
		uint64_t roots[24];

		for (unsigned n = 0; n < 24; n++) {
			roots[n] = table_new(world);
			map(world, roots[n], 0x5000, n * 0x1000, PWU);
		}
		start(world, 1, roots[0]);
		reaches_on(world, 1, 0x5000, WRITE, 0);
		start(world, 0, roots[0]);
		for (unsigned n = 0; n < 48; n++) {
			load_ok(world, 0, roots[n % 24]);
			reaches(world, 0x5000, WRITE, n % 24 * 0x1000);
			reaches_on(world, 1, 0x5000, WRITE, 0);
		}
		assert_true(STAT(world, root_dropped) > 0);
		world_end(world);
	}
}

/*
 * One vCPU's cached roots and the others' current ones take the whole quota: it is asked to give
 * its own up, and does so before its next entry.
 */
static void test_roots_of_others(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL, .vcpus = 8,
		.quota = RHZ_MIN_SHADOW_PAGES, .given_roots = true,
		.policy = RHZ_ROOTS_PINNED, .cached_roots = 64 });
	uint64_t root = table_new(world), dropped;

	(void)state;
	for (unsigned n = 0; n < 4; n++)
		map(world, root, n * 0x8000000000, n * 0x1000, PWU);
	start(world, 1, table_new(world));
	for (unsigned n = 0; n < 7; n++)
		load_ok(world, 1, table_new(world));
	assert_true(enter(world, 1));
	for (unsigned vcpu = 2; vcpu < 8; vcpu++)
		start(world, vcpu, table_new(world));
	start(world, 0, root);
	assert_int_equal(VM_STAT(world, mmu_shadow_pages), RHZ_MIN_SHADOW_PAGES);
	dropped = rhz_vcpu_stats(world->vcpu[1])->root_dropped;
	assert_int_equal(touch(world, 0, 0, WRITE).how, WAS_NO_MEMORY);
	world->at[1].running = false;
	assert_true(enter(world, 1));
	audit(world);
	assert_true(rhz_vcpu_stats(world->vcpu[1])->root_dropped > dropped);
	reaches(world, 0, WRITE, 0);
	world_end(world);
}

/* Shrinks to what was asked, or to the roots in use; tells what is in use then. */
static void test_shrink(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL, .vcpus = 2 });
	uint64_t root = table_new(world), other = table_new(world);

	(void)state;
	for (unsigned n = 0; n < 8; n++)
		map(world, root, n * 0x8000000000, n * 0x1000, PWU);
	start(world, 0, other);
	start(world, 0, root);
	start(world, 1, root);
	for (unsigned n = 0; n < 8; n++)
		reaches(world, n * 0x8000000000, WRITE, n * 0x1000);
	reaches_on(world, 1, 0, WRITE, 0);
	assert_int_equal(rhz_vm_shrink(world->vm, 10), 10);
	assert_int_equal(VM_STAT(world, mmu_shadow_pages), 10);
	audit(world);
	assert_false(world->at[1].running);
	world->at[0].running = false;
	reaches_on(world, 1, 0, WRITE, 0);
	rhz_vm_shrink(world->vm, 0);
	audit(world);
	assert_true(VM_STAT(world, mmu_shadow_pages) <= 3);
	world->at[0].running = world->at[1].running = false;
	for (unsigned n = 0; n < 8; n++)
		reaches(world, n * 0x8000000000, WRITE, n * 0x1000);
	world_end(world);
}

/* PAE and 32-bit roots lie below 4 GiB; if the host has no such page, the load fails and may be
 * repeated. */
static void test_below_4g(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct world *world = world_make(&(struct setup){ .mode = modes[i] });
		uint64_t root = table_new(world), other = table_new(world);

		map(world, root, 0x5000, 0x1000, PWU);
		map(world, other, 0x5000, 0x2000, PWU);
		start(world, 0, root);
		reaches(world, 0x5000, WRITE, 0x1000);
		assert_true(world->at[0].entry.root.v < 1ull << 32);
		assert_int_equal(world->at[0].entry.levels, 3);
		world->no_memory = true;
		assert_int_equal(rhz_vcpu_load_cr3(world->vcpu[0], other), RHZ_LOAD_NO_MEMORY);
		audit(world);
		assert_int_equal(rhz_vcpu_regs(world->vcpu[0])->cr3, root);
		world->at[0].running = false;
		reaches(world, 0x5000, WRITE, 0x1000);
		world->no_memory = false;
		load_ok(world, 0, other);
		reaches(world, 0x5000, WRITE, 0x2000);
		world_end(world);
	}
}

/* ---- every allocation fails once ---- */

static bool op_start(struct world *world, uint64_t root)
{
	struct rhz_regs regs = regs_of(world->setup.mode, root), off = regs;

	off.cr0 &= ~RHZ_CR0_PG;
	off.efer &= ~RHZ_EFER_LMA;
	return (rhz_vcpu_regs(world->vcpu[0])->cr0 & RHZ_CR0_PG ||
	        rhz_vcpu_load_regs(world->vcpu[0], &off) == RHZ_LOAD_OK) &&
	       rhz_vcpu_load_regs(world->vcpu[0], &regs) == RHZ_LOAD_OK;
}

static bool op_fault(struct world *world, uint64_t root)
{
	(void)root;
	return touch(world, 0, 0x5000, USER | WRITE).how == REACHED;
}

static bool op_pieces(struct world *world, uint64_t root)
{
	(void)root;
	return touch(world, 0, 0x80012000, WRITE).how == REACHED &&
	       touch(world, 0, 0x80212000, WRITE).how == REACHED;
}

static bool op_mmio(struct world *world, uint64_t root)
{
	(void)root;
	return touch(world, 0, 0x7000, WRITE).how == WAS_MMIO;
}

static bool op_unsync(struct world *world, uint64_t root)
{
	uint64_t at = entry_at(world, root, 0x6000, 1);
	struct seen seen = store(world, 0, WINDOW + at, entry_bytes(world), 0x3000 | PWU);

	return seen.how == REACHED;
}

static bool op_load(struct world *world, uint64_t root)
{
	world->at[0].running = false;
	return rhz_vcpu_load_cr3(world->vcpu[0], root + 0x1000) == RHZ_LOAD_OK &&
	       rhz_vcpu_load_cr3(world->vcpu[0], root) == RHZ_LOAD_OK;
}

static bool op_many(struct world *world, uint64_t root)
{
	(void)root;
	for (unsigned i = 0; i < 40; i++) {
		if (touch(world, 0, 0x100000000 + i * 0x8000000, WRITE).how != REACHED)
			return false;
	}
	return true;
}

static struct world *scene(enum rhz_paging mode, uint64_t *root)
{
	struct world *world = world_make(&(struct setup){ .mode = mode, .quota = 64 });

	*root = table_new(world);
	table_new(world);
	map(world, *root, 0x5000, 0x1000, PWU);
	map(world, *root, 0x6000, 0x2000, PWU);
	map(world, *root, 0x7000, HOLE, PWU);
	map_at(world, *root, 0x80000000, 0x400000, PWU, 2);
	map_at(world, *root, 0x80400000, 0, PWU, 2);
	/* covers guest tables, so it goes in pieces */
	map_at(world, *root, 0x80200000, 0, PWU, 2);
	map_window(world, *root);
	for (unsigned i = 0; mode > RHZ_PAGING_PAE && i < 40; i++)
		map(world, *root, 0x100000000 + i * 0x8000000, i * 0x1000, PWU);
	return world;
}

/* The N-th allocation fails, for every N: the audit is clean, and again it succeeds. */
static void test_each_allocation_fails(void **state)
{
	static bool (*const ops[])(struct world *, uint64_t) = { op_start, op_fault, op_pieces,
		op_mmio, op_unsync, op_load, op_many };

	(void)state;
	EACH_MODE(i) {
		for (unsigned n = 1;; n++) {
			uint64_t root;
			struct world *world = scene(modes[i], &root);
			unsigned failed = 0;

			world->fail_at = n;
			for (unsigned op = 0; op < sizeof(ops) / sizeof(*ops); op++) {
				if (ops[op] == op_many && modes[i] <= RHZ_PAGING_PAE)
					continue;
				for (unsigned tries = 0; !ops[op](world, root); tries++) {
					audit(world);
					failed++;
					assert_true(tries < 2);
				}
				audit(world);
			}
			reaches(world, 0x5000, USER, 0x1000);
			n = world->fail_at ? ~0u : n;
			assert_true(failed <= 1);
			world_end(world);
			if (n == ~0u)
				break;
		}
	}
}

/* The host never has a page again: what is there goes on, or says so; nothing breaks. */
static void test_no_memory_for_long(void **state)
{
	(void)state;
	EACH_MODE(i) {
		uint64_t root;
		struct world *world = scene(modes[i], &root);

		start(world, 0, root);
		reaches(world, 0x5000, WRITE, 0x1000);
		world->no_memory = true;
		for (unsigned n = 0; n < 100; n++) {
			struct seen seen = touch(world, 0, n & 1 ? 0x5000 : 0x80212000, WRITE);

			assert_true(seen.how == REACHED || seen.how == WAS_NO_MEMORY);
			op_unsync(world, root);
			load_ok(world, 0, root);
		}
		world->no_memory = false;
		reaches(world, 0x5000, WRITE, 0x1000);
		reaches(world, 0x80212000, WRITE, modes[i] == RHZ_PAGING_32 ? 0x212000 : 0x12000);
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quota),
		cmocka_unit_test(test_quota_of_roots),
		cmocka_unit_test(test_roots_of_others),
		cmocka_unit_test(test_shrink),
		cmocka_unit_test(test_below_4g),
		cmocka_unit_test(test_each_allocation_fails),
		cmocka_unit_test(test_no_memory_for_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
