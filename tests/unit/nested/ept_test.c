/* SPDX-License-Identifier: MIT */
/*
 * L2 by L1's EPT [SDM3 28.3]: rights and execute-only, misconfigurations, A and D with and without,
 * memory types, large pages, depths, and what L1 is told. Invalidations: flush_test.c.
 */
#include "fixture.h"

enum { DATA = 0x5000, DATA2 = 0x6000, NGPA = 0x1000 };

/* EPT's own bits; R, W and X stand where P, W and U do elsewhere. */
enum { R = 1, X = 4, RWX = 7, EPT_A = 1 << 8, EPT_D = 1 << 9, IPAT = 1 << 6, WB = 6 << 3 };

/* Exit qualifications: what was tried, and what the entries allow [SDM3 table 27-7]. */
enum { TRY_R = 1, TRY_W = 2, TRY_X = 4, MAY_R = 8, MAY_W = 16, MAY_X = 32, IS_TABLE = 1 << 7,
       IS_FINAL = 3 << 7 };

/* EPTP: write-back, depth, A and D. */
static uint64_t eptp_of(uint64_t table, unsigned levels, bool ad)
{
	return table | 6 | (levels - 1) << 3 | (ad ? 64 : 0);
}

static uint64_t ept; /* the top table */

/* L1 under shadow paging; its EPT leads NGPA to DATA, all rights, and is entered. */
static struct world *begin(struct setup setup, bool ad)
{
	struct world *world;
	uint64_t root;

	setup.nested = setup.nested ? setup.nested : RHZ_EPT_4LEVEL;
	setup.mode = setup.mode ? setup.mode : RHZ_PAGING_4LEVEL;
	setup.ept_ad = true;
	world = world_make(&setup);
	root = table_new(world);
	map_window(world, root);
	if (setup.kind == RHZ_SHADOW)
		start(world, 0, root);
	ept = table_new(world);
	map(world, ept, NGPA, DATA, RWX | WB);
	ept_ok(world, 0, eptp_of(ept, mode_levels(world), ad), 1, RHZ_GUEST_KEEP);
	return world;
}

static void violation(struct world *world, uint64_t ngpa, unsigned access, uint64_t info)
{
	exits_on(world, 0, ngpa, access, RHZ_L1_EPT_VIOLATION, info);
}

static void misconfig(struct world *world, uint64_t ngpa, unsigned access)
{
	exits_on(world, 0, ngpa, access, RHZ_L1_EPT_MISCONFIG, 0);
}

/* Every combination of rights at two levels, execute-only on and off. */
static void test_rights(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2 * 64; i++) {
		unsigned upper = i & 7, leaf = i >> 3 & 7, both = upper & leaf;
		struct world *world = begin((struct setup){ .no_execute_only = i >> 6 }, i & 1);
		const uint64_t ngpa = 0x40000000 + NGPA;
		const bool none = !upper || !leaf;
		const bool wrong = (upper & 3) == 2 || (i >> 6 && upper == X) ||
		                   (upper && ((leaf & 3) == 2 || (i >> 6 && leaf == X)));
		static const struct { unsigned access, needs; } each[] = {
			{ READ, R }, { WRITE, W }, { FETCH, X },
		};

		map(world, ept, ngpa, DATA2, leaf);
		entry_poke(world, ept, ngpa, 3,
		           (entry_get(world, ept, ngpa, 3) & ~7ull) | upper);
		for (unsigned n = 0; n < 6; n++) {
			unsigned access = each[n % 3].access, needs = each[n % 3].needs;

			if (wrong)
				misconfig(world, ngpa, access);
			else if (both & needs)
				reaches(world, ngpa, access, DATA2);
			else
				violation(world, ngpa, access, needs | IS_FINAL |
				          (none ? 0 : both << 3));
		}
		world_end(world);
	}
}

