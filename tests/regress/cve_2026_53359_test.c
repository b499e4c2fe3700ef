/* SPDX-License-Identifier: MIT */
/*
 * CVE-2026-53359 (Januscape, in KVM since 2010): a child shadow page was reused because its frame
 * matched although its role did not; its leaves were then taken out of the reverse map under the
 * wrong frame, and a freed page stayed mapped: guest to host.
 *
 * Here one frame is made to serve in every role at once, and the roles change under the same entry.
 * The audit compares reverse map and leaves after each step; at the end the host takes all memory,
 * and nothing may map it.
 */
#include "fixture.h"

static void host_takes_all(struct world *world)
{
	world->at[0].running = false;
	assert_status(rhz_ram_invalidate(world->vm, 0, 0, RAM), RHZ_OK);
	audit(world);
	assert_int_equal(VM_STAT(world, pages_4k) + VM_STAT(world, pages_2m), 0);
}

/* A directory entry: a large page in pieces, then a table in that very frame, and back. */
static void test_piece_or_table(void **state)
{
	static const enum rhz_paging modes[] = { RHZ_PAGING_32, RHZ_PAGING_PAE, RHZ_PAGING_4LEVEL };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct world *world = world_make(&(struct setup){ .mode = modes[i],
			.options = RHZ_NO_LARGE_PAGES });
		uint64_t root = table_new(world), at = 0x400000;
		unsigned bytes = entry_bytes(world);

		guest_put(world, at + 5 * bytes, bytes, 0x1000 | PWU);
		guest_put(world, at + 6 * bytes, bytes, 0x2000 | PWU);
		map_at(world, root, 0x40000000, at, PWU, 2);
		map_window(world, root);
		start(world, 0, root);
		for (unsigned n = 0; n < 3; n++) {
			reaches(world, 0x40005000, USER | WRITE, 0x405000);
			reaches(world, 0x40006000, USER | WRITE, 0x406000);
			entry_poke(world, root, 0x40000000, 2, at | PWU);
			invlpg(world, 0, 0x40005000);
			reaches(world, 0x40005000, USER | WRITE, 0x1000);
			reaches(world, 0x40006000, USER | WRITE, 0x2000);
			entry_poke(world, root, 0x40000000, 2, at | PWU | PS);
			invlpg(world, 0, 0x40005000);
		}
		host_takes_all(world);
		world_end(world);
	}
}

/* One frame as a table of level 1, 2 and 3 under one root, each with other rights on the way. */
static void test_one_frame_in_many_roles(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL });
	uint64_t root = table_new(world), table = table_new(world);

	(void)state;
	guest_put(world, table, 8, table | PWU);
	guest_put(world, table + 8, 8, table | P | U);
	guest_put(world, table + 16, 8, 0x1000 | PWU);
	guest_put(world, root, 8, table | PWU);
	guest_put(world, root + 8, 8, table | P | U);
	start(world, 0, root);
	for (unsigned n = 0; n < 2; n++) {
		/* 16 ways down: by entry 0 with all rights, by entry 1 read-only */
		for (unsigned path = 0; path < 8; path++) {
			uint64_t gva = (path & 1ull) << 39 | (path & 2ull) << 29 |
			               (path & 4ull) << 19 | 0x2000;

			reaches(world, gva, USER, 0x1000);
			if (path)
				faults(world, gva, USER | WRITE, RHZ_PF_P | RHZ_PF_U | RHZ_PF_W);
			else
				reaches(world, gva, USER | WRITE, 0x1000);
		}
		/* entry 2 of the table of level 2 is no table, and that of level 1 is */
		faults(world, 0x400000, USER, RHZ_PF_U);
	}
	host_takes_all(world);
	world_end(world);
}

/* EPT's A, D and depth: EPTP for a table [SDM3 24.6.11]. */
static uint64_t eptp_of(uint64_t table, bool ad)
{
	return table | 6 | 3 << 3 | (ad ? 64 : 0);
}

/*
 * One table as L1's own page table and as its nested one at once, under one root each: L1's NX and
 * keys mean one thing here, another there, and no leaf of the one may stand in the other's tree.
 */
static void test_nested_and_own(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL, .amd = true,
		.nested = RHZ_NPT_4LEVEL });
	uint64_t root = table_new(world);
	struct rhz_regs l1 = regs_of(RHZ_PAGING_4LEVEL, root);

	(void)state;
	map(world, root, 0x5000, 0x1000, PWU | KEY(1));
	map(world, root, 0x6000, 0x2000, P | W);
	map_window(world, root);
	start(world, 0, root);
	for (unsigned n = 0; n < 3; n++) {
		uint64_t gpa = n & 1 ? 0x3000 : 0x1000, spte;

		reaches(world, 0x5000, USER | WRITE, gpa);
		reaches(world, 0x6000, WRITE, 0x2000);
		spte = leaf_of(world, 0, 0x5000, &(unsigned){ 0 });
		assert_int_equal(spte & KEY(15), KEY(1));
		nested_ok(world, 0, &l1, 1, RHZ_GUEST_KEEP);
		reaches(world, 0x5000, WRITE, gpa);
		assert_int_equal(leaf_of(world, 0, 0x5000, &(unsigned){ 0 }) & KEY(15), 0);
		npf(world, 0x6000, READ, RHZ_NPF_FINAL | RHZ_PF_P | RHZ_PF_U);
		exit_ok(world, 0);
		gpa ^= 0x2000;
		entry_store(world, 0, root, 0x5000, 1, gpa | PWU | A | D | KEY(1));
		load_ok(world, 0, root);
		reaches(world, 0x5000, USER | WRITE, gpa);
	}
	host_takes_all(world);
	world_end(world);
}

/* One EPT with A and D bits and without: what may stand in the one may not in the other. */
static void test_nested_without_ad(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
		.nested = RHZ_EPT_4LEVEL, .ept_ad = true });
	uint64_t root = table_new(world);

	(void)state;
	map(world, root, 0x5000, 0x1000, PWU);
	map_at(world, root, 0x800000, 0x400000, PWU, 2);
	for (unsigned n = 0; n < 4; n++) {
		ept_ok(world, 0, eptp_of(root, n & 1), 1, RHZ_GUEST_KEEP);
		reaches(world, 0x5000, n < 2 ? READ : WRITE, 0x1000);
		reaches(world, 0x812345, n < 2 ? READ : WRITE, 0x412345);
		/* A is bit 8, D bit 9; set only where there are such bits */
		assert_int_equal(entry_get(world, root, 0x5000, 1) >> 8 & 3, n ? n / 3 * 2 + 1 : 0);
		exit_ok(world, 0);
	}
	host_takes_all(world);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_piece_or_table),
		cmocka_unit_test(test_one_frame_in_many_roles),
		cmocka_unit_test(test_nested_and_own),
		cmocka_unit_test(test_nested_without_ad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
