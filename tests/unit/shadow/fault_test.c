/* SPDX-License-Identifier: MIT */
/* Shadow faults in every guest mode: what an access reaches, what it faults with, A and D bits. */
#include "fixture.h"

static const enum rhz_paging modes[] = { RHZ_PAGING_32, RHZ_PAGING_PAE, RHZ_PAGING_4LEVEL,
	                                 RHZ_PAGING_5LEVEL };

#define EACH_MODE(i) for (unsigned i = 0; i < sizeof(modes) / sizeof(*modes); i++)

static struct world *begin(enum rhz_paging mode, uint32_t options, uint64_t *root)
{
	struct world *world = world_make(&(struct setup){ .mode = mode, .options = options });

	*root = table_new(world);
	return world;
}

/* A page of each kind, read and written by user and supervisor. */
static void test_every_mode(void **state)
{
	(void)state;
	EACH_MODE(i) {
		uint64_t root;
		struct world *world = begin(modes[i], 0, &root);

		map(world, root, 0x5000, 0x1000, PWU);
		map(world, root, 0x6000, 0x2000, P | W);
		map(world, root, 0x7000, 0x3000, P | U);
		map(world, root, 0x80000000, 0x4000, PWU);
		map(world, root, 0xfffff000, 0x5000, PWU);
		start(world, 0, root);
		reaches(world, 0x5123, READ, 0x1123);
		reaches(world, 0x5123, WRITE, 0x1123);
		reaches(world, 0x5124, USER, 0x1124);
		reaches(world, 0x5124, USER | WRITE, 0x1124);
		reaches(world, 0x5124, USER | FETCH, 0x1124);
		reaches(world, 0x80000010, USER | WRITE, 0x4010);
		reaches(world, 0xfffffffc, USER | WRITE, 0x5ffc);
		reaches(world, 0x6000, READ, 0x2000);
		faults(world, 0x6000, USER, RHZ_PF_P | RHZ_PF_U);
		faults(world, 0x7000, USER | WRITE, RHZ_PF_P | RHZ_PF_U | RHZ_PF_W);
		faults(world, 0x7000, WRITE, RHZ_PF_P | RHZ_PF_W);
		faults(world, 0x9000, READ, 0);
		faults(world, 0x9000, USER | WRITE, RHZ_PF_U | RHZ_PF_W);
		faults(world, 0xc0000000, READ, 0);
		assert_int_equal(STAT(world, pf_guest), 6);
		world_end(world);
	}
}

/* [SDM3 4.6.1]: rights are the AND over all levels, also in the tables that two paths share. */
static void test_rights_over_levels(void **state)
{
	(void)state;
	EACH_MODE(i) {
		uint64_t root, at;
		struct world *world = begin(modes[i], 0, &root);
		unsigned bytes = entry_bytes(world);

		map(world, root, 0x5000, 0x1000, PWU);
		map(world, root, 0x40005000, 0x1000, PWU);
		/* the second path: the same last table behind a directory entry without W and U */
		at = entry_at(world, root, 0x5000, 2);
		guest_put(world, entry_at(world, root, 0x40005000, 2), bytes,
		          (guest_get(world, at, bytes) & FRAME) | P);
		start(world, 0, root);
		reaches(world, 0x5000, USER | WRITE, 0x1000);
		faults(world, 0x40005000, USER, RHZ_PF_P | RHZ_PF_U);
		faults(world, 0x40005000, WRITE, RHZ_PF_P | RHZ_PF_W);
		reaches(world, 0x40005000, READ, 0x1000);
		faults(world, 0x40005000, WRITE, RHZ_PF_P | RHZ_PF_W);
		reaches(world, 0x5000, USER | WRITE, 0x1000);
		world_end(world);
	}
}

