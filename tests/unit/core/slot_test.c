/* SPDX-License-Identifier: MIT */
/* RAM and slots: every status by its name, and what adding, deleting, moving does to mappings. */
#include "fixture.h"

#define MIB 0x100000ull

static enum rhz_status ram_add(struct world *world, uint64_t hpa, uint64_t bytes, unsigned *id)
{
	static uint8_t memory[1 << 16], at[1 << 16] __attribute__((aligned(4096)));

	return rhz_vm_add_ram(world->vm, memory, sizeof(memory), (rhz_hpa){ hpa }, at, bytes, id);
}

static void test_ram_statuses(void **state)
{
	struct world *world = world_make(&(struct setup){ .bare = true });
	uint64_t limit = 1ull << 46;
	static uint8_t memory[4096];
	unsigned id;

	(void)state;
	assert_status(ram_add(world, RAM2_HPA + 1, 0x1000, &id), RHZ_ERR_ALIGNMENT);
	assert_status(ram_add(world, RAM2_HPA, 0x1001, &id), RHZ_ERR_ALIGNMENT);
	assert_status(rhz_vm_add_ram(world->vm, memory, 4096, (rhz_hpa){ RAM2_HPA },
	                             (void *)(uintptr_t)0x1001, 0x1000, &id), RHZ_ERR_ALIGNMENT);
	assert_status(ram_add(world, RAM2_HPA, 0, &id), RHZ_ERR_RANGE);
	assert_status(ram_add(world, limit, 0x1000, &id), RHZ_ERR_RANGE);
	assert_status(ram_add(world, limit - 0x1000, 0x2000, &id), RHZ_ERR_RANGE);
	assert_status(ram_add(world, 0ull - 0x1000, 0x1000, &id), RHZ_ERR_RANGE);
	assert_status(ram_add(world, RAM_HPA + RAM - 0x1000, 0x2000, &id), RHZ_ERR_OVERLAP);
	assert_status(ram_add(world, RAM_HPA - 0x1000, 0x2000, &id), RHZ_ERR_OVERLAP);
	assert_status(ram_add(world, RAM2_HPA, 0x10000000, &id), RHZ_ERR_MEMORY_SIZE);
	assert_status(rhz_vm_add_ram(world->vm, NULL, 4096, (rhz_hpa){ RAM2_HPA }, memory, 0x1000,
	                             &id), RHZ_ERR_ARGUMENT);
	assert_status(ram_add(world, 0, (1ull << 44) - 0x1000, &id), RHZ_ERR_TOO_MANY_FRAMES);
	for (unsigned i = 1; i < RHZ_MAX_RAMS; i++) {
		assert_status(ram_add(world, RAM2_HPA + i * MIB, 0x10000, &id), RHZ_OK);
		assert_int_equal(id, i);
	}
	assert_status(ram_add(world, RAM2_HPA + 99 * MIB, 0x10000, &id), RHZ_ERR_TOO_MANY_RAMS);
	assert_int_equal(rhz_ram_size(0), 0);
	assert_int_equal(rhz_ram_size(0x1800), 0);
	assert_true(rhz_ram_size(1ull << 30) < (1ull << 18) * 4 + 4096);
	world_end(world);
}

static enum rhz_status slot_at(struct world *world, uint64_t gpa, uint64_t bytes, uint64_t offset,
                               unsigned *id)
{
	struct rhz_slot slot = { .gpa = { gpa }, .bytes = bytes, .offset = offset };

	return rhz_slot_add(world->vm, &slot, id);
}

