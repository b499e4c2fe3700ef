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

/* The current root's entry of a context, or null. */
static inline struct rhz_root_entry *root_cache_current(struct rhz_root_cache *cache,
                                                        unsigned context)
{
	size_t index = cache->current[context];

	return index == RHZ_ROOT_NO_ENTRY ? NULL : &cache->entry[index];
}

/* True if rhz_root_cache_find would answer RHZ_ROOT_CURRENT and move nothing. */
static inline bool root_cache_current_fits(const struct rhz_root_cache *cache,
                                           const struct rhz_root_key *key)
{
	size_t current = cache->current[key->context];

	return current != RHZ_ROOT_NO_ENTRY && root_key_same(&cache->entry[current].key, key) &&
	       cache->plain;
}

/* The bits set in a byte: the baseline processor has no POPCNT. */
extern const uint8_t rhz_root_ones[256];

/* What a place given up in byte n of 'gone' adds to gone_above: one to each byte below n. */
struct root_below { uint64_t lower, upper; };
extern const struct root_below rhz_root_below[RHZ_ROOT_PLACES / 8];

/* The upper half of the places is used up: all cached roots move to the lower one. */
void rhz_root_cache_renew(struct rhz_root_cache *cache);

/*
 * Fibonacci hashing of the table: roots differ in little else. A guest that makes its own tables
 * collide, or has one under many roles, makes its own chains long, by at most RHZ_ROOT_ENTRIES.
 */
static inline size_t bucket_of(const struct rhz_root_key *key)
{
	return key->table * 0x9e3779b97f4a7c15u >> 57;
}

/* The position of the root that holds a place. */
static inline unsigned position_of(const struct rhz_root_cache *cache, size_t place)
{
	unsigned gone = ((const uint8_t *)cache->gone)[place / 8];
	unsigned gone_above = ((const uint8_t *)cache->gone_above)[place / 8];

	return cache->next_place + ~(uint32_t)place - gone_above - rhz_root_ones[gone >> place % 8];
}

static inline void give_place(struct rhz_root_cache *cache, size_t place)
{
	((uint8_t *)cache->gone)[place / 8] |= (uint8_t)(1u << place % 8);
	cache->gone_above[0] += rhz_root_below[place / 8].lower;
	cache->gone_above[1] += rhz_root_below[place / 8].upper;
}

/* True if the places must now be renewed: left to the caller, to do last. */
static inline bool take_place(struct rhz_root_cache *cache, size_t index)
{
	size_t place = cache->next_place++;

	cache->at_place[place] = (uint8_t)index;
	cache->place_of[index] = (uint8_t)place;
	return place == RHZ_ROOT_PLACES - 1;
}

/* Other threads ask which roots are current while loads that take no lock change it. */
static inline void root_cache_set_current(struct rhz_root_cache *cache, unsigned context,
                                          size_t index)
{
	__atomic_store_n(&cache->current[context], (uint8_t)index, __ATOMIC_RELAXED);
}

/*
 * With a plain policy a key is held once. So what is found in its bucket, while the current root
 * is known not to fit, is a cached root; and it stays in its bucket, as does the old current one,
 * which there must be. The entry, null: there is none with this key.
 * *renew: rhz_root_cache_renew is to be called; left to the caller, so that it can do so last.
 */
static inline __attribute__((always_inline)) struct rhz_root_entry *
root_cache_find_plain(struct rhz_root_cache *cache, const struct rhz_root_key *key,
                      unsigned *position, bool *renew)
{
	size_t index = cache->bucket[bucket_of(key)];
	struct rhz_root_entry *entry;
	size_t old, place;

	for (;; index = entry->next) {
		if (__builtin_expect(index == RHZ_ROOT_NO_ENTRY, 0))
			return NULL;
		entry = &cache->entry[index];
		__asm__("" : "+r"(entry)); /* or the address is computed for each member */
		if (__builtin_expect(root_key_same(&entry->key, key), 1))
			break;
	}
	old = cache->current[key->context];
	root_cache_set_current(cache, key->context, index);
	place = cache->place_of[index];
	cache->place_of[index] = ROOT_PLACE_CURRENT;
	*position = position_of(cache, place);
	give_place(cache, place);
	*renew = take_place(cache, old);
	return entry;
}

#endif
