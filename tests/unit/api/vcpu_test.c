/* SPDX-License-Identifier: MIT */
/* Loads of registers, contexts, and the root cache behind them as a vCPU uses it. */
#include "fixture.h"

/* Roots with one page each at 0x5000: root i leads to frame i. */
static void roots_make(struct world *world, uint64_t *roots, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		roots[i] = table_new(world);
		map(world, roots[i], 0x5000, i * 0x1000, PWU);
	}
}

static struct world *begin(enum rhz_paging mode, enum rhz_root_policy policy, unsigned cached)
{
	return world_make(&(struct setup){ .mode = mode, .given_roots = true, .policy = policy,
		                           .cached_roots = cached });
}

/* What each policy finds when three roots take turns, and when one is loaded again. */
static void test_policies(void **state)
{
	static const struct {
		enum rhz_root_policy policy;
		unsigned cached, again, turns; /* found: of 4 loads of the same, of 6 in turn */
	} cases[] = {
		{ RHZ_ROOTS_NONE, 16, 0, 0 },
		{ RHZ_ROOTS_VICTIM, 16, 3, 6 },
		{ RHZ_ROOTS_CURRENT_FIRST, 0, 4, 0 },
		{ RHZ_ROOTS_CURRENT_FIRST, 1, 4, 0 },
		{ RHZ_ROOTS_CURRENT_FIRST, 2, 4, 6 },
		{ RHZ_ROOTS_AT_CREATION, 3, 4, 6 },
		{ RHZ_ROOTS_AT_CREATION, 2, 4, 0 },
		{ RHZ_ROOTS_RANDOM_4, 2, 4, 6 },
		{ RHZ_ROOTS_PINNED, 0, 4, 6 },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct world *world = begin(RHZ_PAGING_4LEVEL, cases[i].policy, cases[i].cached);
		uint64_t roots[3], found;

		roots_make(world, roots, 3);
		start(world, 0, roots[0]);
		found = STAT(world, root_current_reused) + STAT(world, root_cached_reused);
		for (unsigned n = 0; n < 4; n++) {
			load_ok(world, 0, roots[0]);
			reaches(world, 0x5000, READ, 0);
		}
		found = STAT(world, root_current_reused) + STAT(world, root_cached_reused) - found;
		assert_int_equal(found, cases[i].again);
		for (unsigned n = 0; n < 9; n++) {
			if (n == 3)
				found = STAT(world, root_cached_reused);
			load_ok(world, 0, roots[(n + 1) % 3]);
			reaches(world, 0x5000, READ, (n + 1) % 3 * 0x1000);
		}
		assert_int_equal(STAT(world, root_cached_reused) - found, cases[i].turns);
		assert_int_equal(STAT(world, root_built), 4);
		assert_int_equal(STAT(world, root_missed),
		                 STAT(world, root_built) + STAT(world, root_refound));
		world_end(world);
	}
}

/* Cached roots are counted from the newest, and each by its position. */
static void test_positions(void **state)
{
	struct world *world = begin(RHZ_PAGING_4LEVEL, RHZ_ROOTS_CURRENT_FIRST, 8);
	uint64_t roots[9];

	(void)state;
	roots_make(world, roots, 9);
	start(world, 0, roots[0]);
	for (unsigned i = 1; i < 9; i++)
		load_ok(world, 0, roots[i]);
	/* cached, newest first: 7 6 5 4 3 2 1 0 */
	load_ok(world, 0, roots[7]);
	load_ok(world, 0, roots[4]);
	load_ok(world, 0, roots[0]);
	assert_int_equal(STAT(world, root_reused_at)[0], 1);
	assert_int_equal(STAT(world, root_reused_at)[3], 1); /* behind 8, 6, 5 */
	assert_int_equal(STAT(world, root_reused_at)[7], 1);
	assert_int_equal(STAT(world, root_cached_reused), 3);
	assert_int_equal(STAT(world, root_evicted), 1); /* paging off's, when the ninth came */
	world_end(world);
}

