/* SPDX-License-Identifier: MIT */
/*
 * The arena: 4 MiB of physical memory that page tables and data share, and what we believe to be in
 * it. Beside each entry-sized word stand the time when a value that a processor may have cached was
 * last replaced, and those bits of A and D that the architecture leaves open.
 *
 * Everything before arena_commit() can be taken back: an operation whose outcome turns out to be
 * undetermined is then not done.
 */
#ifndef GUESTS_TORTURE_ARENA_H
#define GUESTS_TORTURE_ARENA_H

#include <stdbool.h>
#include <stdint.h>

#define ARENA 0x1000000u
#define ARENA_BYTES 0x400000u
#define PAGE 4096u

enum {
	/* Frames of the arena, by number: top tables, lower tables, data; the rest is spare. */
	ROOTS_MAX = 32,
	TABLES_FIRST = 32,
	TABLES = 32,
	DATA_FIRST = 64,
	DATA = 24,
};

#define ENTRY_P (1ull << 0)
#define ENTRY_W (1ull << 1)
#define ENTRY_U (1ull << 2)
#define ENTRY_A (1ull << 5)
#define ENTRY_D (1ull << 6)
#define ENTRY_PS (1ull << 7)
#define ENTRY_G (1ull << 8)
#define ENTRY_NX (1ull << 63)

struct arena {
	unsigned entry_bytes; /* 4 or 8 */
	uint32_t now;         /* counts changes and invalidations */
	uint32_t global_words; /* words with P and G */
};
extern struct arena arena;

static inline bool arena_has(uint64_t pa, unsigned bytes)
{
	return pa >= ARENA && pa + bytes <= ARENA + (uint64_t)ARENA_BYTES;
}

/* Forgets and zeroes all that was used since the last time. */
void arena_reset(unsigned entry_bytes);

/* Up to 16 bytes as we believe them; *loose gets the bits that may differ. */
void arena_read(uint64_t pa, void *to, unsigned bytes, uint8_t *loose);

/* The believed value of the entry there. */
uint64_t arena_entry(uint64_t pa);

/* When a cacheable value there was last replaced; the same for values that were no large page's. */
uint32_t arena_stamp(uint64_t pa);
uint32_t arena_small_stamp(uint64_t pa);

/* A store by software. 'loose' may be null. */
void arena_write(uint64_t pa, const void *from, unsigned bytes, const uint8_t *loose);

/* The processor sets bits A, D; or it may have set them. */
void arena_mark(uint64_t entry_pa, uint64_t bits);
void arena_loosen(uint64_t entry_pa, uint64_t bits);

void arena_commit(void);
void arena_rollback(void);

/* Writes memory and belief at once, before a test begins. */
void arena_fill(uint64_t pa, uint64_t value, unsigned bytes);

/*
 * Compares all memory in use with our belief. Returns the address of the first entry that differs,
 * or 0; mixes what it saw into *digest.
 */
uint64_t arena_check(uint64_t *digest);

#endif
