/* SPDX-License-Identifier: MIT */
/* Every policy and capacity at once; see whatif.h. */
#include "whatif.h"
#include "lab.h"

#include <stdlib.h>
#include <string.h>

enum { PLACES = LAB_STACK_SIZE + 1, UNHELD = ~0u, STAND_IN = 4 };

/* random-4 with one capacity, from the moment on when its pool was full. */
struct drawn {
	struct rhz_root_cache cache;
	uint64_t cached, missed, positions;
};

/* One cache for some of a vCPU's contexts, under all policies. */
struct lab_pool {
	bool one;                       /* all contexts have one current root, */
	unsigned slot;                  /* which stands here in current[] */
	lab_root current[RHZ_CONTEXTS];
	uint64_t requests, repeated;    /* repeated: the current root was asked for */
	struct lab_stack plain, victim; /* cached roots: without the current, which victim does
	                                   not look at */
	struct lab_stack all;           /* the current roots among them */
	/* Requests by position; the last: found nowhere. same: of these, for the current root. */
	uint64_t plain_at[PLACES], victim_at[PLACES], victim_same[PLACES];
	uint64_t all_at[PLACES], all_same[PLACES];
	/* Sums of the positions that the library would name: a hole counts for none. */
	uint64_t plain_positions[PLACES], victim_positions[PLACES], all_positions[PLACES];
	uint64_t seed;
	unsigned full;                    /* drawn[] below this are in use */
	struct drawn *drawn[PLACES];
};

static struct lab_pool *new_pool(bool one, uint64_t seed)
{
	struct lab_pool *pool = lab_realloc(NULL, 1, sizeof(*pool));

	memset(pool, 0, sizeof(*pool));
	pool->one = one;
	pool->seed = seed;
	pool->full = 2; /* with one root and with none there is nothing to draw */
	return pool;
}

static void free_pool(struct lab_pool *pool)
{
	for (unsigned i = 0; pool && i < PLACES; i++)
		free(pool->drawn[i]);
	free(pool);
}

void lab_whatif_init(struct lab_whatif *whatif, bool random, uint64_t seed)
{
	*whatif = (struct lab_whatif){ .random = random, .seed = seed };
	whatif->shared = new_pool(false, seed);
}

void lab_whatif_free(struct lab_whatif *whatif)
{
	free_pool(whatif->shared);
	free_pool(whatif->mmu[0]);
	free_pool(whatif->mmu[1]);
	*whatif = (struct lab_whatif){ .shared = NULL };
}

static unsigned slot_of(const struct lab_pool *pool, lab_root root)
{
	return pool->one ? pool->slot : lab_root_context(root);
}

static struct rhz_root_key key_of(const struct lab_pool *pool, lab_root root)
{
	return (struct rhz_root_key){ .table = root >> 2, .role = lab_root_context(root),
	                              .context = slot_of(pool, root) };
}

static unsigned entry_of(const struct rhz_root_cache *cache, const struct rhz_root_key *key)
{
	for (unsigned i = 0; i < RHZ_ROOT_ENTRIES; i++)
		if (rhz_root_cache_holds(cache, i) && cache->entry[i].key.table == key->table &&
		    cache->entry[i].key.role == key->role)
			return i;
	return UNHELD;
}

/*
 * The library's cache in the state that it would have now: no root has left it yet, so it holds
 * what the stack does, in the same order. A root gets into the pool when another takes its place
 * as the current one; here that is a stand-in, which then goes.
 */
static struct drawn *draw_from_now(const struct lab_pool *pool, unsigned capacity)
{
	struct drawn *drawn = lab_realloc(NULL, 1, sizeof(*drawn));
	uint32_t evicted[2];

	memset(drawn, 0, sizeof(*drawn));
	rhz_root_cache_init(&drawn->cache, RHZ_ROOTS_RANDOM_4, capacity, pool->seed);
	for (unsigned i = pool->plain.count; i-- > 0;) {
		struct rhz_root_key key = key_of(pool, pool->plain.root[i]);
		struct rhz_root_key other = key;

		if (!pool->plain.root[i])
			continue;
		other.role = STAND_IN; /* no context's */
		rhz_root_cache_insert(&drawn->cache, &key, 0, evicted);
		rhz_root_cache_insert(&drawn->cache, &other, 0, evicted);
		rhz_root_cache_remove(&drawn->cache, entry_of(&drawn->cache, &other));
	}
	for (unsigned slot = 0; slot < RHZ_CONTEXTS; slot++) {
		struct rhz_root_key key = key_of(pool, pool->current[slot]);

		if (pool->current[slot])
			rhz_root_cache_insert(&drawn->cache, &key, 0, evicted);
	}
	for (unsigned place = 0; place < capacity; place++) {
		drawn->cached += pool->plain_at[place];
		drawn->positions += pool->plain_positions[place];
	}
	drawn->missed = pool->requests - pool->repeated - drawn->cached;
	return drawn;
}

