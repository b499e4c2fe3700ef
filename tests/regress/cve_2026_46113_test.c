/* SPDX-License-Identifier: MIT */
/*
 * CVE-2026-46113 (KVM): the guest's directory entry had changed, the child behind the old one was
 * reused with the frame of the new: added to the reverse map under one frame, removed under
 * another.
 *
 * Here the directory entry changes behind the library's back, as a device or another processor may
 * do it, and faults run before rhz_vm_wrote is told.
 */
#include "fixture.h"

static void test_directory_changes(void **state)
{
	static const enum rhz_paging modes[] = { RHZ_PAGING_32, RHZ_PAGING_PAE, RHZ_PAGING_4LEVEL,
		                                 RHZ_PAGING_5LEVEL };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct world *world = world_make(&(struct setup){ .mode = modes[i] });
		uint64_t root = table_new(world), at[2], entry[2];
		unsigned bytes = entry_bytes(world);

		map(world, root, 0x5000, 0x1000, PWU);
		map(world, root, 0x6000, 0x2000, PWU);
		map(world, root, 0x40005000, 0x3000, PWU);
		map(world, root, 0x40006000, 0x4000, PWU);
		entry[0] = entry_get(world, root, 0x5000, 2);
		entry[1] = entry_get(world, root, 0x40005000, 2);
		at[0] = entry_at(world, root, 0x5000, 2);
		start(world, 0, root);
		reaches(world, 0x5000, WRITE, 0x1000);
		reaches(world, 0x40005000, WRITE, 0x3000);
		guest_put(world, at[0], bytes, entry[1]);
		reaches(world, 0x6000, WRITE, 0x4000);
		guest_put(world, at[0], bytes, entry[0]);
		/* what the entry held between is still legal until the guest invalidates */
		rhz_vm_wrote(world->vm, 0, (rhz_gpa){ at[0] }, bytes);
		audit(world);
		load_ok(world, 0, root);
		reaches(world, 0x5000, WRITE, 0x1000);
		reaches(world, 0x6000, WRITE, 0x2000);
		reaches(world, 0x40006000, WRITE, 0x4000);
		world->at[0].running = false;
		assert_status(rhz_ram_invalidate(world->vm, 0, 0, RAM), RHZ_OK);
		audit(world);
		assert_int_equal(VM_STAT(world, pages_4k), 0);
		world_end(world);
	}
}

/* The same at every level, with tables and pages missing below: nothing of the new path may be put
 * under the old one, which another root goes on using. */
static void test_every_level(void **state)
{
	(void)state;
	for (unsigned level = 2; level <= 5; level++) {
		struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_5LEVEL });
		uint64_t root = table_new(world), other = table_new(world), at, old;
		uint64_t far = 1ull << (12 + 9 * (level - 1));

		for (uint64_t base = 0; base <= far; base += far) {
			map(world, root, base | 0x5000, base ? 0x3000 : 0x1000, PWU);
			map(world, root, base | 0x6000, base ? 0x4000 : 0x2000, PWU);
			if (level > 2)
				map(world, root, base | 0x205000, base ? 0x7000 : 0x5000, PWU);
			if (level > 2)
				map_at(world, root, base | 0x400000, base ? 0x600000 : 0x400000,
				       PWU, 2);
		}
		at = entry_at(world, root, 0x5000, level);
		memcpy(guest_at(world, other), guest_at(world, root), 4096);
		start(world, 0, root);
		reaches(world, 0x5000, WRITE, 0x1000);
		old = guest_get(world, at, 8);
		guest_put(world, at, 8, entry_get(world, root, far | 0x5000, level));
		reaches(world, 0x6000, WRITE, 0x4000);
		if (level > 2)
			reaches(world, 0x205000, WRITE, 0x7000);
		if (level > 2)
			reaches(world, 0x412345, WRITE, 0x612345);
		guest_put(world, at, 8, old);
		rhz_vm_wrote(world->vm, 0, (rhz_gpa){ at }, 8);
		audit(world);
		for (unsigned n = 0; n < 2; n++) {
			load_ok(world, 0, n ? root : other);
			reaches(world, 0x6000, WRITE, 0x2000);
			reaches(world, 0x5000, WRITE, 0x1000);
			reaches(world, far | 0x6000, WRITE, 0x4000);
			if (level > 2)
				reaches(world, 0x205000, WRITE, 0x5000);
			if (level > 2)
				reaches(world, 0x412345, WRITE, 0x412345);
		}
		world_end(world);
	}
}

/* Rights of a directory entry change, untold: the table below is of another role. */
static void test_rights_change(void **state)
{
	(void)state;
	for (unsigned level = 2; level <= 4; level++) {
		struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL });
		uint64_t root = table_new(world), at, more, less;

		map(world, root, 0x5000, 0x1000, PWU);
		map(world, root, 0x6000, 0x2000, PWU);
		map(world, root, 0x7000, 0x3000, PWU);
		at = entry_at(world, root, 0x5000, level);
		start(world, 0, root);
		reaches(world, 0x5000, USER | WRITE, 0x1000);
		more = guest_get(world, at, 8);
		less = more & ~(uint64_t)(W | U);
		guest_put(world, at, 8, less);
		reaches(world, 0x6000, READ, 0x2000);
		faults(world, 0x6000, USER, RHZ_PF_P | RHZ_PF_U);
		faults(world, 0x6000, WRITE, RHZ_PF_P | RHZ_PF_W);
		guest_put(world, at, 8, more);
		reaches(world, 0x7000, USER | WRITE, 0x3000);
		reaches(world, 0x6000, USER | WRITE, 0x2000);
		rhz_vm_wrote(world->vm, 0, (rhz_gpa){ at }, 8);
		audit(world);
		load_ok(world, 0, root);
		reaches(world, 0x5000, USER | WRITE, 0x1000);
		world_end(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_directory_changes),
		cmocka_unit_test(test_every_level),
		cmocka_unit_test(test_rights_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
