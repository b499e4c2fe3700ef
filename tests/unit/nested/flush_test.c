/* SPDX-License-Identifier: MIT */
/*
 * What L1 invalidates of its guests, and what L2 does by itself, reach which tags [APM2 15.16]
 * [SDM3 28.4.3]: each the ones it names, cached roots included, and no other.
 */
#include "fixture.h"

enum { DATA = 0x5000, NGPA = 0x1000, TABLES_OF_L1 = 3 };

/* A context as L1 names it: which of its nested tables, under which ASID. */
struct named { unsigned table, asid; };

static uint64_t nested[TABLES_OF_L1];
static struct rhz_regs l1;

static struct world *begin(struct setup setup)
{
	struct world *world;
	uint64_t root;

	setup.nested = RHZ_NPT_4LEVEL;
	setup.mode = RHZ_PAGING_4LEVEL;
	setup.amd = true;
	world = world_make(&setup);
	root = table_new(world);
	map_window(world, root);
	if (setup.kind == RHZ_SHADOW)
		start(world, 0, root);
	l1 = regs_of(RHZ_PAGING_4LEVEL, 0);
	for (unsigned i = 0; i < TABLES_OF_L1; i++) {
		nested[i] = table_new(world);
		map(world, nested[i], NGPA, DATA + 0x1000 * i, PWU | A | D);
	}
	return world;
}

static void go(struct world *world, struct named to, enum rhz_guest_flush flush)
{
	l1.cr3 = nested[to.table];
	nested_ok(world, 0, &l1, to.asid, flush);
}

/* The next entry flushes what the tag holds, or takes another tag. */
static bool flushed(struct world *world)
{
	uint32_t tag = world->at[0].entry.tag;

	world->at[0].running = false;
	assert_true(enter(world, 0));
	return world->at[0].entry.flush != RHZ_FLUSH_NONE || world->at[0].entry.tag != tag;
}

/* Goes there and back; true: what its tag held is gone. A second time it never is. */
static bool loses(struct world *world, struct named to)
{
	bool lost;

	go(world, to, RHZ_GUEST_KEEP);
	world->at[0].running = false;
	assert_true(enter(world, 0));
	lost = world->at[0].entry.flush != RHZ_FLUSH_NONE;
	reaches(world, NGPA, WRITE, DATA + 0x1000 * to.table);
	assert_false(flushed(world));
	exit_ok(world, 0);
	return lost;
}

/* Each has a tag and a clean one. */
static void settle(struct world *world, const struct named *of, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		loses(world, of[i]);
	for (unsigned i = 0; i < count; i++)
		assert_false(loses(world, of[i]));
}

static const struct named three[] = { { 0, 1 }, { 1, 2 }, { 0, 3 } };

/* What L1 asks for, and which of 'three' it concerns; L1's own: bit 3. */
enum ask { ASID_1, ASID_2, ASID_9, ALL_L2, TABLE_0, TABLE_1, CONTROL_ALL, CONTROL_2, OWN };
static const unsigned reach[] = { 1, 2, 0, 7, 5, 2, 15, 2, 8 };

static void ask(struct world *world, enum ask what)
{
	struct rhz_vcpu *vcpu = world->vcpu[0];

	world->at[0].running = false;
	switch (what) {
	case ASID_1: case ASID_2:
		rhz_vcpu_flush_asid(vcpu, 1 + (what == ASID_2));
		break;
	case ASID_9:
		rhz_vcpu_flush_asid(vcpu, 9);
		break;
	case ALL_L2:
		rhz_vcpu_flush_l2(vcpu);
		break;
	case TABLE_0: case TABLE_1:
		rhz_vcpu_flush_table(vcpu, nested[what == TABLE_1] | 0x18); /* with flags */
		break;
	case CONTROL_ALL: case CONTROL_2:
		go(world, three[1], what == CONTROL_ALL ? RHZ_GUEST_FLUSH_ALL :
		                                          RHZ_GUEST_FLUSH_ASID);
		exit_ok(world, 0);
		break;
	case OWN:
		rhz_vcpu_flush_guest(vcpu);
		break;
	}
	audit(world);
}

static void test_reach(void **state)
{
	static const enum rhz_paging_kind kinds[] = { RHZ_SHADOW, RHZ_NPT_4LEVEL };

	(void)state;
	for (unsigned i = 0; i < 2 * 9; i++) {
		struct world *world = begin((struct setup){ .kind = kinds[i % 2] });
		enum ask what = (enum ask)(i / 2);
		bool unseen = kinds[i % 2] != RHZ_SHADOW;

		settle(world, three, 3);
		flushed(world);
		assert_false(flushed(world));
		ask(world, what);
		/* under shadow paging L1's tag holds nothing that our tables do not */
		assert_int_equal(flushed(world), unseen && reach[what] >> 3);
		for (unsigned n = 0; n < 3; n++)
			assert_int_equal(loses(world, three[n]), reach[what] >> n & 1);
		assert_int_equal(STAT(world, nested_flush_unneeded), 0);
		world_end(world);
	}
}

