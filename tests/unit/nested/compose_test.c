/* SPDX-License-Identifier: MIT */
/*
 * L2's linear addresses through both levels: rhz_vcpu_translate_l2. Each of L2's tables is found by
 * L1's nested tables, and whichever of the two forbids is told from the other.
 */
#include "fixture.h"

enum { GVA = 0x5000, NGPA = 0x7000, DATA = 0x1000 };
enum { EPT_A = 1 << 8, EPT_D = 1 << 9 };

static uint64_t nested, cr3; /* L1's nested tables; L2's CR3, by which mode is the test's affair */

static const uint64_t EPT_TABLE = RHZ_EPT_QUAL_GVA;
static const uint64_t EPT_FINAL = RHZ_EPT_QUAL_GVA | RHZ_EPT_QUAL_FINAL;

/* L2's GVA leads to NGPA, that to DATA; all else of L2's memory is L1's at the same address. */
static struct world *begin(bool ept, bool ad, enum rhz_paging l2_mode)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL, .amd = !ept,
		.nested = ept ? RHZ_EPT_4LEVEL : RHZ_NPT_4LEVEL, .ept_ad = true });
	struct rhz_regs l1;

	nested = table_new(world);
	for (uint64_t gpa = 0; gpa < 0x200000; gpa += 0x1000)
		map(world, nested, gpa, gpa == NGPA ? DATA : gpa, PWU);
	cr3 = table_new(world);
	world->setup.mode = l2_mode;
	map(world, cr3, GVA, NGPA, PWU);
	world->setup.mode = RHZ_PAGING_4LEVEL;
	l1 = regs_of(RHZ_PAGING_4LEVEL, nested);
	if (ept)
		ept_ok(world, 0, nested | 6 | 3 << 3 | (ad ? 64 : 0), 1, RHZ_GUEST_KEEP);
	else
		nested_ok(world, 0, &l1, 1, RHZ_GUEST_KEEP);
	return world;
}

static struct rhz_l2_walk translate(struct world *world, enum rhz_paging mode, uint64_t gva,
                                    unsigned access)
{
	struct rhz_regs l2 = regs_of(mode, cr3);
	struct rhz_l2_walk walk;

	assert_status(rhz_vcpu_translate_l2(world->vcpu[0], &l2, (rhz_gva){ gva }, access, &walk),
	              RHZ_OK);
	audit(world);
	return walk;
}

static void leads(struct world *world, enum rhz_paging mode, uint64_t gva, unsigned access,
                  uint64_t gpa)
{
	struct rhz_l2_walk walk = translate(world, mode, gva, access);

	assert_int_equal(walk.outcome, RHZ_L2_OK);
	assert_int_equal(walk.gpa.v, gpa);
}

static void excepts(struct world *world, uint64_t gva, unsigned access, uint32_t code)
{
	struct rhz_l2_walk walk = translate(world, RHZ_PAGING_4LEVEL, gva, access);

	assert_int_equal(walk.outcome, RHZ_L2_EXCEPTION);
	assert_int_equal(walk.walk.error_code, code);
}

static void leaves(struct world *world, uint64_t gva, unsigned access, enum rhz_l1_exit_kind kind,
                   uint64_t info, uint64_t ngpa)
{
	struct rhz_l2_walk walk = translate(world, RHZ_PAGING_4LEVEL, gva, access);

	assert_int_equal(walk.outcome, RHZ_L2_EXIT);
	assert_int_equal(walk.exit.kind, kind);
	if (kind != RHZ_L1_EPT_MISCONFIG)
		assert_int_equal(walk.exit.info, info);
	assert_int_equal(walk.exit.ngpa.v, ngpa);
}

