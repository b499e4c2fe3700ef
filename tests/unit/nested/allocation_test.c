/* SPDX-License-Identifier: MIT */
/* Allocations that fail, in nested entries and in faults of L2 by L1's nested tables. */
#include "unit/api/allocation.h"

/* Nested tables in the format of the setup, all rights; registers that name them. */
static void prepare_nested(struct scene *s)
{
	bool ept = s->world->setup.nested >= RHZ_EPT_4LEVEL;
	uint64_t bits = PWU | (ept ? 6 << 3 : 0);

	map(s->world, s->nested, NEW, DATA, bits);
	map(s->world, s->nested, KEPT, DATA2, bits);
	map(s->world, s->nested, MMIO, HOLE, bits);
	map_at(s->world, s->nested, BIG, 0x400000, bits, 2);
	map_at(s->world, s->nested, BIG + 0x400000, 0, bits, 2);
	s->regs = regs_of(s->world->setup.mode, s->nested);
	if (ept)
		s->regs = (struct rhz_regs){ .cr3 = s->nested | 3 << 3 | 6 };
}

static bool run_entry(struct scene *s)
{
	struct rhz_nested nested = { s->regs.cr3, s->regs.cr0, s->regs.cr4, s->regs.efer };

	if (!loaded(s, rhz_vcpu_switch_nested(leave(s), &nested, 1, RHZ_GUEST_KEEP)))
		return false;
	return reached(s, NEW, DATA);
}

static void prepare_inside(struct scene *s)
{
	prepare_nested(s);
	nested_ok(s->world, 0, &s->regs, 1, RHZ_GUEST_KEEP);
	reaches(s->world, KEPT, WRITE, DATA2);
}

static bool run_inside(struct scene *s)
{
	return reached(s, NEW, DATA) && reached(s, BIG + 0x3000, 0x403000) &&
	       reached(s, BIG + 0x400000 + DATA, DATA) && ends(s, MMIO, READ, WAS_MMIO, HOLE);
}

/* L1 changes its nested tables between an exit and the next entry. */
static bool run_nested_sync(struct scene *s)
{
	struct world *world = s->world;
	uint64_t value = entry_get(world, s->nested, NEW, 1) & ~FRAME;

	if (!s->done)
		exit_ok(world, 0);
	s->done = true;
	if (rhz_vcpu_context(world->vcpu[0]) == RHZ_CONTEXT_L1)
		guest_poke(world, entry_at(world, s->nested, NEW, 1), 8, value | DATA2);
	if (!loaded(s, rhz_vcpu_switch_nested(leave(s), NULL, 1, RHZ_GUEST_FLUSH_ASID)))
		return false;
	return reached(s, NEW, DATA2);
}

static const struct operation operations[] = {
	{ "nested entry", NESTED, 3, prepare_nested, run_entry },
	{ "fault of L2", NESTED, 3, prepare_inside, run_inside },
	{ "nested tables changed", NESTED & ~(S_NPT_32 | S_NPT_PAE), 1, prepare_inside,
	  run_nested_sync },
};

static void test_each_operation(void **state)
{
	(void)state;
	try_each(operations, sizeof(operations) / sizeof(*operations));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_each_operation, tell_trial),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
