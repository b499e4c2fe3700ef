/* SPDX-License-Identifier: MIT */
/* Writes to guest tables: torn, overlapping, spanning ones; floods; tables that map themselves. */
#include "fixture.h"

static const enum rhz_paging modes[] = { RHZ_PAGING_32, RHZ_PAGING_PAE, RHZ_PAGING_4LEVEL,
	                                 RHZ_PAGING_5LEVEL };

#define EACH_MODE(i) for (unsigned i = 0; i < sizeof(modes) / sizeof(*modes); i++)

static struct world *begin(enum rhz_paging mode, uint32_t options, uint64_t *root)
{
	struct world *world = world_make(&(struct setup){ .mode = mode, .options = options });

	*root = table_new(world);
	map(world, *root, 0x5000, 0x1000, PWU);
	map(world, *root, 0x6000, 0x2000, PWU);
	map_window(world, *root);
	start(world, 0, *root);
	reaches(world, 0x5000, USER | WRITE, 0x1000);
	reaches(world, 0x6000, USER | WRITE, 0x2000);
	return world;
}

/* Every byte range around two entries, at each level: what is told is re-read, and no more lost. */
static void write_parts(struct world *world, uint64_t root, unsigned level)
{
	uint64_t at = entry_at(world, root, 0x6000, level);
	uint64_t good = entry_get(world, root, 0x6000, level);
	unsigned bytes = entry_bytes(world);

	for (unsigned from = 0; from < 2; from++) {
		/* the byte with P in it, or one that moves the frame */
		uint64_t bad = from ? good ^ 0x1000 : good & ~1ull;

		for (unsigned len = 1; from + len <= bytes; len++) {
			guest_put(world, at, bytes, bad);
			rhz_vm_wrote(world->vm, 0, (rhz_gpa){ at + from }, len);
			audit(world);
			invlpg(world, 0, 0x6000);
			assert_true(touch(world, 0, 0x6000, USER).gpa != 0x2000);
			guest_put(world, at, bytes, good);
			rhz_vm_wrote(world->vm, 0, (rhz_gpa){ at - 3 }, 4 + bytes);
			audit(world);
			invlpg(world, 0, 0x6000);
			reaches(world, 0x6000, USER | WRITE, 0x2000);
		}
	}
}

static void test_torn_and_spanning(void **state)
{
	(void)state;
	EACH_MODE(i) {
		uint64_t root;
		struct world *world = begin(modes[i], 0, &root);

		for (unsigned level = 1; level <= 2; level++)
			write_parts(world, root, level);
		world_end(world);
	}
}

/* One write over two tables, and one over a hole in the slots. */
static void test_across_two_tables(void **state)
{
	(void)state;
	EACH_MODE(i) {
		struct world *world = world_make(&(struct setup){ .mode = modes[i] });
		uint64_t root = table_new(world), first = 0x180000, last = 0x181000, all;
		unsigned bytes = entry_bytes(world);
		uint64_t reach = bytes == 4 ? 0x400000 : 0x200000, top = reach - 0x1000;

		/* the last entry of one table, the first of the next */
		map(world, root, 0x5000, 0x1000, PWU);
		map_at(world, root, 2 * reach, 0, 0, 2);
		guest_put(world, entry_at(world, root, reach, 2), bytes, first | PWU);
		guest_put(world, entry_at(world, root, 2 * reach, 2), bytes, last | PWU);
		guest_put(world, last - bytes, bytes, 0x3000 | PWU);
		guest_put(world, last, bytes, 0x4000 | PWU);
		start(world, 0, root);
		reaches(world, reach + top, WRITE, 0x3000);
		reaches(world, 2 * reach, WRITE, 0x4000);
		guest_put(world, last - bytes, bytes, 0x5000 | PWU);
		guest_put(world, last, bytes, 0x6000 | PWU);
		rhz_vm_wrote(world->vm, 0, (rhz_gpa){ last - 2 }, 4);
		audit(world);
		load_ok(world, 0, root);
		reaches(world, reach + top, WRITE, 0x5000);
		reaches(world, 2 * reach, WRITE, 0x6000);
		/* ranges without memory are ignored */
		all = RAM - 8;
		rhz_vm_wrote(world->vm, 0, (rhz_gpa){ all }, 0x10000);
		rhz_vm_wrote(world->vm, 0, (rhz_gpa){ HOLE }, 8);
		rhz_vm_wrote(world->vm, 0, (rhz_gpa){ HOLE }, UINT64_MAX);
		rhz_vm_wrote(world->vm, 0, (rhz_gpa){ all }, UINT64_MAX);
		rhz_vm_wrote(world->vm, 0, (rhz_gpa){ all }, 0);
		rhz_vm_wrote(world->vm, RHZ_MAX_ADDRESS_SPACES, (rhz_gpa){ 0 }, 8);
		rhz_vm_wrote(world->vm, 0, (rhz_gpa){ 0 }, 0);
		audit(world);
		world_end(world);
	}
}

