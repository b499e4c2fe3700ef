/* SPDX-License-Identifier: MIT */
/*
 * One of ours (found by random nested sequences): a table of L1's served as its own page table and
 * as its EPT. L1's walk set A and D there, bits 5 and 6, which are memory type and 'ignore PAT' of
 * an EPT entry [SDM3 28.3.2]; the shadow of the EPT went on with what the entry had been. A and D
 * set in a table that is shadowed in another format too are a write like any other.
 */
#include "fixture.h"

enum { GVA = 0x5000, NGPA = 0x40005000, DATA = 0x1000 };
enum { RWX = 7, EPT_A = 1 << 8, EPT_D = 1 << 9, TYPE = 15 << 3 };

static uint64_t type_of(struct world *world)
{
	return leaf_of(world, 0, NGPA, &(unsigned){ 0 }) & TYPE;
}

static void check(uint32_t options, bool table_first)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
		.nested = RHZ_EPT_4LEVEL, .ept_ad = true, .options = options });
	uint64_t root = table_new(world), ept = table_new(world), eptp = ept | 6 | 3 << 3 | 64;

	/* uncached, as EPT; not accessed yet, as a page table */
	map(world, root, GVA, DATA, RWX | EPT_A | EPT_D);
	map(world, root, GVA + 0x1000, DATA + 0x1000, RWX | A | D);
	map(world, ept, NGPA, 0, 0);
	guest_put(world, entry_at(world, ept, NGPA, 2), 8,
	          (entry_get(world, root, GVA, 2) & FRAME) | RWX);
	start(world, 0, root);
	if (table_first) /* the table is shadowed in both formats before */
		reaches(world, GVA + 0x1000, USER | WRITE, DATA + 0x1000);
	ept_ok(world, 0, eptp, 1, RHZ_GUEST_KEEP);
	reaches(world, NGPA, WRITE, DATA);
	assert_int_equal(type_of(world), 0);
	exit_ok(world, 0);
	reaches(world, GVA, USER | WRITE, DATA);
	assert_int_equal(entry_get(world, root, GVA, 1) & (A | D), A | D);
	ept_ok(world, 0, eptp, 1, RHZ_GUEST_FLUSH_ASID);
	reaches(world, NGPA, WRITE, DATA);
	assert_int_equal(type_of(world), A | D);
	world_end(world);
}

/* By the usual way of a fault, and by the other; the other format's page being there or new. */
static void test_page_table_and_ept(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++)
		check(i & 1 ? RHZ_NO_QUICK_FILL : 0, i & 2);
}

/* The top of nested PAE tables, where A and D are reserved bits [SDM3 4.4.1]. */
static void test_page_table_and_pdptes(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL, .amd = true,
		.nested = RHZ_NPT_4LEVEL });
	uint64_t root = table_new(world), pae = table_new(world);
	struct rhz_regs nested = regs_of(RHZ_PAGING_PAE, pae);

	(void)state;
	world->setup.mode = RHZ_PAGING_PAE;
	map(world, pae, 0x5000, DATA, PWU);
	world->setup.mode = RHZ_PAGING_4LEVEL;
	/* L1's page 0 is the nested page directory */
	map(world, root, 0x40000000, 0, 0);
	guest_put(world, entry_at(world, root, 0x40000000, 2), 8, pae | PWU);
	start(world, 0, root);
	nested_ok(world, 0, &nested, 1, RHZ_GUEST_KEEP);
	reaches(world, 0x5000, WRITE, DATA);
	exit_ok(world, 0);
	reaches(world, 0x40000000, READ, guest_get(world, pae, 8) & FRAME);
	assert_int_equal(guest_get(world, pae, 8) & (P | A | D), P | A);
	nested_ok(world, 0, &nested, 1, RHZ_GUEST_FLUSH_ASID);
	npf(world, 0x5000, READ, RHZ_NPF_FINAL | RHZ_PF_P | RHZ_PF_U | RHZ_PF_RSVD);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_page_table_and_ept),
		cmocka_unit_test(test_page_table_and_pdptes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