/* The levels' AND goes with the table, not with the frame: one table below two entries. */
static void test_rights_of_levels(void **state)
{
	struct world *world = begin((struct setup){ 0 }, true);
	uint64_t shared = entry_get(world, ept, NGPA, 2) & FRAME;

	(void)state;
	map(world, ept, 0x40000000 + NGPA, DATA, RWX);
	entry_poke(world, ept, 0x40000000 + NGPA, 2, shared | R | EPT_A);
	reaches(world, NGPA, WRITE, DATA);
	reaches(world, 0x40000000 + NGPA, READ, DATA);
	violation(world, 0x40000000 + NGPA, WRITE, TRY_W | MAY_R | IS_FINAL);
	violation(world, 0x40000000 + NGPA, FETCH, TRY_X | MAY_R | IS_FINAL);
	reaches(world, NGPA, FETCH, DATA);
	/* neighbours are filled with no more */
	map(world, ept, NGPA + 0x1000, DATA2, X | WB | EPT_A);
	entry_poke(world, ept, NGPA, 1, entry_get(world, ept, NGPA, 1));
	violation(world, 0x40000000 + NGPA + 0x1000, FETCH, TRY_X | IS_FINAL);
	reaches(world, NGPA + 0x1000, FETCH, DATA2);
	violation(world, NGPA + 0x1000, READ, TRY_R | MAY_X | IS_FINAL);
	world_end(world);
}

/* Two levels that have no right in common leave none: no leaf, by a fault's way or by a re-read. */
static void test_rights_cancelled(void **state)
{
	struct world *world = begin((struct setup){ 0 }, true);
	const uint64_t by_r = 0x40000000 + NGPA;

	(void)state;
	map(world, ept, NGPA + 0x1000, DATA2, X | WB | EPT_A);
	map(world, ept, by_r, DATA, RWX);
	guest_put(world, entry_at(world, ept, by_r, 2), 8,
	          (entry_get(world, ept, NGPA, 2) & FRAME) | R | EPT_A);
	reaches(world, by_r, READ, DATA);
	assert_false(leaf_of(world, 0, by_r + 0x1000, &(unsigned){ 0 }));
	exit_ok(world, 0);
	entry_store(world, 0, ept, NGPA, 1, DATA | X | WB | EPT_A);
	ept_ok(world, 0, eptp_of(ept, 4, true), 1, RHZ_GUEST_KEEP);
	assert_false(leaf_of(world, 0, by_r, &(unsigned){ 0 }));
	violation(world, by_r, READ, TRY_R | IS_FINAL);
	reaches(world, NGPA, FETCH, DATA);
	world_end(world);
}

/* What L1 takes away from entries in use is gone after its invalidation, right by right. */
static void test_rights_taken(void **state)
{
	static const unsigned steps[] = { RWX, R | W, R, R | X, X, RWX, R | X, RWX, 0, RWX };

	(void)state;
	for (unsigned way = 0; way < 2; way++) {
		struct world *world = begin((struct setup){ 0 }, way);
		const uint64_t eptp = eptp_of(ept, 4, way);

		for (unsigned n = 0; n < sizeof(steps) / sizeof(*steps); n++) {
			unsigned may = steps[n];

			exit_ok(world, 0);
			entry_store(world, 0, ept, NGPA, 1, DATA | may | WB | EPT_A | EPT_D);
			rhz_vcpu_flush_table(world->vcpu[0], eptp);
			ept_ok(world, 0, eptp, 1, RHZ_GUEST_KEEP);
			for (unsigned i = 0; i < 3; i++) {
				static const unsigned access[] = { READ, WRITE, FETCH };

				if (may >> i & 1)
					reaches(world, NGPA, access[i], DATA);
				else
					violation(world, NGPA, access[i],
					          1u << i | may << 3 | IS_FINAL);
			}
		}
		world_end(world);
	}
}

