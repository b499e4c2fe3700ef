/* SPDX-License-Identifier: MIT */
/* The dirty log, growing pages back, ageing, and the host's invalidation. */
#include "fixture.h"

enum { PAGES = RAM / 4096 };

static uint64_t log_bits[PAGES / 64], out[PAGES / 64];

static bool is_dirty(uint64_t gpa)
{
	return log_bits[gpa / 4096 / 64] >> (gpa / 4096 % 64) & 1;
}

static uint64_t harvest(struct world *world)
{
	uint64_t found;

	assert_status(rhz_slot_harvest(world->vm, world->slot, 0, PAGES, out, &found), RHZ_OK);
	audit(world);
	for (unsigned i = 0; i < PAGES / 64; i++)
		assert_int_equal(log_bits[i], 0);
	return found;
}

static struct world *begin(enum rhz_paging_kind kind, enum rhz_paging mode, uint64_t *root)
{
	struct world *world = world_make(&(struct setup){ .kind = kind, .mode = mode, .vcpus = 2 });

	memset(log_bits, 0, sizeof(log_bits));
	*root = table_new(world);
	map(world, *root, 0x5000, 0x1000, PWU);
	map(world, *root, 0x6000, 0x2000, PWU);
	map_at(world, *root, 0x80000000, 0x400000, PWU, 2);
	start(world, 0, *root);
	start(world, 1, *root);
	return world;
}

static void log_on(struct world *world)
{
	assert_status(rhz_slot_set_flags(world->vm, world->slot, RHZ_SLOT_DIRTY_LOG, log_bits),
	              RHZ_OK);
	audit(world);
}

/* Every write after a harvest is in the next: by what was mapped before, by TLB, by large page. */
static void test_no_write_is_lost(void **state)
{
	uint64_t root;
	struct world *world = begin(RHZ_SHADOW, RHZ_PAGING_4LEVEL, &root);

	(void)state;
	reaches(world, 0x5000, USER | WRITE, 0x1000);
	reaches_on(world, 1, 0x6000, USER | WRITE, 0x2000);
	reaches(world, 0x80012000, USER | WRITE, 0x412000);
	log_on(world);
	assert_false(world->at[0].running || world->at[1].running);
	assert_false(is_dirty(0x1000));
	reaches(world, 0x5000, USER | WRITE, 0x1000);
	reaches_on(world, 1, 0x6000, USER | WRITE, 0x2000);
	reaches(world, 0x80012000, USER | WRITE, 0x412000);
	assert_true(is_dirty(0x1000) && is_dirty(0x2000) && is_dirty(0x412000));
	assert_false(is_dirty(0x413000));
	assert_int_equal(harvest(world), 3);
	assert_false(world->at[1].running);
	assert_true(out[0] & 1 << 1 && out[0] & 1 << 2);
	reaches(world, 0x5000, USER, 0x1000);
	assert_false(is_dirty(0x1000));
	reaches(world, 0x5000, USER | WRITE, 0x1000);
	reaches_on(world, 1, 0x5000, USER | WRITE, 0x1000);
	assert_true(is_dirty(0x1000));
	assert_int_equal(harvest(world), 1);
	assert_int_equal(harvest(world), 0);
	world_end(world);
}

/* The same where the processor walks the guest's tables itself. */
static void test_no_write_is_lost_direct(void **state)
{
	static const enum rhz_paging_kind kinds[] = { RHZ_NPT_4LEVEL, RHZ_EPT_4LEVEL };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct world *world = world_make(&(struct setup){ .kind = kinds[i / 2], .vcpus = 2,
			                                          .ept_ad = i & 1 });

		memset(log_bits, 0, sizeof(log_bits));
		reaches(world, 0x1000, WRITE, 0x1000);
		log_on(world);
		reaches(world, 0x1000, WRITE, 0x1000);
		reaches_on(world, 1, 0x1000, READ, 0x1000);
		reaches_on(world, 1, 0x2000, READ, 0x2000);
		assert_true(is_dirty(0x1000) && !is_dirty(0x2000));
		for (unsigned n = 0; n < 3; n++) {
			assert_int_equal(harvest(world), n ? 2 : 1);
			assert_false(world->at[0].running || world->at[1].running);
			reaches(world, 0x1000, READ, 0x1000);
			reaches(world, 0x1000, WRITE, 0x1000);
			reaches_on(world, 1, 0x2000, WRITE, 0x2000);
			assert_true(is_dirty(0x1000) && is_dirty(0x2000));
		}
		world_end(world);
	}
}