/* Every mode of L2's, by NPT and by EPT; nothing is set on the way. */
static void test_modes(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 5 * 2; i++) {
		enum rhz_paging mode = (enum rhz_paging)(i % 5);
		struct world *world = begin(i / 5, true, mode ? mode : RHZ_PAGING_32);
		struct rhz_l2_walk walk = translate(world, mode, mode ? GVA + 8 : NGPA + 8, WRITE);

		assert_int_equal(walk.outcome, RHZ_L2_OK);
		assert_int_equal(walk.ngpa.v, NGPA + 8);
		assert_int_equal(walk.gpa.v, DATA + 8);
		assert_false(entry_get(world, nested, NGPA, 1) & (A | D | EPT_A | EPT_D));
		assert_false(entry_get(world, nested, NGPA, 4) & (A | D | EPT_A | EPT_D));
		world_end(world);
	}
}

/* L2's tables lie where L1's nested ones say, not where their addresses would be L1's. */
static void test_tables_elsewhere(void **state)
{
	struct world *world = begin(false, false, RHZ_PAGING_4LEVEL);
	uint64_t leaf = entry_get(world, cr3, GVA, 2) & FRAME, other = table_new(world);

	(void)state;
	guest_put(world, other + 8 * (GVA >> 12), 8, 0x9000 | PWU);
	entry_poke(world, nested, leaf, 1, other | PWU);
	leads(world, RHZ_PAGING_4LEVEL, GVA, WRITE, 0x9000);
	/* PDPTEs are at CR3 to its 32 bytes */
	world_end(world);
	world = begin(false, false, RHZ_PAGING_PAE);
	guest_put(world, cr3 + 0x40, 8, guest_get(world, cr3, 8));
	guest_put(world, cr3, 8, 0);
	cr3 += 0x40;
	leads(world, RHZ_PAGING_PAE, GVA, READ, DATA);
	world_end(world);
}

/* What L2's own tables forbid is its exception; L1's nested ones are not asked then. */
static void test_exceptions(void **state)
{
	(void)state;
	for (unsigned ept = 0; ept < 2; ept++) {
		struct world *world = begin(ept, true, RHZ_PAGING_4LEVEL);

		map(world, cr3, 0x6000, NGPA, P | U);
		map(world, cr3, 0x8000, 0x300000, P | W);
		map(world, cr3, 0x9000, NGPA, PWU | 1ull << 51);
		excepts(world, 0x6000, USER | WRITE, RHZ_PF_P | RHZ_PF_U | RHZ_PF_W);
		leads(world, RHZ_PAGING_4LEVEL, 0x6000, USER, DATA);
		excepts(world, 0x8000, USER, RHZ_PF_P | RHZ_PF_U);
		excepts(world, 0x9000, READ, RHZ_PF_P | RHZ_PF_RSVD);
		excepts(world, 0xa000, WRITE, RHZ_PF_W);
		excepts(world, 1ull << 47, READ, 0);
		world_end(world);
	}
}

/* NPT: the tables are written, the final address is what the access is [APM2 15.25.6]. */
static void test_npf(void **state)
{
	struct world *world = begin(false, false, RHZ_PAGING_4LEVEL);
	uint64_t leaf = entry_get(world, cr3, GVA, 2) & FRAME;
	uint64_t at = leaf + 8 * (GVA >> 12);

	(void)state;
	map(world, cr3, 0x6000, 0x300000, PWU);
	leaves(world, 0x6010, READ, RHZ_L1_NPF, RHZ_NPF_FINAL | RHZ_PF_U, 0x300010);
	leaves(world, 0x6010, WRITE, RHZ_L1_NPF, RHZ_NPF_FINAL | RHZ_PF_U | RHZ_PF_W, 0x300010);
	entry_poke(world, nested, NGPA, 1, DATA | P | U);
	leads(world, RHZ_PAGING_4LEVEL, GVA, READ, DATA);
	leaves(world, GVA, WRITE, RHZ_L1_NPF, RHZ_NPF_FINAL | RHZ_PF_P | RHZ_PF_U | RHZ_PF_W, NGPA);
	entry_poke(world, nested, NGPA, 1, DATA | PWU | NX);
	leaves(world, GVA, FETCH, RHZ_L1_NPF, RHZ_NPF_FINAL | RHZ_PF_P | RHZ_PF_U | RHZ_PF_I, NGPA);
	entry_poke(world, nested, leaf, 1, leaf | P | U);
	leaves(world, GVA, READ, RHZ_L1_NPF, RHZ_NPF_TABLE | RHZ_PF_P | RHZ_PF_U | RHZ_PF_W, at);
	entry_poke(world, nested, leaf, 1, 0);
	leaves(world, GVA, FETCH, RHZ_L1_NPF, RHZ_NPF_TABLE | RHZ_PF_U | RHZ_PF_W, at);
	world_end(world);
}

