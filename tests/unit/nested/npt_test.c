/* SPDX-License-Identifier: MIT */
/*
 * L2 by L1's nested page tables [APM2 15.25]: every format that L1's mode gives them, under L1's
 * shadow and nested paging, on processors whose own tables are deeper; rights, A and D, large
 * pages, what L1 is told, and what is L0's affair.
 */
#include "fixture.h"

enum { DATA = 0x5000, DATA2 = 0x6000, NGPA = 0x1000 };

static const uint64_t FINAL = RHZ_NPF_FINAL, IN_TABLE = RHZ_NPF_TABLE;

static const enum rhz_paging modes[] = { RHZ_PAGING_32, RHZ_PAGING_PAE, RHZ_PAGING_4LEVEL,
	                                 RHZ_PAGING_5LEVEL };

/* L1 in a mode, with nested tables at *nested that lead NGPA to DATA. */
static struct world *begin(enum rhz_paging mode, enum rhz_paging_kind kind,
                           enum rhz_paging_kind nested, struct rhz_regs *l1)
{
	struct setup setup = { .kind = kind, .nested = nested, .mode = mode, .amd = true };
	struct world *world = world_make(&setup);
	uint64_t root = table_new(world);

	map_window(world, root);
	if (kind == RHZ_SHADOW)
		start(world, 0, root);
	*l1 = regs_of(mode, table_new(world));
	map(world, l1->cr3, NGPA, DATA, PWU);
	return world;
}

static struct world *begin_4(struct rhz_regs *l1)
{
	return begin(RHZ_PAGING_4LEVEL, RHZ_SHADOW, RHZ_NPT_4LEVEL, l1);
}

static void l1_writes(struct world *world, uint64_t root, uint64_t ngpa, unsigned level,
                      uint64_t value)
{
	exit_ok(world, 0);
	if (world->setup.kind == RHZ_SHADOW)
		entry_store(world, 0, root, ngpa, level, value);
	else
		store(world, 0, entry_at(world, root, ngpa, level), entry_bytes(world), value);
}

static void test_formats(void **state)
{
	static const enum rhz_paging_kind kinds[] = { RHZ_SHADOW, RHZ_NPT_4LEVEL, RHZ_NPT_5LEVEL };
	static const enum rhz_paging_kind hosts[] = { RHZ_NPT_4LEVEL, RHZ_NPT_5LEVEL };

	(void)state;
	for (unsigned i = 0; i < 4 * 3 * 2; i++) {
		enum rhz_paging mode = modes[i % 4];
		enum rhz_paging_kind kind = kinds[i / 4 % 3], host = hosts[i / 12];
		struct rhz_regs l1;
		struct world *world;
		uint64_t table;

		if (kind != RHZ_SHADOW && kind != host)
			continue;
		world = begin(mode, kind, host, &l1);
		table = l1.cr3;
		if (mode == RHZ_PAGING_5LEVEL && host == RHZ_NPT_4LEVEL) {
			assert_int_equal(nested_entry(world, 0, &l1, 1, false), RHZ_LOAD_GP);
			world_end(world);
			continue;
		}
		nested_ok(world, 0, &l1, 1, false);
		reaches(world, NGPA, WRITE, DATA);
		assert_int_equal(world->at[0].entry.levels, host == RHZ_NPT_5LEVEL ? 5 : 4);
		npf(world, NGPA + 0x1000, READ, FINAL | RHZ_PF_U);
		npf(world, 1ull << 52, WRITE, FINAL | RHZ_PF_U | RHZ_PF_W);
		/* every level, at its far end: 4 MiB more, and the last page of 4 GiB */
		l1_writes(world, table, NGPA, 1, DATA2 | PWU | A | D);
		nested_ok(world, 0, &l1, 1, RHZ_GUEST_FLUSH_ASID);
		reaches(world, NGPA, READ, DATA2);
		exit_ok(world, 0);
		map(world, table, 0xfffff000, DATA, PWU);
		rhz_vm_wrote(world->vm, 0, (rhz_gpa){ TABLES }, TABLES_LAST - TABLES);
		nested_ok(world, 0, &l1, 1, RHZ_GUEST_FLUSH_ASID);
		reaches(world, 0xfffff000, WRITE, DATA);
		assert_int_equal(STAT(world, nested_flush_unneeded), 0);
		world_end(world);
	}
}

