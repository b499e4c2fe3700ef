/* SPDX-License-Identifier: MIT */
/*
 * The root cache's inside: what its policies are made of, and the quick test of the
 * current root for the vCPU's load path. Nothing here is for embedders.
 *
 * Every root is chained in a hash bucket. A cached one also holds a place. Places are handed out
 * upwards and never used twice, so the oldest root has the lowest, and a root's position is the
 * number of places above its own less those that were given up meanwhile:
 *
 *     place   64  65  66  67  68  69  70
 *     gone     .   1   .   1   1   .   ^ next_place
 *              |       |           `- position 0, the most recently cached
 *              |       `- position 1 = 69 - 66 less two gone
 *              `- position 2 = 69 - 64 less three gone: the oldest, the first to leave
 *
 * Those gone above a place are read off gone_above for whole bytes and counted in one byte. So a
 * root moves at the same price wherever it is, and whatever their number.
 *
 * Places 64 to 127 are handed out. When they are used up the cached roots, at most 64, move to
 * the places below: once in 64 moves.
 */
#ifndef LIB_ROOT_CACHE_H
#define LIB_ROOT_CACHE_H

#include <rhizome/root.h>

/* Values of place_of[] beside real places. */
enum {
	ROOT_PLACE_CURRENT = 254, /* current for its context and not in the pool */
	ROOT_PLACE_FREE = 255,    /* the entry holds no root */
};

/* What makes one policy different from another. */
struct root_rules {
	const char *name;
	/* The place of the root that must leave a full pool. */
	unsigned (*leaves)(struct rhz_root_cache *cache);
	bool finds_current;     /* the current root is looked at before the pool */
	bool pools_current;     /* the current root lives in the pool and costs a slot there */
	bool capacity_is_given; /* else the capacity is fixed_capacity, whatever was asked for */
	uint8_t fixed_capacity;
};

extern const struct root_rules rhz_root_rules[RHZ_ROOT_POLICIES];

/* The n-th taken place from below; n is less than cache->cached. */
unsigned rhz_root_cache_place(const struct rhz_root_cache *cache, unsigned n);

/*
 * rhz_root_cache_find in two parts for the vCPU's load path: root_cache_current_fits inline, and
 * this where it says no. position must not be null.
 */
enum rhz_root_found rhz_root_cache_find_cached(struct rhz_root_cache *cache,
                                               const struct rhz_root_key *key, unsigned *position);

static inline uint64_t root_key_owner(const struct rhz_root_key *key)
{
	uint64_t owner; /* guest_asid and context, compared at once */

	_Static_assert(offsetof(struct rhz_root_key, context) ==
	               offsetof(struct rhz_root_key, guest_asid) + 4, "must be one word");
	__builtin_memcpy(&owner, (const char *)key + offsetof(struct rhz_root_key, guest_asid), 8);
	return owner;
}

static inline bool root_key_same(const struct rhz_root_key *a, const struct rhz_root_key *b)
{
	return a->table == b->table && root_key_owner(a) == root_key_owner(b) &&
	       a->role == b->role;
}

/* True if rhz_root_cache_find would answer RHZ_ROOT_CURRENT and move nothing. */
static inline bool root_cache_current_fits(const struct rhz_root_cache *cache,
                                           const struct rhz_root_key *key)
{
	size_t current = cache->current[key->context];

	return current != RHZ_ROOT_NO_ENTRY && root_key_same(&cache->entry[current].key, key) &&
	       cache->plain;
}

#endif