/* A hit takes no lock and allocates nothing. */
static void test_hit_takes_no_lock(void **state)
{
	static const enum rhz_paging modes[] = { RHZ_PAGING_32, RHZ_PAGING_4LEVEL,
		                                 RHZ_PAGING_5LEVEL };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct world *world = begin(modes[i], RHZ_ROOTS_CURRENT_FIRST, 4);
		unsigned locks, allocated;
		uint64_t roots[3];

		roots_make(world, roots, 3);
		start(world, 0, roots[0]);
		load_ok(world, 0, roots[1]);
		load_ok(world, 0, roots[2]);
		locks = world->locks;
		allocated = world->allocated;
		for (unsigned n = 0; n < 12; n++) {
			assert_int_equal(rhz_vcpu_load_cr3(world->vcpu[0], roots[n / 2 % 3]),
			                 RHZ_LOAD_OK);
			world->at[0].running = false;
			assert_true(enter(world, 0));
		}
		assert_int_equal(world->locks, locks);
		assert_int_equal(world->allocated, allocated);
		world_end(world);
	}
}

/* What a load refuses, and that nothing changes then. */
static void test_general_protection(void **state)
{
	struct world *world = begin(RHZ_PAGING_4LEVEL, RHZ_ROOTS_CURRENT_FIRST, 4);
	struct rhz_vcpu *vcpu = world->vcpu[0];
	struct rhz_regs regs;
	uint64_t root;

	(void)state;
	roots_make(world, &root, 1);
	start(world, 0, root);
	assert_int_equal(rhz_vcpu_load_cr3(vcpu, root | RHZ_CR3_NOFLUSH), RHZ_LOAD_GP);
	assert_int_equal(rhz_vcpu_load_cr3(vcpu, root | 1ull << 40), RHZ_LOAD_GP);
	assert_int_equal(rhz_vcpu_load_cr3(vcpu, root | 1ull << 62), RHZ_LOAD_GP);
	assert_int_equal(rhz_vcpu_load_cr3(vcpu, root | RHZ_CR3_PCD), RHZ_LOAD_OK);
	load_ok(world, 0, root);
#define REFUSED(change) \
	do { \
		regs = *rhz_vcpu_regs(vcpu); \
		change; \
		assert_int_equal(rhz_vcpu_load_regs(vcpu, &regs), RHZ_LOAD_GP); \
	} while (0)
	REFUSED(regs.cr0 &= ~RHZ_CR0_PE);
	REFUSED(regs.cr0 |= RHZ_CR0_NW);
	REFUSED(regs.cr0 |= 1ull << 32);
	REFUSED(regs.cr0 &= ~RHZ_CR0_PG);           /* LMA stays set */
	REFUSED(regs.cr4 &= ~RHZ_CR4_PAE);
	REFUSED(regs.cr4 ^= RHZ_CR4_LA57);
	REFUSED(regs.efer &= ~RHZ_EFER_LME);
	REFUSED(regs.cr3 |= RHZ_CR3_NOFLUSH);
	load_ok(world, 0, root | 8);
	REFUSED(regs.cr4 |= RHZ_CR4_PCIDE);         /* CR3[11:0] is not 0 */
	load_ok(world, 0, root);
	cr_change(world, 0, 0, RHZ_CR4_PCIDE, 0);
	assert_int_equal(rhz_vcpu_load_cr3(vcpu, root | 5 | RHZ_CR3_NOFLUSH), RHZ_LOAD_OK);
	assert_int_equal(rhz_vcpu_regs(vcpu)->cr3, root | 5);
	assert_int_equal(rhz_vcpu_switch_context(vcpu, RHZ_CONTEXT_L2_NESTED, NULL, 1, true),
	                 RHZ_LOAD_GP);
	assert_int_equal(rhz_vcpu_switch_context(vcpu, RHZ_CONTEXT_L2, NULL, 1, true), RHZ_LOAD_GP);
	reaches(world, 0x5000, WRITE, 0);
	world_end(world);
}

