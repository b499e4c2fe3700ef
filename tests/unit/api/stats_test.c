/* SPDX-License-Identifier: MIT */
/*
 * Each statistic counts what its comment says, and nothing else: a scene for each, and what the
 * counters show after it that they did not show before.
 */
#include "fixture.h"

/* What a vCPU's and the VM's counters have gained since 'mark'. */
static struct rhz_vcpu_stats vcpu_was;
static struct rhz_vm_stats vm_was;

static void mark(struct world *world)
{
	vcpu_was = *rhz_vcpu_stats(world->vcpu[0]);
	vm_was = *rhz_vm_stats(world->vm);
}

#define GAIN(world, field) ((long)(STAT(world, field) - vcpu_was.field))
#define VM_GAIN(world, field) ((long)(VM_STAT(world, field) - vm_was.field))

/* Pages side by side from 0x8000 on, which the guest has used. */
static struct world *begin(uint32_t options, enum rhz_root_policy policy, uint64_t *root)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL, .vcpus = 2,
		.options = options, .given_roots = true, .policy = policy, .cached_roots = 2 });

	*root = table_new(world);
	for (unsigned i = 0; i < 16; i++)
		map(world, *root, 0x8000 + i * 0x1000, i * 0x1000, PWU | A | D);
	map_window(world, *root);
	start(world, 0, *root);
	return world;
}

static void test_faults_fixed(void **state)
{
	static const uint32_t options[] = { 0, RHZ_NO_QUICK_FILL, RHZ_NO_PREFETCH };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		uint64_t root;
		struct world *world = begin(options[i], RHZ_ROOTS_CURRENT_FIRST, &root);

		/* the first makes the tables; eight to a line of the guest's table */
		reaches(world, 0x9000, USER, 0x1000);
		mark(world);
		reaches(world, 0x10000, USER, 0x8000);
		assert_int_equal(GAIN(world, pf_taken), 1);
		assert_int_equal(GAIN(world, pf_fixed), 1);
		assert_int_equal(GAIN(world, prefetched), i == 2 ? 0 : 7);
		assert_int_equal(VM_GAIN(world, pages_4k), i == 2 ? 1 : 8);
		world_end(world);
	}
}

static void test_faults_not_fixed(void **state)
{
	uint64_t root;
	struct world *world = begin(0, RHZ_ROOTS_CURRENT_FIRST, &root);
	struct rhz_fault fault;

	(void)state;
	mark(world);
	faults(world, 0x90000, USER, RHZ_PF_U);
	assert_int_equal(GAIN(world, pf_guest), 1);
	assert_int_equal(GAIN(world, pf_fixed), 0);
	reaches(world, 0x9000, USER, 0x1000);
	mark(world);
	world->at[0].running = false;
	assert_int_equal(rhz_vcpu_page_fault(world->vcpu[0], (rhz_gva){ 0x9000 }, RHZ_PF_U, 0,
	                                     &fault), RHZ_FAULT_RESUME);
	assert_int_equal(GAIN(world, pf_spurious), 1);
	assert_int_equal(GAIN(world, pf_fixed), 0);
	assert_int_equal(GAIN(world, pf_taken), 1);
	/* a store to a directory */
	mark(world);
	is_tracked(world, WINDOW + (entry_at(world, root, 0x8000, 2) & ~0xfffull), WRITE,
	           entry_at(world, root, 0x8000, 2) & ~0xfffull);
	assert_int_equal(GAIN(world, pf_emulate), 1);
	/* a vCPU that has no root yet */
	vcpu_was = *rhz_vcpu_stats(world->vcpu[1]);
	assert_int_equal(rhz_vcpu_page_fault(world->vcpu[1], (rhz_gva){ 0 }, 0, 0, &fault),
	                 RHZ_FAULT_RETRY);
	assert_int_equal(rhz_vcpu_stats(world->vcpu[1])->pf_retry - vcpu_was.pf_retry, 1);
	world_end(world);
}

