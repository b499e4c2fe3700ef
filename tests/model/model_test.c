/* SPDX-License-Identifier: MIT */
/* The model against cases worked out by hand from the manuals: who watches the watchman. */
#include "model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { P = 1, W = 2, U = 4, A = 32, D = 64, PS = 128, G = 256 };
static const uint64_t NX = 1ull << 63, NO_FLUSH = 1ull << 63, RAM = 0x100000000;
static const uint64_t PG = 1ull << 31, WP = 1ull << 16;
enum {
	PSE = 1 << 4, PAE = 1 << 5, PGE = 1 << 7, PCIDE = 1 << 17, SMEP = 1 << 20, SMAP = 1 << 21,
	PKE = 1 << 22, LONG = 1 << 8 | 1 << 10, NXE = 1 << 11,
};
enum { PT = 0x3000, PD = 0x2000, DATA = 0x8000, OTHER = 0x9000 };

static const struct model_cpuid cpuid = {
	.maxphyaddr = 40, .pse = true, .pae = true, .pge = true, .pse36 = true, .nx = true,
	.gbpages = true, .la57 = true, .pcid = true, .smep = true, .smap = true, .pku = true,
	.pks = true,
};
static struct model_vm *vm;

static void put(uint64_t gpa, uint64_t value)
{
	model_store(vm, RAM + gpa, 8, &value);
}

static void put32(uint64_t gpa, uint32_t value)
{
	model_store(vm, RAM + gpa, 4, &value);
}

/* 16 frames of RAM at guest-physical 0; 4-level tables at 0, 0x1000, 0x2000, 0x3000. */
static int set_up(void **state)
{
	(void)state;
	vm = malloc(sizeof(*vm));
	model_init(vm, &cpuid);
	for (unsigned i = 0; i < 16; i++)
		model_add_frame(vm, RAM + i * 4096);
	vm->slot[0] = (struct model_slot){ true, 0, 16 * 4096, RAM, 0, 0, 0 };
	model_vcpu_reset(vm, 0);
	put(0, 0x1000 | P | W | U | A);
	put(0x1000, PD | P | W | U | A);
	put(PD, PT | P | W | U | A);
	put(PT, DATA | P | W | U | A | D);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(vm);
	return 0;
}

static bool load(uint64_t cr0, uint64_t cr3, uint64_t cr4, uint64_t efer)
{
	struct model_regs regs = { .cr0 = cr0 | 1, .cr3 = cr3, .cr4 = cr4, .efer = efer };

	return model_load(vm, 0, &regs, model_tick(vm));
}

static void long_mode(uint64_t cr4)
{
	assert_true(load(PG | WP, 0, PAE | (cr4 & ~(uint64_t)PCIDE), LONG | NXE));
	if (cr4 & PCIDE)
		assert_true(load(PG | WP, 0, PAE | cr4, LONG | NXE));
}

static struct model_walk walk(uint64_t gva, unsigned access)
{
	struct model_walk result;

	model_walk(vm, 0, gva, access, &result);
	return result;
}

static uint32_t error(uint64_t gva, unsigned access)
{
	struct model_walk result = walk(gva, access);

	assert_int_equal(result.outcome, MODEL_FAULT);
	return result.error;
}

/* May the processor read (or do 'need') at gva, finding the frame at this address? */
static bool may(uint64_t gva, uint64_t gpa, unsigned need)
{
	struct model_question q = { .gva = gva, .target = RAM + gpa, .need = need };

	return model_allowed(vm, 0, &q);
}

static void walks_four_levels(void **state)
{
	(void)state;
	long_mode(0);
	assert_int_equal(walk(0x123, 0).outcome, MODEL_OK);
	assert_int_equal(walk(0x123, 0).gpa, DATA + 0x123);
	assert_int_equal(error(0x1000, MODEL_WRITE | MODEL_USER), 6);
	assert_int_equal(walk(1ull << 47, 0).outcome, MODEL_NON_CANONICAL);
	put(PT, DATA | P | A);
	assert_int_equal(error(0, MODEL_WRITE), 3);
	assert_int_equal(error(0, MODEL_USER), 5);
	put(PT, DATA | P | W | U | A | NX);
	assert_int_equal(error(0, MODEL_FETCH), 17);
	put(PT, DATA | P | W | U | A | 1ull << 40);
	assert_int_equal(error(0, 0), 9);
	put(PT, (DATA | W | U | A | 1ull << 40));
	assert_int_equal(error(0, 0), 0);
}

static void walks_large_pages(void **state)
{
	(void)state;
	long_mode(0);
	put(PD, 0x200000 | P | W | A | PS);
	assert_int_equal(walk(0x1234, 0).gpa, 0x201234);
	put(PD, 0x202000 | P | W | A | PS);
	assert_int_equal(error(0, 0), 9);
	put(0x1000, 0x40000000 | P | W | A | PS);
	assert_int_equal(walk(0x1234, 0).gpa, 0x40001234);
	put(0, 0x1000 | P | A | PS);
	assert_int_equal(error(0, 0), 9);
}