/* [SDM3 4.8]: A at every level, D at the leaf by a write only, nothing by an access that faults. */
static void test_accessed_and_dirty(void **state)
{
	(void)state;
	EACH_MODE(i) {
		uint64_t root;
		struct world *world = begin(modes[i], 0, &root);
		unsigned top = modes[i] == RHZ_PAGING_PAE ? 2 : mode_levels(world);

		map(world, root, 0x5000, 0x1000, PWU);
		map(world, root, 0x6000, 0x2000, P);
		start(world, 0, root);
		faults(world, 0x6000, USER, RHZ_PF_P | RHZ_PF_U);
		for (unsigned level = 1; level <= top; level++)
			assert_int_equal(entry_get(world, root, 0x6000, level) & (A | D), 0);
		reaches(world, 0x5000, READ, 0x1000);
		for (unsigned level = 1; level <= top; level++)
			assert_int_equal(entry_get(world, root, 0x5000, level) & (A | D), A);
		assert_int_equal(entry_get(world, root, 0x6000, 1) & (A | D), 0);
		reaches(world, 0x5000, WRITE, 0x1000);
		for (unsigned level = 2; level <= top; level++)
			assert_int_equal(entry_get(world, root, 0x5000, level) & (A | D), A);
		assert_int_equal(entry_get(world, root, 0x5000, 1) & (A | D), A | D);
		if (modes[i] == RHZ_PAGING_PAE)
			assert_int_equal(entry_get(world, root, 0x5000, 3) & (A | D), 0);
		world_end(world);
	}
}

/* The guest clears A or D and flushes: the next access sets it again. */
static void test_ad_cleared(void **state)
{
	(void)state;
	EACH_MODE(i) {
		uint64_t root;
		struct world *world = begin(modes[i], 0, &root);

		map(world, root, 0x5000, 0x1000, PWU);
		map_window(world, root);
		start(world, 0, root);
		reaches(world, 0x5000, WRITE, 0x1000);
		entry_store(world, 0, root, 0x5000, 1, 0x1000 | PWU | A);
		invlpg(world, 0, 0x5000);
		reaches(world, 0x5000, READ, 0x1000);
		assert_int_equal(entry_get(world, root, 0x5000, 1) & (A | D), A);
		reaches(world, 0x5000, WRITE, 0x1000);
		assert_int_equal(entry_get(world, root, 0x5000, 1) & (A | D), A | D);
		entry_store(world, 0, root, 0x5000, 1, 0x1000 | PWU | D);
		invlpg(world, 0, 0x5000);
		reaches(world, 0x5000, READ, 0x1000);
		assert_int_equal(entry_get(world, root, 0x5000, 1) & (A | D), A | D);
		/* a directory's A bit */
		entry_store(world, 0, root, 0x5000, 2,
		            entry_get(world, root, 0x5000, 2) & ~(uint64_t)A);
		load_ok(world, 0, root);
		reaches(world, 0x5000, READ, 0x1000);
		assert_true(entry_get(world, root, 0x5000, 2) & A);
		world_end(world);
	}
}

/* Reserved bits of leaf and directory, and of NX without NXE. */
static void test_reserved(void **state)
{
	(void)state;
	for (unsigned i = 1; i < 4; i++) {
		uint64_t root;
		struct world *world = begin(modes[i], 0, &root);

		map(world, root, 0x5000, 0x1000, PWU | 1ull << 41);
		map(world, root, 0x6000, 0x1000, PWU | NX);
		map(world, root, 0x200000, 0x1000, PWU);
		map(world, root, 0x400000, 0x1000, PWU);
		entry_poke(world, root, 0x400000, 2,
		           entry_get(world, root, 0x400000, 2) | 1ull << 45);
		start(world, 0, root);
		faults(world, 0x5000, READ, RHZ_PF_P | RHZ_PF_RSVD);
		faults(world, 0x400000, WRITE, RHZ_PF_P | RHZ_PF_RSVD | RHZ_PF_W);
		reaches(world, 0x6000, READ, 0x1000);
		faults(world, 0x6000, FETCH, RHZ_PF_P | RHZ_PF_I);
		faults(world, 0x6000, FETCH | USER, RHZ_PF_P | RHZ_PF_I | RHZ_PF_U);
		reaches(world, 0x200000, FETCH, 0x1000);
		cr_change(world, 0, 0, 0, RHZ_EFER_NXE);
		faults(world, 0x6000, READ, RHZ_PF_P | RHZ_PF_RSVD);
		reaches(world, 0x200000, FETCH, 0x1000);
		cr_change(world, 0, 0, 0, RHZ_EFER_NXE);
		reaches(world, 0x6000, READ, 0x1000);
		world_end(world);
	}
}

