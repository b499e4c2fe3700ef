/* SPDX-License-Identifier: MIT */
/*
 * EPT: every combination of what decides an access, against a predictor written bit by bit from
 * [SDM3 28.3], and the quirks by hand. RHZ_FULL=1 runs all combinations (a minute), RHZ_SEED
 * repeats a run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tables.h"

#define SAMPLE 1000000
#define BIT(n) (1ull << (n))
#define EPTP (0x7000 | 6) /* write-back */
#define WIDTH 46

static uint64_t seed, state;

static uint64_t random64(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15ull; /* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

struct given {
	unsigned levels;
	bool ad, execute_only, pages_1g, mode_based;
	unsigned access;
	uint64_t ngpa;
	uint64_t entry[6];
};

struct expected {
	enum rhz_ept_outcome outcome;
	uint64_t qualification;
	unsigned level, shift, type;
	bool ignore_pat;
	uint64_t gpa;
	uint64_t after[6];
};

/* The tables of one address: table of level n stands in frame n, the top one where EPTP says. */
struct memory {
	struct given given;
	uint64_t entry[6];
};

static uint64_t *entry_of(struct memory *memory, uint64_t at)
{
	const struct given *g = &memory->given;

	for (unsigned level = g->levels; level > 0; level--) {
		uint64_t table = level == g->levels ? 0x7000 : level << 12;

		if (at == table + (g->ngpa >> (3 + 9 * level) & 511) * 8)
			return &memory->entry[level];
	}
	fail_msg("read at %#llx, where no table is", (unsigned long long)at);
	return NULL;
}

static bool read_entry(void *ctx, rhz_gpa at, unsigned bytes, uint64_t *value)
{
	assert_int_equal(bytes, 8);
	*value = *entry_of(ctx, at.v);
	return true;
}

static bool swap_entry(void *ctx, rhz_gpa at, unsigned bytes, uint64_t old, uint64_t new)
{
	uint64_t *entry = entry_of(ctx, at.v);

	assert_int_equal(bytes, 8);
	assert_int_equal(*entry, old);
	assert_int_not_equal(old, new);
	*entry = new;
	return true;
}

static bool maps_a_page(const struct given *g, unsigned level)
{
	return level == 1 || (level <= 3 && (g->entry[level] & BIT(7)));
}

/* [SDM3 28.3.2]: the bits that the tables of entry formats call reserved. */
static bool is_reserved(const struct given *g, unsigned level, unsigned bit)
{
	if (bit > 51)
		return false;
	if (bit >= WIDTH)
		return true;
	if (maps_a_page(g, level)) {
		if (level == 3 && bit == 7)
			return !g->pages_1g;
		return level > 1 && bit >= 12 && bit < 12 + 9 * (level - 1);
	}
	return (bit >= 3 && bit <= 6) || (bit == 7 && level > 3);
}

/* [SDM3 28.3.3.1]. */
static bool is_misconfigured(const struct given *g, unsigned level)
{
	uint64_t entry = g->entry[level];
	bool r = entry & BIT(0), w = entry & BIT(1), x = entry & BIT(2);
	bool xu = g->mode_based && (entry & BIT(10));
	unsigned type = entry >> 3 & 7;

	if (!r && w)
		return true;
	if (!r && (x || xu) && !g->execute_only)
		return true;
	for (unsigned bit = 0; bit < 64; bit++)
		if ((entry & BIT(bit)) && is_reserved(g, level, bit))
			return true;
	return maps_a_page(g, level) && (type == 2 || type == 3 || type == 7);
}

/* [SDM3 27.2.1, table 27-7]. */
static void violation(const struct given *g, bool r, bool w, bool x, bool xu, struct expected *e)
{
	bool table = g->access & RHZ_ACCESS_TABLE, fetch = !table && (g->access & RHZ_ACCESS_FETCH);
	bool write = table ? g->ad : (bool)(g->access & RHZ_ACCESS_WRITE);
	bool read = table || (!write && !fetch);

	e->outcome = RHZ_EPT_VIOLATION;
	e->qualification = (uint64_t)(read | write << 1 | fetch << 2 | r << 3 | w << 4 | x << 5 |
				      (xu && g->mode_based) << 6);
}

static bool allowed(const struct given *g, bool r, bool w, bool x, bool xu)
{
	if (g->access & RHZ_ACCESS_TABLE) /* with A/D, a table access counts as a write */
		return g->ad ? r && w : r;
	if (g->access & RHZ_ACCESS_WRITE)
		return w;
	if (g->access & RHZ_ACCESS_FETCH)
		return g->mode_based && (g->access & RHZ_ACCESS_USER) ? xu : x;
	return r;
}

static struct expected predict(const struct given *g)
{
	struct expected e = { .level = g->levels };
	bool r = true, w = true, x = true, xu = true;

	memcpy(e.after, g->entry, sizeof(e.after));
	for (;; e.level--) {
		uint64_t entry = g->entry[e.level];

		r = r && (entry & BIT(0));
		w = w && (entry & BIT(1));
		x = x && (entry & BIT(2));
		xu = xu && (entry & BIT(10));
		if (!(entry & 7) && !(g->mode_based && (entry & BIT(10)))) {
			violation(g, r, w, x, xu, &e);
			return e;
		}
		if (is_misconfigured(g, e.level)) {
			e.outcome = RHZ_EPT_MISCONFIG;
			return e;
		}
		if (maps_a_page(g, e.level))
			break;
	}
	e.shift = 12 + 9 * (e.level - 1);
	e.type = g->entry[e.level] >> 3 & 7;
	e.ignore_pat = g->entry[e.level] & BIT(6);
	for (unsigned bit = 0; bit < 52; bit++)
		e.gpa |= (bit < e.shift ? g->ngpa : g->entry[e.level]) & BIT(bit);
	if (!allowed(g, r, w, x, xu)) {
		violation(g, r, w, x, xu, &e);
		return e;
	}
	e.outcome = RHZ_EPT_OK;
	for (unsigned level = g->levels; g->ad && level >= e.level; level--)
		e.after[level] |= BIT(8);
	if (g->ad && (g->access & (RHZ_ACCESS_WRITE | RHZ_ACCESS_TABLE)))
		e.after[e.level] |= BIT(9);
	return e;
}

static unsigned digit(uint64_t *number, unsigned n)
{
	unsigned d = (unsigned)(*number % n);

	*number /= n;
	return d;
}

/* Rights, and with odd = 1 a reserved bit if there is one, with 2 one of no meaning. */
static uint64_t flags_of(const struct given *g, unsigned level, unsigned rights, bool xu,
			 unsigned odd)
{
	uint64_t entry = rights | (xu ? BIT(10) : 0);
	unsigned bit = (unsigned)(random64() % 64);

	for (unsigned i = 0; odd && i < 64; i++, bit = (bit + 1) % 64)
		if (bit != 7 && is_reserved(g, level, bit) == (odd == 1) &&
		    (odd == 1 || bit == 11 || bit > 51))
			return entry | BIT(bit);
	return entry;
}

#define CASES (16ull * 7 * 3 * 2 * 8 * 2 * 8 * 3 * 4 * 8 * 2 * 3)

static void set_case(struct given *g, uint64_t number)
{
	static const unsigned accesses[] = {
		0, RHZ_ACCESS_WRITE, RHZ_ACCESS_FETCH, RHZ_ACCESS_FETCH | RHZ_ACCESS_USER,
		RHZ_ACCESS_TABLE, RHZ_ACCESS_TABLE | RHZ_ACCESS_WRITE, RHZ_ACCESS_USER,
	};
	unsigned config = digit(&number, 16), leaf, upper, flags;

	g->ad = config & 1;
	g->execute_only = config & 2;
	g->pages_1g = config & 4;
	g->mode_based = config & 8;
	g->access = accesses[digit(&number, 7)];
	leaf = 1 + digit(&number, 3);
	g->levels = 4 + digit(&number, 2);
	g->ngpa = random64() & (BIT(12 + 9 * g->levels) - 1) & (BIT(52) - 1);
	for (unsigned level = g->levels; level > leaf; level--)
		g->entry[level] = (uint64_t)(level - 1) << 12 | 7 | BIT(10);
	g->entry[leaf] = leaf > 1 ? BIT(7) : 0;
	flags = digit(&number, 8);
	g->entry[leaf] |= flags_of(g, leaf, flags, digit(&number, 2), digit(&number, 3));
	g->entry[leaf] |= digit(&number, 8) << 3 | (uint64_t)digit(&number, 4) << 8;
	for (unsigned bit = 12 + 9 * (leaf - 1); bit < WIDTH; bit++)
		g->entry[leaf] |= random64() & BIT(bit);
	g->entry[leaf] |= random64() & BIT(6);
	upper = leaf + 1 + (unsigned)(random64() % (g->levels - leaf));
	g->entry[upper] = (uint64_t)(upper - 1) << 12;
	flags = digit(&number, 8);
	g->entry[upper] |= flags_of(g, upper, flags, digit(&number, 2), digit(&number, 3));
}

static void check_case(struct memory *memory)
{
	const struct given *g = &memory->given;
	uint64_t eptp = EPTP | (g->levels - 1) << 3 | (g->ad ? BIT(6) : 0);
	struct expected e = predict(g);
	struct rhz_ept_mode mode;
	struct rhz_ept_walk w;
	bool set = memcmp(e.after, g->entry, sizeof(e.after));

	memcpy(memory->entry, g->entry, sizeof(memory->entry));
	assert_int_equal(rhz_ept_mode_init(&mode, eptp, WIDTH, g->execute_only, g->pages_1g, true,
					   g->mode_based), RHZ_OK);
	rhz_ept_walk(&mode, eptp, (rhz_ngpa){ g->ngpa }, g->access, read_entry, memory, &w);
	if (w.outcome == RHZ_EPT_OK)
		assert_int_equal(rhz_ept_set_ad(&mode, &w, g->access, swap_entry, memory),
				 set ? RHZ_AD_SET : RHZ_AD_UNCHANGED);
	if (w.outcome == e.outcome && w.qualification == e.qualification && w.level == e.level &&
	    w.page_shift == e.shift && w.gpa.v == e.gpa && w.memory_type == e.type &&
	    w.ignore_pat == e.ignore_pat && w.top == g->levels &&
	    !memcmp(memory->entry, e.after, sizeof(e.after)))
		return;
	printf("seed %#llx: levels %u, ad %d, execute-only %d, 1g %d, mode-based %d, access %#x\n",
	       (unsigned long long)seed, g->levels, g->ad, g->execute_only, g->pages_1g,
	       g->mode_based, g->access);
	for (unsigned level = g->levels; level > 0; level--)
		printf("entry %u: %#llx\n", level, (unsigned long long)g->entry[level]);
	fail_msg("outcome %d, expected %d; qualification %#llx, expected %#llx; level %u, not %u",
		 w.outcome, e.outcome, (unsigned long long)w.qualification,
		 (unsigned long long)e.qualification, w.level, e.level);
}

static void test_combinations(void **ctx)
{
	bool full = getenv("RHZ_FULL");
	uint64_t step = full ? 1 : CASES / SAMPLE, outcomes[RHZ_EPT_TABLE + 1] = { 0 };
	struct memory memory = { .entry = { 0 } };

	(void)ctx;
	for (uint64_t at = random64() % step; at < CASES; at += 1 + random64() % (2 * step - 1)) {
		set_case(&memory.given, at);
		check_case(&memory);
		outcomes[predict(&memory.given).outcome]++;
	}
	printf("of %llu cases: %llu fine, %llu violations, %llu misconfigurations\n",
	       (unsigned long long)CASES, (unsigned long long)outcomes[RHZ_EPT_OK],
	       (unsigned long long)outcomes[RHZ_EPT_VIOLATION],
	       (unsigned long long)outcomes[RHZ_EPT_MISCONFIG]);
	assert_true(outcomes[RHZ_EPT_OK] && outcomes[RHZ_EPT_VIOLATION]);
	assert_true(outcomes[RHZ_EPT_MISCONFIG]);
}

/* What VM entry checks of an EPTP [SDM3 24.6.11, 26.2.1.1]. */
static void test_eptp(void **ctx)
{
	struct rhz_ept_mode mode;

	(void)ctx;
	for (unsigned low = 0; low < 128; low++) {
		unsigned type = low & 7, levels = (low >> 3 & 7) + 1;
		bool fine = (type == 0 || type == 6) && (levels == 4 || levels == 5);
		uint64_t eptp = 0x1000 | low;

		assert_int_equal(rhz_ept_mode_init(&mode, eptp, WIDTH, true, true, true, false),
				 fine ? RHZ_OK : RHZ_ERR_FEATURE);
		if (fine)
			assert_int_equal(mode.levels, levels);
		if (fine)
			assert_int_equal(mode.ad, low >> 6);
		assert_int_equal(rhz_ept_mode_init(&mode, eptp, WIDTH, true, true, false, false),
				 fine && levels == 4 ? RHZ_OK : RHZ_ERR_FEATURE);
	}
	for (unsigned bit = 7; bit < 64; bit++)
		assert_int_equal(rhz_ept_mode_init(&mode, 0x1e | BIT(bit), WIDTH, true, true, true,
						   true),
				 bit < 12 || bit >= WIDTH ? RHZ_ERR_FEATURE : RHZ_OK);
	assert_int_equal(rhz_ept_mode_init(&mode, 0x1e, 31, true, true, true, true),
			 RHZ_ERR_FEATURE);
	assert_int_equal(rhz_ept_mode_init(&mode, 0x1e, 53, true, true, true, true),
			 RHZ_ERR_FEATURE);
	assert_int_equal(rhz_ept_mode_init(&mode, 0x1e | BIT(51), 52, true, true, true, true),
			 RHZ_OK);
}

static void test_edges(void **ctx)
{
	struct tables t = { .count = 0 };
	struct rhz_ept_mode mode;
	struct rhz_ept_walk w;

	(void)ctx;
	assert_int_equal(rhz_ept_mode_init(&mode, 0x101e, WIDTH, true, true, true, false), RHZ_OK);
	/* wider than four levels reach: no entry is read */
	assert_int_equal(rhz_ept_walk(&mode, 0x101e, (rhz_ngpa){ BIT(48) }, RHZ_ACCESS_WRITE,
				      tables_read, &t, &w), RHZ_EPT_VIOLATION);
	assert_int_equal(w.qualification, RHZ_EPT_QUAL_WRITE);
	assert_int_equal(w.level, 4);
	/* a table that cannot be read */
	assert_int_equal(rhz_ept_walk(&mode, 0x101e, (rhz_ngpa){ BIT(39) }, 0, tables_read, &t, &w),
			 RHZ_EPT_TABLE);
	assert_int_equal(w.table[4].v, 0x1008);
	/* A and D are left alone unless the EPTP enables them */
	for (unsigned i = 1; i < 5; i++)
		tables_set(&t, 0x1000 * i, 8, 0x1000 * (i + 1) | 7);
	assert_int_equal(rhz_ept_walk(&mode, 0x101e, (rhz_ngpa){ 0x123 }, RHZ_ACCESS_WRITE,
				      tables_read, &t, &w), RHZ_EPT_OK);
	assert_int_equal(w.gpa.v, 0x5123);
	assert_int_equal(w.rights, RHZ_RIGHT_READ | RHZ_RIGHT_WRITE | RHZ_RIGHT_EXEC);
	assert_int_equal(rhz_ept_set_ad(&mode, &w, RHZ_ACCESS_WRITE, tables_swap, &t),
			 RHZ_AD_UNCHANGED);
	assert_int_equal(rhz_ept_mode_init(&mode, 0x105e, WIDTH, true, true, true, false), RHZ_OK);
	t.fail_swap = 2;
	assert_int_equal(rhz_ept_set_ad(&mode, &w, RHZ_ACCESS_WRITE, tables_swap, &t),
			 RHZ_AD_RETRY);
	assert_int_equal(tables_get(&t, 0x1000), 0x2000 | 7 | BIT(8));
	assert_int_equal(tables_get(&t, 0x2000), 0x3000 | 7);
}

int main(void)
{
	const char *given = getenv("RHZ_SEED");
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_combinations),
		cmocka_unit_test(test_eptp),
		cmocka_unit_test(test_edges),
	};

	seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
	state = seed;
	printf("RHZ_SEED=%#llx\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