static void walks_32_bit(void **state)
{
	(void)state;
	put32(0x4000, 0x5000 | P | W | U | A);
	put32(0x5004, DATA | P | W | U | A);
	put32(0x4004, 0x400000 | 1 << 13 | P | W | A | PS);
	assert_true(load(PG, 0x4000, PSE, NXE));
	assert_int_equal(walk(0x1abc, MODEL_WRITE).gpa, DATA + 0xabc);
	assert_int_equal(walk(0x412345, 0).gpa, 0x100412345);
	assert_int_equal(error(0x2000, MODEL_FETCH), 0); /* no I/D bit without SMEP */
	put32(0x4004, 0x400000 | 1 << 21 | P | PS);
	assert_int_equal(error(0x412345, 0), 9);
	assert_true(load(PG, 0x4000, 0, 0)); /* without PSE the bit is ignored: a table */
	assert_int_equal(error(0x412345, 0), 0);
}

static void keeps_pdptes(void **state)
{
	(void)state;
	put(0x4020, PD | P);
	assert_true(load(PG, 0x4020, PAE, NXE));
	assert_int_equal(walk(0x10, 0).gpa, DATA + 0x10);
	put(0x4020, 0);
	assert_int_equal(walk(0x10, 0).outcome, MODEL_OK); /* a register now */
	assert_true(model_cr3(vm, 0, 0x4020, model_tick(vm)));
	assert_int_equal(error(0x10, 0), 0);
	put(0x4020, PD | P | W);
	assert_false(model_cr3(vm, 0, 0x4020, model_tick(vm)));
	assert_int_equal(model_vcpu_regs(vm, 0)->pdpte[0], 0);
}

static void judges_rights(void **state)
{
	const struct model_rights user_read = { true, false, true, false };
	const struct model_rights user_all = { true, true, true, false };
	struct model_regs regs = { .cr0 = PG | 1, .efer = LONG };

	(void)state;
	assert_true(model_rights_allow(&regs, &user_read, MODEL_WRITE));
	assert_false(model_rights_allow(&regs, &user_read, MODEL_WRITE | MODEL_USER));
	regs.cr0 |= WP;
	assert_false(model_rights_allow(&regs, &user_read, MODEL_WRITE));
	regs.cr4 = SMEP | SMAP;
	assert_false(model_rights_allow(&regs, &user_all, MODEL_FETCH));
	assert_false(model_rights_allow(&regs, &user_all, 0));
	assert_true(model_rights_allow(&regs, &user_all, MODEL_AC));
	assert_false(model_rights_allow(&regs, &user_all, MODEL_AC | MODEL_IMPLICIT));
	regs.cr4 = PKE;
	regs.pkru = 1 << 2 | 2 << 4; /* key 1: no access; key 2: no write */
	assert_false(model_key_allows(&regs, true, 1, 0));
	assert_true(model_key_allows(&regs, true, 1, MODEL_FETCH));
	assert_true(model_key_allows(&regs, false, 1, 0));
	assert_true(model_key_allows(&regs, true, 2, 0));
	assert_false(model_key_allows(&regs, true, 2, MODEL_WRITE));
	regs.cr0 &= ~WP;
	assert_true(model_key_allows(&regs, true, 2, MODEL_WRITE));
	assert_false(model_key_allows(&regs, true, 2, MODEL_WRITE | MODEL_USER));
}

static void judges_loads(void **state)
{
	(void)state;
	assert_false(load(PG, 0, 0, LONG));                /* long mode without PAE */
	assert_false(load(PG, 0, PAE | PCIDE, LONG));      /* PCIDE before long mode */
	assert_false(load(PG, 1ull << 40, PAE, LONG));     /* a reserved bit of CR3 */
	long_mode(0);
	assert_false(load(PG, 0, PAE | 1 << 12, LONG));    /* LA57 in long mode */
	assert_false(model_cr3(vm, 0, NO_FLUSH, model_tick(vm)));
	assert_true(model_cr3(vm, 0, 3, model_tick(vm)));
	assert_false(load(PG, 3, PAE | PCIDE, LONG | NXE)); /* CR3[11:0] is not 0 */
	assert_false(model_invpcid(vm, 0, 4, 0, 0, model_tick(vm)));
	assert_false(model_invpcid(vm, 0, 1, 1, 0, model_tick(vm)));
	assert_true(model_invpcid(vm, 0, 2, 0, 0, model_tick(vm)));
}

static void stale_until_invalidated(void **state)
{
	const unsigned user_write = 1 << 1;

	(void)state;
	long_mode(0);
	put(PT, OTHER | P | W | U | A | D);
	assert_true(may(0, DATA, user_write));
	assert_true(may(0, OTHER, user_write));
	model_invlpg(vm, 0, 0xfff, model_tick(vm));
	assert_false(may(0, DATA, 1));
	assert_true(may(0, OTHER, user_write));
	put(PT, 0);
	assert_true(model_cr3(vm, 0, 0, model_tick(vm)));
	assert_false(may(0, OTHER, 1));
}

