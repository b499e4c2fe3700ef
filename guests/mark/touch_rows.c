/* SPDX-License-Identifier: MIT */
/* Pages touched and entries changed, in the space that is loaded. */
#include "mark/machine.h"
#include "mark/rows.h"
#include "mark/space.h"

enum { PAGES = 2048, COLD_PAGES = 1024, EDITED = 64, EDITS = 1024 };

static uint64_t frames;     /* PAGES of them, warm */
static struct space space;  /* the one loaded */
static uint64_t cold;       /* COLD_PAGES, never touched */

/* A space never seen, with all of its pages mapped with 'flags', or none. */
static void load_new(unsigned pages, uint64_t flags)
{
	if (!frames)
		frames = pages_warm(PAGES);
	space = space_make(pages, frames, flags);
	write_cr3(space.root);
}

static void prepare_clear(unsigned roots)
{
	(void)roots;
	load_new(PAGES, PTE_NEW);
}

static void prepare_set(unsigned roots)
{
	(void)roots;
	load_new(PAGES, PTE_USED);
}

static unsigned read_all(unsigned ops, unsigned roots)
{
	(void)roots;
	for (unsigned i = 0; i < ops; i++)
		page_read(i);
	return ops;
}

static unsigned write_all(unsigned ops, unsigned roots)
{
	(void)roots;
	for (unsigned i = 0; i < ops; i++)
		page_write(i);
	return ops;
}

static void map_page(uint64_t gva)
{
	*space_walk(space.root, gva) = (frames + (gva - WINDOW)) | PTE_USED;
}

static void prepare_demand(unsigned roots)
{
	(void)roots;
	load_new(PAGES, 0);
	on_page_fault = map_page;
}

static void prepare_cold(unsigned roots)
{
	(void)roots;
	cold = pages_alloc(COLD_PAGES, PAGES_2M);
}

static unsigned cold_write(unsigned ops, unsigned roots)
{
	(void)roots;
	for (unsigned i = 0; i < ops; i++)
		*(volatile uint64_t *)(cold + (uint64_t)i * PAGE_BYTES) = i;
	return ops;
}

/* One table of pages, all touched, stays for all repetitions of a row. */
static void prepare_edited(unsigned roots)
{
	(void)roots;
	on_page_fault = 0;
	load_new(EDITED, PTE_USED);
	for (unsigned i = 0; i < EDITED; i++)
		page_write(i);
}

static unsigned pte_invlpg_touch(unsigned ops, unsigned roots)
{
	(void)roots;
	for (unsigned done = 0; done < ops; done += EDITED) {
		for (unsigned i = 0; i < EDITED; i++) {
			space.pte[i] ^= PTE_OTHER_FRAME;
			invlpg(WINDOW + i * PAGE_BYTES);
			page_read(i);
		}
	}
	return ops;
}

static unsigned wrprot_invlpg_touch(unsigned ops, unsigned roots)
{
	(void)roots;
	for (unsigned done = 0; done < ops; done += EDITED) {
		for (unsigned i = 0; i < EDITED; i++) {
			space.pte[i] ^= PTE_W;
			invlpg(WINDOW + i * PAGE_BYTES);
			page_read(i);
		}
	}
	return ops;
}

static unsigned invlpg_alone(unsigned ops, unsigned roots)
{
	(void)roots;
	for (unsigned i = 0; i < ops; i++)
		invlpg(WINDOW);
	return ops;
}

static unsigned pte64_cr3(unsigned ops, unsigned roots)
{
	(void)roots;
	for (unsigned done = 0; done < ops; done += EDITED) {
		for (unsigned i = 0; i < EDITED; i++)
			space.pte[i] ^= PTE_OTHER_FRAME;
		write_cr3(space.root);
		for (unsigned i = 0; i < EDITED; i++)
			page_read(i);
	}
	return ops;
}

const struct row touch_rows[] = {
	{ "touch_clear_read", PAGES, false, prepare_clear, read_all },
	{ "touch_clear_write", PAGES, false, prepare_clear, write_all },
	{ "touch_set_read", PAGES, false, prepare_set, read_all },
	{ "touch_set_write", PAGES, false, prepare_set, write_all },
	{ "demand_fault", PAGES, false, prepare_demand, write_all },
	{ "cold_write", COLD_PAGES, false, prepare_cold, cold_write },
	{ "pte_invlpg_touch", EDITS, false, prepare_edited, pte_invlpg_touch },
	{ "wrprot_invlpg_touch", EDITS, false, prepare_edited, wrprot_invlpg_touch },
	{ "invlpg", EDITS, false, prepare_edited, invlpg_alone },
	{ "pte64_cr3", EDITED * 32, false, prepare_edited, pte64_cr3 },
	{ .op = 0 },
};