/* While L2 runs (L1 did not ask: an exit of ours), the current tag is reached, its table synced. */
static void test_while_l2_runs(void **state)
{
	struct world *world = begin((struct setup){ 0 });

	(void)state;
	map(world, nested[0], 0x2000, entry_at(world, nested[0], NGPA, 1) & FRAME, PWU | A | D);
	for (unsigned n = 0; n < 3; n++) {
		uint64_t syncs;

		go(world, three[0], RHZ_GUEST_KEEP);
		reaches(world, NGPA, WRITE, DATA + 0x1000 * n);
		store(world, 0, 0x2000 + (NGPA >> 9), 8, (DATA + 0x1000 * (n + 1)) | PWU | A | D);
		reaches(world, NGPA, WRITE, DATA + 0x1000 * n);
		syncs = STAT(world, tables_synced);
		ask(world, n == 0 ? ASID_1 : n == 1 ? ALL_L2 : TABLE_0);
		assert_true(STAT(world, tables_synced) > syncs);
		reaches(world, NGPA, WRITE, DATA + 0x1000 * (n + 1));
		assert_int_equal(STAT(world, guest_flushes), n + 1);
		exit_ok(world, 0);
	}
	world_end(world);
}

/* L2 by its own tables, on L1's root. */
static void by_itself(struct world *world, uint32_t asid)
{
	struct rhz_regs l2 = regs_of(RHZ_PAGING_4LEVEL, nested[2]);

	switch_ok(world, 0, RHZ_CONTEXT_L2, &l2, asid, RHZ_GUEST_KEEP);
	world->at[0].running = false;
	assert_true(enter(world, 0));
	exit_ok(world, 0);
}

/* An ASID has one live tag: L2's own INVLPG reaches no other. */
static void test_one_live_tag(void **state)
{
	static const struct named two[] = { { 0, 1 }, { 1, 1 } };
	struct world *world = begin((struct setup){ .kind = RHZ_NPT_4LEVEL });

	(void)state;
	loses(world, two[0]);
	assert_false(loses(world, two[0]));
	loses(world, two[1]);
	assert_true(loses(world, two[0]));
	assert_false(loses(world, two[0]));
	assert_true(loses(world, two[1]));
	/* the same with L2 by its own tables, on L1's root */
	by_itself(world, 1);
	assert_true(loses(world, two[1]));
	switch_ok(world, 0, RHZ_CONTEXT_L2, NULL, 1, RHZ_GUEST_KEEP);
	assert_true(flushed(world));
	exit_ok(world, 0);
	/* another ASID's is none of its business */
	loses(world, (struct named){ 0, 2 });
	assert_true(loses(world, two[1]));
	assert_false(loses(world, (struct named){ 0, 2 }));
	world_end(world);
}

/*
 * A place in the cache that served one ASID serves another: it is not taken for that one's live
 * tag. (ASIDs may be alike to whoever remembers only some of them.)
 */
static void test_entry_of_another_asid(void **state)
{
	(void)state;
	for (unsigned apart = 8; apart <= 64; apart *= 2) {
		const struct named live = { 2, 1 + apart };
		struct world *world = begin((struct setup){ .kind = RHZ_NPT_4LEVEL,
			.given_roots = true, .policy = RHZ_ROOTS_CURRENT_FIRST,
			.cached_roots = 2 });

		loses(world, live);
		assert_false(loses(world, live));
		by_itself(world, 1);
		by_itself(world, 3);
		by_itself(world, 4);
		by_itself(world, live.asid); /* where ASID 1 was */
		assert_int_equal(STAT(world, root_evicted), 1);
		assert_true(loses(world, live));
		world_end(world);
	}
}

/* A root that was taken away and built anew at another place is its ASID's live tag there. */
static void test_live_tag_built_anew(void **state)
{
	static const struct named others[] = { { 1, 2 }, { 2, 3 }, { 0, 4 }, { 1, 5 } };
	struct world *world = begin((struct setup){ 0 });
	struct rhz_slot slot;

	(void)state;
	loses(world, (struct named){ 0, 1 });
	settle(world, others, 4);
	go(world, (struct named){ 0, 1 }, RHZ_GUEST_KEEP);
	assert_status(rhz_slot_get(world->vm, world->slot, &slot), RHZ_OK);
	assert_status(rhz_slot_delete(world->vm, world->slot), RHZ_OK);
	assert_status(rhz_slot_add(world->vm, &slot, &world->slot), RHZ_OK);
	reaches(world, NGPA, WRITE, DATA);
	exit_ok(world, 0);
	loses(world, (struct named){ 1, 1 });
	assert_true(loses(world, (struct named){ 0, 1 }));
	world_end(world);
}