/* EPT: the tables are read, and written where there are A and D bits [SDM3 28.3.3.2]. */
static void test_violations(void **state)
{
	(void)state;
	for (unsigned ad = 0; ad < 2; ad++) {
		struct world *world = begin(true, ad, RHZ_PAGING_4LEVEL);
		uint64_t leaf = entry_get(world, cr3, GVA, 2) & FRAME;
		uint64_t at = leaf + 8 * (GVA >> 12);

		map(world, cr3, 0x6000, 0x300000, PWU);
		leaves(world, 0x6010, WRITE, RHZ_L1_EPT_VIOLATION, RHZ_EPT_QUAL_WRITE | EPT_FINAL,
		       0x300010);
		entry_poke(world, nested, NGPA, 1, DATA | 5); /* R | X */
		leads(world, RHZ_PAGING_4LEVEL, GVA, FETCH, DATA);
		leaves(world, GVA, WRITE, RHZ_L1_EPT_VIOLATION, RHZ_EPT_QUAL_WRITE | EPT_FINAL |
		       RHZ_EPT_QUAL_R | RHZ_EPT_QUAL_X, NGPA);
		entry_poke(world, nested, NGPA, 1, DATA | 4);
		leaves(world, GVA, READ, RHZ_L1_EPT_VIOLATION, RHZ_EPT_QUAL_READ | EPT_FINAL |
		       RHZ_EPT_QUAL_X, NGPA);
		entry_poke(world, nested, NGPA, 1, DATA | 2);
		leaves(world, GVA, READ, RHZ_L1_EPT_MISCONFIG, 0, NGPA);
		entry_poke(world, nested, NGPA, 1, DATA | 7);
		/* the table can be read alone */
		entry_poke(world, nested, leaf, 1, leaf | 1);
		if (ad)
			leaves(world, GVA, FETCH, RHZ_L1_EPT_VIOLATION, RHZ_EPT_QUAL_READ |
			       RHZ_EPT_QUAL_WRITE | EPT_TABLE | RHZ_EPT_QUAL_R, at);
		else
			leads(world, RHZ_PAGING_4LEVEL, GVA, FETCH, DATA);
		/* ... cannot be */
		entry_poke(world, nested, leaf, 1, leaf | 4);
		leaves(world, GVA, WRITE, RHZ_L1_EPT_VIOLATION, RHZ_EPT_QUAL_READ | EPT_TABLE |
		       (ad ? RHZ_EPT_QUAL_WRITE : 0) | RHZ_EPT_QUAL_X, at);
		world_end(world);
	}
}

static void test_refused(void **state)
{
	struct world *world = begin(false, false, RHZ_PAGING_4LEVEL);
	struct rhz_regs l2 = regs_of(RHZ_PAGING_4LEVEL, cr3);
	struct rhz_l2_walk walk;

	(void)state;
	l2.efer = 0;
	l2.cr4 = RHZ_CR4_LA57 | RHZ_CR4_PCIDE;
	assert_status(rhz_vcpu_translate_l2(world->vcpu[0], &l2, (rhz_gva){ GVA }, READ, &walk),
	              RHZ_ERR_FEATURE);
	exit_ok(world, 0);
	l2 = regs_of(RHZ_PAGING_4LEVEL, cr3);
	assert_status(rhz_vcpu_translate_l2(world->vcpu[0], &l2, (rhz_gva){ GVA }, READ, &walk),
	              RHZ_ERR_ARGUMENT);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_tables_elsewhere),
		cmocka_unit_test(test_exceptions),
		cmocka_unit_test(test_npf),
		cmocka_unit_test(test_violations),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