static void test_smep_smap(void **state)
{
	(void)state;
	EACH_MODE(i) {
		uint64_t root;
		struct world *world = begin(modes[i], 0, &root);

		map(world, root, 0x5000, 0x1000, PWU);
		map(world, root, 0x6000, 0x2000, P | W);
		start(world, 0, root);
		reaches(world, 0x5000, FETCH, 0x1000);
		cr_change(world, 0, 0, RHZ_CR4_SMEP | RHZ_CR4_SMAP, 0);
		faults(world, 0x5000, FETCH, RHZ_PF_P | RHZ_PF_I);
		reaches(world, 0x5000, FETCH | USER, 0x1000);
		reaches(world, 0x6000, FETCH, 0x2000);
		faults(world, 0x5000, READ, RHZ_PF_P);
		faults(world, 0x5000, WRITE, RHZ_PF_P | RHZ_PF_W);
		reaches(world, 0x5000, WRITE | AC, 0x1000);
		faults(world, 0x5000, WRITE | AC | IMPLICIT, RHZ_PF_P | RHZ_PF_W);
		reaches(world, 0x5000, USER | WRITE, 0x1000);
		cr_change(world, 0, 0, RHZ_CR4_SMEP | RHZ_CR4_SMAP, 0);
		reaches(world, 0x5000, FETCH, 0x1000);
		reaches(world, 0x5000, WRITE, 0x1000);
		world_end(world);
	}
}

/*
 * [SDM3 4.6.1]: an implicit access faults by SMAP in spite of AC, and nothing tells it from others.
 * A fault that comes again at once can be nothing else, and is reflected; a stale TLB entry is not.
 */
static void test_untold_implicit_access(void **state)
{
	uint64_t root;
	struct world *world = begin(RHZ_PAGING_4LEVEL, 0, &root);
	struct seen seen;

	(void)state;
	map(world, root, 0x5000, 0x1000, PWU);
	start(world, 0, root);
	cr_change(world, 0, 0, RHZ_CR4_SMAP, 0);
	world->at[0].hides_implicit = true;
	reaches(world, 0x5000, WRITE | AC, 0x1000);
	faults(world, 0x5000, WRITE | AC | IMPLICIT, RHZ_PF_P | RHZ_PF_W);
	seen = touch(world, 0, 0x5000, AC | IMPLICIT);
	assert_int_equal(seen.how, FAULTED);
	assert_true(seen.faults <= 3);
	reaches(world, 0x5000, WRITE | AC, 0x1000);
	faults(world, 0x5000, IMPLICIT, RHZ_PF_P);
	world_end(world);
}

/*
 * A read and then a write that each find their leaf there, since only a table above it lacked: two
 * such faults at one address, with AC = 1 under SMAP, are no implicit access.
 */
static void test_mended_paths_are_no_implicit_access(void **state)
{
	uint64_t root;
	struct world *world = begin(RHZ_PAGING_4LEVEL, RHZ_NO_LARGE_PAGES, &root);

	(void)state;
	map_at(world, root, 0x400000, 0x200000, PWU | A | D, 2);
	map_at(world, root, 0x600000, 0x200000, PWU | A, 2);
	map_at(world, root, 0x800000, 0x200000, PWU | A, 2);
	start(world, 0, root);
	cr_change(world, 0, 0, RHZ_CR4_SMAP, 0);
	reaches(world, 0x405000, WRITE | AC, 0x205000);
	reaches(world, 0x605000, READ | AC, 0x205000);
	reaches(world, 0x805000, READ | AC, 0x205000);
	reaches(world, 0x805000, WRITE | AC, 0x205000);
	world_end(world);
}

