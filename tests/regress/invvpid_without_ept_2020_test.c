/* SPDX-License-Identifier: MIT */
/*
 * INVVPID without EPT (KVM, 2020): roots were not dropped, and stale entries came back with the
 * next fast switch. An invalidation must reach cached roots too: here by their sync before they are
 * used.
 */
#include "fixture.h"

static void test_cached_root_after_flush(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL });
	struct rhz_vcpu *vcpu = world->vcpu[0];
	uint64_t l1 = table_new(world), l2[3];
	struct rhz_regs regs;

	(void)state;
	map(world, l1, 0x5000, 0x1000, PWU);
	map_window(world, l1);
	start(world, 0, l1);
	for (unsigned i = 0; i < 3; i++) {
		l2[i] = table_new(world);
		map(world, l2[i], 0x5000, 0x2000 + i * 0x1000, PWU);
		regs = regs_of(RHZ_PAGING_4LEVEL, l2[i]);
		switch_ok(world, 0, RHZ_CONTEXT_L2, &regs, 1, true);
		reaches(world, 0x5000, WRITE, 0x2000 + i * 0x1000);
	}
	switch_ok(world, 0, RHZ_CONTEXT_L1, NULL, 0, false);
	for (unsigned i = 0; i < 3; i++)
		entry_store(world, 0, l2[i], 0x5000, 1, (0x6000 + i * 0x1000) | PWU | A | D);
	rhz_vcpu_flush_guest(vcpu);
	switch_ok(world, 0, RHZ_CONTEXT_L2, NULL, 1, false);
	reaches(world, 0x5000, WRITE, 0x8000);
	for (unsigned i = 0; i < 3; i++) {
		load_ok(world, 0, l2[i]);
		reaches(world, 0x5000, WRITE, 0x6000 + i * 0x1000);
	}
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cached_root_after_flush),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
