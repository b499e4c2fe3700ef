/* SPDX-License-Identifier: MIT */
/*
 * The N-th allocation fails, for every N, once or from then on, in each operation of a table: the
 * audit is clean, what was mapped is mapped yet, and the operation repeated goes through.
 */
#ifndef TESTS_API_ALLOCATION_H
#define TESTS_API_ALLOCATION_H

#include "core/vm.h"
#include "fixture.h"

enum { DATA = 0x1000, DATA2 = 0x2000, KEPT = 0x400000, NEW = 0x5000, BIG = 0x80000000,
       MMIO = 0x7000, ALIAS = 0x10000000, ALIASES = 600, SLOT2 = 0x10000000 };
#define OTHER 0xc0000000ull /* where another leaf table leads to the same */

struct scene {
	struct world *world;
	uint64_t root, other; /* of L1 */
	struct rhz_regs regs; /* that an operation loads */
	uint64_t nested;      /* L1's nested tables */
	unsigned slot;
	bool done;            /* the part that allocates nothing */
	struct rhz_regs held; /* before a load, and where */
	enum rhz_context context;
	uint64_t dirty[64];
	void *memory;
};

/* What it is tried in. */
enum {
	NONE = 1 << 0, IN_32 = 1 << 1, PAE = 1 << 2, IN_4 = 1 << 3, IN_5 = 1 << 4,
	NPT = 1 << 5, NPT_5 = 1 << 6, EPT = 1 << 7, EPT_5 = 1 << 8,
	/* L1 under shadow paging or its own kind, L2 by L1's nested tables */
	S_NPT_32 = 1 << 9, S_NPT_PAE = 1 << 10, S_NPT = 1 << 11, S_EPT = 1 << 12, N_NPT = 1 << 13,
	N_EPT = 1 << 14,
	PAGED = IN_32 | PAE | IN_4 | IN_5, SHADOWED = NONE | PAGED,
	DIRECT = NPT | NPT_5 | EPT | EPT_5,
	NESTED = S_NPT_32 | S_NPT_PAE | S_NPT | S_EPT | N_NPT | N_EPT,
};

static const struct setup setups[] = {
	{ .mode = RHZ_PAGING_NONE },
	{ .mode = RHZ_PAGING_32 },
	{ .mode = RHZ_PAGING_PAE },
	{ .mode = RHZ_PAGING_4LEVEL },
	{ .mode = RHZ_PAGING_5LEVEL },
	{ .mode = RHZ_PAGING_4LEVEL, .kind = RHZ_NPT_4LEVEL },
	{ .mode = RHZ_PAGING_4LEVEL, .kind = RHZ_NPT_5LEVEL },
	{ .mode = RHZ_PAGING_4LEVEL, .kind = RHZ_EPT_4LEVEL },
	{ .mode = RHZ_PAGING_4LEVEL, .kind = RHZ_EPT_5LEVEL },
	{ .mode = RHZ_PAGING_32, .nested = RHZ_NPT_4LEVEL, .amd = true },
	{ .mode = RHZ_PAGING_PAE, .nested = RHZ_NPT_5LEVEL, .amd = true },
	{ .mode = RHZ_PAGING_4LEVEL, .nested = RHZ_NPT_5LEVEL, .amd = true },
	{ .mode = RHZ_PAGING_4LEVEL, .nested = RHZ_EPT_4LEVEL },
	{ .mode = RHZ_PAGING_4LEVEL, .kind = RHZ_NPT_4LEVEL, .nested = RHZ_NPT_4LEVEL,
	  .amd = true },
	{ .mode = RHZ_PAGING_4LEVEL, .kind = RHZ_EPT_4LEVEL, .nested = RHZ_EPT_4LEVEL },
};
enum { SETUPS = sizeof(setups) / sizeof(*setups) };

struct operation {
	const char *name;
	unsigned worlds;
	unsigned least; /* allocations that it makes; 0: none at all */
	void (*prepare)(struct scene *scene);
	bool (*run)(struct scene *scene); /* false: no memory */
};

/* The vCPU is out of the guest, and has these registers. */
static struct rhz_vcpu *leave(struct scene *scene)
{
	struct world *world = scene->world;

	world->at[0].running = false;
	scene->held = *rhz_vcpu_regs(world->vcpu[0]);
	scene->context = rhz_vcpu_context(world->vcpu[0]);
	return world->vcpu[0];
}