static void dirty_and_accessed_come_first(void **state)
{
	(void)state;
	long_mode(0);
	put(PT + 8, DATA | P | W | U);
	assert_false(may(0x1000, DATA, 1));
	put(PT + 8, DATA | P | W | U | A);
	assert_true(may(0x1000, DATA, 1));
	assert_false(may(0x1000, DATA, 2));
	put(PT + 8, DATA | P | W | U | A | D);
	assert_true(may(0x1000, DATA, 3));
}

/* A chain reads upper levels first: an old leaf under a new table is not allowed. */
static void times_go_downwards(void **state)
{
	(void)state;
	put(0x4000, OTHER | P | W | U | A | D); /* a second leaf table */
	long_mode(0);
	put(0x4000, 0);                         /* its entry goes ... */
	put(PD, 0x4000 | P | W | U | A);        /* ... before it is linked */
	assert_false(may(0, OTHER, 1));
	assert_true(may(0, DATA, 1));
	put(PT, 0x7000 | P | U | A);            /* the upper one may be older than the leaf */
	assert_true(may(0, 0x7000, 1));
}

/* INVLPG of any address drops cached upper levels: no chain reaches across it. */
static void no_chain_across_invlpg(void **state)
{
	(void)state;
	long_mode(0);
	put(PD, 0);
	assert_true(may(0, DATA, 1));
	model_invlpg(vm, 0, 0x5000, model_tick(vm));
	assert_true(may(0, DATA, 1)); /* the whole translation was cached before */
	put(PT, OTHER | P | W | U | A);
	assert_false(may(0, OTHER, 1));
}

static void pcids_and_globals(void **state)
{
	(void)state;
	put(PT + 8, OTHER | P | W | U | A | G);
	long_mode(PCIDE | PGE);
	put(PT, 0);
	put(PT + 8, 0);
	assert_true(model_cr3(vm, 0, 1 | NO_FLUSH, model_tick(vm)));
	assert_false(may(0, DATA, 1));    /* of PCID 0 */
	assert_true(may(0x1000, OTHER, 1)); /* global */
	assert_true(model_cr3(vm, 0, 0 | NO_FLUSH, model_tick(vm)));
	assert_true(may(0, DATA, 1));
	assert_true(model_cr3(vm, 0, 0, model_tick(vm)));
	assert_false(may(0, DATA, 1));
	assert_true(may(0x1000, OTHER, 1));
	assert_true(model_invpcid(vm, 0, 2, 0, 0, model_tick(vm)));
	assert_false(may(0x1000, OTHER, 1));
}

/* What changed while the context was not current cannot have been seen in between. */
static void only_while_current(void **state)
{
	(void)state;
	long_mode(PCIDE);
	put(PT, 0);
	assert_true(model_cr3(vm, 0, 1 | NO_FLUSH, model_tick(vm)));
	put(PT, OTHER | P | A);
	put(PT, 0);
	assert_true(model_cr3(vm, 0, NO_FLUSH, model_tick(vm)));
	assert_true(may(0, DATA, 1));
	assert_false(may(0, OTHER, 1));
}

static void contexts_are_apart(void **state)
{
	struct model_regs regs = { .cr0 = PG | 1, .cr3 = 0x4000, .cr4 = PAE, .efer = LONG };

	(void)state;
	long_mode(0);
	assert_true(model_switch(vm, 0, 1, &regs, 7, true, model_tick(vm)));
	assert_false(may(0, DATA, 1));
	put(0x4000, 0x1000 | P | U | A);
	assert_true(may(0, DATA, 1));
	put(0x4000, 0);
	assert_true(model_switch(vm, 0, 0, NULL, 0, false, model_tick(vm)));
	assert_true(model_switch(vm, 0, 1, NULL, 7, false, model_tick(vm)));
	assert_true(may(0, DATA, 1));
	assert_true(model_switch(vm, 0, 1, NULL, 8, false, model_tick(vm)));
	assert_false(may(0, DATA, 1));
}

static void slots_are_hard_limits(void **state)
{
	(void)state;
	long_mode(0);
	vm->slot[0].flags = MODEL_SLOT_READ_ONLY;
	assert_true(may(0, DATA, 1));
	assert_false(may(0, DATA, 2));
	vm->slot[0].bytes = 0x8000;
	assert_false(may(0, DATA, 1));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(walks_four_levels), CASE(walks_large_pages), CASE(walks_32_bit),
		CASE(keeps_pdptes), CASE(judges_rights), CASE(judges_loads),
		CASE(stale_until_invalidated), CASE(dirty_and_accessed_come_first),
		CASE(times_go_downwards), CASE(no_chain_across_invlpg), CASE(pcids_and_globals),
		CASE(only_while_current), CASE(contexts_are_apart), CASE(slots_are_hard_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