/* [SDM3 28.3.3.1] */
static void test_misconfigurations(void **state)
{
	static const struct { uint64_t bits; unsigned level; bool fine; } each[] = {
		{ RWX | 2 << 3, 1, false }, { RWX | 3 << 3, 1, false }, { RWX | 7 << 3, 1, false },
		{ RWX | 0 << 3, 1, true }, { RWX | 1 << 3, 1, true }, { RWX | 4 << 3, 1, true },
		{ RWX | 5 << 3, 1, true }, { RWX | WB | IPAT, 1, true },
		{ RWX | WB | PS, 1, true }, { RWX | WB | 1ull << 52, 1, true },
		{ RWX | WB | 1ull << 40, 1, false }, { RWX | WB | 1ull << 51, 1, false },
		{ W | X, 1, false }, { W, 1, false },
		{ RWX | WB | 1ull << 40, 2, false }, { RWX | WB | 1 << 12, 2, false },
		{ RWX | WB | 1 << 20, 2, false }, { RWX | WB, 2, true },
		{ RWX | 7 << 3, 2, false },
		{ RWX | WB | 1 << 21, 3, false }, { RWX | WB | 1 << 29, 3, false },
		{ RWX | WB, 3, true }, { RWX | WB, 4, false }, { RWX, 4, false },
	};

	(void)state;
	for (unsigned i = 0; i < 2 * sizeof(each) / sizeof(*each); i++) {
		struct world *world = begin((struct setup){ .no_1g = i & 1 }, i & 2);
		uint64_t ngpa = 0x8000000000 + NGPA;
		bool fine = each[i / 2].fine && !(i & 1 && each[i / 2].level == 3);

		map_at(world, ept, ngpa, 0, each[i / 2].bits, each[i / 2].level);
		for (unsigned n = 0; n < 2; n++) {
			if (fine)
				reaches(world, ngpa, WRITE, each[i / 2].level == 1 ? 0 : NGPA);
			else
				misconfig(world, ngpa, n ? FETCH : READ);
		}
		reaches(world, NGPA, READ, DATA);
		world_end(world);
	}
}

/* Bits 6:3 of an entry that leads to a table, and bits above the address width. */
static void test_misconfigured_tables(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3 * 5; i++) {
		static const uint64_t bits[] = { 1 << 3, 1 << 5, 1 << 6, 1ull << 40, 1ull << 51 };
		struct world *world = begin((struct setup){ 0 }, true);
		unsigned level = 2 + i % 3;
		uint64_t entry;

		reaches(world, NGPA, READ, DATA);
		entry = entry_get(world, ept, NGPA, level);
		exit_ok(world, 0);
		entry_store(world, 0, ept, NGPA, level, entry | bits[i / 3]);
		ept_ok(world, 0, eptp_of(ept, 4, true), 1, RHZ_GUEST_FLUSH_ASID);
		misconfig(world, NGPA, READ);
		exit_ok(world, 0);
		entry_store(world, 0, ept, NGPA, level, entry);
		ept_ok(world, 0, eptp_of(ept, 4, true), 1, RHZ_GUEST_FLUSH_ASID);
		reaches(world, NGPA, READ, DATA);
		world_end(world);
	}
}

static unsigned ad_of(struct world *world, uint64_t ngpa, unsigned level)
{
	return (unsigned)entry_get(world, ept, ngpa, level) & (EPT_A | EPT_D);
}

/* [SDM3 28.3.5]: A at every level, D by a write or by an access to L2's tables. */
static void test_accessed_and_dirty(void **state)
{
	struct world *world = begin((struct setup){ 0 }, true);

	(void)state;
	map(world, ept, 0x2000, DATA2, RWX);
	map(world, ept, 0x3000, DATA2, R);
	violation(world, 0x3000, WRITE, TRY_W | MAY_R | IS_FINAL);
	violation(world, 0x3000, TABLE, TRY_R | TRY_W | MAY_R | IS_TABLE);
	for (unsigned level = 1; level <= 4; level++)
		assert_int_equal(ad_of(world, NGPA, level), 0);
	reaches(world, NGPA, READ, DATA);
	for (unsigned level = 1; level <= 4; level++)
		assert_int_equal(ad_of(world, NGPA, level), EPT_A);
	/* a neighbour that was not accessed is not mapped */
	assert_false(leaf_of(world, 0, 0x2000, &(unsigned){ 0 }));
	reaches(world, NGPA, WRITE, DATA);
	assert_int_equal(ad_of(world, NGPA, 1), EPT_A | EPT_D);
	assert_int_equal(ad_of(world, NGPA, 2), EPT_A);
	assert_int_equal(ad_of(world, 0x2000, 1), 0);
	reaches(world, 0x2000, TABLE, DATA2);
	assert_int_equal(ad_of(world, 0x2000, 1), EPT_A | EPT_D);
	/* D cleared by L1, which invalidates: the next write sets it again */
	exit_ok(world, 0);
	entry_store(world, 0, ept, NGPA, 1, DATA | RWX | WB | EPT_A);
	ept_ok(world, 0, eptp_of(ept, 4, true), 1, RHZ_GUEST_FLUSH_ASID);
	reaches(world, NGPA, READ, DATA);
	assert_int_equal(ad_of(world, NGPA, 1), EPT_A);
	reaches(world, NGPA, WRITE, DATA);
	assert_int_equal(ad_of(world, NGPA, 1), EPT_A | EPT_D);
	world_end(world);
}

