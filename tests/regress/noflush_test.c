/* SPDX-License-Identifier: MIT */
/*
 * Loads of CR3 that keep the PCID's translations: what was invalidated meanwhile, and what this
 * vCPU never had, must not come back with them.
 */
#include "fixture.h"

static uint64_t root[2];

static struct world *begin(unsigned vcpus)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL,
		                                          .vcpus = vcpus });

	for (unsigned i = 0; i < 2; i++) {
		root[i] = table_new(world);
		map(world, root[i], 0x1000, 0x5000 + i * 0x1000, PWU);
		map_window(world, root[i]);
	}
	for (unsigned v = 0; v < vcpus; v++) {
		start(world, v, root[0]);
		cr_change(world, v, 0, RHZ_CR4_PCIDE, 0);
		load_ok(world, v, root[0] | 1);
	}
	return world;
}

static void keep(struct world *world, unsigned vcpu, unsigned which)
{
	load_ok(world, vcpu, root[which] | (which + 1) | RHZ_CR3_NOFLUSH);
}

/* INVPCID of a PCID that is not current, then a no-flush load of it. */
static void invpcid_of_another(void **state)
{
	static const enum rhz_invpcid types[] = { RHZ_INVPCID_ADDRESS, RHZ_INVPCID_SINGLE,
		                                  RHZ_INVPCID_ALL_GLOBAL, RHZ_INVPCID_ALL };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct world *world = begin(1);
		enum rhz_flush flush;

		reaches(world, 0x1000, WRITE, 0x5000);
		load_ok(world, 0, root[1] | 2);
		reaches(world, 0x1000, WRITE, 0x6000);
		entry_store(world, 0, root[0], 0x1000, 1, 0x8000 | PWU | A | D);
		world->at[0].running = false;
		assert_int_equal(rhz_vcpu_invpcid(world->vcpu[0], types[i], 1, (rhz_gva){ 0x1000 },
		                                  &flush), RHZ_LOAD_OK);
		audit(world);
		keep(world, 0, 0);
		reaches(world, 0x1000, WRITE, 0x8000);
		keep(world, 0, 1);
		reaches(world, 0x1000, WRITE, 0x6000);
		world_end(world);
	}
}

/* A vCPU that never held the root finds no stale entry that another one may still use. */
static void a_root_never_held(void **state)
{
	struct world *world = begin(2);

	(void)state;
	reaches_on(world, 0, 0x1000, WRITE, 0x5000);
	load_ok(world, 1, root[1] | 2);
	reaches_on(world, 1, 0x1000, WRITE, 0x6000);
	entry_store(world, 1, root[0], 0x1000, 1, 0x8000 | PWU | A | D);
	keep(world, 1, 0);
	/* its PCID 1 was flushed when it was loaded at the start; the root was current then */
	entry_store(world, 1, root[0], 0x1000, 1, 0x9000 | PWU | A | D);
	load_ok(world, 1, root[1] | 2);
	keep(world, 1, 1);
	load_ok(world, 1, root[0] | 1);
	reaches_on(world, 1, 0x1000, WRITE, 0x9000);
	world_end(world);
}

/* A new vCPU: nothing is its own yet, whatever its loads say. */
static void a_vcpu_that_is_new(void **state)
{
	struct world *world = begin(2);

	(void)state;
	reaches_on(world, 0, 0x1000, WRITE, 0x5000);
	entry_store(world, 0, root[0], 0x1000, 1, 0x8000 | PWU | A | D);
	world_vcpu_remove(world, 1);
	world_vcpu_add(world, 1);
	start(world, 1, root[0]);
	reaches_on(world, 1, 0x1000, WRITE, 0x8000);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(invpcid_of_another),
		cmocka_unit_test(a_root_never_held),
		cmocka_unit_test(a_vcpu_that_is_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
