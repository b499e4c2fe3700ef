/* SPDX-License-Identifier: MIT */
/*
 * The root cache against a naive one: arrays in order of use, searched and shifted one by one.
 * Then small cases by hand. "cache_test SEED" replays a run of the random part.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <rhizome/root.h>

enum { STEPS = 6000, NO_PAGE = -1, NAIVE_MAX = RHZ_MAX_CACHED_ROOTS + 2 };

static uint64_t seed;

struct naive_root {
	struct rhz_root_key key;
	int page;
	bool current; /* at-creation only: a pooled root may be current as well */
};

struct naive {
	enum rhz_root_policy policy;
	unsigned capacity;
	struct naive_root current[RHZ_CONTEXTS]; /* page NO_PAGE: none */
	struct naive_root pool[NAIVE_MAX];       /* the most recently cached first */
	unsigned pooled;
};

static uint64_t random_next(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

static bool same(const struct rhz_root_key *a, const struct rhz_root_key *b)
{
	return a->table == b->table && a->role == b->role && a->guest_asid == b->guest_asid &&
	       a->context == b->context;
}

static void naive_init(struct naive *n, enum rhz_root_policy policy, unsigned capacity)
{
	memset(n, 0, sizeof(*n));
	n->policy = policy;
	n->capacity = policy == RHZ_ROOTS_NONE ? 0 :
	              policy == RHZ_ROOTS_PINNED ? RHZ_MAX_CACHED_ROOTS : capacity;
	for (unsigned c = 0; c < RHZ_CONTEXTS; c++)
		n->current[c].page = NO_PAGE;
}

static struct naive_root naive_take(struct naive *n, unsigned at)
{
	struct naive_root taken = n->pool[at];

	n->pooled--;
	memmove(&n->pool[at], &n->pool[at + 1], (n->pooled - at) * sizeof(taken));
	return taken;
}

static void naive_front(struct naive *n, struct naive_root root)
{
	memmove(&n->pool[1], &n->pool[0], n->pooled * sizeof(root));
	n->pool[0] = root;
	n->pooled++;
}

static bool naive_pools(const struct naive *n, int page)
{
	for (unsigned i = 0; i < n->pooled; i++)
		if (n->pool[i].page == page)
			return true;
	return false;
}

static enum rhz_root_found naive_find(struct naive *n, const struct rhz_root_key *key,
                                      unsigned *position)
{
	struct naive_root *current = &n->current[key->context];
	bool first = n->policy != RHZ_ROOTS_NONE && n->policy != RHZ_ROOTS_VICTIM &&
	             n->policy != RHZ_ROOTS_AT_CREATION;

	if (first && current->page != NO_PAGE && same(&current->key, key))
		return RHZ_ROOT_CURRENT;
	for (unsigned i = 0; i < n->pooled; i++) {
		struct naive_root old = *current;

		if (!same(&n->pool[i].key, key))
			continue;
		*position = i;
		*current = naive_take(n, i);
		if (n->policy == RHZ_ROOTS_AT_CREATION) {
			naive_front(n, *current);
			return current->page == old.page ? RHZ_ROOT_CURRENT : RHZ_ROOT_CACHED;
		}
		if (old.page != NO_PAGE)
			naive_front(n, old);
		return RHZ_ROOT_CACHED;
	}
	return RHZ_ROOT_MISSED;
}

static bool naive_holds(const struct naive *n, int page)
{
	for (unsigned c = 0; c < RHZ_CONTEXTS; c++)
		if (n->current[c].page == page)
			return true;
	return naive_pools(n, page);
}

/*
 * random-4's choice is not predicted: the page that the real cache gave up is taken out here, and
 * must be one of those that may leave.
 */
static void naive_insert(struct naive *n, const struct rhz_root_key *key, int page,
                         unsigned given_up, const uint32_t evicted[2])
{
	struct naive_root fresh = { .key = *key, .page = page };
	struct naive_root old = n->current[key->context];
	int before[NAIVE_MAX + RHZ_CONTEXTS];
	unsigned held = 0, left = 0;

	for (unsigned i = 0; i < n->pooled; i++)
		before[held++] = n->pool[i].page;
	for (unsigned c = 0; c < RHZ_CONTEXTS; c++)
		if (n->current[c].page != NO_PAGE && !naive_pools(n, n->current[c].page))
			before[held++] = n->current[c].page;

	n->current[key->context] = fresh;
	if (n->policy == RHZ_ROOTS_AT_CREATION)
		naive_front(n, fresh);
	else if (old.page != NO_PAGE)
		naive_front(n, old);
	if (n->policy == RHZ_ROOTS_RANDOM_4 && n->pooled > n->capacity && n->capacity) {
		assert_int_equal(given_up, 1);
		for (unsigned i = 1; i < n->pooled; i++) {
			if (n->pool[i].page == (int)evicted[0]) {
				naive_take(n, i);
				break;
			}
		}
	}
	if (n->policy != RHZ_ROOTS_RANDOM_4 || !n->capacity)
		while (n->pooled > n->capacity)
			naive_take(n, n->pooled - 1);
	assert_true(n->pooled <= n->capacity);

	for (unsigned i = 0; i < held; i++) {
		bool told = false;

		for (unsigned k = 0; k < given_up; k++)
			told |= (int)evicted[k] == before[i];
		assert_int_equal(told, !naive_holds(n, before[i]));
		left += told;
	}
	assert_int_equal(left, given_up);
}

static void naive_remove(struct naive *n, int page)
{
	for (unsigned c = 0; c < RHZ_CONTEXTS; c++)
		if (n->current[c].page == page)
			n->current[c].page = NO_PAGE;
	for (unsigned i = 0; i < n->pooled; i++) {
		if (n->pool[i].page == page) {
			naive_take(n, i);
			return;
		}
	}
}

static int naive_oldest(const struct naive *n)
{
	for (unsigned i = n->pooled; i-- > 0;) {
		bool used = false;

		for (unsigned c = 0; c < RHZ_CONTEXTS; c++)
			used |= n->current[c].page == n->pool[i].page;
		if (!used)
			return n->pool[i].page;
	}
	return NO_PAGE;
}

static void check_held(const struct rhz_root_cache *cache, const struct naive *n)
{
	unsigned held = 0, expected = n->pooled;
	unsigned oldest = rhz_root_cache_oldest(cache);
	int page = naive_oldest(n);

	for (unsigned i = 0; i < RHZ_ROOT_ENTRIES; i++) {
		if (rhz_root_cache_holds(cache, i)) {
			held++;
			assert_true(naive_holds(n, (int)cache->entry[i].page));
		}
	}
	for (unsigned c = 0; c < RHZ_CONTEXTS; c++)
		expected += n->current[c].page != NO_PAGE && !naive_pools(n, n->current[c].page);
	assert_int_equal(held, expected);
	if (page == NO_PAGE)
		assert_int_equal(oldest, RHZ_ROOT_NO_ENTRY);
	else
		assert_int_equal(cache->entry[oldest].page, page);
}

static struct rhz_root_key random_key(uint64_t *state, unsigned keys)
{
	uint64_t r = random_next(state);
	unsigned which = (unsigned)(r % keys);

	/* Neighbours differ in one field only, so that each field is known to be compared. */
	return (struct rhz_root_key){
		.table = 0x1000ull * (which / 4),
		.role = 0x55u ^ (which & 1),
		.guest_asid = which >> 1 & 1,
		.context = (uint32_t)(r >> 20) % 8 < 5 ? RHZ_CONTEXT_L1 :
		           (uint32_t)(r >> 23) % 2 ? RHZ_CONTEXT_L2 : RHZ_CONTEXT_L2_NESTED,
	};
}

/* Removes one root, the oldest or any, as reclaim and slot changes do. */
static void random_removal(struct rhz_root_cache *cache, struct naive *n, uint64_t *state)
{
	unsigned index = random_next(state) & 1 ? rhz_root_cache_oldest(cache) :
	                 (unsigned)(random_next(state) % RHZ_ROOT_ENTRIES);
	int page;

	if (index == RHZ_ROOT_NO_ENTRY || !rhz_root_cache_holds(cache, index))
		return;
	page = (int)cache->entry[index].page;
	assert_int_equal(rhz_root_cache_remove(cache, index), page);
	naive_remove(n, page);
}

static void run(enum rhz_root_policy policy, unsigned capacity, unsigned keys, unsigned steps)
{
	static struct rhz_root_cache cache;
	static struct naive naive;
	uint64_t state = seed ^ (policy * 1000003u + capacity * 10007u + keys);
	int page = 0;

	assert_int_equal(rhz_root_cache_init(&cache, policy, capacity, seed), RHZ_OK);
	naive_init(&naive, policy, capacity);
	for (unsigned step = 0; step < steps; step++) {
		struct rhz_root_key key = random_key(&state, keys);
		unsigned position = 99, expected = 99;
		uint32_t evicted[2];
		enum rhz_root_found found, wanted;

		if (random_next(&state) % 64 == 0)
			random_removal(&cache, &naive, &state);
		wanted = naive_find(&naive, &key, &expected);
		found = rhz_root_cache_find(&cache, &key, step % 7 ? &position : NULL);
		assert_int_equal(found, wanted);
		if (found == RHZ_ROOT_CACHED && step % 7)
			assert_int_equal(position, expected);
		if (found == RHZ_ROOT_MISSED) {
			unsigned left = rhz_root_cache_insert(&cache, &key, (uint32_t)page,
			                                      evicted);

			naive_insert(&naive, &key, page++, left, evicted);
		}
		for (unsigned c = 0; c < RHZ_CONTEXTS; c++) {
			unsigned index = cache.current[c];

			assert_int_equal(index == RHZ_ROOT_NO_ENTRY ? NO_PAGE :
			                 (int)cache.entry[index].page, naive.current[c].page);
		}
		check_held(&cache, &naive);
	}
}

static void test_random(void **unused)
{
	(void)unused;
	print_message("seed %llu\n", (unsigned long long)seed);
	for (unsigned policy = 0; policy < RHZ_ROOT_POLICIES; policy++) {
		for (unsigned capacity = 0; capacity <= RHZ_MAX_CACHED_ROOTS; capacity++) {
			run((enum rhz_root_policy)policy, capacity, capacity + 4, STEPS / 16);
			if (capacity % 8 < 4)
				run((enum rhz_root_policy)policy, capacity, 12, STEPS / 16);
		}
		run((enum rhz_root_policy)policy, 64, 30, STEPS);
		run((enum rhz_root_policy)policy, 3, 8, STEPS);
	}
}

static enum rhz_root_found load(struct rhz_root_cache *cache, uint64_t table, unsigned context)
{
	struct rhz_root_key key = { .table = table << 12, .context = context };
	uint32_t evicted[2];
	enum rhz_root_found found = rhz_root_cache_find(cache, &key, NULL);

	if (found == RHZ_ROOT_MISSED)
		rhz_root_cache_insert(cache, &key, (uint32_t)table, evicted);
	return found;
}

static unsigned copies(const struct rhz_root_cache *cache, uint64_t table)
{
	unsigned n = 0;

	for (unsigned i = 0; i < RHZ_ROOT_ENTRIES; i++)
		n += rhz_root_cache_holds(cache, i) && cache->entry[i].key.table == table << 12;
	return n;
}

/* What the 2020 patch was about: the same root asked for again and again. */
static void test_same_root_again(void **unused)
{
	struct rhz_root_cache cache;

	(void)unused;
	rhz_root_cache_init(&cache, RHZ_ROOTS_VICTIM, 3, 0);
	assert_int_equal(load(&cache, 1, 0), RHZ_ROOT_MISSED);
	assert_int_equal(load(&cache, 1, 0), RHZ_ROOT_MISSED); /* rotated out, built again */
	assert_int_equal(copies(&cache, 1), 2);
	assert_int_equal(load(&cache, 1, 0), RHZ_ROOT_CACHED); /* the two change places for ever */
	assert_int_equal(load(&cache, 1, 0), RHZ_ROOT_CACHED);
	assert_int_equal(copies(&cache, 1), 2);

	rhz_root_cache_init(&cache, RHZ_ROOTS_CURRENT_FIRST, 3, 0);
	assert_int_equal(load(&cache, 1, 0), RHZ_ROOT_MISSED);
	assert_int_equal(load(&cache, 1, 0), RHZ_ROOT_CURRENT);
	assert_int_equal(copies(&cache, 1), 1);
}

/* Of two copies under 'victim' the one cached last is found. */
static void test_duplicates_latest_first(void **unused)
{
	struct rhz_root_cache cache;
	struct rhz_root_key one = { .table = 0x1000 }, two = { .table = 0x2000 };
	uint32_t evicted[2];
	unsigned position = 99;

	(void)unused;
	rhz_root_cache_init(&cache, RHZ_ROOTS_VICTIM, 3, 0);
	rhz_root_cache_insert(&cache, &one, 10, evicted);
	rhz_root_cache_insert(&cache, &one, 11, evicted);
	rhz_root_cache_insert(&cache, &two, 20, evicted); /* pool: 11, 10 */
	assert_int_equal(rhz_root_cache_find(&cache, &one, &position), RHZ_ROOT_CACHED);
	assert_int_equal(position, 0);
	assert_int_equal(cache.entry[cache.current[0]].page, 11); /* pool: 20, 10 */
	assert_int_equal(rhz_root_cache_find(&cache, &one, &position), RHZ_ROOT_CACHED);
	assert_int_equal(position, 1);
	assert_int_equal(cache.entry[cache.current[0]].page, 10);
}

/* A nested guest's transitions: two current roots, nothing in the pool moves. */
static void test_contexts_keep_their_current_root(void **unused)
{
	struct rhz_root_cache cache;

	(void)unused;
	rhz_root_cache_init(&cache, RHZ_ROOTS_CURRENT_FIRST, 0, 0);
	assert_int_equal(load(&cache, 1, RHZ_CONTEXT_L1), RHZ_ROOT_MISSED);
	assert_int_equal(load(&cache, 1, RHZ_CONTEXT_L2_NESTED), RHZ_ROOT_MISSED);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(load(&cache, 1, RHZ_CONTEXT_L1), RHZ_ROOT_CURRENT);
		assert_int_equal(load(&cache, 1, RHZ_CONTEXT_L2_NESTED), RHZ_ROOT_CURRENT);
	}
	assert_int_equal(copies(&cache, 1), 2);
}

