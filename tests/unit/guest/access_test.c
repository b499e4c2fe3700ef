/* SPDX-License-Identifier: MIT */
/*
 * Every combination of what decides an access, for every shape of tables: outcome, error code, page
 * and A/D bits as predict.h has them from the manuals.
 *
 * A shape is a paging mode and the level of the leaf. A case of it is a number whose digits are the
 * configuration, the access, the flags of the leaf and of one upper entry. All cases of a shape are
 * 340 million: a run takes a random sample, RHZ_FULL=1 all of them (an hour). RHZ_SEED repeats.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "guest/walk.h"
#include "predict.h"

#define SAMPLE 600000 /* cases of a shape in an ordinary run */
#define CR3 0x7000u

static uint64_t seed, state;
static bool full; /* not a sample: all cases */

static uint64_t random64(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15ull; /* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* The tables of one address: table of level n stands in frame n, the top one where CR3 says. */
struct memory {
	struct given given;
	uint64_t entry[6];
	unsigned reads, swaps;
};

static uint64_t table_of(const struct given *g, unsigned level)
{
	return level == top_of(g) ? CR3 : level << 12;
}

static uint64_t entry_at(const struct given *g, unsigned level)
{
	bool narrow = g->paging == RHZ_PAGING_32;
	unsigned index = (unsigned)(g->gva >> (12 + (level - 1) * (narrow ? 10 : 9)));

	return table_of(g, level) + (narrow ? (index & 1023) * 4 : (index & 511) * 8);
}

static unsigned level_at(const struct given *g, rhz_gpa at, unsigned bytes)
{
	assert_int_equal(bytes, g->paging == RHZ_PAGING_32 ? 4 : 8);
	for (unsigned level = top_of(g); level > 0; level--)
		if (at.v == entry_at(g, level))
			return level;
	fail_msg("read at %#llx, where no table is", (unsigned long long)at.v);
	return 0;
}

static bool read_entry(void *ctx, rhz_gpa at, unsigned bytes, uint64_t *value)
{
	struct memory *memory = ctx;

	memory->reads++;
	*value = memory->entry[level_at(&memory->given, at, bytes)];
	return true;
}

static bool swap_entry(void *ctx, rhz_gpa at, unsigned bytes, uint64_t old, uint64_t new)
{
	struct memory *memory = ctx;
	uint64_t *entry = &memory->entry[level_at(&memory->given, at, bytes)];

	memory->swaps++;
	assert_int_equal(*entry, old);
	assert_int_not_equal(old, new);
	*entry = new;
	return true;
}

/* Takes the lowest digit of *number off, base n. */
static unsigned digit(uint64_t *number, unsigned n)
{
	unsigned d = (unsigned)(*number % n);

	*number /= n;
	return d;
}

struct shape {
	enum rhz_paging paging;
	unsigned leaf;
};

static void set_config(struct given *g, enum rhz_paging paging, unsigned config)
{
	static const uint8_t widths[] = { 32, 36, 39, 40, 46, 48, 51, 52 };
	uint64_t random = random64();

	g->paging = paging;
	g->cpuid = (struct rhz_cpuid){
		.vendor = random & 1 ? RHZ_VENDOR_AMD : RHZ_VENDOR_INTEL,
		.maxphyaddr = widths[random >> 1 & 7],
		.pse = true, .pae = true, .pge = true, .nx = true, .la57 = true,
		.smep = true, .smap = true, .pku = true, .pks = true,
		.pse36 = random & 16, .pat = random & 32, .gbpages = random & 64,
	};
	g->regs.cr3 = CR3;
	g->regs.cr0 = RHZ_CR0_PE | RHZ_CR0_PG | (config & 1 ? RHZ_CR0_WP : 0);
	g->regs.cr4 = (random & 128 ? RHZ_CR4_PSE : 0) | (random & 256 ? RHZ_CR4_PGE : 0) |
		      (config & 2 ? RHZ_CR4_SMEP : 0) | (config & 4 ? RHZ_CR4_SMAP : 0) |
		      (config & 8 ? RHZ_CR4_PKE : 0) | (config & 16 ? RHZ_CR4_PKS : 0);
	g->regs.efer = config & 32 ? RHZ_EFER_NXE : 0;
	if (paging != RHZ_PAGING_32)
		g->regs.cr4 |= RHZ_CR4_PAE;
	if (is_long(g))
		g->regs.efer |= RHZ_EFER_LME | RHZ_EFER_LMA;
	if (paging == RHZ_PAGING_5LEVEL)
		g->regs.cr4 |= RHZ_CR4_LA57;
}

static unsigned access_of(unsigned number)
{
	static const unsigned what[3] = { 0, RHZ_ACCESS_WRITE, RHZ_ACCESS_FETCH };
	static const unsigned who[3] = { 0, RHZ_ACCESS_USER, RHZ_ACCESS_IMPLICIT };

	return what[number % 3] | who[number / 3 % 3] | (number / 9 ? RHZ_ACCESS_AC : 0);
}

/* One bit that is reserved (or that has no meaning) in this entry, 0 if it has none. */
static uint64_t odd_bit(const struct given *g, unsigned level, bool leaf, bool reserved)
{
	unsigned top = g->paging == RHZ_PAGING_32 ? 32 : 64, start = (unsigned)(random64() % top);
	uint64_t special = BIT(0) | BIT(1) | BIT(2) | BIT(5) | BIT(6) | BIT(7);

	if (is_long(g))
		special |= 15ull << 59;
	if (!leaf)
		special |= top == 32 ? 0xfffff000 : 0xffffffffff000;
	for (unsigned i = 0; i < top; i++) {
		unsigned bit = (start + i) % top;

		if (is_reserved(g, level, leaf, bit) == reserved &&
		    (reserved || !(special & BIT(bit))))
			return BIT(bit);
	}
	return 0;
}

/*
 * Flags 0 to 31: P, W, U, NX, A; 'odd' 1: with a reserved bit, 2: with one of no meaning. A sample
 * is mostly of entries that exist, since those without P or with a reserved bit are soon told.
 */
static uint64_t flags_of(const struct given *g, unsigned level, bool leaf, unsigned flags,
			 unsigned odd)
{
	uint64_t entry = 0;

	if (!full && random64() % 4) {
		flags &= ~1u;
		odd &= 2;
	}
	entry |= flags & 1 ? 0 : BIT(0);
	entry |= flags & 2 ? 0 : BIT(1);
	entry |= flags & 4 ? 0 : BIT(2);
	entry |= flags & 8 && g->paging != RHZ_PAGING_32 ? BIT(63) : 0;
	entry |= flags & 16 ? BIT(5) : 0;
	return entry | (odd ? odd_bit(g, level, leaf, odd == 1) : 0);
}

/* The leaf: its digits, and a random frame, or a table's where PS turns out not to count. */
static void set_leaf(struct given *g, unsigned level, uint64_t *number, unsigned key)
{
	unsigned flags = digit(number, 32), odd = digit(number, 3);
	bool dirty = digit(number, 2), pat = digit(number, 2);
	uint64_t *leaf = &g->entry[level];

	*leaf = level > 1 ? BIT(7) : 0;
	if (!maps_a_page(g, level)) {
		*leaf |= flags_of(g, level, false, flags, odd) | 1 << 12 | (dirty ? BIT(6) : 0);
		g->entry[1] = random64() & 0xfffffff7;
		return;
	}
	*leaf |= flags_of(g, level, true, flags, odd) | (dirty ? BIT(6) : 0);
	if (pat && g->cpuid.pat)
		*leaf |= level > 1 ? BIT(12) : BIT(7);
	if (is_long(g))
		*leaf |= (uint64_t)key << 59;
	for (unsigned bit = page_shift_of(g, level);
	     bit < (g->paging == RHZ_PAGING_32 ? 32u : g->cpuid.maxphyaddr); bit++)
		*leaf |= random64() & BIT(bit);
}

/* One entry above the leaf gets the digits; the others let everything pass. */
static void set_entries(struct given *g, const struct shape *shape, uint64_t *number)
{
	unsigned top = top_of(g), tables = top - shape->leaf, key = (unsigned)(random64() % 16);
	unsigned key_rights = digit(number, 4), upper;

	for (unsigned level = top; level > shape->leaf; level--)
		g->entry[level] = (uint64_t)(level - 1) << 12 | 7;
	if (g->paging == RHZ_PAGING_PAE)
		g->entry[3] = 2 << 12 | 1; /* PDPTE registers have tests of their own */
	set_leaf(g, shape->leaf, number, key);
	g->regs.pkru = ((uint32_t)random64() & ~(3u << 2 * key)) | key_rights << 2 * key;
	g->regs.pkrs = ((uint32_t)random64() & ~(3u << 2 * key)) | key_rights << 2 * key;
	tables -= g->paging == RHZ_PAGING_PAE;
	if (!tables)
		return;
	upper = shape->leaf + 1 + (unsigned)(random64() % tables);
	g->entry[upper] = (uint64_t)(upper - 1) << 12;
	g->entry[upper] |= flags_of(g, upper, false, digit(number, 32), digit(number, 3));
	if (upper > 3 && digit(number, 2))
		g->entry[upper] |= BIT(7);
}

static void choose_address(struct given *g)
{
	unsigned bits = g->paging == RHZ_PAGING_5LEVEL ? 57 : 48;

	g->gva = random64();
	if (is_long(g) && random64() % 64)
		g->gva = (uint64_t)((int64_t)(g->gva << (64 - bits)) >> (64 - bits));
}

static void describe(const struct given *g, const struct expected *e, const struct rhz_walk *w)
{
	printf("seed %#llx: paging %d, cr0 %#llx, cr4 %#llx, efer %#llx, access %#x, gva %#llx\n",
	       (unsigned long long)seed, g->paging, (unsigned long long)g->regs.cr0,
	       (unsigned long long)g->regs.cr4, (unsigned long long)g->regs.efer, g->access,
	       (unsigned long long)g->gva);
	printf("vendor %d, width %d, pse36 %d, pat %d, gbpages %d, pkru %#x, pkrs %#x\n",
	       g->cpuid.vendor, g->cpuid.maxphyaddr, g->cpuid.pse36, g->cpuid.pat,
	       g->cpuid.gbpages, g->regs.pkru, g->regs.pkrs);
	for (unsigned level = top_of(g); level > 0; level--)
		printf("entry %u: %#llx, expected after: %#llx\n", level,
		       (unsigned long long)g->entry[level], (unsigned long long)e->after[level]);
	printf("outcome %d, expected %d; code %#x, expected %#x; level %u, expected %u\n",
	       w->outcome, e->outcome, w->error_code, e->code, w->level, e->level);
	printf("gpa %#llx, expected %#llx\n", (unsigned long long)w->gpa.v,
	       (unsigned long long)e->gpa);
}

static bool same(const struct memory *memory, const struct expected *e, const struct rhz_walk *w)
{
	const struct given *g = &memory->given;
	unsigned top = top_of(g);

	if (w->outcome != e->outcome || w->error_code != e->code || w->level != e->level ||
	    w->top != top || w->page_shift != e->shift || w->gpa.v != e->gpa ||
	    w->global != e->global || w->key != e->key || (e->rights && w->rights != e->rights))
		return false;
	if (e->outcome == RHZ_WALK_NON_CANONICAL)
		return memory->reads == 0;
	if (memory->reads != top - e->level + (g->paging != RHZ_PAGING_PAE))
		return false;
	for (unsigned level = top; level > 0; level--)
		if (memory->entry[level] != e->after[level])
			return false;
	return true;
}

static void check_case(const struct rhz_mode *mode, struct memory *memory)
{
	struct given *g = &memory->given;
	struct expected e = predict(g);
	struct rhz_walk walk;
	bool set = memcmp(e.after, g->entry, sizeof(e.after));

	memset(&walk, 0xa5, sizeof(walk));
	memcpy(memory->entry, g->entry, sizeof(memory->entry));
	memory->reads = memory->swaps = 0;
	g->regs.pdpte[g->gva >> 30 & 3] = g->entry[3];
	rhz_guest_walk(mode, &g->regs, (rhz_gva){ g->gva }, g->access, read_entry, memory, &walk);
	if (walk.outcome == RHZ_WALK_OK) {
		assert_int_equal(rhz_guest_set_ad(mode, &walk, g->access, swap_entry, memory),
				 set ? RHZ_AD_SET : RHZ_AD_UNCHANGED);
	}
	if (same(memory, &e, &walk))
		return;
	describe(g, &e, &walk);
	fail_msg("the walk is not what the manuals say");
}

/* Cases of one configuration: see set_entries for the digits. */
#define CASES (18ull * 4 * 32 * 3 * 2 * 2 * 32 * 3 * 2)

static void test_shape(void **ctx)
{
	const struct shape *shape = *ctx;
	uint64_t total = 64 * CASES, step = full ? 1 : total / SAMPLE, checked = 0;
	uint64_t outcomes[RHZ_WALK_TABLE + 1] = { 0 };
	struct memory memory = { 0 };
	struct rhz_mode mode;
	uint64_t config = ~0ull;

	for (uint64_t at = random64() % step; at < total; at += 1 + random64() % (2 * step - 1)) {
		uint64_t number = at % CASES;

		if (at / CASES != config || random64() % 256 == 0) {
			config = at / CASES;
			set_config(&memory.given, shape->paging, (unsigned)config);
			assert_int_equal(rhz_mode_init(&mode, &memory.given.cpuid,
						       &memory.given.regs), RHZ_OK);
		}
		memory.given.access = access_of(digit(&number, 18));
		choose_address(&memory.given);
		set_entries(&memory.given, shape, &number);
		check_case(&mode, &memory);
		outcomes[predict(&memory.given).outcome]++;
		checked++;
	}
	printf("%llu of %llu cases: %llu fine, %llu not present, %llu reserved, %llu rights, "
	       "%llu key\n",
	       (unsigned long long)checked, (unsigned long long)total,
	       (unsigned long long)outcomes[RHZ_WALK_OK],
	       (unsigned long long)outcomes[RHZ_WALK_NOT_PRESENT],
	       (unsigned long long)outcomes[RHZ_WALK_RESERVED],
	       (unsigned long long)outcomes[RHZ_WALK_RIGHTS],
	       (unsigned long long)outcomes[RHZ_WALK_KEY]);
	/* a sample that saw none of an outcome proves nothing */
	assert_true(outcomes[RHZ_WALK_OK] && outcomes[RHZ_WALK_RIGHTS]);
	assert_true(outcomes[RHZ_WALK_NOT_PRESENT] && outcomes[RHZ_WALK_RESERVED]);
	assert_true(shape->paging < RHZ_PAGING_4LEVEL || outcomes[RHZ_WALK_KEY]);
}

static struct shape shapes[] = {
	{ RHZ_PAGING_32, 1 }, { RHZ_PAGING_32, 2 },
	{ RHZ_PAGING_PAE, 1 }, { RHZ_PAGING_PAE, 2 },
	{ RHZ_PAGING_4LEVEL, 1 }, { RHZ_PAGING_4LEVEL, 2 }, { RHZ_PAGING_4LEVEL, 3 },
	{ RHZ_PAGING_5LEVEL, 1 }, { RHZ_PAGING_5LEVEL, 2 }, { RHZ_PAGING_5LEVEL, 3 },
};

#define SHAPE(i, what) \
	{ .name = what, .test_func = test_shape, .initial_state = &shapes[i] }

int main(void)
{
	const char *given = getenv("RHZ_SEED");
	const struct CMUnitTest tests[] = {
		SHAPE(0, "32-bit, 4 KiB"), SHAPE(1, "32-bit, 4 MiB"),
		SHAPE(2, "PAE, 4 KiB"), SHAPE(3, "PAE, 2 MiB"),
		SHAPE(4, "4-level, 4 KiB"), SHAPE(5, "4-level, 2 MiB"), SHAPE(6, "4-level, 1 GiB"),
		SHAPE(7, "5-level, 4 KiB"), SHAPE(8, "5-level, 2 MiB"), SHAPE(9, "5-level, 1 GiB"),
	};

	seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
	state = seed;
	full = getenv("RHZ_FULL");
	printf("RHZ_SEED=%#llx\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
