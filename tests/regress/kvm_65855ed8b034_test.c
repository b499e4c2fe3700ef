/* SPDX-License-Identifier: MIT */
/*
 * KVM 65855ed8b034: an out-of-sync page was linked without a sync. From not present to present the
 * guest need not flush, so a table that appears in a tree must show what is in memory.
 */
#include "fixture.h"

static void test_link(void **state)
{
	(void)state;
	for (enum rhz_paging mode = RHZ_PAGING_32; mode <= RHZ_PAGING_5LEVEL; mode++) {
		for (unsigned level = 2; level <= 3; level++) {
			struct world *world = world_make(&(struct setup){ .mode = mode });
			uint64_t root = table_new(world), far, entry;

			if (level == 3 && mode < RHZ_PAGING_4LEVEL) {
				world_end(world);
				continue;
			}
			far = level == 2 ? 0x80000000 : 0x4000000000;
			map(world, root, 0x5000, 0x1000, PWU);
			map(world, root, 0x6000, 0x2000, PWU);
			map(world, root, far + 0x10000000, 0x1000, PWU);
			map_at(world, root, far, 0, 0, level);
			entry_poke(world, root, far, level, 0);
			map_window(world, root);
			start(world, 0, root);
			reaches(world, 0x5000, WRITE, 0x1000);
			reaches(world, 0x6000, WRITE, 0x2000);
			entry_store(world, 0, root, 0x6000, 1, 0x3000 | PWU | A | D);
			assert_int_equal(VM_STAT(world, mmu_unsync), 1);
			entry = entry_get(world, root, 0x5000, level);
			entry_store(world, 0, root, far, level, entry);
			/* by the new path: no invalidation is due */
			reaches(world, far + 0x5000, WRITE, 0x1000);
			reaches(world, far + 0x6000, WRITE, 0x3000);
			world_end(world);
		}
	}
}

/*
 * L1's nested tables: a table of several roots is written by one vCPU, then linked at a place where
 * nothing was; another vCPU, in L2 all the while, follows the new link.
 */
static void test_nested_link(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL, .amd = true,
		.nested = RHZ_NPT_4LEVEL, .vcpus = 2 });
	const uint64_t far = 0x4000000000;
	uint64_t root = table_new(world);
	struct rhz_regs l1 = regs_of(RHZ_PAGING_4LEVEL, table_new(world)), second = l1;

	(void)state;
	map_window(world, root);
	start(world, 0, root);
	start(world, 1, root);
	map(world, l1.cr3, 0x5000, 0x1000, PWU);
	map(world, l1.cr3, 0x6000, 0x2000, PWU);
	map(world, l1.cr3, far + 0x40000000, 0x3000, PWU);
	/* a second root, which shares all below */
	second.cr3 = table_new(world);
	guest_put(world, second.cr3, 8, guest_get(world, l1.cr3, 8));
	for (unsigned vcpu = 0; vcpu < 2; vcpu++) {
		nested_ok(world, vcpu, vcpu ? &l1 : &second, 1, RHZ_GUEST_KEEP);
		reaches_on(world, vcpu, 0x5000, WRITE, 0x1000);
		reaches_on(world, vcpu, 0x6000, WRITE, 0x2000);
	}
	reaches_on(world, 1, far + 0x40000000, WRITE, 0x3000);
	exit_ok(world, 0);
	entry_store(world, 0, l1.cr3, 0x6000, 1, 0x4000 | PWU | A | D);
	assert_int_equal(VM_STAT(world, mmu_unsync), 1);
	entry_store(world, 0, l1.cr3, far, 3, entry_get(world, l1.cr3, 0x5000, 3));
	/* by the new path: no invalidation is due */
	reaches_on(world, 1, far + 0x5000, WRITE, 0x1000);
	reaches_on(world, 1, far + 0x6000, WRITE, 0x4000);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_link),
		cmocka_unit_test(test_nested_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