/* All that is left is roots of others, and the host has nothing. */
static void test_no_memory(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL, .vcpus = 2,
		.given_roots = true, .policy = RHZ_ROOTS_CURRENT_FIRST, .cached_roots = 32 });
	uint64_t root = table_new(world);

	(void)state;
	map(world, root, 0x5000, 0x1000, PWU);
	start(world, 1, table_new(world));
	start(world, 0, root);
	world->no_memory = true;
	world->at[1].running = false;
	for (unsigned i = 0; i < 32; i++) {
		if (rhz_vcpu_load_cr3(world->vcpu[1], table_new(world)) != RHZ_LOAD_OK)
			break;
	}
	mark(world);
	assert_int_equal(touch(world, 0, 0x5000, USER).how, WAS_NO_MEMORY);
	assert_int_equal(GAIN(world, pf_no_memory), 1);
	world->no_memory = false;
	reaches(world, 0x5000, USER, 0x1000);
	world_end(world);
}

static void test_mmio(void **state)
{
	uint64_t root;
	struct world *world = begin(0, RHZ_ROOTS_CURRENT_FIRST, &root);

	(void)state;
	map(world, root, 0x40000, HOLE, PWU | A | D);
	reaches(world, 0x9000, USER, 0x1000);
	mark(world);
	is_mmio(world, 0x40010, USER, HOLE + 0x10);
	assert_int_equal(GAIN(world, pf_mmio_spte_created), 1);
	assert_int_equal(GAIN(world, pf_mmio_cached), 0);
	assert_int_equal(VM_GAIN(world, mmio_entries), 1);
	is_mmio(world, 0x40020, USER, HOLE + 0x20);
	assert_int_equal(GAIN(world, pf_mmio_spte_created), 1);
	assert_int_equal(GAIN(world, pf_mmio_cached), 1);
	entry_poke(world, root, 0x40000, 1, 0);
	assert_int_equal(VM_GAIN(world, mmio_entries), 0);
	world_end(world);
}

/* Under each policy by another way: the usual one, and the general one. */
static void test_roots(void **state)
{
	static const enum rhz_root_policy policies[] = { RHZ_ROOTS_CURRENT_FIRST,
		                                         RHZ_ROOTS_RANDOM_4 };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		uint64_t roots[5];
		struct world *world = begin(0, policies[i & 1], &roots[0]);

		/* with trace events every load goes the general way */
		if (i & 2)
			cr_change(world, 0, 0, RHZ_CR4_PCIDE, 0);
		for (unsigned r = 1; r < 5; r++)
			roots[r] = table_new(world);
		mark(world);
		load_ok(world, 0, roots[0]);
		assert_int_equal(GAIN(world, root_switches), 1);
		assert_int_equal(GAIN(world, root_current_reused), 1);
		load_ok(world, 0, roots[1]);
		assert_int_equal(GAIN(world, root_switches), 2);
		assert_int_equal(GAIN(world, root_missed), 1);
		assert_int_equal(GAIN(world, root_built), 1);
		load_ok(world, 0, roots[0]);
		assert_int_equal(GAIN(world, root_cached_reused), 1);
		assert_int_equal(GAIN(world, root_reused_at[0]), 1);
		load_ok(world, 0, roots[2]);
		load_ok(world, 0, roots[1]);
		assert_int_equal(GAIN(world, root_reused_at[1]), 1);
		mark(world);
		load_ok(world, 0, roots[3]);
		assert_int_equal(GAIN(world, root_evicted), 1);
		assert_int_equal(GAIN(world, root_missed), 1);
		assert_int_equal(GAIN(world, root_built), 1);
		assert_int_equal(GAIN(world, root_refound), 0);
		/* the other vCPU built it */
		start(world, 1, roots[4]);
		mark(world);
		load_ok(world, 0, roots[4]);
		assert_int_equal(GAIN(world, root_refound), 1);
		assert_int_equal(GAIN(world, root_missed), 1);
		assert_int_equal(GAIN(world, root_built), 0);
		assert_int_equal(GAIN(world, root_switches), 1);
		world_end(world);
	}
}