/* at-creation: the current root costs a slot, so N slots serve N roots and not N + 1. */
static void test_at_creation_spends_a_slot(void **unused)
{
	struct rhz_root_cache cache;
	unsigned missed[2] = { 0, 0 };

	(void)unused;
	for (int which = 0; which < 2; which++) {
		rhz_root_cache_init(&cache, which ? RHZ_ROOTS_AT_CREATION : RHZ_ROOTS_CURRENT_FIRST,
		                    3, 0);
		for (unsigned i = 0; i < 400; i++)
			missed[which] += load(&cache, 1 + i % 4, 0) == RHZ_ROOT_MISSED;
	}
	assert_int_equal(missed[0], 4);
	assert_int_equal(missed[1], 400);
}

/* at-creation: another context may push a current root out of the pool. It stays in use, is not
   found, and leaves with the next insertion, together with the one that the pool gives up. */
static void test_at_creation_two_leave(void **unused)
{
	struct rhz_root_cache cache;
	struct rhz_root_key key = { .table = 0x1000, .context = RHZ_CONTEXT_L1 };
	uint32_t evicted[2];

	(void)unused;
	rhz_root_cache_init(&cache, RHZ_ROOTS_AT_CREATION, 2, 0);
	assert_int_equal(rhz_root_cache_insert(&cache, &key, 1, evicted), 0);
	assert_int_equal(rhz_root_cache_find(&cache, &key, NULL), RHZ_ROOT_CURRENT);
	assert_int_equal(rhz_root_cache_oldest(&cache), RHZ_ROOT_NO_ENTRY); /* it is in use */
	assert_int_equal(load(&cache, 2, RHZ_CONTEXT_L2), RHZ_ROOT_MISSED);
	assert_int_equal(load(&cache, 3, RHZ_CONTEXT_L2), RHZ_ROOT_MISSED); /* pool: 3, 2 */
	assert_int_equal(copies(&cache, 1), 1);
	assert_int_equal(rhz_root_cache_find(&cache, &key, NULL), RHZ_ROOT_MISSED);
	assert_int_equal(rhz_root_cache_insert(&cache, &key, 4, evicted), 2);
	assert_int_equal(evicted[0], 1);
	assert_int_equal(evicted[1], 2);
	assert_int_equal(rhz_root_cache_find(&cache, &key, NULL), RHZ_ROOT_CURRENT);
}