static void test_slot_statuses(void **state)
{
	struct world *world = world_make(&(struct setup){ .bare = true });
	struct rhz_slot slot = { .gpa = { 0 }, .bytes = 0x1000 }, read;
	uint64_t limit = 1ull << 40, bits[1];
	unsigned id, other;

	(void)state;
	assert_status(slot_at(world, 1, 0x1000, 0, &id), RHZ_ERR_ALIGNMENT);
	assert_status(slot_at(world, 0, 0x800, 0, &id), RHZ_ERR_ALIGNMENT);
	assert_status(slot_at(world, 0, 0x1000, 0x10, &id), RHZ_ERR_ALIGNMENT);
	assert_status(slot_at(world, 0, 0, 0, &id), RHZ_ERR_RANGE);
	assert_status(slot_at(world, limit, 0x1000, 0, &id), RHZ_ERR_RANGE);
	assert_status(slot_at(world, 0ull - 0x1000, 0x2000, 0, &id), RHZ_ERR_RANGE);
	assert_status(slot_at(world, 0, RAM + 0x1000, 0, &id), RHZ_ERR_RANGE);
	assert_status(slot_at(world, 0, 0x2000, RAM - 0x1000, &id), RHZ_ERR_RANGE);
	assert_status(slot_at(world, 0, 0x1000, 0ull - 0x1000, &id), RHZ_ERR_RANGE);
	slot.ram = 1;
	assert_status(rhz_slot_add(world->vm, &slot, &id), RHZ_ERR_NOT_FOUND);
	slot.ram = 0;
	slot.address_space = RHZ_MAX_ADDRESS_SPACES;
	assert_status(rhz_slot_add(world->vm, &slot, &id), RHZ_ERR_ADDRESS_SPACE);
	slot.address_space = 0;
	slot.flags = RHZ_SLOT_DIRTY_LOG;
	assert_status(rhz_slot_add(world->vm, &slot, &id), RHZ_ERR_ARGUMENT);
	assert_status(slot_at(world, limit - 0x1000, 0x1000, 0, &id), RHZ_OK);
	assert_status(slot_at(world, 0x10000, 0x3000, 0, &id), RHZ_OK);
	assert_status(slot_at(world, 0xf000, 0x2000, 0, &other), RHZ_ERR_OVERLAP);
	assert_status(slot_at(world, 0x12000, 0x1000, 0, &other), RHZ_ERR_OVERLAP);
	assert_status(slot_at(world, 0x13000, 0x1000, 0x5000, &other), RHZ_OK);
	assert_status(rhz_slot_move(world->vm, other, (rhz_gpa){ 0x12000 }), RHZ_ERR_OVERLAP);
	assert_status(rhz_slot_move(world->vm, other, (rhz_gpa){ 0x12800 }), RHZ_ERR_ALIGNMENT);
	assert_status(rhz_slot_move(world->vm, other, (rhz_gpa){ limit }), RHZ_ERR_RANGE);
	assert_status(rhz_slot_move(world->vm, 77, (rhz_gpa){ 0 }), RHZ_ERR_NOT_FOUND);
	assert_status(rhz_slot_get(world->vm, other, &read), RHZ_OK);
	assert_int_equal(read.gpa.v, 0x13000);
	assert_int_equal(read.bytes, 0x1000);
	assert_int_equal(read.offset, 0x5000);
	assert_status(rhz_slot_set_flags(world->vm, 77, 0, NULL), RHZ_ERR_NOT_FOUND);
	assert_status(rhz_slot_set_flags(world->vm, id, RHZ_SLOT_DIRTY_LOG, NULL),
	              RHZ_ERR_ARGUMENT);
	assert_status(rhz_slot_set_flags(world->vm, id, 8, bits), RHZ_ERR_ARGUMENT);
	assert_status(rhz_slot_delete(world->vm, id), RHZ_OK);
	assert_status(rhz_slot_delete(world->vm, id), RHZ_ERR_NOT_FOUND);
	assert_status(rhz_slot_get(world->vm, id, &read), RHZ_ERR_NOT_FOUND);
	assert_status(rhz_slot_delete(world->vm, ~0u), RHZ_ERR_NOT_FOUND);
	assert_status(rhz_slot_collapse(world->vm, id), RHZ_ERR_NOT_FOUND);
	world_end(world);
}

static void test_all_slots(void **state)
{
	struct world *world = world_make(&(struct setup){ .bare = true });
	uint64_t bytes;
	unsigned id;

	(void)state;
	/* from above, from below: the order of adding does not matter */
	for (unsigned i = 0; i < RHZ_MAX_SLOTS; i++) {
		uint64_t at = i & 1 ? i : RHZ_MAX_SLOTS + 1000 - i;

		assert_status(slot_at(world, at * 0x2000, 0x1000, i * 0x1000, &id), RHZ_OK);
	}
	assert_status(slot_at(world, 0x10000000, 0x1000, 0, &id), RHZ_ERR_TOO_MANY_SLOTS);
	for (unsigned i = 0; i < RHZ_MAX_SLOTS; i++) {
		uint64_t at = i & 1 ? i : RHZ_MAX_SLOTS + 1000 - i;

		assert_ptr_equal(rhz_vm_at(world->vm, 0, (rhz_gpa){ at * 0x2000 + 8 }, &bytes),
		                 world->ram + i * 0x1000 + 8);
		assert_int_equal(bytes, 0xff8);
		assert_null(rhz_vm_at(world->vm, 0, (rhz_gpa){ at * 0x2000 + 0x1000 }, &bytes));
	}
	assert_null(rhz_vm_at(world->vm, 1, (rhz_gpa){ 0x2000 }, &bytes));
	assert_null(rhz_vm_at(world->vm, RHZ_MAX_ADDRESS_SPACES, (rhz_gpa){ 0x2000 }, &bytes));
	world_end(world);
}