/* A policy whose cache is not plain, and a context switch in full: both count in root_find. */
static void test_roots_in_general(void **state)
{
	uint64_t roots[3];
	struct world *world = begin(0, RHZ_ROOTS_VICTIM, &roots[0]);
	struct rhz_regs regs;

	(void)state;
	roots[1] = table_new(world);
	roots[2] = table_new(world);
	mark(world);
	load_ok(world, 0, roots[1]);
	load_ok(world, 0, roots[0]);
	assert_int_equal(GAIN(world, root_switches), 2);
	assert_int_equal(GAIN(world, root_missed), 1);
	assert_int_equal(GAIN(world, root_cached_reused), 1);
	assert_int_equal(GAIN(world, root_reused_at[0]), 1);
	world_end(world);

	world = begin(0, RHZ_ROOTS_CURRENT_FIRST, &roots[0]);
	roots[2] = table_new(world);
	start(world, 1, roots[2]);
	mark(world);
	regs = *rhz_vcpu_regs(world->vcpu[0]);
	regs_ok(world, 0, &regs);
	assert_int_equal(GAIN(world, root_switches), 1);
	assert_int_equal(GAIN(world, root_current_reused), 1);
	regs.cr3 = roots[2];
	regs_ok(world, 0, &regs);
	assert_int_equal(GAIN(world, root_missed), 1);
	assert_int_equal(GAIN(world, root_refound), 1);
	regs.cr3 = roots[0];
	regs_ok(world, 0, &regs);
	assert_int_equal(GAIN(world, root_cached_reused), 1);
	assert_int_equal(GAIN(world, root_switches), 3);
	world_end(world);
}

static void test_contexts(void **state)
{
	uint64_t root, other;
	struct world *world = begin(0, RHZ_ROOTS_CURRENT_FIRST, &root);
	struct rhz_regs l2;

	(void)state;
	other = table_new(world);
	l2 = regs_of(RHZ_PAGING_4LEVEL, table_new(world));
	mark(world);
	switch_ok(world, 0, RHZ_CONTEXT_L2, &l2, 1, RHZ_GUEST_KEEP);
	assert_int_equal(GAIN(world, nested_entries), 1);
	assert_int_equal(GAIN(world, nested_exits), 0);
	assert_int_equal(GAIN(world, root_built), 1);
	switch_ok(world, 0, RHZ_CONTEXT_L1, NULL, 0, RHZ_GUEST_KEEP);
	assert_int_equal(GAIN(world, nested_exits), 1);
	assert_int_equal(GAIN(world, root_switches), 2);
	assert_int_equal(GAIN(world, root_current_reused), 1);
	/* L2 with another table, left and entered again */
	l2.cr3 = other;
	switch_ok(world, 0, RHZ_CONTEXT_L2, &l2, 1, RHZ_GUEST_KEEP);
	switch_ok(world, 0, RHZ_CONTEXT_L1, NULL, 0, RHZ_GUEST_KEEP);
	mark(world);
	switch_ok(world, 0, RHZ_CONTEXT_L2, &l2, 1, RHZ_GUEST_KEEP);
	assert_int_equal(GAIN(world, root_current_reused), 1);
	assert_int_equal(GAIN(world, root_switches), 1);
	world_end(world);
}

static void test_cached_in_l2(void **state)
{
	uint64_t root, tables[2];
	struct world *world = begin(0, RHZ_ROOTS_CURRENT_FIRST, &root);
	struct rhz_regs l2;

	(void)state;
	tables[0] = table_new(world);
	tables[1] = table_new(world);
	for (unsigned i = 0; i < 4; i++) {
		if (i == 2)
			mark(world);
		l2 = regs_of(RHZ_PAGING_4LEVEL, tables[i & 1]);
		switch_ok(world, 0, RHZ_CONTEXT_L2, &l2, 1, RHZ_GUEST_KEEP);
	}
	assert_int_equal(GAIN(world, root_switches), 2);
	assert_int_equal(GAIN(world, root_cached_reused), 2);
	assert_int_equal(GAIN(world, root_reused_at[0]), 2);
	assert_int_equal(GAIN(world, root_missed), 0);
	world_end(world);
}