/* A change of CR0, CR4, EFER is a root switch like any other: back again is a hit. */
static void test_register_changes_keep_roots(void **state)
{
	struct world *world = begin(RHZ_PAGING_4LEVEL, RHZ_ROOTS_CURRENT_FIRST, 8);
	uint64_t root, built;

	(void)state;
	roots_make(world, &root, 1);
	start(world, 0, root);
	reaches(world, 0x5000, USER, 0);
	cr_change(world, 0, RHZ_CR0_WP, 0, 0);
	cr_change(world, 0, 0, 0, RHZ_EFER_NXE);
	built = STAT(world, root_built);
	for (unsigned i = 0; i < 4; i++) {
		cr_change(world, 0, 0, 0, RHZ_EFER_NXE);
		cr_change(world, 0, RHZ_CR0_WP, 0, 0);
		cr_change(world, 0, RHZ_CR0_WP, 0, 0);
		cr_change(world, 0, 0, 0, RHZ_EFER_NXE);
	}
	cr_change(world, 0, 0, RHZ_CR4_PGE, 0);
	cr_change(world, 0, 0, RHZ_CR4_SMEP, 0);
	/* SMEP is in the role while WP = 0: one more */
	assert_true(STAT(world, root_built) - built <= 1);
	world_end(world);
}

/*
 * CR0.WP turned over and back: two roots, each found again, and the rights as WP has them, also
 * where the guest's own tables are walked. The mode without WP has SMEP in the role.
 */
static void test_wp_keeps_two_roots(void **state)
{
	static const enum rhz_paging modes[] = { RHZ_PAGING_32, RHZ_PAGING_4LEVEL };

	(void)state;
	for (unsigned mode = 0; mode < 4; mode++) {
		struct world *world = begin(modes[mode & 1], RHZ_ROOTS_CURRENT_FIRST, 8);
		uint64_t root, built = 0, reused = 0;
		struct rhz_walk walk;

		roots_make(world, &root, 1);
		map(world, root, 0x6000, 0x2000, P | U | A | D);
		map(world, root, 0x7000, 0x3000, P | A | D);
		start(world, 0, root);
		if (mode & 2)
			cr_change(world, 0, 0, RHZ_CR4_SMEP, 0);
		for (unsigned i = 0; i < 6; i++) {
			const bool wp = i & 1;

			cr_change(world, 0, RHZ_CR0_WP, 0, 0);
			if (i == 0) {
				built = STAT(world, root_built);
				reused = STAT(world, root_cached_reused);
			}
			assert_int_equal(rhz_vcpu_regs(world->vcpu[0])->cr0 >> 16 & 1, wp);
			assert_int_equal(rhz_vcpu_translate(world->vcpu[0], (rhz_gva){ 0x6000 },
			                                    RHZ_ACCESS_WRITE, &walk),
			                 wp ? RHZ_WALK_RIGHTS : RHZ_WALK_OK);
			for (uint64_t gva = 0x6000; gva <= 0x7000; gva += 0x1000) {
				reaches(world, gva, READ, gva - 0x4000);
				if (wp)
					faults(world, gva, WRITE, RHZ_PF_P | RHZ_PF_W);
				else
					reaches(world, gva, WRITE, gva - 0x4000);
			}
			faults(world, 0x6000, USER | WRITE, RHZ_PF_P | RHZ_PF_W | RHZ_PF_U);
			reaches(world, 0x6000, USER, 0x2000);
		}
		assert_int_equal(STAT(world, root_built), built);
		assert_int_equal(STAT(world, root_cached_reused), reused + 5);
		world_end(world);
	}
}

