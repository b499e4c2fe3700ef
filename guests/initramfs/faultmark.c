/* SPDX-License-Identifier: MIT */
/* An operation is one page: its share of mmap and munmap, and the fault that brings it. Large pages
 * are declined, so that each page has its fault; the first round is not counted. */
#include "marks.h"

#include <stddef.h>
#include <sys/mman.h>

enum { PAGE_BYTES = 4096 };

static void one_round(unsigned pages)
{
	const size_t bytes = (size_t)pages * PAGE_BYTES;
	char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		mark_failed("mmap");
	/* A kernel without large pages refuses, and needs no telling. */
	madvise(at, bytes, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < bytes; i += PAGE_BYTES)
		*(volatile char *)(at + i) = 1;
	if (munmap(at, bytes))
		mark_failed("munmap");
}

void faultmark(unsigned pages, unsigned rounds)
{
	uint64_t begin;

	one_round(pages);
	begin = ticks();
	MARK(MARK_BEGIN);
	for (unsigned r = 0; r < rounds; r++)
		one_round(pages);
	MARK(MARK_END);
	mark_print("faultmark", "pages", pages, (uint64_t)pages * rounds, ticks() - begin);
}
