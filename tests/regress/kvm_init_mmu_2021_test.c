/* SPDX-License-Identifier: MIT */
/*
 * kvm_init_mmu (KVM, 2021): previous roots were overwritten where they should have been released.
 * References balance: when the last vCPU is gone, nothing is held, and all pages can go.
 */
#include "fixture.h"

static void test_references_balance(void **state)
{
	(void)state;
	for (unsigned policy = 0; policy < RHZ_ROOT_POLICIES; policy++) {
		struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
			.vcpus = 2, .given_roots = true, .policy = policy, .cached_roots = 2 });
		struct rhz_regs regs;
		uint64_t roots[4];

		for (unsigned i = 0; i < 4; i++) {
			roots[i] = table_new(world);
			map(world, roots[i], 0x5000, i * 0x1000, PWU);
		}
		for (unsigned round = 0; round < 3; round++) {
			for (unsigned i = 0; i < 8; i++) {
				start(world, i & 1, roots[i % 4]);
				reaches_on(world, i & 1, 0x5000, WRITE, i % 4 * 0x1000);
				regs = regs_of(RHZ_PAGING_4LEVEL, roots[(i + 1) % 4]);
				switch_ok(world, i & 1, RHZ_CONTEXT_L2, &regs, i, i & 1);
				switch_ok(world, i & 1, RHZ_CONTEXT_L1, NULL, 0, false);
			}
			world_vcpu_remove(world, 0);
			world_vcpu_remove(world, 1);
			audit(world);
			assert_int_equal(rhz_vm_shrink(world->vm, 0), 0);
			audit(world);
			world_vcpu_add(world, 0);
			world_vcpu_add(world, 1);
		}
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_references_balance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