/* [SDM3 4.4.1]: PDPTEs are read by CR3 loads and some CR0 and CR4 changes, never in between. */
static void test_pdptes(void **state)
{
	struct world *world = begin(RHZ_PAGING_PAE, RHZ_ROOTS_CURRENT_FIRST, 8);
	struct rhz_vcpu *vcpu = world->vcpu[0];
	uint64_t roots[2], built;

	(void)state;
	roots_make(world, roots, 2);
	start(world, 0, roots[0]);
	reaches(world, 0x5000, READ, 0);
	assert_int_equal(rhz_vcpu_regs(vcpu)->pdpte[0], guest_get(world, roots[0], 8));
	guest_poke(world, roots[0], 8, guest_get(world, roots[1], 8));
	invlpg(world, 0, 0x5000);
	reaches(world, 0x5000, READ, 0);
	cr_change(world, 0, RHZ_CR0_WP, 0, 0);
	cr_change(world, 0, 0, 0, RHZ_EFER_NXE);
	reaches(world, 0x5000, READ, 0);
	/* the same CR3 again: now they count */
	load_ok(world, 0, roots[0]);
	reaches(world, 0x5000, READ, 0x1000);
	for (unsigned i = 0; i < 4; i++) {
		static const uint64_t cr0[] = { 0, 0, 0, RHZ_CR0_CD };
		static const uint64_t cr4[] = { RHZ_CR4_PGE, RHZ_CR4_PSE, RHZ_CR4_SMEP, 0 };
		uint64_t now = guest_get(world, roots[0], 8);

		guest_poke(world, roots[0], 8, 0);
		cr_change(world, 0, cr0[i], cr4[i], 0);
		faults(world, 0x5000, READ, 0);
		guest_poke(world, roots[0], 8, now);
		load_ok(world, 0, roots[0]);
		reaches(world, 0x5000, READ, 0x1000);
	}
	/* reserved bits: #GP, and the old ones stay */
	guest_poke(world, roots[0], 8, guest_get(world, roots[0], 8) | W);
	assert_int_equal(rhz_vcpu_load_cr3(vcpu, roots[0]), RHZ_LOAD_GP);
	audit(world);
	world->at[0].running = false;
	reaches(world, 0x5000, READ, 0x1000);
	/* not present: anything may stand there */
	guest_poke(world, roots[0], 8, W);
	load_ok(world, 0, roots[0]);
	faults(world, 0x5000, READ, 0);
	/* 32-byte tables: four of them in one frame, each with a root of its own */
	guest_poke(world, roots[0] + 32, 8, guest_get(world, roots[1], 8));
	load_ok(world, 0, roots[0] + 32);
	reaches(world, 0x5000, READ, 0x1000);
	built = STAT(world, root_built);
	for (unsigned i = 0; i < 4; i++) {
		load_ok(world, 0, roots[0]);
		load_ok(world, 0, roots[0] + 32);
	}
	assert_int_equal(STAT(world, root_built), built);
	world_end(world);
}

/* ---- contexts ---- */

/* A nested entry and exit with nothing changed finds both roots where it left them. */
static void test_contexts(void **state)
{
	struct world *world = begin(RHZ_PAGING_4LEVEL, RHZ_ROOTS_CURRENT_FIRST, 8);
	struct rhz_regs regs;
	uint64_t roots[2], reused, synced;

	(void)state;
	roots_make(world, roots, 2);
	start(world, 0, roots[0]);
	reaches(world, 0x5000, WRITE, 0);
	regs = regs_of(RHZ_PAGING_4LEVEL, roots[1]);
	switch_ok(world, 0, RHZ_CONTEXT_L2, &regs, 1, true);
	reaches(world, 0x5000, WRITE, 0x1000);
	reused = STAT(world, root_current_reused);
	synced = STAT(world, syncs_asked);
	for (unsigned i = 0; i < 6; i++) {
		bool nested = i & 1;

		switch_ok(world, 0, nested, NULL, nested, false);
		reaches(world, 0x5000, WRITE, nested * 0x1000);
		assert_int_equal(world->at[0].entry.flush, RHZ_FLUSH_NONE);
	}
	assert_int_equal(STAT(world, root_current_reused) - reused, 6);
	assert_int_equal(STAT(world, syncs_asked), synced);
	world_end(world);
}

/* L2 invalidated from L1: cached roots of that context must sync before they are used. */
static void test_flush_reaches_other_context(void **state)
{
	struct world *world = begin(RHZ_PAGING_4LEVEL, RHZ_ROOTS_CURRENT_FIRST, 8);
	struct rhz_vcpu *vcpu = world->vcpu[0];
	struct rhz_regs regs;
	uint64_t roots[2];

	(void)state;
	roots_make(world, roots, 2);
	map_window(world, roots[0]);
	start(world, 0, roots[0]);
	regs = regs_of(RHZ_PAGING_4LEVEL, roots[1]);
	switch_ok(world, 0, RHZ_CONTEXT_L2, &regs, 1, true);
	reaches(world, 0x5000, WRITE, 0x1000);
	switch_ok(world, 0, RHZ_CONTEXT_L1, NULL, 0, false);
	entry_store(world, 0, roots[1], 0x5000, 1, 0x7000 | PWU);
	assert_int_equal(VM_STAT(world, mmu_unsync), 1);
	rhz_vcpu_flush_guest(vcpu);
	audit(world);
	switch_ok(world, 0, RHZ_CONTEXT_L2, NULL, 1, false);
	reaches(world, 0x5000, WRITE, 0x7000);
	world_end(world);
}