/* The library's own stores (A, D) and the embedder's are writes too. */
static void test_own_writes_are_logged(void **state)
{
	uint64_t root, at;
	struct world *world = begin(RHZ_SHADOW, RHZ_PAGING_4LEVEL, &root);

	(void)state;
	log_on(world);
	at = entry_at(world, root, 0x5000, 1);
	reaches(world, 0x5000, USER, 0x1000);
	assert_true(is_dirty(at));
	assert_false(is_dirty(0x1000));
	harvest(world);
	reaches(world, 0x5000, USER | WRITE, 0x1000);
	assert_true(is_dirty(at));
	harvest(world);
	rhz_vm_wrote(world->vm, 0, (rhz_gpa){ 0x3ffe }, 4);
	assert_true(is_dirty(0x3000) && is_dirty(0x4000));
	assert_int_equal(harvest(world), 2);
	assert_true(VM_STAT(world, dirty_pages_logged) >= 4);
	world_end(world);
}

/* An embedder of one processor gives no lock; its writes are as much seen to. */
static void test_writes_without_lock(void **state)
{
	static uint64_t alias_bits[1];
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
		                                          .no_lock = true });
	struct rhz_slot alias = { .gpa = { 1ull << 32 }, .bytes = 64 * 4096,
		                  .ram = world->ram_id, .flags = RHZ_SLOT_DIRTY_LOG,
		                  .dirty = alias_bits };
	uint64_t root = table_new(world), top;
	uint32_t id;

	(void)state;
	memset(log_bits, 0, sizeof(log_bits));
	map(world, root, 0, 0x1000, PWU);
	top = guest_get(world, root, 8);
	start(world, 0, root);
	reaches(world, 0, USER, 0x1000);
	/* the root's first entry, by a write of it alone and by one that begins a page before */
	for (unsigned before = 0; before <= 8; before += 8) {
		guest_put(world, root, 8, 0);
		rhz_vm_wrote(world->vm, 0, (rhz_gpa){ root - before }, 8 + before);
		load_ok(world, 0, root);
		faults(world, 0, USER, U);
		guest_poke(world, root, 8, top);
		reaches(world, 0, USER, 0x1000);
	}
	assert_status(rhz_slot_add(world->vm, &alias, &id), RHZ_OK);
	rhz_vm_wrote(world->vm, 0, (rhz_gpa){ 0x4000 }, 1); /* the slot found last */
	rhz_vm_wrote(world->vm, 0, (rhz_gpa){ alias.gpa.v + 0x5000 }, 1);
	assert_int_equal(alias_bits[0], 1 << 5);
	log_on(world);
	rhz_vm_wrote(world->vm, 0, (rhz_gpa){ 0x4000 }, 1);
	assert_true(is_dirty(0x4000) && !is_dirty(0x5000));
	world_end(world);
}

