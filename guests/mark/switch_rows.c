/* SPDX-License-Identifier: MIT */
/* Switches between address spaces. Each space has tables of its own from the top page down. */
#include "mark/machine.h"
#include "mark/rows.h"
#include "mark/space.h"

enum { TOUCHED = 16, NEW_ROOTS = 64 };

static struct space spaces[ROOTS_MAX], fresh[NEW_ROOTS];

static void touch(void)
{
	for (unsigned page = 0; page < TOUCHED; page++)
		page_read(page);
}

static void prepare_spaces(unsigned roots)
{
	for (unsigned i = 0; i < roots; i++) {
		if (!spaces[i].root)
			spaces[i] = space_make(TOUCHED, pages_warm(TOUCHED), PTE_USED);
	}
}

static void prepare_new(unsigned roots)
{
	(void)roots;
	for (unsigned i = 0; i < NEW_ROOTS; i++)
		fresh[i] = space_make(TOUCHED, pages_warm(TOUCHED), PTE_USED);
}

static unsigned cr3(unsigned ops, unsigned roots)
{
	const unsigned rounds = ops / roots;

	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < roots; i++)
			write_cr3(spaces[i].root);
	}
	return rounds * roots;
}

static unsigned cr3_touch16(unsigned ops, unsigned roots)
{
	const unsigned rounds = ops / roots;

	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < roots; i++) {
			write_cr3(spaces[i].root);
			touch();
		}
	}
	return rounds * roots;
}

/* The entry changed leads to another frame, and is one of those touched. */
static unsigned cr3_touch16_pte(unsigned ops, unsigned roots)
{
	const unsigned rounds = ops / roots;

	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < roots; i++) {
			write_cr3(spaces[i].root);
			touch();
			spaces[i].pte[round % TOUCHED] ^= PTE_OTHER_FRAME;
		}
	}
	return rounds * roots;
}

static unsigned cr3_new_touch16(unsigned ops, unsigned roots)
{
	(void)roots;
	for (unsigned i = 0; i < ops; i++) {
		write_cr3(fresh[i].root);
		touch();
	}
	return ops;
}

static unsigned cr4_pge(unsigned ops, unsigned roots)
{
	(void)roots;
	for (unsigned i = 0; i < ops; i++)
		write_cr4(read_cr4() ^ CR4_PGE);
	return ops;
}

const struct row switch_rows[] = {
	{ "cr3", 512, true, prepare_spaces, cr3 },
	{ "cr3_touch16", 512, true, prepare_spaces, cr3_touch16 },
	{ "cr3_touch16_pte", 512, true, prepare_spaces, cr3_touch16_pte },
	{ "cr3_new_touch16", NEW_ROOTS, false, prepare_new, cr3_new_touch16 },
	{ "cr4_pge", 512, false, 0, cr4_pge },
	{ .op = 0 },
};
