/* SPDX-License-Identifier: MIT */
/*
 * The root cache: search, insertion and removal, whatever the policy. The layout is drawn in
 * cache.h, what differs by policy is in policy.c. What a root is made of is not known here.
 */
#include "root/cache.h"

_Static_assert(RHZ_ROOT_PLACES == 128, "places are two words: one to move to, one to hand out");
_Static_assert(RHZ_MAX_CACHED_ROOTS <= 64, "all cached roots must fit the lower word");
_Static_assert(RHZ_ROOT_PLACES <= (int)ROOT_PLACE_CURRENT, "places and their marks must differ");
_Static_assert((int)RHZ_ROOT_ENTRIES < (int)RHZ_ROOT_NO_ENTRY, "an index must fit its byte");
_Static_assert(RHZ_ROOT_BUCKETS == 128, "bucket_of yields seven bits");
_Static_assert(sizeof(struct rhz_root_entry) == 64, "an entry is one cache line");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "gone is read in bytes too");

/* The bits set in a byte: the baseline processor has no POPCNT. */
#define FOUR(n) n, n + 1, n + 1, n + 2
#define SIXTEEN(n) FOUR(n), FOUR(n + 1), FOUR(n + 1), FOUR(n + 2)
#define SIXTY_FOUR(n) SIXTEEN(n), SIXTEEN(n + 1), SIXTEEN(n + 1), SIXTEEN(n + 2)
const uint8_t rhz_root_ones[256] = {
	SIXTY_FOUR(0), SIXTY_FOUR(1), SIXTY_FOUR(1), SIXTY_FOUR(2),
};

/* What a place given up in byte n of 'gone' adds to gone_above: one to each byte below n. */
#define BELOW(n) (0x0101010101010101u & ((1ull << 8 * (n)) - 1))
#define ALL 0x0101010101010101u
const struct root_below rhz_root_below[RHZ_ROOT_PLACES / 8] = {
	{ BELOW(0), 0 }, { BELOW(1), 0 }, { BELOW(2), 0 }, { BELOW(3), 0 },
	{ BELOW(4), 0 }, { BELOW(5), 0 }, { BELOW(6), 0 }, { BELOW(7), 0 },
	{ ALL, BELOW(0) }, { ALL, BELOW(1) }, { ALL, BELOW(2) }, { ALL, BELOW(3) },
	{ ALL, BELOW(4) }, { ALL, BELOW(5) }, { ALL, BELOW(6) }, { ALL, BELOW(7) },
};

unsigned rhz_root_cache_place(const struct rhz_root_cache *cache, unsigned n)
{
	uint64_t held = ~cache->gone[0];
	unsigned half = 0;

	/* In the upper half places not yet handed out seem held, but are above all that are. */
	for (;; n--) {
		if (!held) {
			half = 1;
			held = ~cache->gone[1];
		}
		if (!n)
			return half * 64 + (unsigned)__builtin_ctzll(held);
		held &= held - 1;
	}
}

/*
 * Nothing is left in the lower half, so all move down by 64 places, eight at a time. A place is
 * less than 128; what has bit 7 set is a mark and stays.
 */
static void lower_places(struct rhz_root_cache *cache)
{
	_Static_assert(sizeof(cache->place_of) % 8 == 0, "place_of is moved in 64-bit words");

	for (unsigned i = 0; i < sizeof(cache->place_of); i += 8) {
		uint64_t places;

		__builtin_memcpy(&places, &cache->place_of[i], 8);
		places &= places >> 1 | 0xbfbfbfbfbfbfbfbfu;
		__builtin_memcpy(&cache->place_of[i], &places, 8);
	}
	__builtin_memcpy(cache->at_place, cache->at_place + 64, 64);
	cache->gone[0] = cache->gone[1];
	cache->gone_above[0] = cache->gone_above[1];
}

/* Gives the cached roots the last places of the lower half, in the same order. */
static void pack_places(struct rhz_root_cache *cache)
{
	uint8_t at_place[RHZ_ROOT_PLACES];
	size_t place = 64 - cache->cached;

	__builtin_memcpy(at_place, cache->at_place, sizeof(at_place));
	for (unsigned half = 0; half < 2; half++) {
		uint64_t held = ~cache->gone[half];

		for (; held; held &= held - 1, place++) {
			size_t index = at_place[half * 64 + (unsigned)__builtin_ctzll(held)];

			cache->at_place[place] = (uint8_t)index;
			cache->place_of[index] = (uint8_t)place;
		}
	}
	cache->gone[0] = cache->cached == 64 ? 0 : ~0ull >> cache->cached;
	cache->gone_above[0] = 0;
}

/* The upper half is used up. */
void rhz_root_cache_renew(struct rhz_root_cache *cache)
{
	if (~cache->gone[0])
		pack_places(cache);
	else
		lower_places(cache);
	cache->gone[1] = 0;
	cache->gone_above[1] = 0;
	cache->next_place = 64;
}