/* A slot's change gives up the roots in it; the vCPU lets go of them one by one. */
static void test_dropped(void **state)
{
	uint64_t root;
	struct world *world = begin(0, RHZ_ROOTS_CURRENT_FIRST, &root);

	(void)state;
	load_ok(world, 0, table_new(world));
	mark(world);
	world->at[0].running = false;
	assert_status(rhz_slot_set_flags(world->vm, world->slot, RHZ_SLOT_READ_ONLY, NULL), RHZ_OK);
	assert_status(rhz_slot_set_flags(world->vm, world->slot, 0, NULL), RHZ_OK);
	assert_true(enter(world, 0));
	assert_int_equal(GAIN(world, root_dropped), 2);
	assert_int_equal(VM_GAIN(world, mmu_shadow_zapped) - VM_GAIN(world,
	                 pages_freed_after_flush), 0);
	world_end(world);
}

static void test_sync(void **state)
{
	uint64_t root, table;
	struct world *world = begin(0, RHZ_ROOTS_CURRENT_FIRST, &root);

	(void)state;
	reaches(world, 0x9000, USER | WRITE, 0x1000);
	mark(world);
	entry_store(world, 0, root, 0x9000, 1, 0x4000 | PWU | A | D);
	assert_int_equal(VM_GAIN(world, mmu_unsync), 1);
	load_ok(world, 0, root);
	assert_int_equal(VM_GAIN(world, mmu_unsync), 0);
	assert_int_equal(GAIN(world, syncs_asked), 1);
	assert_int_equal(GAIN(world, syncs_done), 1);
	assert_int_equal(GAIN(world, tables_synced), 1);
	assert_int_equal(GAIN(world, entries_synced), 1);
	load_ok(world, 0, root);
	assert_int_equal(GAIN(world, syncs_done), 1);
	/* the embedder's write of a table, which is one of what shadows it */
	table = entry_at(world, root, 0x9000, 1);
	mark(world);
	guest_poke(world, table, 8, 0x5000 | PWU | A | D);
	assert_int_equal(VM_GAIN(world, mmu_pte_write), 1);
	guest_poke(world, 0x1000, 8, 0);
	assert_int_equal(VM_GAIN(world, mmu_pte_write), 1);
	world_end(world);
}

static void test_invalidations(void **state)
{
	uint64_t root;
	struct world *world = begin(0, RHZ_ROOTS_CURRENT_FIRST, &root);

	(void)state;
	reaches(world, 0x9000, USER | WRITE, 0x1000);
	entry_store(world, 0, root, 0x9000, 1, 0x4000 | PWU | A | D);
	reaches(world, 0xa000, USER | WRITE, 0x2000);
	mark(world);
	invlpg(world, 0, 0x9000);
	assert_int_equal(GAIN(world, invlpg), 1);
	assert_int_equal(GAIN(world, flush_address), 1);
	assert_int_equal(GAIN(world, guest_flushes), 0);
	world->at[0].running = false;
	rhz_vcpu_flush_guest(world->vcpu[0]);
	assert_int_equal(GAIN(world, guest_flushes), 1);
	world_end(world);
}

/* What entries told, as the embedder saw it. */
static void test_tags(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 4; n++) {
		struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
			.given_tags = true, .tags = n & 1 ? 2 : 15, .no_flush_by_tag = n & 2 });
		uint64_t roots[4];
		unsigned *flushes = world->at[0].flushes;

		for (unsigned i = 0; i < 4; i++) {
			roots[i] = table_new(world);
			map(world, roots[i], 0x5000, i * 0x1000, PWU);
		}
		start(world, 0, roots[0]);
		mark(world);
		memset(flushes, 0, sizeof(world->at[0].flushes));
		for (unsigned i = 0; i < 24; i++) {
			load_ok(world, 0, roots[i % 4]);
			reaches(world, 0x5000, USER, i % 4 * 0x1000);
			if (i % 5 == 0)
				entry_poke(world, roots[i % 4], 0x5000, 1, 0);
			if (i % 5 == 0)
				entry_poke(world, roots[i % 4], 0x5000, 1,
				           (i % 4 * 0x1000) | PWU);
		}
		assert_int_equal(GAIN(world, flush_tag), flushes[RHZ_FLUSH_TAG]);
		assert_int_equal(GAIN(world, flush_all), flushes[RHZ_FLUSH_ALL]);
		assert_int_equal(GAIN(world, tlb_flush),
		                 flushes[RHZ_FLUSH_TAG] + flushes[RHZ_FLUSH_ALL]);
		assert_true(n & 2 ? !GAIN(world, flush_tag) : n || GAIN(world, flush_tag));
		assert_true(GAIN(world, fresh_tags) >= 3);
		assert_true(n & 1 || GAIN(world, stale_removed));
		assert_int_equal(GAIN(world, stale_asked), 0);
		world_end(world);
	}
}