static void test_random_4_replays(void **unused)
{
	struct rhz_root_cache a, b, other;
	unsigned differs = 0;

	(void)unused;
	rhz_root_cache_init(&a, RHZ_ROOTS_RANDOM_4, 8, 7);
	rhz_root_cache_init(&b, RHZ_ROOTS_RANDOM_4, 8, 7);
	rhz_root_cache_init(&other, RHZ_ROOTS_RANDOM_4, 8, 8);
	for (unsigned i = 0; i < 1000; i++) {
		unsigned table = i * i % 37;
		enum rhz_root_found found = load(&a, table, 0);

		assert_int_equal(found, load(&b, table, 0));
		differs += found != load(&other, table, 0);
	}
	assert_true(differs > 0);
}

/*
 * A full pool of eight, and ever new roots: the one pushed out is the oldest of four draws out of
 * eight, so the oldest of all with a chance of 1 - (7/8)^4 = 41 %, the youngest with one of 1/8^4.
 */
static void test_random_4_prefers_the_old(void **unused)
{
	enum { ROUNDS = 4000 };
	struct rhz_root_cache cache;
	unsigned oldest = 0, youngest = 0;
	uint32_t evicted[2];

	(void)unused;
	rhz_root_cache_init(&cache, RHZ_ROOTS_RANDOM_4, 8, seed);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct rhz_root_key key = { .table = (uint64_t)i << 12 };
		unsigned index = rhz_root_cache_oldest(&cache);
		uint32_t page = index == RHZ_ROOT_NO_ENTRY ? 0 : cache.entry[index].page;

		if (rhz_root_cache_insert(&cache, &key, i, evicted)) {
			oldest += evicted[0] == page;
			youngest += evicted[0] == i - 2; /* i - 1 was current and only enters now */
		}
	}
	assert_in_range(oldest, ROUNDS * 36 / 100, ROUNDS * 47 / 100);
	assert_in_range(youngest, 0, ROUNDS / 100);
}