/* One direct root for L1 and L2, or for two L2s: never one tag. */
static void test_one_root_many_tags(void **state)
{
	static const enum rhz_paging_kind kinds[] = { RHZ_SHADOW, RHZ_NPT_4LEVEL, RHZ_EPT_4LEVEL };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct world *world = world_make(&(struct setup){ .kind = kinds[i] });
		struct rhz_vcpu *vcpu = world->vcpu[0];
		struct rhz_regs regs = *rhz_vcpu_regs(vcpu);
		uint64_t root[3];
		uint32_t tag[3];

		for (unsigned n = 0; n < 6; n++) {
			uint32_t asid = n % 3;

			switch_ok(world, 0, asid > 0, n < 3 ? &regs : NULL, asid, false);
			reaches(world, 0x1000, WRITE, 0x1000);
			if (n < 3) {
				root[n] = world->at[0].entry.root.v;
				tag[n] = world->at[0].entry.tag;
			}
			assert_int_equal(world->at[0].entry.root.v, root[asid]);
			assert_int_equal(world->at[0].entry.tag, tag[asid]);
		}
		assert_true(root[0] == root[1] && root[1] == root[2]);
		assert_true(tag[0] != tag[1] && tag[1] != tag[2] && tag[0] != tag[2]);
		world_end(world);
	}
}

/* The embedder's own translation: the tables as they are now, no A bit set. */
static void test_translate(void **state)
{
	struct world *world = begin(RHZ_PAGING_4LEVEL, RHZ_ROOTS_CURRENT_FIRST, 8);
	struct rhz_vcpu *vcpu = world->vcpu[0];
	struct rhz_walk walk;
	uint64_t root;

	(void)state;
	assert_int_equal(rhz_vcpu_translate(vcpu, (rhz_gva){ 0x1234 }, 0, &walk), RHZ_WALK_OK);
	assert_int_equal(walk.gpa.v, 0x1234);
	roots_make(world, &root, 1);
	start(world, 0, root);
	assert_int_equal(rhz_vcpu_translate(vcpu, (rhz_gva){ 0x5678 }, WRITE, &walk), RHZ_WALK_OK);
	assert_int_equal(walk.gpa.v, 0x678);
	assert_int_equal(entry_get(world, root, 0x5000, 1) & (A | D), 0);
	assert_int_equal(rhz_vcpu_translate(vcpu, (rhz_gva){ 0x6000 }, 0, &walk),
	                 RHZ_WALK_NOT_PRESENT);
	assert_int_equal(rhz_vcpu_translate(vcpu, (rhz_gva){ 1ull << 50 }, 0, &walk),
	                 RHZ_WALK_NON_CANONICAL);
	guest_put(world, entry_at(world, root, 0x5000, 1), 8, P);
	assert_int_equal(rhz_vcpu_translate(vcpu, (rhz_gva){ 0x5000 }, WRITE, &walk),
	                 RHZ_WALK_RIGHTS);
	assert_int_equal(walk.error_code, RHZ_PF_P | RHZ_PF_W);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_positions),
		cmocka_unit_test(test_hit_takes_no_lock),
		cmocka_unit_test(test_general_protection),
		cmocka_unit_test(test_register_changes_keep_roots),
		cmocka_unit_test(test_wp_keeps_two_roots),
		cmocka_unit_test(test_pdptes),
		cmocka_unit_test(test_contexts),
		cmocka_unit_test(test_flush_reaches_other_context),
		cmocka_unit_test(test_one_root_many_tags),
		cmocka_unit_test(test_translate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
