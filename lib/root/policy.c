/* SPDX-License-Identifier: MIT */
/*
 * The policies: their names, and which root leaves a full pool. The moves themselves, the same
 * for all policies, are in cache.c.
 */
#include "root/cache.h"

static unsigned leaves_oldest(struct rhz_root_cache *cache)
{
	return rhz_root_cache_place(cache, 0);
}

/*
 * Four draws with replacement. A root's rank from below is its age, so the oldest of the four is
 * the least rank drawn. Xorshift with shifts 13, 7, 17; its state is never 0.
 */
static unsigned leaves_random_4(struct rhz_root_cache *cache)
{
	uint64_t x = cache->random;
	unsigned least = cache->cached - 1;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	cache->random = x;
	for (unsigned draw = 0; draw < 4; draw++, x >>= 16) {
		unsigned rank = (unsigned)((x & 0xffff) * cache->cached >> 16);

		if (rank < least)
			least = rank;
	}
	return rhz_root_cache_place(cache, least);
}

const struct root_rules rhz_root_rules[RHZ_ROOT_POLICIES] = {
	[RHZ_ROOTS_NONE] = {
		.name = "none",
		.leaves = leaves_oldest,
		.fixed_capacity = 0,
	},
	[RHZ_ROOTS_VICTIM] = {
		.name = "victim",
		.leaves = leaves_oldest,
		.capacity_is_given = true,
	},
	[RHZ_ROOTS_CURRENT_FIRST] = {
		.name = "current-first",
		.leaves = leaves_oldest,
		.finds_current = true,
		.capacity_is_given = true,
	},
	[RHZ_ROOTS_AT_CREATION] = {
		.name = "at-creation",
		.leaves = leaves_oldest,
		.pools_current = true,
		.capacity_is_given = true,
	},
	[RHZ_ROOTS_RANDOM_4] = {
		.name = "random-4",
		.leaves = leaves_random_4,
		.finds_current = true,
		.capacity_is_given = true,
	},
	[RHZ_ROOTS_PINNED] = {
		.name = "pinned",
		.leaves = leaves_oldest,
		.finds_current = true,
		.fixed_capacity = RHZ_MAX_CACHED_ROOTS,
	},
};

const char *rhz_root_policy_name(enum rhz_root_policy policy)
{
	return (unsigned)policy < RHZ_ROOT_POLICIES ? rhz_root_rules[policy].name : NULL;
}

static bool names_equal(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

enum rhz_status rhz_root_policy_find(const char *name, enum rhz_root_policy *policy)
{
	if (!name || !policy)
		return RHZ_ERR_ARGUMENT;
	for (unsigned i = 0; i < RHZ_ROOT_POLICIES; i++) {
		if (names_equal(name, rhz_root_rules[i].name)) {
			*policy = (enum rhz_root_policy)i;
			return RHZ_OK;
		}
	}
	return RHZ_ERR_POLICY;
}