/* Where the processor walks guest tables, the guest's own flush makes a tag stale. */
static void test_asked(void **state)
{
	struct world *world = world_make(&(struct setup){ .kind = RHZ_NPT_4LEVEL });
	struct rhz_fault fault;

	(void)state;
	reaches(world, 0x5000, WRITE, 0x5000);
	mark(world);
	world->at[0].running = false;
	rhz_vcpu_flush_guest(world->vcpu[0]);
	assert_true(enter(world, 0));
	assert_int_equal(GAIN(world, stale_asked), 1);
	assert_int_equal(GAIN(world, stale_removed), 0);
	assert_int_equal(GAIN(world, flush_tag), 1);
	/* a nested fault that has nothing to mend, and one that has */
	world->at[0].running = false;
	assert_int_equal(rhz_vcpu_nested_fault(world->vcpu[0], (rhz_gpa){ 0x5000 }, 0, &fault),
	                 RHZ_FAULT_RESUME);
	assert_int_equal(GAIN(world, pf_spurious), 1);
	assert_int_equal(GAIN(world, pf_taken), 1);
	assert_int_equal(GAIN(world, pf_fixed), 0);
	world_end(world);
}

static void test_direct(void **state)
{
	struct world *world = world_make(&(struct setup){ .kind = RHZ_EPT_4LEVEL, .vcpus = 2 });
	uint64_t dirty[RAM / 4096 / 64] = { 0 };

	(void)state;
	reaches(world, 0x200000, WRITE, 0x200000);
	assert_int_equal(STAT(world, pf_fixed), 1);
	assert_int_equal(VM_STAT(world, pages_2m), 1);
	world->at[0].running = false;
	assert_status(rhz_slot_set_flags(world->vm, world->slot, RHZ_SLOT_DIRTY_LOG, dirty),
	              RHZ_OK);
	mark(world);
	reaches(world, 0x201000, WRITE, 0x201000);
	assert_int_equal(VM_GAIN(world, large_split), 1);
	assert_int_equal(VM_GAIN(world, pages_2m), -1);
	assert_int_equal(VM_GAIN(world, pages_4k), 1);
	assert_int_equal(VM_GAIN(world, dirty_pages_logged), 1);
	assert_int_equal(GAIN(world, pf_fixed), 1);
	reaches(world, 0x202000, WRITE, 0x202000);
	reaches(world, 0x202000, WRITE, 0x202000);
	assert_int_equal(VM_GAIN(world, dirty_pages_logged), 2);
	/* without a log, near the last one: the quick way */
	world->at[0].running = false;
	assert_status(rhz_slot_set_flags(world->vm, world->slot, 0, NULL), RHZ_OK);
	world_end(world);

	world = world_make(&(struct setup){ .kind = RHZ_NPT_4LEVEL,
		                            .options = RHZ_NO_LARGE_PAGES });
	reaches(world, 0x5000, WRITE, 0x5000);
	mark(world);
	reaches(world, 0x6000, WRITE, 0x6000);
	assert_int_equal(GAIN(world, pf_fixed), 1);
	assert_int_equal(VM_GAIN(world, pages_4k), 1);
	world_end(world);
}