/* Keys act by hardware through the leaf: also when CR4.PKE comes after the leaf was made. */
static void test_protection_keys(void **state)
{
	uint64_t root;
	struct world *world = begin(RHZ_PAGING_4LEVEL, 0, &root);

	(void)state;
	map(world, root, 0x5000, 0x1000, PWU | KEY(5));
	map_at(world, root, 0x400000, 0x200000, PWU | KEY(5), 2);
	map(world, root, 0x6000, 0x2000, P | W | KEY(3));
	start(world, 0, root);
	reaches(world, 0x5000, USER | WRITE, 0x1000);
	reaches(world, 0x400000, USER | WRITE, 0x200000);
	reaches(world, 0x6000, WRITE, 0x2000);
	rhz_vcpu_set_keys(world->vcpu[0], 1u << 11, 1u << 6);
	reaches(world, 0x5000, USER | WRITE, 0x1000);
	cr_change(world, 0, 0, RHZ_CR4_PKE, 0);
	rhz_vcpu_set_keys(world->vcpu[0], 1u << 11, 1u << 6);
	reaches(world, 0x5000, USER, 0x1000);
	faults(world, 0x5000, USER | WRITE, RHZ_PF_P | RHZ_PF_U | RHZ_PF_W | RHZ_PF_PK);
	faults(world, 0x400000, USER | WRITE, RHZ_PF_P | RHZ_PF_U | RHZ_PF_W | RHZ_PF_PK);
	faults(world, 0x5000, WRITE, RHZ_PF_P | RHZ_PF_W | RHZ_PF_PK);
	reaches(world, 0x6000, READ, 0x2000);
	cr_change(world, 0, 0, RHZ_CR4_PKS, 0);
	rhz_vcpu_set_keys(world->vcpu[0], 0, 1u << 6);
	faults(world, 0x6000, READ, RHZ_PF_P | RHZ_PF_PK);
	reaches(world, 0x5000, USER | WRITE, 0x1000);
	world_end(world);
}

/* [SDM3 4.6.2]: with CR0.WP = 0, WD does not stop a supervisor; the processor runs with WP = 1. */
static void test_keys_without_wp(void **state)
{
	uint64_t root;
	struct world *world = begin(RHZ_PAGING_4LEVEL, 0, &root);

	(void)state;
	map(world, root, 0x5000, 0x1000, PWU | KEY(5));
	map(world, root, 0x6000, 0x2000, P | W | KEY(3));
	map(world, root, 0x7000, 0x3000, P | U | KEY(3));
	start(world, 0, root);
	cr_change(world, 0, RHZ_CR0_WP, RHZ_CR4_PKE | RHZ_CR4_PKS, 0);
	rhz_vcpu_set_keys(world->vcpu[0], 1u << 11, 1u << 7);
	is_tracked(world, 0x5000, WRITE, 0x1000);
	is_tracked(world, 0x6000, WRITE, 0x2000);
	is_tracked(world, 0x7000, WRITE, 0x3000);
	faults(world, 0x5000, USER | WRITE, RHZ_PF_P | RHZ_PF_U | RHZ_PF_W | RHZ_PF_PK);
	rhz_vcpu_set_keys(world->vcpu[0], 0, 0);
	reaches(world, 0x6000, WRITE, 0x2000);
	world_end(world);
}

/* PKS alone, CR0.WP = 0: a user page must not come under PKRS by being made a supervisor page. */
static void test_pks_without_wp(void **state)
{
	uint64_t root;
	struct world *world = begin(RHZ_PAGING_4LEVEL, 0, &root);

	(void)state;
	map(world, root, 0x7000, 0x3000, P | U | KEY(3));
	start(world, 0, root);
	cr_change(world, 0, RHZ_CR0_WP, RHZ_CR4_PKS, 0);
	rhz_vcpu_set_keys(world->vcpu[0], 0, 1u << 6 | 1u << 7);
	is_tracked(world, 0x7000, WRITE, 0x3000);
	reaches(world, 0x7000, READ, 0x3000);
	reaches(world, 0x7000, USER, 0x3000);
	world_end(world);
}

