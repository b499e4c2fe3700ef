/* SPDX-License-Identifier: MIT */
/*
 * CVE-2026-46032: a nested exit went on after restoring CR3 had failed.
 * XSA-438, XSA-494: the old top level was released before the switch was done.
 * What must hold: a switch that fails leaves registers, context and root as they were, and can be
 * repeated.
 */
#include "fixture.h"

static struct rhz_regs bad_pdptes(struct world *world, uint64_t *good, uint64_t *bad)
{
	*good = table_new(world);
	*bad = table_new(world);
	map(world, *good, 0x1000, 0x5000, PWU);
	guest_put(world, *bad, 8, 0x6000 | P | W); /* W is reserved in a PDPTE */
	return regs_of(RHZ_PAGING_PAE, *good);
}

static void a_load_that_faults(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_PAE });
	uint64_t good, bad;
	struct rhz_regs regs = bad_pdptes(world, &good, &bad), now;

	(void)state;
	start(world, 0, good);
	reaches(world, 0x1000, WRITE, 0x5000);
	world->at[0].running = false;
	now = *rhz_vcpu_regs(world->vcpu[0]);
	assert_int_equal(rhz_vcpu_load_cr3(world->vcpu[0], bad), RHZ_LOAD_GP);
	audit(world);
	assert_memory_equal(&now, rhz_vcpu_regs(world->vcpu[0]), sizeof(now));
	reaches(world, 0x1000, WRITE, 0x5000);
	world->at[0].running = false;
	regs.cr3 = bad;
	assert_int_equal(rhz_vcpu_switch_context(world->vcpu[0], RHZ_CONTEXT_L2, &regs, 1, true),
	                 RHZ_LOAD_GP);
	audit(world);
	assert_memory_equal(&now, rhz_vcpu_regs(world->vcpu[0]), sizeof(now));
	reaches(world, 0x1000, WRITE, 0x5000);
	world_end(world);
}

/* No memory for the new root, at a load and at a nested entry and exit. */
static void a_switch_without_memory(void **state)
{
	struct world *world = world_make(&(struct setup){
		.mode = RHZ_PAGING_4LEVEL, .given_roots = true, .cached_roots = 0 });
	uint64_t root[2] = { table_new(world), table_new(world) };
	struct rhz_regs regs = regs_of(RHZ_PAGING_4LEVEL, root[1]);

	(void)state;
	map(world, root[0], 0x1000, 0x5000, PWU);
	map(world, root[1], 0x1000, 0x6000, PWU);
	start(world, 0, root[0]);
	reaches(world, 0x1000, WRITE, 0x5000);
	for (unsigned round = 0; round < 4; round++) {
		world->no_memory = true;
		world->at[0].running = false;
		if (rhz_vcpu_load_cr3(world->vcpu[0], root[1]) == RHZ_LOAD_NO_MEMORY) {
			audit(world);
			assert_int_equal(rhz_vcpu_regs(world->vcpu[0])->cr3, root[0]);
			world->no_memory = false;
			reaches(world, 0x1000, WRITE, 0x5000);
			load_ok(world, 0, root[1]);
		}
		world->no_memory = false;
		reaches(world, 0x1000, WRITE, 0x6000);
		load_ok(world, 0, root[0]);
		reaches(world, 0x1000, WRITE, 0x5000);
		world->no_memory = true;
		world->at[0].running = false;
		if (rhz_vcpu_switch_context(world->vcpu[0], RHZ_CONTEXT_L2, &regs, 1, round & 1) ==
		    RHZ_LOAD_NO_MEMORY) {
			audit(world);
			world->no_memory = false;
			reaches(world, 0x1000, WRITE, 0x5000);
			world->at[0].running = false;
			assert_int_equal(rhz_vcpu_switch_context(world->vcpu[0], RHZ_CONTEXT_L2,
			                                         &regs, 1, false), RHZ_LOAD_OK);
		}
		world->no_memory = false;
		reaches(world, 0x1000, WRITE, 0x6000);
		world->at[0].running = false;
		assert_int_equal(rhz_vcpu_switch_context(world->vcpu[0], RHZ_CONTEXT_L1, NULL, 0,
		                                         false), RHZ_LOAD_OK);
		reaches(world, 0x1000, WRITE, 0x5000);
		rhz_vm_shrink(world->vm, 0);
	}
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_load_that_faults),
		cmocka_unit_test(a_switch_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
