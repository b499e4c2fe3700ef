/* SPDX-License-Identifier: MIT */
/*
 * Out-of-sync tables: a leaf table is written freely, and each event that makes the guest's changes
 * count has them seen. Until then the old translation may be used, and nothing else.
 */
#include "fixture.h"

static const enum rhz_paging modes[] = { RHZ_PAGING_32, RHZ_PAGING_PAE, RHZ_PAGING_4LEVEL,
	                                 RHZ_PAGING_5LEVEL };

#define EACH_MODE(i) for (unsigned i = 0; i < sizeof(modes) / sizeof(*modes); i++)

/* Two pages side by side, a window on the tables; both used, then the second entry rewritten. */
static struct world *begin(enum rhz_paging mode, uint32_t options, uint64_t *root)
{
	struct world *world = world_make(&(struct setup){ .mode = mode, .options = options,
		                                          .vcpus = 2 });

	*root = table_new(world);
	map(world, *root, 0x5000, 0x1000, PWU);
	map(world, *root, 0x6000, 0x2000, PWU);
	map_window(world, *root);
	start(world, 0, *root);
	reaches(world, 0x5000, USER | WRITE, 0x1000);
	reaches(world, 0x6000, USER | WRITE, 0x2000);
	return world;
}

static void rewrite(struct world *world, uint64_t root, uint64_t gpa)
{
	entry_store(world, 0, root, 0x6000, 1, gpa | PWU | A | D);
}

/* The first store goes through freely, as do all later ones. */
static void test_stores_are_free(void **state)
{
	(void)state;
	EACH_MODE(i) {
		uint64_t root, faults;
		struct world *world = begin(modes[i], 0, &root);

		rewrite(world, root, 0x3000);
		assert_int_equal(VM_STAT(world, mmu_unsync), 1);
		assert_int_equal(STAT(world, pf_emulate), 0);
		faults = STAT(world, pf_taken);
		rewrite(world, root, 0x4000);
		assert_int_equal(STAT(world, pf_taken), faults);
		/* the guest has not flushed: the old page may still be reached */
		reaches(world, 0x6000, USER, 0x2000);
		world_end(world);
	}
}

enum event { INVLPG_OF_IT, CR3, INVPCID_ADDRESS, INVPCID_SINGLE, INVPCID_GLOBAL, INVPCID_ALL,
	     FLUSH_GUEST, CR4_PGE, CR4_SMEP, EFER_NXE, CR0_WP, SPACE, EVENTS };

static void do_event(struct world *world, uint64_t root, enum event event)
{
	struct rhz_vcpu *vcpu = world->vcpu[0];
	enum rhz_flush flush;

	world->at[0].running = false;
	switch (event) {
	case INVLPG_OF_IT:
		invlpg(world, 0, 0x6000);
		break;
	case CR3:
		load_ok(world, 0, root);
		break;
	case INVPCID_ADDRESS:
	case INVPCID_SINGLE:
	case INVPCID_GLOBAL:
	case INVPCID_ALL:
		assert_int_equal(rhz_vcpu_invpcid(vcpu, event - INVPCID_ADDRESS, 0,
		                                  (rhz_gva){ 0x6000 }, &flush), RHZ_LOAD_OK);
		if (flush == RHZ_FLUSH_ADDRESS)
			tlb_drop(world, 0, 0x6000);
		break;
	case FLUSH_GUEST:
		rhz_vcpu_flush_guest(vcpu);
		break;
	case CR4_PGE:
		cr_change(world, 0, 0, RHZ_CR4_PGE, 0);
		break;
	case CR4_SMEP:
		cr_change(world, 0, 0, RHZ_CR4_SMEP, 0);
		break;
	case EFER_NXE:
		cr_change(world, 0, 0, 0, RHZ_EFER_NXE);
		break;
	case CR0_WP:
		cr_change(world, 0, RHZ_CR0_WP, 0, 0);
		break;
	case SPACE:
		/* nothing is in that one, and back */
		assert_int_equal(rhz_vcpu_set_address_space(vcpu, 1), RHZ_LOAD_OK);
		audit(world);
		assert_int_equal(rhz_vcpu_set_address_space(vcpu, 0), RHZ_LOAD_OK);
		break;
	case EVENTS:
		break;
	}
	audit(world);
}

