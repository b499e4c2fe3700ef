/* SPDX-License-Identifier: MIT */
/* What we believe to be in the arena, with a journal for taking back. */
#include "torture/arena.h"

#include "torture/random.h"

/* Beside the arena; the entry size decides how much of each is used. */
#define BELIEF ((uint8_t *)0x1400000)
#define STAMPS ((uint32_t *)0x1800000)
#define SMALL_STAMPS ((uint32_t *)0x1c00000)
#define LOOSE ((uint8_t *)0x2000000)

enum { JOURNAL_MAX = 512, FRAMES = ARENA_BYTES / PAGE };

struct undo { uint32_t word, stamp, small_stamp; uint64_t value; uint8_t loose; };

struct arena arena;
static struct undo journal[JOURNAL_MAX];
static unsigned journaled;
static bool used[FRAMES];

static uint32_t word_of(uint64_t pa)
{
	return (uint32_t)(pa - ARENA) / arena.entry_bytes;
}

static uint64_t get(uint32_t word)
{
	return arena.entry_bytes == 8 ? ((uint64_t *)BELIEF)[word] : ((uint32_t *)BELIEF)[word];
}

static bool is_global(uint64_t value)
{
	return (value & (ENTRY_P | ENTRY_G)) == (ENTRY_P | ENTRY_G);
}

static void set(uint32_t word, uint64_t value)
{
	arena.global_words += is_global(value);
	arena.global_words -= is_global(get(word));
	if (arena.entry_bytes == 8)
		((uint64_t *)BELIEF)[word] = value;
	else
		((uint32_t *)BELIEF)[word] = (uint32_t)value;
	used[word * arena.entry_bytes / PAGE] = true;
}

static void note(uint32_t word)
{
	journal[journaled++] = (struct undo){ word, STAMPS[word], SMALL_STAMPS[word], get(word),
	                                      LOOSE[word] };
}

static void zero(void *at, uint32_t bytes)
{
	__asm__ volatile("rep stosl" : "+D"(at), "+c"((uint32_t){ bytes / 4 }) : "a"(0) : "memory");
}

void arena_reset(unsigned entry_bytes)
{
	const uint32_t words = PAGE / entry_bytes;

	for (uint32_t frame = 0; frame < FRAMES; frame++) {
		if (!used[frame] && arena.entry_bytes)
			continue;
		zero((uint8_t *)ARENA + frame * PAGE, PAGE);
		zero(BELIEF + frame * PAGE, PAGE);
		zero(STAMPS + frame * words, 4 * words);
		zero(SMALL_STAMPS + frame * words, 4 * words);
		zero(LOOSE + frame * words, words);
		used[frame] = false;
	}
	arena.entry_bytes = entry_bytes;
	arena.now = 1;
	arena.global_words = 0;
	journaled = 0;
}

void arena_read(uint64_t pa, void *to, unsigned bytes, uint8_t *loose)
{
	const uint32_t at = (uint32_t)(pa - ARENA);

	for (unsigned i = 0; i < bytes; i++) {
		((uint8_t *)to)[i] = BELIEF[at + i];
		loose[i] = (at + i) % arena.entry_bytes ? 0 : LOOSE[(at + i) / arena.entry_bytes];
	}
}

uint64_t arena_entry(uint64_t pa)
{
	return get(word_of(pa));
}

uint32_t arena_stamp(uint64_t pa)
{
	return STAMPS[word_of(pa)];
}

uint32_t arena_small_stamp(uint64_t pa)
{
	return SMALL_STAMPS[word_of(pa)];
}

void arena_write(uint64_t pa, const void *from, unsigned bytes, const uint8_t *loose)
{
	const unsigned size = arena.entry_bytes;
	uint32_t at = (uint32_t)(pa - ARENA), end = at + bytes;
	const uint8_t *byte = from;

	arena.now++;
	while (at < end) {
		const uint32_t word = at / size;
		uint64_t value = get(word);

		note(word);
		if (value & ENTRY_P)
			STAMPS[word] = arena.now;
		if (value & ENTRY_P && !(value & ENTRY_PS))
			SMALL_STAMPS[word] = arena.now;
		for (; at < end && at / size == word; at++, byte++) {
			const unsigned shift = at % size * 8;

			value = (value & ~(0xffull << shift)) | (uint64_t)*byte << shift;
			if (shift == 0)
				LOOSE[word] = loose ? loose[byte - (const uint8_t *)from] : 0;
		}
		set(word, value);
	}
}

void arena_mark(uint64_t entry_pa, uint64_t bits)
{
	const uint32_t word = word_of(entry_pa);

	if ((get(word) & bits) == bits && !(LOOSE[word] & bits))
		return;
	note(word);
	set(word, get(word) | bits);
	LOOSE[word] &= (uint8_t)~bits;
}

void arena_loosen(uint64_t entry_pa, uint64_t bits)
{
	const uint32_t word = word_of(entry_pa);
	const uint64_t open = bits & ~get(word);

	if (!open)
		return;
	note(word);
	LOOSE[word] |= (uint8_t)open;
}

void arena_commit(void)
{
	journaled = 0;
}

void arena_rollback(void)
{
	while (journaled > 0) {
		const struct undo *undo = &journal[--journaled];

		set(undo->word, undo->value);
		STAMPS[undo->word] = undo->stamp;
		SMALL_STAMPS[undo->word] = undo->small_stamp;
		LOOSE[undo->word] = undo->loose;
	}
}

void arena_fill(uint64_t pa, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		((volatile uint8_t *)(uintptr_t)pa)[i] = (uint8_t)(value >> 8 * i);
	arena_write(pa, &value, bytes, 0);
	arena_commit();
}

uint64_t arena_check(uint64_t *digest)
{
	const uint32_t per_frame = PAGE / 4;
	uint64_t sum = 0;

	for (uint32_t frame = 0; frame < FRAMES; frame++) {
		const volatile uint32_t *now = (const uint32_t *)((uint8_t *)ARENA + frame * PAGE);
		const uint32_t *then = (const uint32_t *)(BELIEF + frame * PAGE);

		for (uint32_t i = 0; used[frame] && i < per_frame; i++) {
			const uint32_t at = frame * PAGE + i * 4;
			const uint32_t loose = at % arena.entry_bytes
			                               ? 0 : LOOSE[at / arena.entry_bytes];
			const uint32_t value = now[i];

			if ((value ^ then[i]) & ~loose)
				return (ARENA + at) & ~(uint64_t)(arena.entry_bytes - 1);
			sum += (uint64_t)(value & ~loose) * (2 * at + 1);
		}
	}
	*digest = mix(*digest, sum);
	return 0;
}