/* Without them nothing is set, nothing is missing, and L2's tables are read only. */
static void test_without_ad(void **state)
{
	struct world *world = begin((struct setup){ 0 }, false);
	unsigned level = 0;

	(void)state;
	map(world, ept, 0x3000, DATA2, R);
	map(world, ept, 0x4000, DATA2, R | X);
	reaches(world, NGPA, READ, DATA);
	/* there is no D that a write must set first */
	assert_true(leaf_of(world, 0, NGPA, &level) & W);
	reaches(world, NGPA, WRITE, DATA);
	for (unsigned i = 1; i <= 4; i++)
		assert_int_equal(ad_of(world, NGPA, i), 0);
	reaches(world, 0x3000, TABLE, DATA2);
	violation(world, 0x3000, WRITE, TRY_W | MAY_R | IS_FINAL);
	/* where no neighbour brought it */
	map(world, ept, 0x30000, DATA2, R);
	reaches(world, 0x30000, TABLE, DATA2);
	/* the neighbours came with it: they need no A bits */
	assert_true(leaf_of(world, 0, 0x4000, &level));
	violation(world, 0x2000, TABLE, TRY_R | IS_TABLE);
	world_end(world);
}

/* The host looks which pages are used: without A bits a leaf goes, and comes back if it is. */
static void test_ageing(void **state)
{
	(void)state;
	for (unsigned ad = 0; ad < 2; ad++) {
		struct world *world = begin((struct setup){ .options = RHZ_NO_LARGE_PAGES }, ad);
		uint64_t found;

		map_at(world, ept, 0x800000, 0x400000, RWX | WB, 2);
		for (unsigned n = 0; n < 2; n++) {
			reaches(world, NGPA, READ, DATA);
			reaches(world, 0x812000, READ, 0x412000);
			world->at[0].running = false;
			assert_status(rhz_ram_age(world->vm, 0, 0, RAM, &found), RHZ_OK);
			assert_int_equal(found, 2);
			assert_int_equal(!!leaf_of(world, 0, NGPA, &(unsigned){ 0 }), ad);
			assert_int_equal(!!leaf_of(world, 0, 0x812000, &(unsigned){ 0 }), ad);
			rhz_vcpu_flush_l2(world->vcpu[0]);
		}
		world_end(world);
	}
}

/* One EPT under two EPTPs, with A and D and without: neither's shadow serves the other. */
static void test_both_at_once(void **state)
{
	struct world *world = begin((struct setup){ 0 }, false);

	(void)state;
	map_at(world, ept, 0x800000, 0x400000, RWX | WB, 2);
	for (unsigned n = 0; n < 3; n++) {
		reaches(world, NGPA, WRITE, DATA);
		reaches(world, 0x812000, WRITE, 0x412000);
		exit_ok(world, 0);
		assert_int_equal(ad_of(world, NGPA, 1), n ? EPT_A : 0);
		ept_ok(world, 0, eptp_of(ept, 4, true), 1, RHZ_GUEST_KEEP);
		reaches(world, NGPA, READ, DATA);
		assert_int_equal(ad_of(world, NGPA, 1), EPT_A);
		reaches(world, 0x812000, READ, 0x412000);
		assert_int_equal(ad_of(world, 0x812000, 2), EPT_A);
		exit_ok(world, 0);
		ept_ok(world, 0, eptp_of(ept, 4, false), 1, RHZ_GUEST_KEEP);
	}
	world_end(world);
}

