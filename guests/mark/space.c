/* SPDX-License-Identifier: MIT */
/* Nothing is given back: a frame that was a table once is a table to the hypervisor for long. */
#include "mark/space.h"

#include "mark/machine.h"

#define PTE_ADDRESS 0x000ffffffffff000ull

extern uint64_t kernel_root[TABLE_ENTRIES];

static uint64_t free_begin, free_end;

void memory_init(uint64_t begin, uint64_t end)
{
	free_begin = begin;
	free_end = end;
}

uint64_t pages_alloc(unsigned pages, unsigned align_pages)
{
	const uint64_t align = (uint64_t)align_pages * PAGE_BYTES;
	const uint64_t at = (free_begin + align - 1) / align * align;

	if (at + (uint64_t)pages * PAGE_BYTES > free_end)
		fail("too little memory", "");
	free_begin = at + (uint64_t)pages * PAGE_BYTES;
	return at;
}

uint64_t pages_warm(unsigned pages)
{
	const uint64_t at = pages_alloc(pages, 2);

	for (unsigned i = 0; i < pages; i++)
		*(volatile uint64_t *)(at + (uint64_t)i * PAGE_BYTES) = i;
	return at;
}

struct space space_make(unsigned pages, uint64_t frames, uint64_t flags)
{
	const unsigned tables = (pages + TABLE_ENTRIES - 1) / TABLE_ENTRIES;
	uint64_t *table = (uint64_t *)pages_alloc(3 + tables, 1);
	uint64_t *const top = table, *const upper = table + TABLE_ENTRIES;
	uint64_t *const middle = upper + TABLE_ENTRIES, *const leaf = middle + TABLE_ENTRIES;

	for (unsigned i = 0; i < (3 + tables) * TABLE_ENTRIES; i++)
		table[i] = 0;
	top[0] = kernel_root[0];
	top[WINDOW >> 39] = (uint64_t)upper | PTE_USED;
	upper[0] = (uint64_t)middle | PTE_USED;
	for (unsigned i = 0; i < tables; i++)
		middle[i] = (uint64_t)(leaf + i * TABLE_ENTRIES) | PTE_USED;
	for (unsigned i = 0; flags && i < pages; i++)
		leaf[i] = (frames + (uint64_t)i * PAGE_BYTES) | flags;
	return (struct space){ (uint64_t)top, leaf };
}

uint64_t *space_walk(uint64_t root, uint64_t gva)
{
	uint64_t *table = (uint64_t *)root;

	for (unsigned shift = 39; shift > 12; shift -= 9) {
		const uint64_t entry = table[gva >> shift & (TABLE_ENTRIES - 1)];

		if (!(entry & PTE_P))
			fail("no table for a page", "");
		table = (uint64_t *)(entry & PTE_ADDRESS);
	}
	return &table[gva >> 12 & (TABLE_ENTRIES - 1)];
}