/* A load that is not done has changed nothing. */
static bool loaded(struct scene *scene, enum rhz_load_result result)
{
	struct rhz_vcpu *vcpu = scene->world->vcpu[0];

	if (result == RHZ_LOAD_OK)
		return true;
	assert_int_equal(result, RHZ_LOAD_NO_MEMORY);
	assert_int_equal(rhz_vcpu_context(vcpu), scene->context);
	assert_memory_equal(rhz_vcpu_regs(vcpu), &scene->held, sizeof(scene->held));
	return false;
}

/* An access that ends so, or for want of memory. */
static bool ends(struct scene *scene, uint64_t gva, unsigned access, enum how how, uint64_t gpa)
{
	struct seen seen = touch(scene->world, 0, gva, access);

	if (seen.how == WAS_NO_MEMORY)
		return false;
	assert_int_equal(seen.how, how);
	if (how != REACHED || gpa < scene->world->ram_bytes)
		assert_int_equal(seen.gpa, gpa);
	return true;
}

static bool reached(struct scene *scene, uint64_t gva, uint64_t gpa)
{
	return ends(scene, gva, WRITE, REACHED, gpa);
}

/* The library keeps some pages ready: none, so that the next one that it needs is asked for. */
static void drop_spares(struct world *world)
{
	struct rhz_vm *vm = world->vm;

	world->locked = 1;
	while (vm->spares) {
		vm->spares--;
		vm->host.page_free(vm->host.ctx, vm->spare[vm->spares].at,
		                   (rhz_hpa){ vm->spare[vm->spares].hpa });
	}
	world->locked = 0;
}

static void scene_make(struct scene *s, const struct operation *operation,
                       const struct setup *setup)
{
	struct world *world = world_make(setup);

	*s = (struct scene){ .world = world, .root = table_new(world), .other = table_new(world),
	                     .nested = table_new(world) };
	if (setup->mode != RHZ_PAGING_NONE) {
		map(world, s->root, NEW, DATA, PWU);
		map(world, s->root, KEPT, DATA2, PWU);
		map(world, s->root, MMIO, HOLE, PWU);
		map_at(world, s->root, BIG, 0, PWU, 2);
		map_at(world, s->root, BIG + 0x400000, 0x400000, PWU, 2);
		map(world, s->other, NEW, DATA2, PWU);
		map(world, s->other, KEPT, DATA2, PWU);
		map_window(world, s->root);
	}
	if (setup->kind == RHZ_SHADOW)
		start(world, 0, s->root);
	assert_int_equal(touch(world, 0, KEPT, WRITE).how, REACHED);
	if (operation->prepare)
		operation->prepare(s);
	drop_spares(world);
}

/* One run, where the n-th allocation fails. True: there is no such. */
static bool run_once(const struct operation *operation, const struct setup *setup, unsigned n,
                     bool from_then_on)
{
	struct scene s;
	unsigned before;
	bool fine, enough;

	scene_make(&s, operation, setup);
	before = s.world->allocated;
	s.world->fail_at = n;
	s.world->fail_on = from_then_on;
	fine = operation->run(&s);
	enough = s.world->fail_at != 0;
	audit(s.world);
	s.world->fail_at = 0;
	s.world->fail_on = s.world->no_memory = false;
	if (enough) {
		assert_true(fine);
		assert_in_range(s.world->allocated - before, operation->least,
		                operation->least ? 100 : 0);
	} else if (from_then_on) {
		assert_int_equal(touch(s.world, 0, KEPT, WRITE).how, REACHED);
	}
	if (!fine) {
		assert_true(operation->run(&s));
		audit(s.world);
		assert_int_equal(touch(s.world, 0, KEPT, WRITE).how, REACHED);
	}
	world_end(s.world);
	return enough;
}

/* What is tried, until it has gone well. */
static struct {
	const char *name;
	unsigned setup, n;
} trial;

static int tell_trial(void **state)
{
	(void)state;
	if (trial.name)
		print_error("%s, setup %u, allocation %u\n", trial.name, trial.setup, trial.n);
	return 0;
}

static void try_each(const struct operation *operation, unsigned count)
{
	for (; count; count--, operation++) {
		for (unsigned k = 0; k < 2 * SETUPS; k++) {
			if (!(operation->worlds >> k / 2 & 1))
				continue;
			trial.name = operation->name;
			trial.setup = k / 2;
			trial.n = 1;
			while (!run_once(operation, &setups[k / 2], trial.n, k & 1))
				trial.n++;
		}
	}
	trial.name = NULL;
}

#endif