/* Memory types are the leaf's own, whatever the size it is mapped in. */
static void test_memory_types(void **state)
{
	static const unsigned types[] = { 0, 1, 4, 5, 6 };

	(void)state;
	for (unsigned i = 0; i < 5 * 2 * 2; i++) {
		const uint64_t type = types[i % 5] << 3 | (i / 5 & 1 ? IPAT : 0);
		struct world *world = begin((struct setup){
			.options = i / 10 ? RHZ_NO_LARGE_PAGES : 0 }, true);
		unsigned level = 0;

		map(world, ept, NGPA, DATA, RWX | type | EPT_A);
		map(world, ept, 0x2000, DATA2, RWX | type | EPT_A);
		map_at(world, ept, 0x800000, 0x400000, RWX | type, 2);
		reaches(world, NGPA, READ, DATA);
		reaches(world, 0x823000, READ, 0x423000);
		assert_int_equal(leaf_of(world, 0, NGPA, &level) & 0x78, type);
		assert_int_equal(leaf_of(world, 0, 0x2000, &level) & 0x78, type);
		assert_int_equal(leaf_of(world, 0, 0x823000, &level) & 0x78, type);
		assert_int_equal(level, i / 10 ? 1 : 2);
		/* another type, in place: pieces are other pieces, and nothing old is used */
		exit_ok(world, 0);
		entry_store(world, 0, ept, NGPA, 1, DATA | RWX | WB | EPT_A);
		entry_store(world, 0, ept, 0x800000, 2, 0x400000 | RWX | WB | PS | EPT_A);
		ept_ok(world, 0, eptp_of(ept, 4, true), 1, RHZ_GUEST_KEEP);
		assert_true(enter(world, 0));
		assert_false(type != WB && tlb_find(world, 0, NGPA));
		reaches(world, NGPA, READ, DATA);
		reaches(world, 0x823000, READ, 0x423000);
		assert_int_equal(leaf_of(world, 0, NGPA, &level) & 0x78, WB);
		assert_int_equal(leaf_of(world, 0, 0x823000, &level) & 0x78, WB);
		world_end(world);
	}
}

static void test_large_pages(void **state)
{
	struct world *world = begin((struct setup){ .ram = 1ull << 30 | 8 << 20, .no_audit = true },
	                            true);
	unsigned level = 0;

	(void)state;
	map_at(world, ept, 0x40000000, 0, RWX | WB, 3);
	map_at(world, ept, 0x80000000, 0, R | X | WB, 3);
	map_at(world, ept, 0xc0000000, 0x40000000, RWX | WB, 3);
	map_at(world, ept, 0x800000, 0x600000, RWX | WB, 2);
	reaches(world, 0x812345, WRITE, 0x612345);
	assert_true(leaf_of(world, 0, 0x812345, &level));
	assert_int_equal(level, 2);
	/* tables are in this gigabyte: pieces, and those of the tables not writable */
	reaches(world, 0x40000000 + 0x20000000, WRITE, 0x20000000);
	assert_true(leaf_of(world, 0, 0x60000000, &level));
	assert_int_equal(level, 2);
	reaches(world, 0x40000000 + ept, READ, ept);
	is_tracked(world, 0x40000000 + ept, WRITE, ept);
	/* the same memory read-only has pieces of its own */
	reaches(world, 0x80000000 + 0x20000000, FETCH, 0x20000000);
	violation(world, 0x80000000 + 0x20000000, WRITE, TRY_W | MAY_R | MAY_X | IS_FINAL);
	reaches(world, 0x40000000 + 0x20000000, WRITE, 0x20000000);
	/* beyond the slot there is no memory */
	reaches(world, 0xc0000000 + 0x5000, WRITE, 0x40005000);
	is_mmio(world, 0xc0800000, WRITE, 0x40800000);
	world_end(world);
}

