/* SPDX-License-Identifier: MIT */
/*
 * CVE-2026-46032 (KVM): a nested exit went on after restoring L1's CR3 had failed. Every failed
 * switch has a defined end: nothing changed, and the vCPU goes on where it was.
 */
#include "fixture.h"

static struct rhz_regs pae_regs(struct world *world, uint64_t pdpte)
{
	uint64_t root = table_new(world);

	guest_put(world, root, 8, pdpte);
	return regs_of(RHZ_PAGING_PAE, root);
}

/* A switch to a context whose PDPTEs are illegal, or whose CR3 is. */
static void test_refused(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL });
	struct rhz_vcpu *vcpu = world->vcpu[0];
	uint64_t root = table_new(world);
	struct rhz_regs regs = pae_regs(world, P | W | 0x1000);

	(void)state;
	map(world, root, 0x5000, 0x1000, PWU);
	start(world, 0, root);
	reaches(world, 0x5000, WRITE, 0x1000);
	for (unsigned n = 0; n < 3; n++) {
		world->at[0].running = false;
		assert_int_equal(rhz_vcpu_switch_context(vcpu, RHZ_CONTEXT_L2, &regs, 1, true),
		                 RHZ_LOAD_GP);
		audit(world);
		assert_int_equal(rhz_vcpu_regs(vcpu)->cr3, root);
		reaches(world, 0x5000, WRITE, 0x1000);
		if (n == 0)
			regs.cr3 |= 1ull << 50;
		if (n == 1)
			regs = (struct rhz_regs){ .cr0 = RHZ_CR0_PG };
	}
	world_end(world);
}

/* Out of memory on the way in and on the way back, at each allocation. */
static void test_no_memory(void **state)
{
	struct rhz_regs regs;

	(void)state;
	for (unsigned n = 1, done = 0; !done; n++) {
		struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
			.given_roots = true, .policy = RHZ_ROOTS_CURRENT_FIRST });
		struct rhz_vcpu *vcpu = world->vcpu[0];
		uint64_t root = table_new(world), other = table_new(world);
		bool failed = false;

		map(world, root, 0x5000, 0x1000, PWU);
		map(world, other, 0x5000, 0x2000, PWU);
		start(world, 0, root);
		reaches(world, 0x5000, WRITE, 0x1000);
		rhz_vm_shrink(world->vm, 0);
		regs = regs_of(RHZ_PAGING_4LEVEL, other);
		world->fail_at = n;
		world->at[0].running = false;
		if (rhz_vcpu_switch_context(vcpu, RHZ_CONTEXT_L2, &regs, 1, true) != RHZ_LOAD_OK) {
			failed = true;
			audit(world);
			assert_int_equal(rhz_vcpu_regs(vcpu)->cr3, root);
			reaches(world, 0x5000, WRITE, 0x1000);
			switch_ok(world, 0, RHZ_CONTEXT_L2, &regs, 1, true);
		}
		reaches(world, 0x5000, WRITE, 0x2000);
		world->at[0].running = false;
		regs = regs_of(RHZ_PAGING_4LEVEL, root);
		switch_ok(world, 0, RHZ_CONTEXT_L1, &regs, 0, true);
		reaches(world, 0x5000, WRITE, 0x1000);
		done = !failed && world->fail_at;
		world_end(world);
	}
}

/* The same for L2 by L1's nested tables: an entry and an exit, at each allocation. */
static void test_nested_no_memory(void **state)
{
	(void)state;
	for (unsigned n = 1, done = 0; !done; n++) {
		struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
			.amd = true, .nested = RHZ_NPT_5LEVEL, .given_roots = true,
			.policy = RHZ_ROOTS_CURRENT_FIRST });
		uint64_t root = table_new(world);
		struct rhz_regs l1 = regs_of(RHZ_PAGING_4LEVEL, table_new(world));
		bool failed = false;

		map(world, root, 0x5000, 0x1000, PWU);
		map(world, l1.cr3, 0x5000, 0x2000, PWU);
		start(world, 0, root);
		reaches(world, 0x5000, WRITE, 0x1000);
		rhz_vm_shrink(world->vm, 0);
		world->fail_at = n;
		if (nested_entry(world, 0, &l1, 1, RHZ_GUEST_FLUSH_ASID) != RHZ_LOAD_OK) {
			failed = true;
			assert_int_equal(rhz_vcpu_context(world->vcpu[0]), RHZ_CONTEXT_L1);
			assert_int_equal(rhz_vcpu_regs(world->vcpu[0])->cr3, root);
			reaches(world, 0x5000, WRITE, 0x1000);
			nested_ok(world, 0, &l1, 1, RHZ_GUEST_FLUSH_ASID);
		}
		reaches(world, 0x5000, WRITE, 0x2000);
		exit_ok(world, 0);
		reaches(world, 0x5000, WRITE, 0x1000);
		done = !failed && world->fail_at;
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_nested_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