/* A request that is not for the current root, before the stack moves. */
static void draw(struct lab_pool *pool, lab_root root, unsigned position)
{
	struct rhz_root_key key = key_of(pool, root);
	unsigned held = pool->plain.count - pool->plain.holes;
	uint32_t evicted[2];

	/* All that the stack has lost, these had lost before: only the next one can fill now. */
	if (position == LAB_STACK_NONE && pool->full < PLACES && held == pool->full &&
	    pool->current[slot_of(pool, root)]) {
		pool->drawn[pool->full] = draw_from_now(pool, pool->full);
		pool->full++;
	}
	for (unsigned capacity = 2; capacity < pool->full; capacity++) {
		struct drawn *drawn = pool->drawn[capacity];
		unsigned at = 0;

		if (rhz_root_cache_find(&drawn->cache, &key, &at) == RHZ_ROOT_MISSED) {
			rhz_root_cache_insert(&drawn->cache, &key, 0, evicted);
			drawn->missed++;
		} else {
			drawn->cached++;
			drawn->positions += at;
		}
	}
}

/* The position that the library would name: holes are none. */
static unsigned position_of(const struct lab_stack *stack, unsigned place)
{
	unsigned position = place;

	for (unsigned i = 0; stack->holes && i < place; i++)
		position -= !stack->root[i];
	return position;
}

static unsigned pool_request(struct lab_pool *pool, lab_root root, bool random)
{
	unsigned slot = slot_of(pool, root), place = LAB_CURRENT, at;
	lab_root current = pool->current[slot];
	bool same = current == root;

	at = lab_stack_find(&pool->victim, root);
	pool->victim_at[at]++;
	pool->victim_same[at] += same;
	pool->victim_positions[at] += position_of(&pool->victim, at);
	lab_stack_move(&pool->victim, at, current);
	at = lab_stack_find(&pool->all, root);
	pool->all_at[at]++;
	pool->all_same[at] += same;
	pool->all_positions[at] += same ? 0 : position_of(&pool->all, at);
	if (at)
		lab_stack_move(&pool->all, at, root);
	if (same) {
		pool->repeated++;
	} else {
		place = lab_stack_find(&pool->plain, root);
		if (random)
			draw(pool, root, place);
		pool->plain_at[place]++;
		pool->plain_positions[place] += position_of(&pool->plain, place);
		lab_stack_move(&pool->plain, place, current);
		pool->current[slot] = root;
	}
	pool->requests++;
	return place;
}

static void take_out(struct lab_stack *stack, lab_root root)
{
	for (unsigned at; (at = lab_stack_find(stack, root)) != LAB_STACK_NONE;)
		lab_stack_move(stack, at, 0);
}

static void pool_gone(struct lab_pool *pool, lab_root root)
{
	struct rhz_root_key key = key_of(pool, root);

	if (pool->current[slot_of(pool, root)] == root)
		pool->current[slot_of(pool, root)] = 0;
	take_out(&pool->plain, root);
	take_out(&pool->victim, root);
	take_out(&pool->all, root);
	for (unsigned capacity = 2; capacity < pool->full; capacity++) {
		unsigned entry = entry_of(&pool->drawn[capacity]->cache, &key);

		if (entry != UNHELD)
			rhz_root_cache_remove(&pool->drawn[capacity]->cache, entry);
	}
}

/* Which MMU of KVM's a context belongs to. */
static unsigned mmu_of(unsigned context)
{
	return context == RHZ_CONTEXT_L2_NESTED;
}