/* Whatever the event, the new page is reached after it, by a TLB that was flushed as told. */
static void test_every_event(void **state)
{
	(void)state;
	for (enum event event = 0; event < EVENTS; event++) {
		EACH_MODE(i) {
			uint64_t root;
			struct world *world = begin(modes[i], 0, &root);

			rewrite(world, root, 0x3000);
			do_event(world, root, event);
			reaches(world, 0x6000, USER | WRITE, 0x3000);
			reaches(world, 0x5000, USER | WRITE, 0x1000);
			/* taken away, and read-only */
			entry_store(world, 0, root, 0x6000, 1, 0);
			do_event(world, root, event);
			faults(world, 0x6000, USER, RHZ_PF_U);
			entry_store(world, 0, root, 0x6000, 1, 0x4000 | P | U);
			reaches(world, 0x6000, USER, 0x4000);
			world_end(world);
		}
	}
}

/* From not present to present the guest need not flush [SDM3 4.10.2.3]. */
static void test_present_without_flush(void **state)
{
	(void)state;
	EACH_MODE(i) {
		uint64_t root;
		struct world *world = begin(modes[i], 0, &root);

		faults(world, 0x7000, READ, 0);
		entry_store(world, 0, root, 0x7000, 1, 0x7000 | PWU);
		reaches(world, 0x7000, USER | WRITE, 0x7000);
		/* more rights without a flush: a fault that would be spurious is none */
		entry_store(world, 0, root, 0x8000, 1, 0x3000 | P);
		reaches(world, 0x8000, READ, 0x3000);
		entry_store(world, 0, root, 0x8000, 1, 0x3000 | PWU);
		reaches(world, 0x8000, USER | WRITE, 0x3000);
		world_end(world);
	}
}

/* INVLPG re-reads one entry; the table stays listed, other entries stay as they are. */
static void test_invlpg_keeps_the_table_listed(void **state)
{
	uint64_t root;
	struct world *world = begin(RHZ_PAGING_4LEVEL, 0, &root);
	struct rhz_vcpu *vcpu = world->vcpu[0];

	(void)state;
	rewrite(world, root, 0x3000);
	world->at[0].running = false;
	assert_int_equal(rhz_vcpu_invlpg(vcpu, (rhz_gva){ 0x5000 }), RHZ_FLUSH_NONE);
	assert_int_equal(VM_STAT(world, mmu_unsync), 1);
	reaches(world, 0x6000, USER, 0x2000);
	world->at[0].running = false;
	assert_int_equal(rhz_vcpu_invlpg(vcpu, (rhz_gva){ 0x6000 }), RHZ_FLUSH_ADDRESS);
	assert_int_equal(VM_STAT(world, mmu_unsync), 1);
	load_ok(world, 0, root);
	assert_int_equal(VM_STAT(world, mmu_unsync), 0);
	world->at[0].running = false;
	assert_int_equal(rhz_vcpu_invlpg(vcpu, (rhz_gva){ 0x6000 }), RHZ_FLUSH_NONE);
	world_end(world);
}

/*
 * The flush of an address is for the tag of the last entry. A root loaded after that, but not
 * entered yet, must not count as flushed.
 */
static void test_invlpg_before_the_entry(void **state)
{
	uint64_t root, other;
	struct world *world = begin(RHZ_PAGING_4LEVEL, 0, &root);

	(void)state;
	start(world, 1, root);
	other = table_new(world);
	guest_put(world, other, 8, guest_get(world, root, 8));
	reaches_on(world, 1, 0x5000, USER, 0x1000);
	load_ok(world, 0, other);
	reaches(world, 0x6000, USER, 0x2000);
	load_ok(world, 0, root);
	reaches(world, 0x5000, USER, 0x1000);
	load_ok(world, 0, other);
	/* no entry since the load; another vCPU writes the table that both roots share */
	entry_store(world, 1, root, 0x6000, 1, 0x3000 | PWU | A | D);
	invlpg(world, 0, 0x6000);
	reaches(world, 0x6000, USER, 0x3000);
	world_end(world);
}