static void test_harvest_statuses(void **state)
{
	uint64_t root, found = 9;
	struct world *world = begin(RHZ_SHADOW, RHZ_PAGING_4LEVEL, &root);

	(void)state;
	assert_status(rhz_slot_harvest(world->vm, world->slot, 0, PAGES, out, &found),
	              RHZ_ERR_ARGUMENT);
	log_on(world);
	assert_status(rhz_slot_harvest(world->vm, 99, 0, PAGES, out, &found), RHZ_ERR_NOT_FOUND);
	assert_status(rhz_slot_harvest(world->vm, world->slot, 1, 64, out, &found),
	              RHZ_ERR_ARGUMENT);
	assert_status(rhz_slot_harvest(world->vm, world->slot, 64, PAGES, out, &found),
	              RHZ_ERR_RANGE);
	assert_status(rhz_slot_harvest(world->vm, world->slot, PAGES + 64, 0, out, &found),
	              RHZ_ERR_RANGE);
	assert_status(rhz_slot_harvest(world->vm, world->slot, 0, PAGES, NULL, &found),
	              RHZ_ERR_ARGUMENT);
	/* a part: bit 0 of out is page 'first', what lies beyond 'pages' stays */
	rhz_vm_wrote(world->vm, 0, (rhz_gpa){ 65 * 4096 }, 1);
	rhz_vm_wrote(world->vm, 0, (rhz_gpa){ 70 * 4096 }, 1);
	assert_status(rhz_slot_harvest(world->vm, world->slot, 64, 6, out, &found), RHZ_OK);
	assert_int_equal(found, 1);
	assert_int_equal(out[0], 2);
	assert_true(is_dirty(70 * 4096));
	world_end(world);
}

/* With a log pages are small; without it they grow back. */
static void test_collapse(void **state)
{
	static const enum rhz_paging_kind kinds[] = { RHZ_SHADOW, RHZ_NPT_4LEVEL, RHZ_EPT_4LEVEL };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		uint64_t root, addr = kinds[i] == RHZ_SHADOW ? 0x80012000 : 0x412000;
		struct world *world = begin(kinds[i], RHZ_PAGING_4LEVEL, &root);
		unsigned level;

		reaches(world, addr, WRITE, 0x412000);
		leaf_of(world, 0, addr, &level);
		assert_int_equal(level, 2);
		log_on(world);
		reaches(world, addr, WRITE, 0x412000);
		leaf_of(world, 0, addr, &level);
		assert_int_equal(level, 1);
		assert_status(rhz_slot_set_flags(world->vm, world->slot, 0, NULL), RHZ_OK);
		audit(world);
		reaches(world, addr, WRITE, 0x412000);
		leaf_of(world, 0, addr, &level);
		assert_int_equal(level, 2);
		world_end(world);
	}
}

/* After rhz_ram_invalidate nothing maps the run, and no TLB does: large leaves included. */
static void test_host_invalidates(void **state)
{
	static const enum rhz_paging_kind kinds[] = { RHZ_SHADOW, RHZ_NPT_5LEVEL, RHZ_EPT_5LEVEL };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		bool shadow = kinds[i] == RHZ_SHADOW;
		uint64_t root, small = shadow ? 0x5000 : 0x1000;
		uint64_t big = shadow ? 0x80012000 : 0x412000;
		struct world *world = begin(kinds[i], RHZ_PAGING_4LEVEL, &root);
		struct rhz_vm *vm = world->vm;

		reaches(world, small, WRITE, 0x1000);
		reaches_on(world, 1, big, WRITE, 0x412000);
		assert_status(rhz_ram_invalidate(vm, world->ram_id, 0x1000, 0x1000), RHZ_OK);
		audit(world);
		assert_false(world->at[0].running);
		assert_true(enter(world, 0));
		assert_null(tlb_find(world, 0, small));
		assert_int_equal(leaf_of(world, 0, small, NULL) & 1, 0);
		assert_true(enter(world, 1));
		assert_status(rhz_ram_invalidate(vm, world->ram_id, 0x5ff000, 0x1000), RHZ_OK);
		audit(world);
		assert_false(world->at[1].running);
		assert_true(enter(world, 1));
		assert_null(tlb_find(world, 1, big));
		assert_int_equal(leaf_of(world, 1, big, NULL) & 1, 0);
		reaches_on(world, 1, big, WRITE, 0x412000);
		assert_status(rhz_ram_invalidate(vm, 7, 0, 0x1000), RHZ_ERR_NOT_FOUND);
		assert_status(rhz_ram_invalidate(vm, 0, 1, 0x1000), RHZ_ERR_ALIGNMENT);
		assert_status(rhz_ram_invalidate(vm, 0, RAM, 0x1000), RHZ_ERR_RANGE);
		assert_status(rhz_ram_invalidate(vm, 0, 0x1000, RAM), RHZ_ERR_RANGE);
		world_end(world);
	}
}