/* So far one context asked, and for one context both arrangements are the same. */
static void separate(struct lab_whatif *whatif)
{
	unsigned context = (unsigned)__builtin_ctz(whatif->contexts);
	struct lab_pool *own = new_pool(true, whatif->seed);
	struct lab_pool *other = new_pool(true, whatif->seed + 1);

	*own = *whatif->shared;
	own->one = true;
	own->slot = context;
	for (unsigned i = 0; i < PLACES; i++) {
		if (!own->drawn[i])
			continue;
		own->drawn[i] = lab_realloc(NULL, 1, sizeof(*own->drawn[i]));
		*own->drawn[i] = *whatif->shared->drawn[i];
	}
	whatif->mmu[mmu_of(context)] = own;
	whatif->mmu[!mmu_of(context)] = other;
}

unsigned lab_whatif_request(struct lab_whatif *whatif, lab_root root)
{
	unsigned context = lab_root_context(root);

	if (whatif->contexts && !(whatif->contexts >> context & 1) && !whatif->mmu[0])
		separate(whatif);
	whatif->contexts |= 1u << context;
	if (whatif->mmu[0])
		pool_request(whatif->mmu[mmu_of(context)], root, whatif->random);
	return pool_request(whatif->shared, root, whatif->random);
}

void lab_whatif_gone(struct lab_whatif *whatif, lab_root root)
{
	pool_gone(whatif->shared, root);
	if (whatif->mmu[0])
		pool_gone(whatif->mmu[mmu_of(lab_root_context(root))], root);
}

/* What the first 'capacity' positions sum up to. */
static uint64_t sum(const uint64_t at[PLACES], unsigned capacity)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < capacity; i++)
		total += at[i];
	return total;
}

static void add_plain(const struct lab_pool *pool, unsigned capacity, struct lab_row *row)
{
	uint64_t cached = sum(pool->plain_at, capacity);

	row->current += pool->repeated;
	row->cached += cached;
	row->missed += pool->requests - pool->repeated - cached;
	row->positions += sum(pool->plain_positions, capacity);
}

static void add_random(const struct lab_pool *pool, unsigned capacity, struct lab_row *row)
{
	const struct drawn *drawn = pool->drawn[capacity];

	if (!drawn) {
		add_plain(pool, capacity, row);
		return;
	}
	row->current += pool->repeated;
	row->cached += drawn->cached;
	row->missed += drawn->missed;
	row->positions += drawn->positions;
}

static void add_pool(const struct lab_pool *pool, struct lab_row *row)
{
	unsigned capacity = row->capacity;
	uint64_t found;

	switch (row->policy) {
	case RHZ_ROOTS_NONE:
		row->missed += pool->requests;
		break;
	case RHZ_ROOTS_VICTIM:
		found = sum(pool->victim_at, capacity);
		row->cached += found;
		row->missed += pool->requests - found;
		row->positions += sum(pool->victim_positions, capacity);
		if (capacity)
			row->duplicates += pool->repeated - sum(pool->victim_same, capacity);
		break;
	case RHZ_ROOTS_CURRENT_FIRST:
		add_plain(pool, capacity, row);
		break;
	case RHZ_ROOTS_AT_CREATION:
		found = sum(pool->all_at, capacity);
		row->current += sum(pool->all_same, capacity);
		row->cached += found - sum(pool->all_same, capacity);
		row->missed += pool->requests - found;
		row->positions += sum(pool->all_positions, capacity);
		break;
	case RHZ_ROOTS_RANDOM_4:
		add_random(pool, capacity, row);
		break;
	case RHZ_ROOTS_PINNED:
		add_plain(pool, RHZ_MAX_CACHED_ROOTS, row);
		break;
	}
}

void lab_whatif_add(const struct lab_whatif *whatif, struct lab_row *row)
{
	if (row->contexts == LAB_SHARED || !whatif->mmu[0]) {
		add_pool(whatif->shared, row);
		return;
	}
	add_pool(whatif->mmu[0], row);
	add_pool(whatif->mmu[1], row);
}

void lab_whatif_tags(const struct lab_whatif *whatif, unsigned tags, uint64_t *switches,
                     uint64_t *kept)
{
	const struct lab_pool *pool = whatif->shared;

	*switches += pool->requests - pool->repeated;
	*kept += sum(pool->all_at, tags) - sum(pool->all_same, tags);
}

void lab_whatif_distances(const struct lab_whatif *whatif, uint64_t to[LAB_STACK_SIZE + 1])
{
	for (unsigned i = 0; i < PLACES; i++)
		to[i] += whatif->shared->all_at[i];
}