/* Deleting a slot: nothing maps its frames any more, no TLB either; its tables are given up. */
static void test_delete(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL, .vcpus = 2,
		                                          .bare = true });
	uint64_t root = table_new(world);
	unsigned low, high;

	(void)state;
	world_vcpu_add(world, 0);
	world_vcpu_add(world, 1);
	assert_status(slot_at(world, 0, 0x400000, 0, &low), RHZ_OK);
	assert_status(slot_at(world, 0x400000, 0x200000, 0x400000, &high), RHZ_OK);
	map(world, root, 0x5000, 0x400000, PWU);
	map(world, root, 0x6000, 0x1000, PWU);
	start(world, 0, root);
	start(world, 1, root);
	reaches(world, 0x5000, WRITE, 0x400000);
	reaches_on(world, 1, 0x5000, WRITE, 0x400000);
	world->at[0].running = false;
	assert_status(rhz_slot_delete(world->vm, high), RHZ_OK);
	audit(world);
	assert_false(world->at[1].running);
	is_mmio(world, 0x5000, WRITE, 0x400000);
	is_mmio(world, 0x5000, WRITE, 0x400000);
	reaches(world, 0x6000, WRITE, 0x1000);
	/* the slot of the tables: the guest's root is read as empty */
	assert_status(rhz_slot_delete(world->vm, low), RHZ_OK);
	audit(world);
	faults(world, 0x6000, READ, 0);
	assert_status(slot_at(world, 0, 0x400000, 0, &low), RHZ_OK);
	audit(world);
	world->at[0].running = false;
	reaches(world, 0x6000, WRITE, 0x1000);
	/* and at another place: MMIO entries of the range die */
	assert_status(slot_at(world, 0x400000, 0x200000, 0x500000, &high), RHZ_OK);
	reaches(world, 0x5000, WRITE, 0x500000);
	assert_status(rhz_slot_delete(world->vm, high), RHZ_OK);
	world->at[0].running = false;
	is_mmio(world, 0x5000, USER | WRITE, 0x400000);
	is_mmio(world, 0x5000, USER | WRITE, 0x400000);
	assert_status(slot_at(world, 0x400000, 0x1000, 0x600000, &high), RHZ_OK);
	audit(world);
	reaches(world, 0x5000, USER | WRITE, 0x600000);
	world_end(world);
}

static void test_move(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_PAE, .bare = true });
	uint64_t root = table_new(world);
	unsigned low, high;

	(void)state;
	world_vcpu_add(world, 0);
	assert_status(slot_at(world, 0, 0x400000, 0, &low), RHZ_OK);
	assert_status(slot_at(world, 0x400000, 0x200000, 0x400000, &high), RHZ_OK);
	map(world, root, 0x5000, 0x401000, PWU);
	map(world, root, 0x6000, 0x801000, PWU);
	start(world, 0, root);
	reaches(world, 0x5000, WRITE, 0x401000);
	is_mmio(world, 0x6000, WRITE, 0x801000);
	world->at[0].running = false;
	assert_status(rhz_slot_move(world->vm, high, (rhz_gpa){ 0x800000 }), RHZ_OK);
	audit(world);
	is_mmio(world, 0x5000, WRITE, 0x401000);
	reaches(world, 0x6000, WRITE, 0x401000);
	/* onto itself, shifted: no overlap with its own old place */
	assert_status(rhz_slot_move(world->vm, high, (rhz_gpa){ 0x801000 }), RHZ_OK);
	world->at[0].running = false;
	reaches(world, 0x6000, WRITE, 0x400000);
	assert_status(rhz_slot_move(world->vm, high, (rhz_gpa){ 0x3ff000 }), RHZ_ERR_OVERLAP);
	reaches(world, 0x6000, WRITE, 0x400000);
	world_end(world);
}