/* A tag that owed a flush before still owes it after the flush of one address. */
static void test_invlpg_pays_for_one_address(void **state)
{
	uint64_t root;
	struct world *world = begin(RHZ_PAGING_4LEVEL, 0, &root);

	(void)state;
	rewrite(world, root, 0x3000);
	reaches(world, 0x5000, USER, 0x1000);
	world->at[0].running = false;
	assert_status(rhz_ram_invalidate(world->vm, 0, 0x1000, 0x1000), RHZ_OK);
	invlpg(world, 0, 0x6000);
	assert_non_null(tlb_find(world, 0, 0x5000));
	assert_true(enter(world, 0));
	assert_null(tlb_find(world, 0, 0x5000));
	reaches(world, 0x6000, USER, 0x3000);
	world_end(world);
}

/* Own list and shared list: a switch pays for what concerns it. */
static void test_lists(void **state)
{
	for (unsigned off = 0; off < 2; off++) {
		uint64_t root, other, synced;
		struct world *world = begin(RHZ_PAGING_4LEVEL, off ? RHZ_NO_LISTS : 0, &root);

		(void)state;
		other = table_new(world);
		map(world, other, 0x9000, 0x4000, PWU);
		rewrite(world, root, 0x3000);
		synced = STAT(world, tables_synced);
		load_ok(world, 0, other);
		assert_int_equal(STAT(world, tables_synced) - synced, off);
		reaches(world, 0x9000, READ, 0x4000);
		load_ok(world, 0, root);
		assert_int_equal(STAT(world, tables_synced) - synced, 1);
		assert_int_equal(STAT(world, entries_synced), 1);
		reaches(world, 0x6000, READ, 0x3000);
		world_end(world);
	}
}

/* A table that two roots share is on the VM's list: a load of either root syncs it. */
static void test_shared_list(void **state)
{
	uint64_t root, other, synced;
	struct world *world = begin(RHZ_PAGING_4LEVEL, 0, &root);

	(void)state;
	other = table_new(world);
	guest_put(world, other, 8, guest_get(world, root, 8));
	load_ok(world, 0, other);
	reaches(world, 0x6000, READ, 0x2000);
	load_ok(world, 0, root);
	rewrite(world, root, 0x3000);
	synced = STAT(world, tables_synced);
	load_ok(world, 0, other);
	assert_int_equal(STAT(world, tables_synced) - synced, 1);
	reaches(world, 0x6000, READ, 0x3000);
	world_end(world);
}

/* Without out-of-sync tables each store to one comes to the embedder. */
static void test_no_unsync(void **state)
{
	(void)state;
	EACH_MODE(i) {
		uint64_t root;
		struct world *world = begin(modes[i], RHZ_NO_UNSYNC, &root);

		rewrite(world, root, 0x3000);
		assert_int_equal(VM_STAT(world, mmu_unsync), 0);
		assert_int_equal(STAT(world, pf_emulate), 1);
		reaches(world, 0x6000, USER, 0x3000);
		world_end(world);
	}
}

/* Another vCPU's stores count for this one after this one's own invalidation. */
static void test_two_vcpus(void **state)
{
	(void)state;
	EACH_MODE(i) {
		uint64_t root;
		struct world *world = begin(modes[i], 0, &root);

		start(world, 1, root);
		reaches_on(world, 1, 0x6000, USER | WRITE, 0x2000);
		rewrite(world, root, 0x3000);
		reaches_on(world, 1, 0x6000, USER, 0x2000);
		invlpg(world, 0, 0x6000);
		reaches(world, 0x6000, USER, 0x3000);
		invlpg(world, 1, 0x6000);
		reaches_on(world, 1, 0x6000, USER, 0x3000);
		rewrite(world, root, 0x4000);
		load_ok(world, 1, root);
		reaches_on(world, 1, 0x6000, USER, 0x4000);
		load_ok(world, 0, root);
		reaches(world, 0x6000, USER, 0x4000);
		world_end(world);
	}
}