/* Ageing counts what was used since; a prefetched neighbour is not young. */
static void test_age(void **state)
{
	uint64_t root, young;
	struct world *world = begin(RHZ_SHADOW, RHZ_PAGING_4LEVEL, &root);
	struct rhz_vm *vm = world->vm;

	(void)state;
	guest_put(world, entry_at(world, root, 0x6000, 1), 8, 0x2000 | PWU | A);
	reaches(world, 0x5000, USER, 0x1000);
	reaches(world, 0x80012000, USER, 0x412000);
	assert_status(rhz_ram_age(vm, 0, 0, RAM, &young), RHZ_OK);
	assert_int_equal(young, 2);
	assert_status(rhz_ram_age(vm, 0, 0, RAM, &young), RHZ_OK);
	assert_int_equal(young, 0);
	/* the TLB still has it: late is allowed; after a flush it is seen */
	load_ok(world, 0, table_new(world));
	load_ok(world, 0, root);
	memset(world->cpu[0].tlb, 0, sizeof(world->cpu[0].tlb));
	reaches(world, 0x6000, USER, 0x2000);
	assert_status(rhz_ram_age(vm, 0, 0x2000, 0x1000, &young), RHZ_OK);
	assert_int_equal(young, 1);
	assert_status(rhz_ram_age(vm, 0, 0x1000, RAM, &young), RHZ_ERR_RANGE);
	assert_status(rhz_ram_age(vm, 3, 0, RAM, &young), RHZ_ERR_NOT_FOUND);
	assert_status(rhz_ram_age(vm, 0, 0x10, 0x1000, &young), RHZ_ERR_ALIGNMENT);
	world_end(world);
}

/* EPT with and without A/D bits. */
static void test_age_ept(void **state)
{
	(void)state;
	for (unsigned ad = 0; ad < 2; ad++) {
		struct world *world = world_make(&(struct setup){ .kind = RHZ_EPT_4LEVEL,
			                                          .ept_ad = ad, .vcpus = 2 });
		uint64_t young;

		reaches(world, 0x1000, WRITE, 0x1000);
		reaches_on(world, 1, 0x1000, WRITE, 0x1000);
		assert_status(rhz_ram_age(world->vm, 0, 0x1000, 0x1000, &young), RHZ_OK);
		audit(world);
		assert_int_equal(young, 1);
		assert_status(rhz_ram_age(world->vm, 0, 0x1000, 0x1000, &young), RHZ_OK);
		assert_int_equal(young, 0);
		/* what ageing dropped without a flush, an invalidation has to flush */
		world->kicks = 0;
		assert_status(rhz_ram_invalidate(world->vm, 0, 0, RAM), RHZ_OK);
		assert_true(enter(world, 0) && enter(world, 1));
		assert_null(tlb_find(world, 0, 0x1000));
		assert_null(tlb_find(world, 1, 0x1000));
		assert_true(world->kicks);
		reaches(world, 0x1000, WRITE, 0x1000);
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_write_is_lost),
		cmocka_unit_test(test_no_write_is_lost_direct),
		cmocka_unit_test(test_own_writes_are_logged),
		cmocka_unit_test(test_writes_without_lock),
		cmocka_unit_test(test_harvest_statuses),
		cmocka_unit_test(test_collapse),
		cmocka_unit_test(test_host_invalidates),
		cmocka_unit_test(test_age),
		cmocka_unit_test(test_age_ept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
