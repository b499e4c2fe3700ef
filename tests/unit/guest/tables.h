/* SPDX-License-Identifier: MIT */
/*
 * A few table entries in a memory of their own, and registers to begin with, for the hand-written
 * tests of this room. What is not set cannot be read.
 */
#ifndef TESTS_GUEST_TABLES_H
#define TESTS_GUEST_TABLES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <rhizome/guest.h>

struct tables {
	struct { uint64_t at, value; unsigned bytes; } entry[16];
	unsigned count;
	unsigned swaps;
	unsigned fail_swap; /* the n-th swap finds that the entry has changed; 0: none does */
};

static inline void tables_set(struct tables *t, uint64_t at, unsigned bytes, uint64_t value)
{
	unsigned i = 0;

	while (i < t->count && t->entry[i].at != at)
		i++;
	assert_true(i < 16);
	if (i == t->count)
		t->count++;
	t->entry[i].at = at;
	t->entry[i].bytes = bytes;
	t->entry[i].value = value;
}

static inline bool tables_read(void *ctx, rhz_gpa at, unsigned bytes, uint64_t *value)
{
	struct tables *t = ctx;

	for (unsigned i = 0; i < t->count; i++)
		if (t->entry[i].at == at.v) {
			assert_int_equal(bytes, t->entry[i].bytes);
			*value = t->entry[i].value;
			return true;
		}
	return false;
}

static inline uint64_t tables_get(struct tables *t, uint64_t at)
{
	for (unsigned i = 0; i < t->count; i++)
		if (t->entry[i].at == at)
			return t->entry[i].value;
	fail_msg("nothing at %#llx", (unsigned long long)at);
	return 0;
}

static inline bool tables_swap(void *ctx, rhz_gpa at, unsigned bytes, uint64_t old, uint64_t new)
{
	struct tables *t = ctx;

	assert_int_equal(tables_get(t, at.v), old);
	if (++t->swaps == t->fail_swap)
		return false;
	tables_set(t, at.v, bytes, new);
	return true;
}

/* A processor with everything, 46 address bits. */
static inline struct rhz_cpuid cpuid_of(enum rhz_vendor vendor)
{
	return (struct rhz_cpuid){
		.vendor = vendor, .maxphyaddr = 46, .pse = true, .pae = true, .pge = true,
		.pse36 = true, .pat = true, .nx = true, .gbpages = true, .la57 = true,
		.pcid = true, .invpcid = true, .smep = true, .smap = true, .pku = true,
		.pks = true,
	};
}

/* Registers of a paging mode with the top table at 1000h, WP and no other feature. */
static inline struct rhz_regs regs_of(enum rhz_paging paging)
{
	struct rhz_regs regs = { .cr0 = RHZ_CR0_PE | RHZ_CR0_WP, .cr3 = 0x1000 };

	if (paging != RHZ_PAGING_NONE)
		regs.cr0 |= RHZ_CR0_PG;
	if (paging >= RHZ_PAGING_PAE)
		regs.cr4 |= RHZ_CR4_PAE;
	if (paging >= RHZ_PAGING_4LEVEL)
		regs.efer |= RHZ_EFER_LME | RHZ_EFER_LMA;
	if (paging == RHZ_PAGING_5LEVEL)
		regs.cr4 |= RHZ_CR4_LA57;
	return regs;
}

/* One walk from registers to result. */
static inline struct rhz_walk walk_of(const struct rhz_cpuid *cpuid, const struct rhz_regs *regs,
				      struct tables *t, uint64_t gva, unsigned access)
{
	struct rhz_mode mode;
	enum rhz_walk_outcome outcome;
	struct rhz_walk walk;

	memset(&walk, 0xa5, sizeof(walk));
	assert_int_equal(rhz_mode_init(&mode, cpuid, regs), RHZ_OK);
	outcome = rhz_guest_walk(&mode, regs, (rhz_gva){ gva }, access, tables_read, t, &walk);
	assert_int_equal(outcome, walk.outcome);
	return walk;
}

#endif