/*
 * Every entry of a table in use, and every kind of change among them: all are seen by one sync.
 */
static void test_dense_table(void **state)
{
	static const uint64_t flips[] = { 0, P, W, U, A, D, PWT, PCD, PAT, G, NX, KEY(5), 0x1000,
		                          0x400000, 1ull << 41, 1ull << 38, W | D, A | D, KEY(1) };
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL });
	uint64_t root = table_new(world), base = 0x8000000000, was[512];
	struct rhz_walk walk;

	(void)state;
	for (unsigned i = 0; i < 512; i++)
		map(world, root, base + i * 0x1000, 0x400000 + i * 0x1000, PWU | A | D);
	map_window(world, root);
	start(world, 0, root);
	for (unsigned round = 0; round < 2 * sizeof(flips) / sizeof(*flips); round++) {
		for (unsigned i = 0; i < 512; i++) {
			was[i] = entry_get(world, root, base + i * 0x1000, 1);
			if (touch(world, 0, base + i * 0x1000, READ).how == REACHED && was[i] & W)
				touch(world, 0, base + i * 0x1000, WRITE);
		}
		/* the first store takes the table out of sync, the others are free */
		for (unsigned i = 0; i < 512; i += round < 19 ? 37 : 1)
			entry_store(world, 0, root, base + i * 0x1000, 1,
			            was[i] ^ flips[(i + round) % 19]);
		load_ok(world, 0, root);
		assert_true(enter(world, 0));
		for (unsigned i = 0; i < 512; i++) {
			uint64_t spte = leaf_of(world, 0, base + i * 0x1000, NULL);
			uint64_t gpte = entry_get(world, root, base + i * 0x1000, 1);
			uint64_t gpa = gpte & FRAME;

			if (!(spte & P))
				continue;
			assert_int_equal(gpte & (P | A | 1ull << 41), P | A);
			assert_int_equal(spte & FRAME, RAM_HPA + gpa);
			assert_int_equal((spte ^ gpte) & (U | NX | PWT | PCD | PAT | KEY(15)), 0);
			assert_true(!(spte & W) || (gpte & (W | D)) == (W | D));
			assert_int_equal(rhz_vcpu_translate(world->vcpu[0],
			                                    (rhz_gva){ base + i * 0x1000 },
			                                    READ, &walk), RHZ_WALK_OK);
		}
		audit(world);
	}
	world_end(world);
}

/* INVLPG and INVPCID with paging off, and what of INVPCID faults [SDM2 INVPCID]. */
/*
 * Our leaves have A clear after ageing. An entry whose A the guest has cleared too must not pass
 * for the same as ours, or the guest would never see A again.
 */
static void test_aged_table(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL });
	uint64_t root = table_new(world), base = 0x8000000000, young;

	(void)state;
	for (unsigned i = 0; i < 512; i++)
		map(world, root, base + i * 0x1000, 0x400000 + i * 0x1000, PWU | A | D);
	map_window(world, root);
	start(world, 0, root);
	for (unsigned i = 0; i < 512; i++)
		touch(world, 0, base + i * 0x1000, WRITE);
	entry_store(world, 0, root, base, 1, 0x400000 | PWU | A | D);
	assert_int_equal(VM_STAT(world, mmu_unsync), 1);
	assert_status(rhz_ram_age(world->vm, 0, 0, world->ram_bytes, &young), RHZ_OK);
	for (unsigned i = 5; i < 512; i += 37)
		entry_store(world, 0, root, base + i * 0x1000, 1,
		            (0x400000 + i * 0x1000) | PWU | D);
	load_ok(world, 0, root);
	assert_true(enter(world, 0));
	for (unsigned i = 0; i < 512; i++) {
		uint64_t spte = leaf_of(world, 0, base + i * 0x1000, NULL);

		assert_int_equal(spte & P, i % 37 == 5 ? 0 : P);
	}
	audit(world);
	world_end(world);
}