/* CR0.WP = 0 [SDM3 4.6.1]: a supervisor writes what users may only read, and back. */
static void test_write_protect_off(void **state)
{
	(void)state;
	EACH_MODE(i) {
		uint64_t root;
		struct world *world = begin(modes[i], 0, &root);

		map(world, root, 0x5000, 0x1000, P | U);
		map(world, root, 0x6000, 0x2000, P);
		start(world, 0, root);
		faults(world, 0x5000, WRITE, RHZ_PF_P | RHZ_PF_W);
		cr_change(world, 0, RHZ_CR0_WP, 0, 0);
		reaches(world, 0x5000, USER, 0x1000);
		reaches(world, 0x5000, WRITE, 0x1000);
		assert_true(entry_get(world, root, 0x5000, 1) & D);
		reaches(world, 0x5000, READ, 0x1000);
		reaches(world, 0x5000, USER, 0x1000);
		faults(world, 0x5000, USER | WRITE, RHZ_PF_P | RHZ_PF_U | RHZ_PF_W);
		reaches(world, 0x5000, WRITE, 0x1000);
		reaches(world, 0x5000, FETCH, 0x1000);
		reaches(world, 0x6000, WRITE, 0x2000);
		faults(world, 0x6000, USER, RHZ_PF_P | RHZ_PF_U);
		/* and back: what was allowed is not any more */
		cr_change(world, 0, RHZ_CR0_WP, 0, 0);
		faults(world, 0x5000, WRITE, RHZ_PF_P | RHZ_PF_W);
		faults(world, 0x6000, WRITE, RHZ_PF_P | RHZ_PF_W);
		reaches(world, 0x5000, USER, 0x1000);
		world_end(world);
	}
}

/* With SMEP the promoted page must not execute; with SMAP nothing is promoted. */
static void test_write_protect_off_smep_smap(void **state)
{
	(void)state;
	EACH_MODE(i) {
		uint64_t root;
		struct world *world = begin(modes[i], 0, &root);

		map(world, root, 0x5000, 0x1000, P | U);
		start(world, 0, root);
		cr_change(world, 0, RHZ_CR0_WP, RHZ_CR4_SMEP, 0);
		reaches(world, 0x5000, WRITE, 0x1000);
		faults(world, 0x5000, FETCH, RHZ_PF_P | RHZ_PF_I);
		reaches(world, 0x5000, WRITE, 0x1000);
		reaches(world, 0x5000, USER | FETCH, 0x1000);
		cr_change(world, 0, 0, RHZ_CR4_SMAP, 0);
		faults(world, 0x5000, WRITE, RHZ_PF_P | RHZ_PF_W);
		is_tracked(world, 0x5000, WRITE | AC, 0x1000);
		reaches(world, 0x5000, USER, 0x1000);
		reaches(world, 0x5000, READ | AC, 0x1000);
		world_end(world);
	}
}

/* A hole is MMIO at every level; the second access to it needs no guest walk. */
static void test_mmio(void **state)
{
	(void)state;
	EACH_MODE(i) {
		uint64_t root, walks;
		struct world *world = begin(modes[i], 0, &root);

		map(world, root, 0x5000, HOLE, PWU);
		map_at(world, root, 0x800000, HOLE + 0x800000, PWU, 2);
		map(world, root, 0x6000, 0x1000, PWU);
		map(world, root, 0x7000, HOLE + 0x1000, P);
		start(world, 0, root);
		is_mmio(world, 0x5010, READ, HOLE + 0x10);
		assert_int_equal(STAT(world, pf_mmio_spte_created), 1);
		walks = STAT(world, pf_mmio_cached);
		is_mmio(world, 0x5020, USER, HOLE + 0x20);
		assert_int_equal(STAT(world, pf_mmio_cached), walks + 1);
		is_mmio(world, 0x5030, USER | WRITE, HOLE + 0x30);
		assert_true(entry_get(world, root, 0x5000, 1) & D);
		is_mmio(world, 0x812345, USER | WRITE, HOLE + 0x812345);
		/* the cached entry has rights too */
		is_mmio(world, 0x7000, READ, HOLE + 0x1000);
		is_mmio(world, 0x7000, READ, HOLE + 0x1000);
		faults(world, 0x7000, USER, RHZ_PF_P | RHZ_PF_U);
		faults(world, 0x7000, WRITE, RHZ_PF_P | RHZ_PF_W);
		cr_change(world, 0, 0, RHZ_CR4_SMAP, 0);
		faults(world, 0x5000, READ, RHZ_PF_P);
		is_mmio(world, 0x5000, USER, HOLE);
		cr_change(world, 0, 0, RHZ_CR4_SMAP, 0);
		reaches(world, 0x6000, READ, 0x1000);
		/* present to MMIO and back, with the invalidation that the guest owes */
		entry_poke(world, root, 0x6000, 1, HOLE | PWU);
		invlpg(world, 0, 0x6000);
		is_mmio(world, 0x6000, READ, HOLE);
		entry_poke(world, root, 0x6000, 1, 0x2000 | PWU);
		invlpg(world, 0, 0x6000);
		reaches(world, 0x6000, READ, 0x2000);
		world_end(world);
	}
}

