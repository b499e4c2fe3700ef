/* SPDX-License-Identifier: MIT */
/* Switches of context: what a quick one must not pass over. */
#include "fixture.h"

static struct world *begin(enum rhz_paging mode, uint64_t *root, struct rhz_regs *l2)
{
	struct world *world = world_make(&(struct setup){ .mode = mode });

	*root = table_new(world);
	map(world, *root, 0x5000, 0x1000, PWU | A | D);
	start(world, 0, *root);
	*l2 = regs_of(mode, table_new(world));
	map(world, l2->cr3, 0x5000, 0x2000, PWU | A | D);
	switch_ok(world, 0, RHZ_CONTEXT_L2, l2, 1, RHZ_GUEST_KEEP);
	reaches(world, 0x5000, USER, 0x2000);
	return world;
}

/* PDPTEs are read at each entry that gives registers, though CR3 is the same [APM2 15.5.1]. */
static void test_pdptes(void **state)
{
	uint64_t root, directory;
	struct rhz_regs l2;
	struct world *world = begin(RHZ_PAGING_PAE, &root, &l2);

	(void)state;
	directory = guest_get(world, root, 8);
	switch_ok(world, 0, RHZ_CONTEXT_L1, NULL, 0, RHZ_GUEST_KEEP);
	guest_put(world, l2.cr3, 8, directory);
	switch_ok(world, 0, RHZ_CONTEXT_L2, &l2, 1, RHZ_GUEST_KEEP);
	reaches(world, 0x5000, USER, 0x1000);
	world_end(world);
}

/* Nested paging: the PDPTEs are for the embedder's own walks, and as new. */
static void test_pdptes_unshadowed(void **state)
{
	struct world *world = world_make(&(struct setup){ .kind = RHZ_NPT_4LEVEL });
	struct rhz_regs l2;
	struct rhz_walk walk;

	(void)state;
	world->setup.mode = RHZ_PAGING_PAE;
	l2 = regs_of(RHZ_PAGING_PAE, table_new(world));
	for (unsigned n = 0; n < 2; n++) {
		guest_put(world, l2.cr3, 8, 0);
		map(world, l2.cr3, 0x5000, 0x2000 + n * 0x1000, PWU | A | D);
		switch_ok(world, 0, RHZ_CONTEXT_L2, &l2, 1, RHZ_GUEST_KEEP);
		assert_int_equal(rhz_vcpu_translate(world->vcpu[0], (rhz_gva){ 0x5000 }, 0, &walk),
		                 RHZ_WALK_OK);
		assert_int_equal(walk.gpa.v, 0x2000 + n * 0x1000);
		switch_ok(world, 0, RHZ_CONTEXT_L1, NULL, 0, RHZ_GUEST_KEEP);
	}
	world_end(world);
}

/* A PAE root is known by what its registers held: loaded again, it is the current one. */
static void test_pae_reused(void **state)
{
	uint64_t root, reused;
	struct rhz_regs l2;
	struct world *world = begin(RHZ_PAGING_PAE, &root, &l2);

	(void)state;
	reused = STAT(world, root_current_reused);
	load_ok(world, 0, l2.cr3);
	assert_int_equal(STAT(world, root_current_reused), reused + 1);
	world_end(world);
}

/* Bits of CR3 above the physical address width are refused, whatever root the others name. */
static void test_reserved_bits(void **state)
{
	uint64_t root;
	struct rhz_regs l2;
	struct world *world = begin(RHZ_PAGING_4LEVEL, &root, &l2);

	(void)state;
	switch_ok(world, 0, RHZ_CONTEXT_L1, NULL, 0, RHZ_GUEST_KEEP);
	world->at[0].running = false;
	l2.cr3 |= 1ull << 40;
	assert_int_equal(rhz_vcpu_switch_context(world->vcpu[0], RHZ_CONTEXT_L2, &l2, 1,
	                                         RHZ_GUEST_KEEP), RHZ_LOAD_GP);
	reaches(world, 0x5000, USER, 0x1000);
	world_end(world);
}

/* The keys are those of the entry. */
static void test_keys(void **state)
{
	uint64_t root;
	struct rhz_regs l2;
	struct world *world = begin(RHZ_PAGING_4LEVEL, &root, &l2);

	(void)state;
	map(world, l2.cr3, 0x6000, 0x3000, PWU | A | D | KEY(1));
	l2.cr4 |= RHZ_CR4_PKE;
	for (unsigned n = 0; n < 4; n++) {
		switch_ok(world, 0, RHZ_CONTEXT_L1, NULL, 0, RHZ_GUEST_KEEP);
		l2.pkru = n & 1 ? 1u << 2 : 0;
		switch_ok(world, 0, RHZ_CONTEXT_L2, &l2, 1, RHZ_GUEST_KEEP);
		assert_int_equal(rhz_vcpu_regs(world->vcpu[0])->pkru, l2.pkru);
		if (n & 1)
			faults(world, 0x6000, USER, RHZ_PF_P | RHZ_PF_U | RHZ_PF_PK);
		else
			reaches(world, 0x6000, USER, 0x3000);
	}
	world_end(world);
}

/* L1's root was given up while L2 ran: the exit does not find it. */
static void test_root_given_up(void **state)
{
	uint64_t root, reused;
	struct rhz_regs l2;
	struct world *world = begin(RHZ_PAGING_4LEVEL, &root, &l2);

	(void)state;
	world->at[0].running = false;
	assert_status(rhz_slot_set_flags(world->vm, world->slot, RHZ_SLOT_READ_ONLY, NULL), RHZ_OK);
	assert_status(rhz_slot_set_flags(world->vm, world->slot, 0, NULL), RHZ_OK);
	reused = STAT(world, root_current_reused);
	switch_ok(world, 0, RHZ_CONTEXT_L1, NULL, 0, RHZ_GUEST_KEEP);
	assert_int_equal(STAT(world, root_current_reused), reused);
	reaches(world, 0x5000, USER, 0x1000);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pdptes),
		cmocka_unit_test(test_pdptes_unshadowed),
		cmocka_unit_test(test_pae_reused),
		cmocka_unit_test(test_reserved_bits),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_root_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
