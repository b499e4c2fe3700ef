/* SPDX-License-Identifier: MIT */
/* Random numbers from a seed, and the digest: both the same in 32 and 64 bits. */
#ifndef GUESTS_TORTURE_RANDOM_H
#define GUESTS_TORTURE_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

extern uint64_t random_state;

/* SplitMix: a counter, scrambled. */
static inline uint64_t scramble(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static inline uint64_t random64(void)
{
	return scramble(random_state += 0x9e3779b97f4a7c15ull);
}

static inline uint32_t below(uint32_t n)
{
	return (uint32_t)((random64() >> 32) * n >> 32);
}

static inline bool percent(uint32_t chance)
{
	return below(100) < chance;
}

static inline uint64_t mix(uint64_t digest, uint64_t value)
{
	return scramble(digest * 3 + value);
}

#endif
