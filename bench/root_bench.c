/* SPDX-License-Identifier: MIT */
/* The root cache alone: what finding a root costs, wherever it stands, and what a miss costs. */
#include <rhizome/root.h>

#include "bench.h"

struct state {
	struct rhz_root_cache cache;
	struct rhz_root_key key[RHZ_MAX_CACHED_ROOTS + 2];
	unsigned roots;    /* keys in use */
	unsigned next;     /* the key to look for */
	uint32_t evicted[2];
};

static struct state only;

/* As many keys as the parameter 'roots' says, all inserted, the last one current. */
static void *fill(const struct bench_row *row)
{
	struct state *s = &only;

	s->roots = (unsigned)bench_parameter(row, "roots");
	bench_require(rhz_root_cache_init(&s->cache, RHZ_ROOTS_CURRENT_FIRST,
	                                  RHZ_MAX_CACHED_ROOTS, 1) == RHZ_OK, "no cache");
	for (s->next = 0; s->next < s->roots; s->next++) {
		s->key[s->next].table = 0x1000000 + s->next * (uint64_t)0x5000;
		s->key[s->next].role = 0x42;
		rhz_root_cache_insert(&s->cache, &s->key[s->next], s->next, s->evicted);
	}
	s->next = s->roots - 1;
	return s;
}

static void op_find(void *state)
{
	struct state *s = state;

	rhz_root_cache_find(&s->cache, &s->key[s->next], NULL);
}

/* Round and round: of n roots, n - 1 cached, the next one is always the oldest. */
static void choose_next(void *state)
{
	struct state *s = state;

	s->next = (s->next + 1) % s->roots;
}

static void choose_unknown(void *state)
{
	struct state *s = state;

	s->key[s->next].table += 0x1000000;
}

static void op_miss(void *state)
{
	struct state *s = state;

	if (rhz_root_cache_find(&s->cache, &s->key[s->next], NULL) == RHZ_ROOT_MISSED)
		rhz_root_cache_insert(&s->cache, &s->key[s->next], 0, s->evicted);
}

#define CURRENT .setup = fill, .run = op_find
#define CACHED .setup = fill, .prepare = choose_next, .run = op_find
#define MISSED .setup = fill, .prepare = choose_unknown, .run = op_miss

static const struct bench_row rows[] = {
	{ "find_current", { { "roots", 64 } }, CURRENT },
	{ "find_cached", { { "roots", 2 } }, CACHED },
	{ "find_cached", { { "roots", 4 } }, CACHED },
	{ "find_cached", { { "roots", 16 } }, CACHED },
	{ "find_cached", { { "roots", 65 } }, CACHED },
	{ "miss_insert", { { "roots", 65 } }, MISSED },
};

BENCH_SUITE("root", rows)