static inline bool is_cached(const struct rhz_root_cache *cache, unsigned index)
{
	return cache->place_of[index] < RHZ_ROOT_PLACES;
}

static inline bool is_current(const struct rhz_root_cache *cache, unsigned index)
{
	return cache->current[cache->entry[index].key.context] == index;
}

static void enter_pool(struct rhz_root_cache *cache, unsigned index)
{
	cache->cached++;
	if (take_place(cache, index))
		rhz_root_cache_renew(cache);
}

static void leave_pool(struct rhz_root_cache *cache, unsigned index)
{
	give_place(cache, cache->place_of[index]);
	cache->place_of[index] = ROOT_PLACE_CURRENT;
	cache->cached--;
}

static void free_entry(struct rhz_root_cache *cache, unsigned index)
{
	cache->place_of[index] = ROOT_PLACE_FREE;
	cache->entry[index].next = cache->free_head;
	cache->free_head = (uint8_t)index;
}

/* Takes a root that is in no pool out of its bucket. */
static uint32_t forget(struct rhz_root_cache *cache, unsigned index)
{
	uint8_t *link = &cache->bucket[bucket_of(&cache->entry[index].key)];

	while (*link != index)
		link = &cache->entry[*link].next;
	*link = cache->entry[index].next;
	free_entry(cache, index);
	return cache->entry[index].page;
}

enum rhz_status rhz_root_cache_init(struct rhz_root_cache *cache, enum rhz_root_policy policy,
                                    unsigned capacity, uint64_t seed)
{
	const struct root_rules *rules;

	if (!cache)
		return RHZ_ERR_ARGUMENT;
	if ((unsigned)policy >= RHZ_ROOT_POLICIES)
		return RHZ_ERR_POLICY;
	if (capacity > RHZ_MAX_CACHED_ROOTS)
		return RHZ_ERR_TOO_MANY_ROOTS;
	rules = &rhz_root_rules[policy];
	__builtin_memset(cache, 0, sizeof(*cache));
	cache->random = seed ? seed : 1; /* xorshift stays at 0 for ever */
	cache->capacity = rules->capacity_is_given ? capacity : rules->fixed_capacity;
	cache->gone[0] = ~0ull;
	cache->next_place = 64;
	cache->policy = policy;
	cache->plain = rules->finds_current && !rules->pools_current;
	__builtin_memset(cache->current, RHZ_ROOT_NO_ENTRY, sizeof(cache->current));
	__builtin_memset(cache->bucket, RHZ_ROOT_NO_ENTRY, sizeof(cache->bucket));
	cache->free_head = RHZ_ROOT_NO_ENTRY;
	for (unsigned i = RHZ_ROOT_ENTRIES; i-- > 0;)
		free_entry(cache, i);
	return RHZ_OK;
}

/* The most recently cached root with this key: under 'victim' there may be two. */
static unsigned search_pool(const struct rhz_root_cache *cache, const struct rhz_root_key *key)
{
	unsigned best = RHZ_ROOT_NO_ENTRY;
	unsigned index = cache->bucket[bucket_of(key)];

	for (; index != RHZ_ROOT_NO_ENTRY; index = cache->entry[index].next) {
		if (!is_cached(cache, index) || !root_key_same(&cache->entry[index].key, key))
			continue;
		if (best == RHZ_ROOT_NO_ENTRY || cache->place_of[index] > cache->place_of[best])
			best = index;
	}
	return best;
}

/* The search for policies that are not plain, and for a context that has no current root. */
static enum rhz_root_found __attribute__((noinline))
find_rare(struct rhz_root_cache *cache, const struct rhz_root_key *key, unsigned *position)
{
	unsigned old = cache->current[key->context];
	unsigned index = search_pool(cache, key);

	if (index == RHZ_ROOT_NO_ENTRY)
		return RHZ_ROOT_MISSED;
	*position = position_of(cache, cache->place_of[index]);
	leave_pool(cache, index);
	root_cache_set_current(cache, key->context, index);
	if (rhz_root_rules[cache->policy].pools_current) {
		/* The old current root is in the pool, and stays: had it been pushed out, so would
		   the found one, which is older. */
		enter_pool(cache, index);
		return index == old ? RHZ_ROOT_CURRENT : RHZ_ROOT_CACHED;
	}
	if (old != RHZ_ROOT_NO_ENTRY)
		enter_pool(cache, old);
	return RHZ_ROOT_CACHED;
}

enum rhz_root_found rhz_root_cache_find_cached(struct rhz_root_cache *cache,
                                               const struct rhz_root_key *key, unsigned *position)
{
	bool renew;

	if (!cache->plain || cache->current[key->context] == RHZ_ROOT_NO_ENTRY)
		return find_rare(cache, key, position);
	if (!root_cache_find_plain(cache, key, position, &renew))
		return RHZ_ROOT_MISSED;
	if (renew)
		rhz_root_cache_renew(cache);
	return RHZ_ROOT_CACHED;
}