static void test_names_and_errors(void **unused)
{
	struct rhz_root_cache cache;
	enum rhz_root_policy policy;

	(void)unused;
	for (unsigned i = 0; i < RHZ_ROOT_POLICIES; i++) {
		const char *name = rhz_root_policy_name((enum rhz_root_policy)i);

		assert_non_null(name);
		assert_int_equal(rhz_root_policy_find(name, &policy), RHZ_OK);
		assert_int_equal(policy, i);
	}
	assert_null(rhz_root_policy_name((enum rhz_root_policy)RHZ_ROOT_POLICIES));
	assert_int_equal(rhz_root_policy_find("current", &policy), RHZ_ERR_POLICY);
	assert_int_equal(rhz_root_policy_find("", &policy), RHZ_ERR_POLICY);
	assert_int_equal(rhz_root_policy_find(NULL, &policy), RHZ_ERR_ARGUMENT);
	assert_int_equal(rhz_root_cache_init(&cache, RHZ_ROOTS_PINNED, 65, 0),
	                 RHZ_ERR_TOO_MANY_ROOTS);
	assert_int_equal(rhz_root_cache_init(&cache, (enum rhz_root_policy)77, 1, 0),
	                 RHZ_ERR_POLICY);
	assert_int_equal(rhz_root_cache_init(NULL, RHZ_ROOTS_PINNED, 1, 0), RHZ_ERR_ARGUMENT);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_same_root_again),
		cmocka_unit_test(test_duplicates_latest_first),
		cmocka_unit_test(test_contexts_keep_their_current_root),
		cmocka_unit_test(test_at_creation_spends_a_slot),
		cmocka_unit_test(test_at_creation_two_leave),
		cmocka_unit_test(test_random_4_replays),
		cmocka_unit_test(test_random_4_prefers_the_old),
		cmocka_unit_test(test_names_and_errors),
	};

	seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
