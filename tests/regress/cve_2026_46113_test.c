/* SPDX-License-Identifier: MIT */
/*
 * CVE-2026-46113 (KVM): the guest's directory entry had changed, the child behind the old one was reused
 * with the frame of the new: added to the reverse map under one frame, removed under another.
 *
 * Here the directory entry changes behind the library's back, as a device or another processor may do
 * it, and faults run before rhz_vm_wrote is told.
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_directory_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