/* All accesses are a user's; rights are those of all levels [APM2 15.25.5, 15.25.6]. */
static void test_rights(void **state)
{
	struct rhz_regs l1;
	struct world *world = begin_4(&l1);

	(void)state;
	map(world, l1.cr3, 0x2000, DATA, P | U);
	map(world, l1.cr3, 0x3000, DATA, P | W);
	map(world, l1.cr3, 0x4000, DATA, PWU | NX);
	map(world, l1.cr3, 0x5000, DATA, PWU | 1ull << 51);
	l1.cr0 &= ~RHZ_CR0_WP; /* means nothing to nested tables */
	nested_ok(world, 0, &l1, 1, false);
	reaches(world, 0x2000, READ, DATA);
	reaches(world, 0x2000, FETCH, DATA);
	npf(world, 0x2000, WRITE, FINAL | RHZ_PF_P | RHZ_PF_U | RHZ_PF_W);
	npf(world, 0x2000, TABLE, IN_TABLE | RHZ_PF_P | RHZ_PF_U | RHZ_PF_W);
	npf(world, 0x3000, READ, FINAL | RHZ_PF_P | RHZ_PF_U);
	reaches(world, 0x4000, WRITE, DATA);
	npf(world, 0x4000, FETCH, FINAL | RHZ_PF_P | RHZ_PF_U | RHZ_PF_I);
	npf(world, 0x5000, READ, FINAL | RHZ_PF_P | RHZ_PF_U | RHZ_PF_RSVD);
	world_end(world);
}

/* A is set at every level by a walk that completes, D by a write or a walk of L2's tables. */
static void test_accessed_and_dirty(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		struct rhz_regs l1;
		struct world *world = begin(modes[i], RHZ_SHADOW, RHZ_NPT_5LEVEL, &l1);
		unsigned top = mode_levels(world) - (modes[i] == RHZ_PAGING_PAE);

		(void)state;
		map(world, l1.cr3, 0x2000, DATA2, PWU);
		map(world, l1.cr3, 0x3000, DATA2, P | U);
		nested_ok(world, 0, &l1, 1, false);
		npf(world, 0x3000, WRITE, FINAL | RHZ_PF_P | RHZ_PF_U | RHZ_PF_W);
		assert_false(entry_get(world, l1.cr3, NGPA, top) & A);
		reaches(world, NGPA, READ, DATA);
		for (unsigned level = 1; level <= top; level++)
			assert_true(entry_get(world, l1.cr3, NGPA, level) & A);
		assert_false(entry_get(world, l1.cr3, NGPA, 1) & D);
		assert_false(entry_get(world, l1.cr3, 0x2000, 1) & A);
		reaches(world, NGPA, WRITE, DATA);
		assert_true(entry_get(world, l1.cr3, NGPA, 1) & D);
		reaches(world, 0x2000, TABLE, DATA2);
		assert_true(entry_get(world, l1.cr3, 0x2000, 1) & D);
		world_end(world);
	}
}

static void test_large_pages(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		struct rhz_regs l1;
		struct world *world = begin(modes[i], RHZ_SHADOW, RHZ_NPT_5LEVEL, &l1);
		unsigned level = 0;

		(void)state;
		map_at(world, l1.cr3, 0x800000, 0x400000, PWU | PS, 2);
		map_at(world, l1.cr3, 0xc00000, 0, PWU | PS, 2);
		nested_ok(world, 0, &l1, 1, false);
		reaches(world, 0x923000, WRITE, 0x523000);
		assert_true(leaf_of(world, 0, 0x923000, &level));
		assert_int_equal(level, 2);
		/* tables lie in this one: pieces of 4 KiB, those of the tables not writable */
		reaches(world, 0xc00000 + DATA, WRITE, DATA);
		assert_true(leaf_of(world, 0, 0xc00000 + DATA, &level));
		assert_int_equal(level, 1);
		reaches(world, 0xc00000 + l1.cr3, READ, l1.cr3);
		is_tracked(world, 0xc00000 + l1.cr3, WRITE, l1.cr3);
		world_end(world);
	}
}

