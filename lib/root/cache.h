/* SPDX-License-Identifier: MIT */
/*
 * The root cache's inside: what its policies are made of, and the quick test of the
 * current root for the vCPU's load path. Nothing here is for embedders.
 *
 * Every root is chained in a hash bucket. A cached one also holds a place. Places are handed out
 * upwards, so a root's position is the number of taken places above its own, the oldest root has
 * the lowest, and moving a root touches two bits however many roots there are:
 *
 *     order   0 1 0 0 1 1 0 1 0 0 0 ...    a bit for each place, 128 of them
 *               |     | |   | `- next_place
 *               |     | |   `- position 0, the most recently cached
 *               |     | `- position 1
 *               |     `- position 2
 *               `- position 3, the oldest: the first to leave
 *
 * New places are in the upper word only. When it is used up, the roots, at most 64, are packed
 * into the lower word: once in 64 moves.
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
 * this where it says no. A null position saves the counting: a third of the whole.
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
