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

/* The same with L1's nested tables: roots that are cached, and the one that stayed current. */
static void test_cached_nested_root(void **state)
{
	static const unsigned ways = 4;

	(void)state;
	for (unsigned way = 0; way < ways; way++) {
		struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
			.amd = true, .nested = RHZ_NPT_4LEVEL });
		struct rhz_vcpu *vcpu = world->vcpu[0];
		uint64_t l1 = table_new(world);
		struct rhz_regs nested[3];

		map_window(world, l1);
		start(world, 0, l1);
		for (unsigned i = 0; i < 3; i++) {
			nested[i] = regs_of(RHZ_PAGING_4LEVEL, table_new(world));
			map(world, nested[i].cr3, 0x5000, 0x2000 + i * 0x1000, PWU);
			nested_ok(world, 0, &nested[i], 1 + i, RHZ_GUEST_KEEP);
			reaches(world, 0x5000, WRITE, 0x2000 + i * 0x1000);
			exit_ok(world, 0);
		}
		for (unsigned i = 0; i < 3; i++)
			entry_store(world, 0, nested[i].cr3, 0x5000, 1,
			            (0x6000 + i * 0x1000) | PWU | A | D);
		for (unsigned i = 0; i < 3 && way == 1; i++)
			rhz_vcpu_flush_asid(vcpu, 1 + i);
		if (way == 2)
			rhz_vcpu_flush_l2(vcpu);
		for (unsigned n = 3; n-- > 0;) {
			nested_ok(world, 0, &nested[n], 1 + n, way == 3 ? RHZ_GUEST_FLUSH_ASID :
			                                                  RHZ_GUEST_KEEP);
			reaches(world, 0x5000, WRITE, 0x6000 + n * 0x1000);
			exit_ok(world, 0);
		}
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cached_root_after_flush),
		cmocka_unit_test(test_cached_nested_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