/* What has no RAM behind it is L0's affair, whoever mapped it. */
static void test_mmio(void **state)
{
	struct rhz_regs l1;
	struct world *world = begin_4(&l1);

	(void)state;
	map(world, l1.cr3, 0x2000, HOLE, PWU);
	map(world, l1.cr3, 0x3000, HOLE, P | U);
	nested_ok(world, 0, &l1, 1, false);
	for (unsigned i = 0; i < 3; i++) {
		is_mmio(world, 0x2004, WRITE, HOLE + 4);
		is_mmio(world, 0x3008, READ, HOLE + 8);
		npf(world, 0x3008, WRITE, FINAL | RHZ_PF_P | RHZ_PF_U | RHZ_PF_W);
	}
	assert_true(STAT(world, pf_mmio_cached));
	world_end(world);
}

/* L2 writes L1's nested tables, if L1 lets it: a leaf table goes out of sync, others are L0's. */
static void test_l2_writes_nested_tables(void **state)
{
	struct rhz_regs l1;
	struct world *world = begin_4(&l1);
	uint64_t leaf = entry_at(world, l1.cr3, NGPA, 1), upper = entry_at(world, l1.cr3, NGPA, 2);

	(void)state;
	map(world, l1.cr3, 0x2000, leaf & ~0xfffull, PWU);
	map(world, l1.cr3, 0x3000, upper & ~0xfffull, PWU);
	nested_ok(world, 0, &l1, 1, false);
	reaches(world, NGPA, WRITE, DATA);
	is_tracked(world, 0x3000 + (upper & 0xfff), WRITE, upper);
	store(world, 0, 0x2000 + (leaf & 0xfff), 8, DATA2 | PWU | A | D);
	assert_int_equal(VM_STAT(world, mmu_unsync), 1);
	exit_ok(world, 0);
	/* L1's own loads are none of its business */
	load_ok(world, 0, rhz_vcpu_regs(world->vcpu[0])->cr3);
	assert_int_equal(VM_STAT(world, mmu_unsync), 1);
	nested_ok(world, 0, &l1, 1, false);
	assert_int_equal(VM_STAT(world, mmu_unsync), 0);
	reaches(world, NGPA, WRITE, DATA2);
	world_end(world);
}

/* A fault of L2's in another context, or under a root that was given up since: it comes again. */
static void test_fault_elsewhere(void **state)
{
	struct rhz_regs l1;
	struct world *world = begin_4(&l1);
	struct rhz_l1_exit exit;
	struct rhz_fault fault;

	(void)state;
	map(world, rhz_vcpu_regs(world->vcpu[0])->cr3, NGPA, DATA, PWU | A | D);
	assert_int_equal(rhz_vcpu_l2_fault(world->vcpu[0], (rhz_ngpa){ NGPA }, FINAL | RHZ_PF_U,
	                                   &fault, &exit), RHZ_FAULT_RETRY);
	nested_ok(world, 0, &l1, 1, false);
	assert_status(rhz_slot_set_flags(world->vm, world->slot, RHZ_SLOT_READ_ONLY, NULL), RHZ_OK);
	assert_status(rhz_slot_set_flags(world->vm, world->slot, 0, NULL), RHZ_OK);
	assert_int_equal(rhz_vcpu_l2_fault(world->vcpu[0], (rhz_ngpa){ NGPA }, FINAL | RHZ_PF_U,
	                                   &fault, &exit), RHZ_FAULT_RETRY);
	audit(world);
	reaches(world, NGPA, WRITE, DATA);
	world_end(world);
}

