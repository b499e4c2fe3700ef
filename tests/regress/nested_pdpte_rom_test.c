/* SPDX-License-Identifier: MIT */
/*
 * One of ours (found by random nested sequences): in read-only memory no walk can set A and D, and
 * they count as set. In the four top entries of nested PAE tables these bits are reserved [SDM3
 * 4.4.1], and what counted as set made them illegal.
 */
#include "fixture.h"

enum { NGPA = 0x5000, DATA = 0x1000 };

static void test_read_only_pdptes(void **state)
{
	static const enum rhz_paging_kind kinds[] = { RHZ_NPT_4LEVEL, RHZ_NPT_5LEVEL };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_PAE,
			.amd = true, .nested = kinds[i] });
		uint64_t table = table_new(world) + 32 * i, pdpte;
		struct rhz_regs l1 = regs_of(RHZ_PAGING_PAE, table);

		map(world, table, NGPA, DATA, PWU);
		assert_status(rhz_slot_set_flags(world->vm, world->slot, RHZ_SLOT_READ_ONLY, NULL),
		              RHZ_OK);
		nested_ok(world, 0, &l1, 1, RHZ_GUEST_KEEP);
		for (unsigned n = 0; n < 3; n++) {
			reaches(world, NGPA, READ, DATA);
			is_mmio(world, NGPA, WRITE, DATA);
			/* the embedder writes what stands there: nothing of it goes */
			pdpte = guest_get(world, table, 8);
			guest_poke(world, table, 8, pdpte);
			assert_true(leaf_of(world, 0, NGPA, &(unsigned){ 0 }));
		}
		/* a bit that is reserved is one all the same */
		guest_poke(world, table, 8, pdpte | 1 << 5);
		npf(world, NGPA, READ, RHZ_NPF_FINAL | RHZ_PF_P | RHZ_PF_U | RHZ_PF_RSVD);
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_only_pdptes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