/* Writes to a read-only slot go to the embedder; its frames lose W in every mapping. */
static void test_read_only(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_32, .bare = true });
	uint64_t root = table_new(world);
	unsigned low, high;
	struct seen seen;

	(void)state;
	world_vcpu_add(world, 0);
	assert_status(slot_at(world, 0, 0x400000, 0, &low), RHZ_OK);
	assert_status(slot_at(world, 0x400000, 0x200000, 0x400000, &high), RHZ_OK);
	map(world, root, 0x5000, 0x401000, PWU);
	start(world, 0, root);
	reaches(world, 0x5000, WRITE, 0x401000);
	world->at[0].running = false;
	assert_status(rhz_slot_set_flags(world->vm, high, RHZ_SLOT_READ_ONLY, NULL), RHZ_OK);
	audit(world);
	reaches(world, 0x5000, USER, 0x401000);
	seen = touch(world, 0, 0x5000, USER | WRITE);
	assert_int_equal(seen.how, WAS_MMIO);
	assert_true(seen.read_only);
	assert_int_equal(seen.gpa, 0x401000);
	reaches(world, 0x5000, USER, 0x401000);
	world->at[0].running = false;
	assert_status(rhz_slot_set_flags(world->vm, high, 0, NULL), RHZ_OK);
	reaches(world, 0x5000, USER | WRITE, 0x401000);
	/* tables in a read-only slot: A and D are not set, and nobody waits for them */
	assert_status(rhz_slot_set_flags(world->vm, low, RHZ_SLOT_READ_ONLY, NULL), RHZ_OK);
	guest_put(world, entry_at(world, root, 0x5000, 1), 4, 0x402000 | PWU);
	world->at[0].running = false;
	load_ok(world, 0, root);
	assert_status(rhz_slot_set_flags(world->vm, low, 0, NULL), RHZ_OK);
	world_end(world);
}

/* Tables in a read-only slot: A and D are not set, and no access waits for them or is lost. */
static void test_read_only_tables(void **state)
{
	(void)state;
	for (enum rhz_paging mode = RHZ_PAGING_32; mode <= RHZ_PAGING_5LEVEL; mode++) {
		struct world *world = world_make(&(struct setup){ .mode = mode, .bare = true });
		struct rhz_slot rom = { .gpa = { TABLES }, .bytes = TABLES_LAST - TABLES,
			                .offset = TABLES, .flags = RHZ_SLOT_READ_ONLY };
		uint64_t root = table_new(world), before;
		unsigned id;

		world_vcpu_add(world, 0);
		assert_status(slot_at(world, 0, TABLES, 0, &id), RHZ_OK);
		assert_status(slot_at(world, TABLES_LAST, RAM - TABLES_LAST, TABLES_LAST, &id),
		              RHZ_OK);
		assert_status(rhz_slot_add(world->vm, &rom, &id), RHZ_OK);
		map(world, root, 0x5000, 0x1000, PWU);
		map(world, root, 0x6000, 0x2000, P | U);
		map_at(world, root, 0x800000, 0x400000, PWU, 2);
		map(world, root, 0x7000, root, PWU);
		before = entry_get(world, root, 0x5000, 1);
		start(world, 0, root);
		for (unsigned n = 0; n < 2; n++) {
			reaches(world, 0x5000, USER, 0x1000);
			reaches(world, 0x5000, USER | WRITE, 0x1000);
			faults(world, 0x6000, USER | WRITE, RHZ_PF_P | RHZ_PF_U | RHZ_PF_W);
			reaches(world, 0x812345, USER | WRITE, 0x412345);
			is_mmio(world, 0x7000, WRITE, root);
			reaches(world, 0x7000, READ, root);
			load_ok(world, 0, root);
		}
		assert_int_equal(entry_get(world, root, 0x5000, 1), before);
		/* writable after all: now they are set */
		assert_status(rhz_slot_set_flags(world->vm, id, 0, NULL), RHZ_OK);
		audit(world);
		world->at[0].running = false;
		load_ok(world, 0, root);
		reaches(world, 0x6000, USER, 0x2000);
		reaches(world, 0x5000, USER | WRITE, 0x1000);
		assert_status(rhz_slot_set_flags(world->vm, id, RHZ_SLOT_READ_ONLY, NULL), RHZ_OK);
		audit(world);
		world->at[0].running = false;
		reaches(world, 0x5000, USER | WRITE, 0x1000);
		world_end(world);
	}
}