/* The EPT's depth and the processor's. */
static void test_depths(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2 * 2 * 2; i++) {
		const bool deep = i & 1, host5 = i & 2, direct = i & 4;
		const enum rhz_paging_kind host = host5 ? RHZ_EPT_5LEVEL : RHZ_EPT_4LEVEL;
		struct setup setup = { .kind = direct ? host : RHZ_SHADOW, .nested = host,
			.mode = deep ? RHZ_PAGING_5LEVEL : RHZ_PAGING_4LEVEL, .ept_ad = true };
		struct world *world = world_make(&setup);
		struct rhz_regs regs = { 0 };
		uint64_t far = deep ? 1ull << 52 : 1ull << 40;

		ept = table_new(world);
		regs.cr3 = eptp_of(ept, deep ? 5 : 4, true);
		map(world, ept, far, DATA, RWX);
		map(world, ept, 0, DATA2, RWX);
		if (deep && !host5) {
			assert_int_equal(nested_entry(world, 0, &regs, 1, false), RHZ_LOAD_GP);
			world_end(world);
			continue;
		}
		ept_ok(world, 0, regs.cr3, 1, RHZ_GUEST_KEEP);
		assert_int_equal(world->at[0].running, false);
		reaches(world, far, WRITE, DATA);
		assert_int_equal(world->at[0].entry.levels, host5 ? 5 : 4);
		violation(world, far + 0x1000, WRITE, TRY_W | IS_FINAL);
		if (!deep)
			violation(world, 1ull << 48, READ, TRY_R | IS_FINAL);
		reaches(world, 0, WRITE, DATA2);
		exit_ok(world, 0);
		world_end(world);
	}
}

/* What no processor takes for an EPTP. */
static void test_refused(void **state)
{
	static const uint64_t bad[] = { 1, 7, 1 << 3, 1 << 5, 1 << 7, 1 << 11, 1ull << 40,
		                        1ull << 63 };
	struct world *world = begin((struct setup){ 0 }, true);
	struct rhz_regs regs = { 0 };

	(void)state;
	reaches(world, NGPA, READ, DATA);
	exit_ok(world, 0);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		regs.cr3 = eptp_of(ept, 4, true) ^ bad[i];
		assert_int_equal(nested_entry(world, 0, &regs, 1, false), RHZ_LOAD_GP);
	}
	ept_ok(world, 0, eptp_of(ept, 4, true), 1, RHZ_GUEST_KEEP);
	reaches(world, NGPA, READ, DATA);
	world_end(world);
	/* a processor without A and D bits */
	world = world_make(&(struct setup){ .nested = RHZ_EPT_4LEVEL, .mode = RHZ_PAGING_4LEVEL });
	regs.cr3 = eptp_of(table_new(world), 4, true);
	assert_int_equal(nested_entry(world, 0, &regs, 1, false), RHZ_LOAD_GP);
	map(world, regs.cr3 & FRAME, NGPA, DATA, RWX);
	ept_ok(world, 0, regs.cr3 & ~64ull, 1, RHZ_GUEST_KEEP);
	reaches(world, NGPA, WRITE, DATA);
	world_end(world);
}

/* No memory: L0's affair, and never by an MMIO entry, which cannot tell EPT's rights. */
static void test_mmio(void **state)
{
	struct world *world = begin((struct setup){ 0 }, true);

	(void)state;
	map(world, ept, 0x2000, HOLE, X | WB);
	map(world, ept, 0x3000, HOLE, R | W | WB);
	for (unsigned n = 0; n < 2; n++) {
		is_mmio(world, 0x2004, FETCH, HOLE + 4);
		violation(world, 0x2004, READ, TRY_R | MAY_X | IS_FINAL);
		is_mmio(world, 0x3008, WRITE, HOLE + 8);
		violation(world, 0x3008, FETCH, TRY_X | MAY_R | MAY_W | IS_FINAL);
	}
	assert_int_equal(VM_STAT(world, mmio_entries), 0);
	world_end(world);
}

