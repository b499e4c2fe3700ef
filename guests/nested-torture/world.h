/* SPDX-License-Identifier: MIT */
/*
 * L1's memory as L2 may see it: an arena of data, a pool of tables, and L2's low memory with its
 * code. Of each there is a copy that L2 must not reach, which says what must stand there.
 *
 *   L1 physical      is
 *   ARENA            data, a 2 MiB page; L2 reaches it by random entries
 *   POOL             random tables: L1's nested ones and L2's own
 *   LOW              L2's code, stack and fixed tables, at the same addresses for L2
 *   COPY             what the above must hold
 */
#ifndef GUESTS_NESTED_TORTURE_WORLD_H
#define GUESTS_NESTED_TORTURE_WORLD_H

#include <stdbool.h>
#include <stdint.h>

enum { PAGE = 4096, ENTRIES = 512 };

#define ARENA 0x4000000ull
#define ARENA_BYTES 0x200000ull
#define POOL 0x4200000ull
#define LOW 0x4400000ull
#define LOW_USED 0x40000ull
#define WORLD_BYTES 0x600000ull /* ARENA to the end of LOW */
#define COPY 0x5000000ull

/* In L2's low memory, by offset: pages of their own. */
#define LOW_CODE 0x10000ull
#define LOW_IDT 0x11000ull
#define LOW_GDT 0x12000ull
#define LOW_STACK 0x13000ull
#define LOW_TABLES 0x20000ull /* L2's fixed tables: four levels */

/* The pool, by page: the nested tables' fixed path to LOW, then random ones by level. */
enum {
	NESTED_ROOT, NESTED_L3, NESTED_L2, NESTED_L1, NESTED_POOL, RANDOM_TABLES,
	TABLES_A_LEVEL = 4, RANDOM_LEVELS = 3,
	NESTED_RANDOM = RANDOM_TABLES,
	OWN_RANDOM = NESTED_RANDOM + TABLES_A_LEVEL * RANDOM_LEVELS,
	POOL_PAGES = OWN_RANDOM + TABLES_A_LEVEL * RANDOM_LEVELS,
};

/* Random entries are used in the first so many slots of a table: walks meet often. */
enum { SLOTS = 4 };

/* Entry bits [APM2 5.4.1]. */
#define E_P (1ull << 0)
#define E_W (1ull << 1)
#define E_U (1ull << 2)
#define E_A (1ull << 5)
#define E_D (1ull << 6)
#define E_PS (1ull << 7)
#define E_PAT_LARGE (1ull << 12)
#define E_NX (1ull << 63)
#define E_FRAME 0x000ffffffffff000ull

/* What this processor has. */
struct processor {
	unsigned address_bits;
	bool next_rip, decode_assists, flush_by_asid, virtual_gif;
	/*
	 * The command line says which of the emulator's peculiarities cannot show: exact=nested:
	 * somebody else walks L1's nested tables; exact=all: L2's own, too, where there are none.
	 */
	bool exact_nested, exact;
};
extern struct processor processor;

static inline uint64_t *word_at(uint64_t pa)
{
	return (uint64_t *)(uintptr_t)pa;
}

static inline uint64_t pool_page(unsigned page)
{
	return POOL + (uint64_t)page * PAGE;
}

static inline bool in_arena(uint64_t pa, unsigned bytes)
{
	return pa >= ARENA && pa + bytes <= ARENA + ARENA_BYTES;
}

static inline bool in_world(uint64_t pa)
{
	return pa >= ARENA && pa < ARENA + WORLD_BYTES;
}

static inline unsigned slot_of(uint64_t address, unsigned level)
{
	return address >> (12 + 9 * (level - 1)) & (ENTRIES - 1);
}

/* Fills everything anew, from the seed. */
void world_build(void);

/* L1's own store, into the world and its copy; one that the prediction says L2 has made. */
void world_write(uint64_t pa, uint64_t value);
void world_expect(uint64_t pa, const void *bytes, unsigned count);

/* A random address that L2's tables, or L1's nested ones, may be asked for. */
uint64_t world_random_page(void);

/* Rewrites one random entry; the address of it. */
uint64_t world_edit(bool nested_table);

/*
 * Compares all with the copy; A and D bits of tables are not looked at. The address of a
 * difference, 0: none.
 */
uint64_t world_check(void);

#endif