/* Tables that two nested roots share are re-read at a return to the one that stayed current. */
static void test_shared_tables(void **state)
{
	struct world *world = begin((struct setup){ 0 });

	(void)state;
	guest_put(world, nested[1], 8, guest_get(world, nested[0], 8));
	for (unsigned i = 0; i < 2; i++) {
		go(world, (struct named){ i, 1 }, RHZ_GUEST_KEEP);
		reaches(world, NGPA, WRITE, DATA);
		exit_ok(world, 0);
	}
	for (unsigned n = 0; n < 6; n++) {
		/* by way of the current root, of the cached one, and of one that is not cached */
		const struct named to = { n < 2, n < 4 ? 1 : 20 + n };

		entry_store(world, 0, nested[0], NGPA, 1, (DATA + n * 0x1000) | PWU | A | D);
		assert_int_equal(VM_STAT(world, mmu_unsync), 1);
		go(world, to, RHZ_GUEST_KEEP);
		assert_int_equal(VM_STAT(world, mmu_unsync), 0);
		reaches(world, NGPA, WRITE, DATA + n * 0x1000);
		exit_ok(world, 0);
	}
	assert_int_equal(STAT(world, nested_entries), 8);
	assert_int_equal(STAT(world, nested_exits), 8);
	world_end(world);
}

/* L2 writes a table that two of L1's own roots share: the exit re-reads it. */
static void test_own_shared_tables(void **state)
{
	struct world *world = begin((struct setup){ 0 });
	uint64_t root = rhz_vcpu_regs(world->vcpu[0])->cr3, other = table_new(world), leaf;

	(void)state;
	map(world, root, 0x5000, 0x1000, PWU | A | D);
	guest_put(world, other, 8, guest_get(world, root, 8));
	leaf = entry_at(world, root, 0x5000, 1);
	map(world, nested[0], 0x2000, leaf & FRAME, PWU);
	for (unsigned n = 0; n < 3; n++) {
		load_ok(world, 0, n & 1 ? root : other);
		reaches(world, 0x5000, WRITE, 0x1000 + n * 0x1000);
		go(world, (struct named){ 0, 1 }, RHZ_GUEST_KEEP);
		store(world, 0, 0x2000 + (leaf & 0xfff), 8, (0x2000 + n * 0x1000) | PWU | A | D);
		assert_int_equal(VM_STAT(world, mmu_unsync), 1);
		exit_ok(world, 0);
		assert_int_equal(VM_STAT(world, mmu_unsync), 0);
		reaches(world, 0x5000, WRITE, 0x2000 + n * 0x1000);
	}
	world_end(world);
}

/* INVLPGA and INVVPID of one address: under the one tag that has it, or all that may go. */
static void test_invlpga(void **state)
{
	(void)state;
	for (unsigned by_tag = 0; by_tag < 2; by_tag++) {
		struct world *world = begin((struct setup){ .no_flush_by_tag = !by_tag });
		struct rhz_vcpu *vcpu = world->vcpu[0];
		const struct rhz_cpu *cpu = &world->cpu[0].cpu, *other = &world->cpu[1].cpu;
		uint32_t tags[3], tag;

		settle(world, three, 3);
		for (unsigned i = 0; i < 3; i++) {
			go(world, three[i], RHZ_GUEST_KEEP);
			assert_true(enter(world, 0));
			tags[i] = world->at[0].entry.tag;
			exit_ok(world, 0);
		}
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(rhz_vcpu_invlpga(vcpu, cpu, (rhz_gva){ NGPA },
			                                  three[i].asid, &tag), RHZ_FLUSH_ADDRESS);
			assert_int_equal(tag, tags[i]);
			assert_false(loses(world, three[i]));
		}
		assert_int_equal(STAT(world, flush_address), 3);
		assert_int_equal(STAT(world, invlpg), 3);
		/* an ASID that nobody has; one whose tag is on another processor */
		assert_int_equal(rhz_vcpu_invlpga(vcpu, cpu, (rhz_gva){ NGPA }, 9, &tag),
		                 RHZ_FLUSH_NONE);
		assert_int_equal(rhz_vcpu_invlpga(vcpu, other, (rhz_gva){ NGPA }, 2, &tag),
		                 RHZ_FLUSH_NONE);
		for (unsigned i = 0; i < 3; i++) {
			go(world, three[i], RHZ_GUEST_KEEP);
			assert_true(enter(world, 0));
			assert_int_equal(world->at[0].entry.flush == RHZ_FLUSH_TAG ||
			                 world->at[0].entry.tag != tags[i], three[i].asid == 2);
			exit_ok(world, 0);
		}
		assert_int_equal(STAT(world, flush_address), 3);
		world_end(world);
	}
}