/* #GP: a non-canonical address, also where a cached MMIO entry stands at the same indices. */
static void test_non_canonical(void **state)
{
	uint64_t root;
	struct world *world = begin(RHZ_PAGING_4LEVEL, 0, &root);

	(void)state;
	map(world, root, 0x5000, HOLE, PWU);
	start(world, 0, root);
	is_mmio(world, 0x5000, USER, HOLE);
	assert_int_equal(touch(world, 0, 0x0001000000005000, USER).how, WAS_GP);
	assert_int_equal(touch(world, 0, 0x8000000000000000, USER).how, WAS_GP);
	world_end(world);
}

/* Paging off: addresses are physical ones of 32 bits. */
static void test_paging_off(void **state)
{
	uint64_t root;
	struct world *world = begin(RHZ_PAGING_NONE, 0, &root);
	unsigned level;

	(void)state;
	reaches(world, 0x1234, WRITE, 0x1234);
	reaches(world, 0x200000, FETCH, 0x200000);
	leaf_of(world, 0, 0x200000, &level);
	assert_int_equal(level, 2);
	is_mmio(world, HOLE, WRITE, HOLE);
	assert_int_equal(world->at[0].entry.levels, 3);
	world_end(world);
}

/* Neighbours that the guest has used are filled at once, and none other. */
static void test_prefetch(void **state)
{
	(void)state;
	for (unsigned off = 0; off < 2; off++) {
		uint64_t root;
		struct world *world = begin(RHZ_PAGING_4LEVEL, off ? RHZ_NO_PREFETCH : 0, &root);

		for (unsigned i = 0; i < 8; i++)
			map(world, root, 0x8000 + i * 0x1000, 0x1000 + i * 0x1000,
			    PWU | (i & 1 ? A : 0) | (i & 2 ? D : 0));
		start(world, 0, root);
		reaches(world, 0x8000, READ, 0x1000);
		assert_int_equal(STAT(world, prefetched), off ? 0 : 4);
		for (unsigned i = 1; i < 8; i++) {
			uint64_t spte = leaf_of(world, 0, 0x8000 + i * 0x1000, NULL);

			assert_int_equal(spte & P, !off && i & 1);
			assert_int_equal(!!(spte & W), !off && (i & 3) == 3);
		}
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_mode),
		cmocka_unit_test(test_rights_over_levels),
		cmocka_unit_test(test_accessed_and_dirty),
		cmocka_unit_test(test_ad_cleared),
		cmocka_unit_test(test_reserved),
		cmocka_unit_test(test_smep_smap),
		cmocka_unit_test(test_untold_implicit_access),
		cmocka_unit_test(test_mended_paths_are_no_implicit_access),
		cmocka_unit_test(test_protection_keys),
		cmocka_unit_test(test_keys_without_wp),
		cmocka_unit_test(test_pks_without_wp),
		cmocka_unit_test(test_write_protect_off),
		cmocka_unit_test(test_write_protect_off_smep_smap),
		cmocka_unit_test(test_mmio),
		cmocka_unit_test(test_non_canonical),
		cmocka_unit_test(test_paging_off),
		cmocka_unit_test(test_prefetch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