/* An upper table is never written freely: each store comes to the embedder, in whatever mode. */
static void test_upper_tables_are_tracked(void **state)
{
	(void)state;
	EACH_MODE(i) {
		uint64_t root, at;
		struct world *world = begin(modes[i], 0, &root);
		unsigned top = modes[i] == RHZ_PAGING_PAE ? 2 : mode_levels(world);

		for (unsigned level = 2; level <= top; level++) {
			at = entry_at(world, root, 0x5000, level);
			/* never so often that a table in use would be given up */
			for (unsigned n = 0; n < 8; n++)
				is_tracked(world, WINDOW + at, WRITE, at);
		}
		assert_int_equal(STAT(world, pf_emulate), 8 * (top - 1));
		assert_int_equal(VM_STAT(world, mmu_flooded), 0);
		assert_int_equal(STAT(world, root_dropped), 0);
		/* and a directory that changes for another table */
		at = table_new(world);
		map_at(world, root, 0x80000000, 0, 0, 2);
		guest_put(world, at + 5 * entry_bytes(world), entry_bytes(world), 0x7000 | PWU);
		entry_store(world, 0, root, 0x5000, 2, at | PWU);
		invlpg(world, 0, 0x5000);
		reaches(world, 0x5000, USER, 0x7000);
		faults(world, 0x6000, USER, RHZ_PF_U);
		world_end(world);
	}
}

/* The top table maps itself, as in many systems: it is a table of every level at once. */
static void test_recursive_mapping(void **state)
{
	(void)state;
	EACH_MODE(i) {
		uint64_t root, self, at;
		struct world *world;
		unsigned bytes, bits;

		if (modes[i] == RHZ_PAGING_PAE)
			continue;
		world = begin(modes[i], 0, &root);
		bytes = entry_bytes(world);
		bits = bytes == 4 ? 10 : 9;
		/* the last but one entry of the top table is the top table */
		self = (1u << bits) - 2;
		guest_poke(world, root + self * bytes, bytes, root | P | W);
		/* the leaf entry for 0x6000, reached through itself */
		at = self << (12 + bits * (mode_levels(world) - 1)) | 6 * bytes;
		if (mode_levels(world) >= 4)
			at |= ~0ull << (12 + bits * mode_levels(world) - 1);
		reaches(world, at, READ, entry_at(world, root, 0x6000, 1));
		assert_int_equal(store(world, 0, at, bytes, 0x3000 | PWU).how, REACHED);
		invlpg(world, 0, 0x6000);
		reaches(world, 0x6000, USER, 0x3000);
		/* the top table's own first entry, through all levels of itself */
		for (unsigned level = 1; level < mode_levels(world); level++)
			at |= self << (12 + bits * (level - 1));
		at &= ~0xfffull;
		is_tracked(world, at, WRITE, root);
		reaches(world, at, READ, root);
		guest_poke(world, root, bytes, 0);
		load_ok(world, 0, root);
		faults(world, 0x6000, USER, RHZ_PF_U);
		reaches(world, at, READ, root);
		/* it takes its own mapping away */
		guest_poke(world, root + self * bytes, bytes, 0);
		load_ok(world, 0, root);
		faults(world, at, READ, 0);
		world_end(world);
	}
}

