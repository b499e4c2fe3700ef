/* SPDX-License-Identifier: MIT */
/* Guest memory handed out once and never again, and the address spaces made of it. */
#ifndef GUESTS_MARK_SPACE_H
#define GUESTS_MARK_SPACE_H

#include <stdint.h>

enum { PAGE_BYTES = 4096, TABLE_ENTRIES = 512 };
#define PAGES_2M 512u

#define PTE_P (1ull << 0)
#define PTE_W (1ull << 1)
#define PTE_U (1ull << 2)
#define PTE_A (1ull << 5)
#define PTE_D (1ull << 6)
/* Frames come in pairs: flipping this bit maps the neighbour. */
#define PTE_OTHER_FRAME ((uint64_t)PAGE_BYTES)
#define PTE_NEW (PTE_P | PTE_W | PTE_U)
#define PTE_USED (PTE_NEW | PTE_A | PTE_D)

/* Where a space's own pages are mapped; below is the kernel, the same in every space. */
#define WINDOW (1ull << 39)

struct space {
	uint64_t root;  /* what CR3 takes */
	uint64_t *pte;  /* of the window's pages, through the identity mapping */
};

/* All memory from 'begin' to 'end' is to be handed out. */
void memory_init(uint64_t begin, uint64_t end);

/* Pages in a row that nobody has touched. Ends the run where there are none left. */
uint64_t pages_alloc(unsigned pages, unsigned align_pages);

/* The same, written once each: the hypervisor has mapped them. */
uint64_t pages_warm(unsigned pages);

/* Tables of its own from the top down; entry i maps frame i from 'frames', with 'flags'. */
struct space space_make(unsigned pages, uint64_t frames, uint64_t flags);

/* The leaf entry of an address of the window, found from the root down. */
uint64_t *space_walk(uint64_t root, uint64_t gva);

/* Reads, or writes, a page of the window. */
static inline void page_read(unsigned page)
{
	*(const volatile uint64_t *)(WINDOW + (uint64_t)page * PAGE_BYTES);
}

static inline void page_write(unsigned page)
{
	*(volatile uint64_t *)(WINDOW + (uint64_t)page * PAGE_BYTES) = 1;
}

#endif