/* What no processor takes. */
static void test_refused(void **state)
{
	struct rhz_regs l1, bad;
	struct world *world = begin_4(&l1);

	(void)state;
	assert_int_equal(rhz_vcpu_switch_nested(world->vcpu[0], NULL, 1, false), RHZ_LOAD_GP);
	bad = l1;
	bad.cr0 &= ~RHZ_CR0_PG;
	bad.efer &= ~RHZ_EFER_LMA;
	assert_int_equal(nested_entry(world, 0, &bad, 1, false), RHZ_LOAD_GP);
	bad = l1;
	bad.cr3 |= 1ull << 45;
	assert_int_equal(nested_entry(world, 0, &bad, 1, false), RHZ_LOAD_GP);
	assert_int_equal(rhz_vcpu_context(world->vcpu[0]), RHZ_CONTEXT_L1);
	assert_int_equal(rhz_vcpu_switch_context(world->vcpu[0], RHZ_CONTEXT_L2_NESTED, &l1, 1,
	                                         RHZ_GUEST_KEEP), RHZ_LOAD_GP);
	nested_ok(world, 0, &l1, 1, false);
	assert_int_equal(rhz_vcpu_switch_context(world->vcpu[0], RHZ_CONTEXT_L2_NESTED, NULL, 1,
	                                         RHZ_GUEST_KEEP), RHZ_LOAD_GP);
	assert_int_equal(rhz_vcpu_load_cr3(world->vcpu[0], 0), RHZ_LOAD_GP);
	assert_int_equal(rhz_vcpu_load_cr3(world->vcpu[0], l1.cr3), RHZ_LOAD_GP);
	assert_int_equal(rhz_vcpu_load_regs(world->vcpu[0], &l1), RHZ_LOAD_GP);
	reaches(world, NGPA, WRITE, DATA);
	world_end(world);
	world = begin(RHZ_PAGING_4LEVEL, RHZ_SHADOW, RHZ_SHADOW, &l1);
	assert_int_equal(nested_entry(world, 0, &l1, 1, false), RHZ_LOAD_GP);
	world_end(world);
}

/* The next entry flushes what its tag held, or takes another. */
static bool flushed(struct world *world, uint32_t *tag)
{
	const uint32_t before = *tag;

	world->at[0].running = false;
	assert_true(enter(world, 0));
	*tag = world->at[0].entry.tag;
	return world->at[0].entry.flush != RHZ_FLUSH_NONE || *tag != before;
}

/*
 * L1's own tag, and those of L2 under one ASID by L1's nested tables and by none: a flush of all
 * reaches each, and what L2 invalidates in one of the two may not stay in the other's.
 */
static void test_flush_between_contexts(void **state)
{
	struct rhz_regs l1;
	struct world *world = begin(RHZ_PAGING_4LEVEL, RHZ_NPT_4LEVEL, RHZ_NPT_4LEVEL, &l1);
	uint32_t own = 0, nested = 0, plain = 0;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		exit_ok(world, 0);
		assert_int_equal(flushed(world, &own), i == 0 || i == 2);
		nested_ok(world, 0, &l1, 1, i ? RHZ_GUEST_FLUSH_ALL : RHZ_GUEST_KEEP);
		assert_true(flushed(world, &nested));
	}
	for (unsigned i = 0; i < 2; i++) {
		switch_ok(world, 0, RHZ_CONTEXT_L2, &l1, 1, RHZ_GUEST_KEEP);
		assert_true(flushed(world, &plain));
		nested_ok(world, 0, &l1, 1, RHZ_GUEST_KEEP);
		assert_true(flushed(world, &nested));
		nested_ok(world, 0, &l1, 1, RHZ_GUEST_KEEP);
		assert_false(flushed(world, &nested));
	}
	world_end(world);
}

/* L1 flushes all until the count of it begins anew: what ran before is told all the same. */
static void test_flushed_often(void **state)
{
	struct rhz_nested nested;
	struct rhz_regs l1;
	struct world *world = begin_4(&l1);
	uint32_t tag;

	(void)state;
	nested = (struct rhz_nested){ l1.cr3, l1.cr0, l1.cr4, l1.efer };
	nested_ok(world, 0, &l1, 1, RHZ_GUEST_KEEP);
	reaches(world, NGPA, WRITE, DATA);
	tag = world->at[0].entry.tag;
	exit_ok(world, 0);
	for (unsigned i = 0; i < 1u << 16; i++)
		assert_int_equal(rhz_vcpu_switch_nested(world->vcpu[0], &nested, 2,
		                                        RHZ_GUEST_FLUSH_ALL), RHZ_LOAD_OK);
	exit_ok(world, 0);
	nested_ok(world, 0, &l1, 1, RHZ_GUEST_KEEP);
	assert_true(enter(world, 0));
	assert_true(world->at[0].entry.flush != RHZ_FLUSH_NONE || world->at[0].entry.tag != tag);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_rights),
		cmocka_unit_test(test_accessed_and_dirty),
		cmocka_unit_test(test_large_pages),
		cmocka_unit_test(test_mmio),
		cmocka_unit_test(test_l2_writes_nested_tables),
		cmocka_unit_test(test_fault_elsewhere),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_flush_between_contexts),
		cmocka_unit_test(test_flushed_often),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