/* Stack, code and table in one page: stores beside the entries must not hang, nor be lost. */
static void test_stack_in_a_table(void **state)
{
	(void)state;
	EACH_MODE(i) {
		uint64_t root, at;
		struct world *world = begin(modes[i], 0, &root);

		for (unsigned level = 1; level <= 2; level++) {
			at = (entry_at(world, root, 0x6000, level) & ~0xfffull) | 0x7f0;
			for (unsigned n = 0; n < 10; n++) {
				store(world, 0, WINDOW + at, entry_bytes(world),
				      0xdead0000 + 2 * n);
				assert_int_equal(guest_get(world, at, 4), 0xdead0000 + 2 * n);
				reaches(world, WINDOW + at, FETCH, at);
				reaches(world, 0x6000, USER, 0x2000);
			}
		}
		world_end(world);
	}
}

/* A table given up by its owner: soon its frame is written freely. */
static void test_table_becomes_memory(void **state)
{
	uint64_t root, other, tracked = 0;
	struct world *world = begin(RHZ_PAGING_4LEVEL, 0, &root);

	(void)state;
	other = table_new(world);
	map(world, other, 0x5000, 0x1000, PWU);
	load_ok(world, 0, other);
	reaches(world, 0x5000, USER, 0x1000);
	load_ok(world, 0, root);
	for (unsigned n = 0; n < 100; n++) {
		struct seen seen = store(world, 0, WINDOW + other + 8 * n, 8, 0);

		tracked += seen.how == WAS_TRACKED;
	}
	assert_true(tracked < 10);
	assert_int_equal(VM_STAT(world, mmu_flooded), 1);
	reaches(world, 0x5000, USER, 0x1000);
	world_end(world);
}

static void test_unshadow(void **state)
{
	(void)state;
	EACH_MODE(i) {
		uint64_t root, other, leaf;
		struct world *world = begin(modes[i], 0, &root);
		struct rhz_vm *vm = world->vm;

		other = table_new(world);
		leaf = entry_at(world, root, 0x5000, 1);
		assert_true(rhz_vm_unshadow(vm, 0, (rhz_gpa){ 0x3000 }));
		assert_true(rhz_vm_unshadow(vm, 0, (rhz_gpa){ HOLE }));
		assert_true(rhz_vm_unshadow(vm, RHZ_MAX_ADDRESS_SPACES, (rhz_gpa){ 0 }));
		if (modes[i] != RHZ_PAGING_PAE)
			assert_false(rhz_vm_unshadow(vm, 0, (rhz_gpa){ root }));
		audit(world);
		assert_true(rhz_vm_unshadow(vm, 0, (rhz_gpa){ leaf }));
		audit(world);
		world->at[0].running = false;
		reaches(world, 0x5000, WRITE, 0x1000);
		/* cached, not current: it goes, and is built again when it is loaded */
		map(world, other, 0x7000, 0x3000, PWU);
		load_ok(world, 0, other);
		reaches(world, 0x7000, WRITE, 0x3000);
		assert_true(rhz_vm_unshadow(vm, 0, (rhz_gpa){ root }));
		audit(world);
		load_ok(world, 0, root);
		reaches(world, 0x6000, WRITE, 0x2000);
		world_end(world);
	}
}

/* Statistics: what was told of tracked tables, and what was not. */
static void test_statistics(void **state)
{
	uint64_t root, at;
	struct world *world = begin(RHZ_PAGING_4LEVEL, 0, &root);

	(void)state;
	at = VM_STAT(world, mmu_pte_write);
	rhz_vm_wrote(world->vm, 0, (rhz_gpa){ 0x3000 }, 8);
	assert_int_equal(VM_STAT(world, mmu_pte_write), at);
	rhz_vm_wrote(world->vm, 0, (rhz_gpa){ root }, 8);
	assert_int_equal(VM_STAT(world, mmu_pte_write), at + 1);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_torn_and_spanning),
		cmocka_unit_test(test_across_two_tables),
		cmocka_unit_test(test_upper_tables_are_tracked),
		cmocka_unit_test(test_recursive_mapping),
		cmocka_unit_test(test_stack_in_a_table),
		cmocka_unit_test(test_table_becomes_memory),
		cmocka_unit_test(test_unshadow),
		cmocka_unit_test(test_statistics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
