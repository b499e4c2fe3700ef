/* SPDX-License-Identifier: MIT */
/*
 * One guest ASID of L1's under several nested tables. What L2 invalidates by itself under one of
 * them reaches that one's tag alone, so another's holds nothing when it runs again
 * [APM2 15.16.1: to the guest it is one TLB]. ASIDs apart disturb each other's tags in nothing.
 */
#include "fixture.h"

enum { DATA = 0x5000, NGPA = 0x1000 };

static struct world *begin(struct rhz_regs table[], unsigned tables)
{
	struct setup setup = { .kind = RHZ_SHADOW, .nested = RHZ_NPT_4LEVEL,
		               .mode = RHZ_PAGING_4LEVEL, .amd = true };
	struct world *world = world_make(&setup);
	uint64_t root = table_new(world);

	map_window(world, root);
	start(world, 0, root);
	for (unsigned i = 0; i < tables; i++) {
		table[i] = regs_of(RHZ_PAGING_4LEVEL, table_new(world));
		map(world, table[i].cr3, NGPA, DATA, PWU);
	}
	return world;
}

/* L1 enters L2 and L2 leaves again: does its tag begin clean? */
static bool flushed(struct world *world, const struct rhz_regs *table, uint32_t asid)
{
	bool flush;

	nested_ok(world, 0, table, asid, RHZ_GUEST_KEEP);
	assert_true(enter(world, 0));
	flush = world->at[0].entry.flush != RHZ_FLUSH_NONE;
	exit_ok(world, 0);
	assert_true(enter(world, 0));
	return flush;
}

static void test_one_table(void **state)
{
	struct rhz_regs table[1];
	struct world *world = begin(table, 1);

	(void)state;
	flushed(world, &table[0], 1);
	for (unsigned i = 0; i < 3; i++)
		assert_false(flushed(world, &table[0], 1));
	assert_int_equal(STAT(world, nested_flush_unneeded), 0);
	world_end(world);
}

static void test_two_tables(void **state)
{
	struct rhz_regs table[3];
	struct world *world = begin(table, 3);

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		flushed(world, &table[i], 1);
	for (unsigned i = 0; i < 9; i++) {
		assert_true(flushed(world, &table[i % 3], 1));
		assert_false(flushed(world, &table[i % 3], 1));
	}
	assert_true(flushed(world, &table[1], 1));
	assert_true(flushed(world, &table[0], 1));
	assert_int_equal(STAT(world, nested_flush_unneeded), 0);
	world_end(world);
}

/* Which table an ASID ran by last may be forgotten meanwhile, for whatever ASID that is. */
static void test_other_asids_between(void **state)
{
	for (uint32_t other = 2; other < 70; other++) {
		struct rhz_regs table[3];
		struct world *world = begin(table, 3);

		(void)state;
		flushed(world, &table[0], 1);
		flushed(world, &table[2], other);
		flushed(world, &table[1], 1);
		assert_true(flushed(world, &table[0], 1));
		assert_false(flushed(world, &table[2], other));
		assert_false(flushed(world, &table[0], 1));
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_table),
		cmocka_unit_test(test_two_tables),
		cmocka_unit_test(test_other_asids_between),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
