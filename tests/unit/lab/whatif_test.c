/* SPDX-License-Identifier: MIT */
/*
 * Every policy and capacity in one pass, held against the library's root cache run once for each.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "whatif.h"

struct steps {
	unsigned count;
	lab_root root[6000];
	bool gone[6000];
};

/* One library cache for some contexts, as lab_row has it. */
struct direct {
	struct rhz_root_cache cache;
	lab_root current[RHZ_CONTEXTS];
};

static struct rhz_root_key key_of(lab_root root, bool one)
{
	unsigned context = lab_root_context(root);

	return (struct rhz_root_key){ .table = root >> 2, .role = context,
	                              .context = one ? 0 : context };
}

static void direct_gone(struct direct *direct, const struct rhz_root_key *key)
{
	for (unsigned i = 0; i < RHZ_ROOT_ENTRIES; i++)
		if (rhz_root_cache_holds(&direct->cache, i) &&
		    direct->cache.entry[i].key.table == key->table &&
		    direct->cache.entry[i].key.role == key->role)
			rhz_root_cache_remove(&direct->cache, i);
}

static void direct_step(struct direct *direct, lab_root root, bool gone, bool one,
                        struct lab_row *row)
{
	struct rhz_root_key key = key_of(root, one);
	unsigned position = 0, left;
	uint32_t evicted[2];
	bool twice;

	if (gone) {
		direct_gone(direct, &key);
		if (direct->current[key.context] == root)
			direct->current[key.context] = 0;
		return;
	}
	switch (rhz_root_cache_find(&direct->cache, &key, &position)) {
	case RHZ_ROOT_CURRENT:
		row->current++;
		break;
	case RHZ_ROOT_CACHED:
		row->cached++;
		row->positions += position;
		break;
	case RHZ_ROOT_MISSED:
		left = rhz_root_cache_insert(&direct->cache, &key, (uint32_t)root, evicted);
		twice = direct->current[key.context] == root;
		for (unsigned i = 0; i < left; i++)
			twice &= evicted[i] != (uint32_t)root;
		row->duplicates += twice;
		row->missed++;
		break;
	}
	direct->current[key.context] = root;
}

static struct lab_row direct_row(const struct steps *steps, enum rhz_root_policy policy,
                                 unsigned capacity, enum lab_contexts contexts, uint64_t seed)
{
	struct lab_row row = { .policy = policy, .capacity = capacity, .contexts = contexts };
	static struct direct mmu[2];
	bool one = contexts == LAB_SEPARATE;
	unsigned seen = 0;
	bool own = false;

	memset(mmu, 0, sizeof(mmu));
	/* The seed goes with the MMU whose context was the first to ask. */
	for (unsigned i = 0; i < steps->count && !seen; i++) {
		seen = !steps->gone[i];
		own = seen && lab_root_context(steps->root[i]) == RHZ_CONTEXT_L2_NESTED;
	}
	for (unsigned i = 0; i < 2; i++)
		rhz_root_cache_init(&mmu[i].cache, policy, capacity, seed + (one && i != own));
	for (unsigned i = 0; i < steps->count; i++) {
		unsigned context = lab_root_context(steps->root[i]);
		bool nested = one && context == RHZ_CONTEXT_L2_NESTED;

		direct_step(&mmu[nested], steps->root[i], steps->gone[i], one, &row);
	}
	return row;
}

static void compare(const struct steps *steps, uint64_t seed)
{
	struct lab_whatif whatif;

	lab_whatif_init(&whatif, true, seed);
	for (unsigned i = 0; i < steps->count; i++) {
		if (steps->gone[i])
			lab_whatif_gone(&whatif, steps->root[i]);
		else
			lab_whatif_request(&whatif, steps->root[i]);
	}
	for (unsigned p = 0; p < RHZ_ROOT_POLICIES; p++) {
		for (unsigned c = 0; c <= RHZ_MAX_CACHED_ROOTS; c++) {
			for (unsigned s = 0; s < LAB_CONTEXTS; s++) {
				struct lab_row direct, row = {
					.policy = (enum rhz_root_policy)p,
					.capacity = c,
					.contexts = (enum lab_contexts)s,
				};

				direct = direct_row(steps, row.policy, c, row.contexts, seed);
				lab_whatif_add(&whatif, &row);
				if (!memcmp(&row, &direct, sizeof(row)))
					continue;
				fail_msg("%s %u %s: %lu %lu %lu %lu %lu, should be %lu %lu %lu "
				         "%lu %lu", rhz_root_policy_name(row.policy), c,
				         s ? "separate" : "shared", row.current, row.cached,
				         row.missed, row.duplicates, row.positions,
				         direct.current, direct.cached, direct.missed,
				         direct.duplicates, direct.positions);
			}
		}
	}
	lab_whatif_free(&whatif);
}

static uint64_t random_state = 88172645463325252u;

static uint64_t draw(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* Roots near the last one are likelier; so are repetitions. */
static void make(struct steps *steps, unsigned count, unsigned roots, unsigned contexts,
                 unsigned first, unsigned gone_in)
{
	steps->count = count;
	for (unsigned i = 0; i < count; i++) {
		uint64_t root = 1 + (draw() % 3 ? draw() % (1 + roots / 4) : draw() % roots);
		uint64_t context = i < 40 ? first : draw() % 4 ? first : draw() % contexts;

		steps->gone[i] = i && gone_in && draw() % gone_in == 0;
		steps->root[i] = root << 2 | context;
		if (i && !steps->gone[i] && draw() % 4 == 0)
			steps->root[i] = steps->root[i - 1];
	}
}

static void test_one_context(void **unused)
{
	static const unsigned roots[] = { 1, 2, 5, 12, 40, 90, 300 };
	static struct steps steps;

	(void)unused;
	for (unsigned i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		make(&steps, 4000, roots[i], 1, 0, 0);
		compare(&steps, i);
	}
}

static void test_contexts(void **unused)
{
	static struct steps steps;

	(void)unused;
	for (unsigned i = 0; i < 12; i++) {
		make(&steps, 3000, 3 + i * i, RHZ_CONTEXTS, i % RHZ_CONTEXTS, 0);
		compare(&steps, 7 + i);
	}
}

/* A root that is dropped while it is cached leaves room, for every capacity that held it. */
static void test_gone(void **unused)
{
	static struct steps steps;

	(void)unused;
	for (unsigned i = 0; i < 12; i++) {
		make(&steps, 3000, 3 + i * i, 1 + i % RHZ_CONTEXTS, i / 3 % (1 + i % RHZ_CONTEXTS),
		     3 + i);
		compare(&steps, 70 + i);
	}
}

static void test_tags(void **unused)
{
	static const lab_root roots[] = { 4, 8, 4, 8, 12, 4, 4, 12, 8 };
	uint64_t switches = 0, kept[4] = { 0 };
	struct lab_whatif whatif;

	(void)unused;
	lab_whatif_init(&whatif, false, 1);
	for (unsigned i = 0; i < sizeof(roots) / sizeof(roots[0]); i++)
		lab_whatif_request(&whatif, roots[i]);
	for (unsigned tags = 0; tags < 4; tags++) {
		switches = 0;
		lab_whatif_tags(&whatif, tags, &switches, &kept[tags]);
		assert_int_equal(switches, 8);
	}
	assert_int_equal(kept[0], 0);
	assert_int_equal(kept[1], 0);
	assert_int_equal(kept[2], 3); /* 4 and 8 once each, 12 after the second 4 */
	assert_int_equal(kept[3], 5); /* all but the three first times */
	lab_whatif_free(&whatif);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_context),
		cmocka_unit_test(test_contexts),
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_tags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