/* Two slots show one frame: a table in it is write-protected at both addresses. */
static void test_alias(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL });
	uint64_t root = table_new(world), at;
	unsigned alias;

	(void)state;
	assert_status(slot_at(world, 0x10000000, 0x200000, TABLES, &alias), RHZ_OK);
	map(world, root, 0x5000, 0x1000, PWU);
	for (uint64_t i = 0; i < 0x20000; i += 0x1000)
		map(world, root, 0x600000 + i, 0x10000000 + i, PWU);
	start(world, 0, root);
	reaches(world, 0x5000, USER, 0x1000);
	at = entry_at(world, root, 0x5000, 2);
	/* a directory: the alias is tracked as well */
	is_tracked(world, 0x600000 + (at - TABLES), WRITE, 0x10000000 + (at - TABLES));
	guest_put(world, at, 8, 0);
	rhz_vm_wrote(world->vm, 0, (rhz_gpa){ 0x10000000 + (at - TABLES) }, 8);
	audit(world);
	faults(world, 0x5000, USER, RHZ_PF_U);
	world_end(world);
}

/* Address spaces see slots of their own. */
static void test_address_spaces(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL });
	struct rhz_slot slot = { .gpa = { 0 }, .bytes = RAM, .address_space = 1 };
	struct rhz_slot smm = { .gpa = { RAM }, .bytes = 0x1000, .offset = 0x3000,
		                .address_space = 1 };
	uint64_t root = table_new(world);
	unsigned id;

	(void)state;
	assert_status(rhz_slot_add(world->vm, &slot, &id), RHZ_OK);
	assert_status(rhz_slot_add(world->vm, &smm, &id), RHZ_OK);
	map(world, root, 0x5000, 0x1000, PWU);
	map(world, root, 0x6000, RAM, PWU);
	start(world, 0, root);
	reaches(world, 0x5000, WRITE, 0x1000);
	is_mmio(world, 0x6000, WRITE, RAM);
	world->at[0].running = false;
	assert_int_equal(rhz_vcpu_set_address_space(world->vcpu[0], 1), RHZ_LOAD_OK);
	audit(world);
	reaches(world, 0x6000, WRITE, 0x3000);
	reaches(world, 0x5000, WRITE, 0x1000);
	/* registers change in there */
	cr_change(world, 0, RHZ_CR0_WP, 0, 0);
	reaches(world, 0x6000, WRITE, 0x3000);
	start(world, 0, root);
	reaches(world, 0x6000, WRITE, 0x3000);
	assert_int_equal(rhz_vcpu_set_address_space(world->vcpu[0], 0), RHZ_LOAD_OK);
	cr_change(world, 0, RHZ_CR0_WP, 0, 0);
	is_mmio(world, 0x6000, WRITE, RAM);
	cr_change(world, 0, RHZ_CR0_WP, 0, 0);
	world->at[0].running = false;
	is_mmio(world, 0x6000, WRITE, RAM);
	assert_int_equal(rhz_vcpu_set_address_space(world->vcpu[0], 4), RHZ_LOAD_GP);
	reaches(world, 0x5000, WRITE, 0x1000);
	world_end(world);
}

/* MMIO entries carry 12 bits of the slots' generation: after 4,096 changes an old one is no hit. */
static void test_generation_wraps(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL });
	uint64_t root = table_new(world), hits;
	unsigned id;

	(void)state;
	map(world, root, 0x5000, HOLE, PWU);
	start(world, 0, root);
	is_mmio(world, 0x5000, READ, HOLE);
	for (unsigned i = 0; i < 2048; i++) {
		assert_status(slot_at(world, HOLE, 0x1000, 0x3000, &id), RHZ_OK);
		if (i == 2047)
			break;
		assert_status(rhz_slot_delete(world->vm, id), RHZ_OK);
	}
	/* 4,095 changes since: one more brings the same number, and the slot is there */
	hits = STAT(world, pf_mmio_cached);
	world->at[0].running = false;
	reaches(world, 0x5000, READ, 0x3000);
	assert_status(rhz_slot_delete(world->vm, id), RHZ_OK);
	world->at[0].running = false;
	is_mmio(world, 0x5000, READ, HOLE);
	assert_int_equal(STAT(world, pf_mmio_cached), hits);
	for (unsigned i = 0; i < 2048; i++) {
		assert_status(slot_at(world, HOLE, 0x1000, 0x3000, &id), RHZ_OK);
		assert_status(rhz_slot_delete(world->vm, id), RHZ_OK);
	}
	assert_int_equal(VM_STAT(world, mmio_entries), 0);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ram_statuses),
		cmocka_unit_test(test_slot_statuses),
		cmocka_unit_test(test_all_slots),
		cmocka_unit_test(test_delete),
		cmocka_unit_test(test_move),
		cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_read_only_tables),
		cmocka_unit_test(test_alias),
		cmocka_unit_test(test_address_spaces),
		cmocka_unit_test(test_generation_wraps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