/* An MMIO entry is re-read too: where it leads, and the rights that it tells. */
static void test_mmio(void **state)
{
	(void)state;
	EACH_MODE(i) {
		uint64_t root;
		struct world *world = begin(modes[i], 0, &root);

		for (unsigned n = 0; n < 3; n++) {
			uint64_t there = HOLE + n * 0x1000;

			rewrite(world, root, there);
			load_ok(world, 0, root);
			is_mmio(world, 0x6010, USER, there + 0x10);
			is_mmio(world, 0x6020, USER | WRITE, there + 0x20);
			assert_true(STAT(world, pf_mmio_cached) > n);
		}
		entry_store(world, 0, root, 0x6000, 1, (HOLE + 0x2000) | P | U | A | D);
		load_ok(world, 0, root);
		faults(world, 0x6000, USER | WRITE, RHZ_PF_P | RHZ_PF_U | RHZ_PF_W);
		is_mmio(world, 0x6000, USER, HOLE + 0x2000);
		world_end(world);
	}
}

static void test_invpcid_checks(void **state)
{
	uint64_t root;
	struct world *world = begin(RHZ_PAGING_4LEVEL, 0, &root);
	struct rhz_vcpu *vcpu = world->vcpu[0], *off = world->vcpu[1];
	enum rhz_flush flush;

	(void)state;
	for (unsigned type = 0; type < 4; type++) {
		assert_int_equal(rhz_vcpu_invpcid(off, type, 0, (rhz_gva){ 0x6000 }, &flush),
		                 RHZ_LOAD_OK);
		assert_int_equal(rhz_vcpu_invpcid(vcpu, type, 0x1000, (rhz_gva){ 0x6000 }, &flush),
		                 RHZ_LOAD_GP);
	}
	assert_int_equal(rhz_vcpu_invlpg(off, (rhz_gva){ 0x6000 }), RHZ_FLUSH_NONE);
	assert_int_equal(rhz_vcpu_invpcid(vcpu, 4, 0, (rhz_gva){ 0 }, &flush), RHZ_LOAD_GP);
	assert_int_equal(rhz_vcpu_invpcid(vcpu, ~0ull, 0, (rhz_gva){ 0 }, &flush), RHZ_LOAD_GP);
	/* CR4.PCIDE = 0: no other PCID than 0 for types 0 and 1 */
	assert_int_equal(rhz_vcpu_invpcid(vcpu, 0, 1, (rhz_gva){ 0 }, &flush), RHZ_LOAD_GP);
	assert_int_equal(rhz_vcpu_invpcid(vcpu, 1, 1, (rhz_gva){ 0 }, &flush), RHZ_LOAD_GP);
	assert_int_equal(rhz_vcpu_invpcid(vcpu, 2, 1, (rhz_gva){ 0 }, &flush), RHZ_LOAD_OK);
	assert_int_equal(rhz_vcpu_invpcid(vcpu, 0, 0, (rhz_gva){ 1ull << 47 }, &flush),
	                 RHZ_LOAD_GP);
	assert_int_equal(rhz_vcpu_invpcid(vcpu, 0, 0, (rhz_gva){ ~0ull << 47 }, &flush),
	                 RHZ_LOAD_OK);
	cr_change(world, 0, 0, RHZ_CR4_PCIDE, 0);
	assert_int_equal(rhz_vcpu_invpcid(vcpu, 0, 5, (rhz_gva){ 0 }, &flush), RHZ_LOAD_OK);
	assert_int_equal(rhz_vcpu_invpcid(vcpu, 1, 4095, (rhz_gva){ 0 }, &flush), RHZ_LOAD_OK);
	audit(world);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stores_are_free),
		cmocka_unit_test(test_every_event),
		cmocka_unit_test(test_present_without_flush),
		cmocka_unit_test(test_invlpg_keeps_the_table_listed),
		cmocka_unit_test(test_invlpg_before_the_entry),
		cmocka_unit_test(test_invlpg_pays_for_one_address),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_shared_list),
		cmocka_unit_test(test_no_unsync),
		cmocka_unit_test(test_two_vcpus),
		cmocka_unit_test(test_dense_table),
		cmocka_unit_test(test_aged_table),
		cmocka_unit_test(test_mmio),
		cmocka_unit_test(test_invpcid_checks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