enum rhz_root_found rhz_root_cache_find(struct rhz_root_cache *cache,
                                        const struct rhz_root_key *key, unsigned *position)
{
	unsigned ignored;

	if (root_cache_current_fits(cache, key))
		return RHZ_ROOT_CURRENT;
	return rhz_root_cache_find_cached(cache, key, position ? position : &ignored);
}

/* If the pool is full, takes one root out. Returns how many left the cache: one still in use does
   not. */
static unsigned make_room(struct rhz_root_cache *cache, uint32_t *evicted)
{
	unsigned index;

	if (cache->cached < cache->capacity)
		return 0;
	index = cache->at_place[rhz_root_rules[cache->policy].leaves(cache)];
	leave_pool(cache, index);
	if (is_current(cache, index))
		return 0;
	*evicted = forget(cache, index);
	return 1;
}

/* The context's current root, if any, gives up being that. Returns how many roots left. */
static unsigned retire_current(struct rhz_root_cache *cache, unsigned context, uint32_t *evicted)
{
	unsigned index = cache->current[context];
	unsigned left;

	cache->current[context] = RHZ_ROOT_NO_ENTRY;
	if (index == RHZ_ROOT_NO_ENTRY || is_cached(cache, index))
		return 0;
	if (!cache->capacity || rhz_root_rules[cache->policy].pools_current) {
		*evicted = forget(cache, index);
		return 1;
	}
	left = make_room(cache, evicted);
	enter_pool(cache, index);
	return left;
}

/* The pool is full: one root leaves it for the current one, and its entry becomes the new one's. */
static unsigned insert_full(struct rhz_root_cache *cache, const struct rhz_root_key *key,
                            uint32_t page, uint32_t *evicted)
{
	size_t place = rhz_root_rules[cache->policy].leaves(cache);
	size_t index = cache->at_place[place], old = cache->current[key->context];
	struct rhz_root_entry *entry = &cache->entry[index];
	uint8_t *bucket = &cache->bucket[bucket_of(&entry->key)];

	give_place(cache, place);
	*evicted = entry->page;
	while (*bucket != index)
		bucket = &cache->entry[*bucket].next;
	*bucket = entry->next;
	bucket = &cache->bucket[bucket_of(key)];
	*entry = (struct rhz_root_entry){ .key = *key, .page = page, .next = *bucket };
	*bucket = (uint8_t)index;
	cache->place_of[index] = ROOT_PLACE_CURRENT;
	root_cache_set_current(cache, key->context, index);
	if (take_place(cache, old))
		rhz_root_cache_renew(cache);
	return 1;
}

unsigned rhz_root_cache_insert(struct rhz_root_cache *cache, const struct rhz_root_key *key,
                               uint32_t page, uint32_t evicted[2])
{
	uint8_t *bucket = &cache->bucket[bucket_of(key)];
	struct rhz_root_entry *entry;
	unsigned left, index;

	if (cache->plain && cache->capacity && cache->cached == cache->capacity &&
	    cache->current[key->context] != RHZ_ROOT_NO_ENTRY)
		return insert_full(cache, key, page, evicted);
	left = retire_current(cache, key->context, evicted);
	index = cache->free_head;
	entry = &cache->entry[index];
	cache->free_head = entry->next;
	cache->place_of[index] = ROOT_PLACE_CURRENT;
	root_cache_set_current(cache, key->context, index);
	*entry = (struct rhz_root_entry){ .key = *key, .page = page, .next = *bucket };
	*bucket = (uint8_t)index;
	if (rhz_root_rules[cache->policy].pools_current && cache->capacity) {
		left += make_room(cache, evicted + left);
		enter_pool(cache, index);
	}
	return left;
}

uint32_t rhz_root_cache_remove(struct rhz_root_cache *cache, unsigned index)
{
	if (is_cached(cache, index))
		leave_pool(cache, index);
	if (is_current(cache, index))
		cache->current[cache->entry[index].key.context] = RHZ_ROOT_NO_ENTRY;
	return forget(cache, index);
}

unsigned rhz_root_cache_oldest(const struct rhz_root_cache *cache)
{
	/* Under at-creation a cached root may be in use: at most one for each context is. */
	for (unsigned n = 0; n < cache->cached; n++) {
		unsigned index = cache->at_place[rhz_root_cache_place(cache, n)];

		if (!is_current(cache, index))
			return index;
	}
	return RHZ_ROOT_NO_ENTRY;
}

bool rhz_root_cache_holds(const struct rhz_root_cache *cache, unsigned index)
{
	return index < RHZ_ROOT_ENTRIES && cache->place_of[index] != ROOT_PLACE_FREE;
}