/* Of an ASID's tags the live one is meant; one that will be flushed whole needs nothing. */
static void test_invlpga_live(void **state)
{
	struct world *world = begin((struct setup){ 0 });
	struct rhz_vcpu *vcpu = world->vcpu[0];
	const struct rhz_cpu *cpu = &world->cpu[0].cpu;
	uint32_t tag, live;

	(void)state;
	for (unsigned n = 0; n < 3; n++) {
		loses(world, (struct named){ n, 1 });
		go(world, (struct named){ n, 1 }, RHZ_GUEST_KEEP);
		assert_true(enter(world, 0));
		live = world->at[0].entry.tag;
		exit_ok(world, 0);
		assert_int_equal(rhz_vcpu_invlpga(vcpu, cpu, (rhz_gva){ NGPA }, 1, &tag),
		                 RHZ_FLUSH_ADDRESS);
		assert_int_equal(tag, live);
	}
	ask(world, CONTROL_ALL);
	assert_int_equal(rhz_vcpu_invlpga(vcpu, cpu, (rhz_gva){ NGPA }, 1, &tag), RHZ_FLUSH_NONE);
	assert_true(loses(world, (struct named){ 2, 1 }));
	ask(world, ASID_1);
	assert_int_equal(rhz_vcpu_invlpga(vcpu, cpu, (rhz_gva){ NGPA }, 1, &tag), RHZ_FLUSH_NONE);
	world_end(world);
}

/* INVLPGA of ASID 0 is L1's INVLPG. */
static void test_invlpga_own(void **state)
{
	static const enum rhz_paging_kind kinds[] = { RHZ_SHADOW, RHZ_NPT_4LEVEL };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct world *world = begin((struct setup){ .kind = kinds[i] });
		enum rhz_flush flush;
		uint32_t tag;

		loses(world, three[0]);
		world->at[0].running = false;
		assert_true(enter(world, 0));
		flush = rhz_vcpu_invlpga(world->vcpu[0], &world->cpu[0].cpu, (rhz_gva){ 0x1000 }, 0,
		                         &tag);
		assert_int_equal(flush, i ? RHZ_FLUSH_ADDRESS : RHZ_FLUSH_NONE);
		assert_int_equal(tag, i ? world->at[0].entry.tag : 0);
		world_end(world);
	}
}

/* A tag that the processor took back was flushed when it did; one that has no tags names none. */
static void test_invlpga_without_tag(void **state)
{
	(void)state;
	for (unsigned tags = 0; tags < 4; tags += 3) {
		struct world *world = begin((struct setup){ .given_tags = true, .tags = tags });
		uint32_t tag = 77;

		for (unsigned i = 0; i < 4; i++)
			loses(world, (struct named){ i % 3, 1 + i });
		/* the last has what it had with tags, and without */
		assert_int_equal(rhz_vcpu_invlpga(world->vcpu[0], &world->cpu[0].cpu,
		                                  (rhz_gva){ NGPA }, 1, &tag), RHZ_FLUSH_NONE);
		assert_int_equal(tag, 0);
		assert_int_equal(rhz_vcpu_invlpga(world->vcpu[0], &world->cpu[0].cpu,
		                                  (rhz_gva){ NGPA }, 4, &tag),
		                 tags ? RHZ_FLUSH_ADDRESS : RHZ_FLUSH_NONE);
		assert_int_equal(!!tag, !!tags);
		assert_int_equal(STAT(world, flush_address), !!tags);
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reach),
		cmocka_unit_test(test_while_l2_runs),
		cmocka_unit_test(test_one_live_tag),
		cmocka_unit_test(test_entry_of_another_asid),
		cmocka_unit_test(test_live_tag_built_anew),
		cmocka_unit_test(test_shared_tables),
		cmocka_unit_test(test_own_shared_tables),
		cmocka_unit_test(test_invlpga),
		cmocka_unit_test(test_invlpga_live),
		cmocka_unit_test(test_invlpga_own),
		cmocka_unit_test(test_invlpga_without_tag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