/* An EPT in read-only memory: its A and D bits cannot be set, and count as if they were. */
static void test_read_only_tables(void **state)
{
	struct world *world = begin((struct setup){ 0 }, true);

	(void)state;
	map(world, ept, 0x2000, DATA2, RWX);
	exit_ok(world, 0);
	assert_status(rhz_slot_set_flags(world->vm, world->slot, RHZ_SLOT_READ_ONLY, NULL), RHZ_OK);
	ept_ok(world, 0, eptp_of(ept, 4, true), 1, RHZ_GUEST_KEEP);
	for (unsigned n = 0; n < 2; n++) {
		reaches(world, NGPA, READ, DATA);
		reaches(world, NGPA, FETCH, DATA);
		is_mmio(world, NGPA, WRITE, DATA);
	}
	/* no walk can set them: neighbours are filled all the same */
	assert_true(leaf_of(world, 0, 0x2000, &(unsigned){ 0 }));
	assert_int_equal(ad_of(world, NGPA, 1), 0);
	world_end(world);
}

/* L2's table in a page that is a table of its EPT too: A and D bits in it are a write to that. */
static void test_table_in_table(void **state)
{
	struct world *world = begin((struct setup){ 0 }, true);
	uint64_t upper = entry_get(world, ept, NGPA, 3) & FRAME;

	(void)state;
	map(world, ept, 0x30000, upper, RWX);
	reaches(world, NGPA, READ, DATA);
	reaches(world, 0x30000, READ, upper);
	is_tracked(world, 0x30000, TABLE, upper);
	world_end(world);
}

/* What the processor says of the rights that it found is of our tables: L1 is told of its own. */
static void test_exit_is_of_l1(void **state)
{
	struct world *world = begin((struct setup){ 0 }, true);
	struct rhz_l1_exit exit;
	struct rhz_fault fault;

	(void)state;
	map(world, ept, 0x2000, DATA2, R);
	assert_int_equal(rhz_vcpu_l2_fault(world->vcpu[0], (rhz_ngpa){ 0x2000 },
	                                   TRY_W | MAY_R | MAY_W | MAY_X | 1 << 6 | IS_FINAL |
	                                   1 << 12, &fault, &exit), RHZ_FAULT_REFLECT);
	assert_int_equal(exit.info, TRY_W | MAY_R | IS_FINAL | 1 << 12);
	world_end(world);
}

/* A stale translation: L2 goes on, and what its tag holds is dropped before. */
static void test_stale_translation(void **state)
{
	struct world *world = begin((struct setup){ 0 }, true);
	struct rhz_l1_exit exit;
	struct rhz_fault fault;

	(void)state;
	reaches(world, NGPA, WRITE, DATA);
	assert_non_null(tlb_find(world, 0, NGPA));
	assert_int_equal(rhz_vcpu_l2_fault(world->vcpu[0], (rhz_ngpa){ NGPA },
	                                   RHZ_EPT_QUAL_WRITE | IS_FINAL, &fault, &exit),
	                 RHZ_FAULT_RESUME);
	assert_int_equal(fault.flush, RHZ_FLUSH_NONE);
	world->at[0].running = false;
	assert_true(enter(world, 0));
	assert_int_equal(world->at[0].entry.flush, RHZ_FLUSH_TAG);
	assert_int_equal(STAT(world, nested_flush_unneeded), 0);
	reaches(world, NGPA, WRITE, DATA);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rights),
		cmocka_unit_test(test_rights_of_levels),
		cmocka_unit_test(test_rights_cancelled),
		cmocka_unit_test(test_rights_taken),
		cmocka_unit_test(test_misconfigurations),
		cmocka_unit_test(test_misconfigured_tables),
		cmocka_unit_test(test_accessed_and_dirty),
		cmocka_unit_test(test_without_ad),
		cmocka_unit_test(test_ageing),
		cmocka_unit_test(test_both_at_once),
		cmocka_unit_test(test_memory_types),
		cmocka_unit_test(test_large_pages),
		cmocka_unit_test(test_depths),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_mmio),
		cmocka_unit_test(test_read_only_tables),
		cmocka_unit_test(test_table_in_table),
		cmocka_unit_test(test_exit_is_of_l1),
		cmocka_unit_test(test_stale_translation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
