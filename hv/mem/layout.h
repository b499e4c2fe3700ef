/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor's address space.
 *
 *   IMAGE_OFFSET + 1 MiB ...   the image, wherever in physical memory it lies
 *   DIRECT_BASE + pa           all physical memory, not executable
 */
#ifndef HV_MEM_LAYOUT_H
#define HV_MEM_LAYOUT_H

#include <stdint.h>

#define IMAGE_OFFSET 0x40000000ull
#define DIRECT_BASE 0xffff800000000000ull

#define PAGE_BYTES 4096ull
#define LARGE_BYTES (2ull << 20)
#define GIB (1ull << 30)
#define FOUR_GIB (4ull << 30)

static inline void *direct(uint64_t pa)
{
	return (void *)(DIRECT_BASE + pa);
}

/* The physical address of memory that direct() led to. */
static inline uint64_t direct_pa(const void *at)
{
	return (uint64_t)at - DIRECT_BASE;
}

static inline uint64_t align_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) & -unit;
}

#endif