static void test_pages(void **state)
{
	uint64_t root, other;
	struct world *world = begin(0, RHZ_ROOTS_CURRENT_FIRST, &root);
	uint32_t left;

	(void)state;
	mark(world);
	reaches(world, 0x8000, USER, 0);
	/* three tables below the root; two addresses of one frame take a node */
	assert_int_equal(VM_GAIN(world, mmu_shadow_pages), 3);
	map(world, root, 0x60000, 0, PWU | A | D);
	mark(world);
	reaches(world, 0x60000, USER, 0);
	assert_int_equal(VM_GAIN(world, rmap_nodes), 1);
	entry_poke(world, root, 0x60000, 1, 0);
	assert_int_equal(VM_GAIN(world, rmap_nodes), 0);
	assert_int_equal(VM_GAIN(world, removals), 1);
	/* shrunk: all but the root */
	world->at[0].running = false;
	mark(world);
	left = rhz_vm_shrink(world->vm, 0);
	assert_int_equal(left, VM_STAT(world, mmu_shadow_pages));
	assert_int_equal(VM_GAIN(world, mmu_shadow_pages), -VM_GAIN(world, mmu_shadow_zapped));
	/* those that went with their parent are zapped, not recycled */
	assert_true(VM_GAIN(world, mmu_recycled) <= VM_GAIN(world, mmu_shadow_zapped));
	assert_int_equal(VM_GAIN(world, pages_freed_after_flush),
	                 VM_GAIN(world, mmu_shadow_zapped));
	assert_true(VM_GAIN(world, mmu_recycled) >= 1);
	/* a root that is current nowhere is given up when asked, or when written like memory */
	other = table_new(world);
	map(world, other, 0x8000, 0x1000, PWU);
	load_ok(world, 0, other);
	reaches(world, 0x8000, USER, 0x1000);
	load_ok(world, 0, root);
	mark(world);
	assert_true(rhz_vm_unshadow(world->vm, 0, (rhz_gpa){ other }));
	assert_int_equal(VM_GAIN(world, mmu_flooded), 1);
	load_ok(world, 0, other);
	load_ok(world, 0, root);
	mark(world);
	for (unsigned i = 0; i < 8; i++)
		store(world, 0, WINDOW + other + 8 * 300, 8, i << 9);
	assert_int_equal(VM_GAIN(world, mmu_flooded), 1);
	world_end(world);
}

static void test_kicks(void **state)
{
	uint64_t root;
	struct world *world = begin(0, RHZ_ROOTS_CURRENT_FIRST, &root);
	unsigned kicks = world->kicks;

	(void)state;
	start(world, 1, root);
	reaches_on(world, 1, 0x8000, USER, 0);
	kicks = world->kicks;
	mark(world);
	for (unsigned i = 0; i < 4; i++) {
		assert_status(rhz_ram_invalidate(world->vm, world->ram_id, 0, 0x1000), RHZ_OK);
		reaches_on(world, 1, 0x8000, USER, 0);
	}
	assert_int_equal(world->kicks - kicks, 4);
	assert_int_equal(VM_GAIN(world, remote_tlb_flush), 4);
	world_end(world);
}

static void test_split_in_shadow(void **state)
{
	uint64_t root;
	struct world *world = begin(0, RHZ_ROOTS_CURRENT_FIRST, &root);

	(void)state;
	map_at(world, root, 0x80800000, 0x400000, PWU, 2);
	reaches(world, 0x80800000, WRITE, 0x400000);
	assert_int_equal(VM_STAT(world, pages_2m), 1);
	mark(world);
	/* a table inside it */
	guest_put(world, 0x403000, 8, 0x2000 | PWU);
	guest_put(world, entry_at(world, root, 0x80a00000, 2), 8, 0x403000 | PWU);
	reaches(world, 0x80a00000, USER, 0x2000);
	reaches(world, 0x80800000, WRITE, 0x400000);
	assert_int_equal(VM_GAIN(world, large_split), 1);
	assert_int_equal(VM_GAIN(world, pages_2m), -1);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faults_fixed),
		cmocka_unit_test(test_faults_not_fixed),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_mmio),
		cmocka_unit_test(test_roots),
		cmocka_unit_test(test_roots_in_general),
		cmocka_unit_test(test_contexts),
		cmocka_unit_test(test_cached_in_l2),
		cmocka_unit_test(test_dropped),
		cmocka_unit_test(test_sync),
		cmocka_unit_test(test_invalidations),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_asked),
		cmocka_unit_test(test_direct),
		cmocka_unit_test(test_pages),
		cmocka_unit_test(test_kicks),
		cmocka_unit_test(test_split_in_shadow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
