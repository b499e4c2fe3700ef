/* SPDX-License-Identifier: MIT */
/* The arena, the tables, and their copies. */
#include "nested-torture/world.h"

#include "torture/random.h"

struct processor processor;

static bool is_table(uint64_t pa)
{
	const uint64_t own = LOW + LOW_TABLES;

	return (pa >= POOL && pa < pool_page(POOL_PAGES)) || (pa >= own && pa < own + 4 * PAGE);
}

void world_write(uint64_t pa, uint64_t value)
{
	*word_at(pa) = value;
	*word_at(pa - ARENA + COPY) = value;
}

void world_expect(uint64_t pa, const void *bytes, unsigned count)
{
	uint8_t *to = (uint8_t *)word_at(pa - ARENA + COPY);

	for (unsigned i = 0; i < count; i++)
		to[i] = ((const uint8_t *)bytes)[i];
}

/* Bits that any entry may have: rights and what is ignored. */
static uint64_t random_bits(unsigned level)
{
	uint64_t bits = E_P;

	if (percent(6))
		bits = 0;
	bits |= percent(85) ? E_W : 0;
	bits |= percent(85) ? E_U : 0;
	bits |= percent(10) ? E_NX : 0;
	bits |= percent(30) ? E_A : 0;
	bits |= percent(30) ? E_D : 0;
	bits |= percent(10) ? 1ull << (52 + below(7)) : 0; /* ignored: 58:52 */
	bits |= percent(10) ? 1ull << (9 + below(3)) : 0;  /* ignored: 11:9 */
	if (percent(3))
		bits |= 1ull << (processor.address_bits + below(52 - processor.address_bits));
	if (percent(3) && level != 1)
		bits |= E_PS;
	return bits;
}

/*
 * Where a leaf of a nested table leads: the arena, seldom the tables. A leaf of L2's own: an
 * address that nested tables may know, or without them the arena.
 */
static uint64_t random_target(bool nested_table)
{
	if (!nested_table && percent(60))
		return world_random_page();
	if (percent(3))
		return pool_page(below(POOL_PAGES));
	return ARENA + (uint64_t)below(ARENA_BYTES / PAGE) * PAGE;
}

static uint64_t random_entry(unsigned level, bool nested_table)
{
	const unsigned first = nested_table ? NESTED_RANDOM : OWN_RANDOM;
	uint64_t bits = random_bits(level);
	unsigned below_level = level - 1;

	if (level > 1 && percent(20)) {
		/* a large page of the arena, sometimes with address bits that must be zero */
		const uint64_t size = 1ull << (12 + 9 * (level - 1));
		uint64_t target = random_target(nested_table) & -size;

		if (level > 3)
			return target | bits;
		if (percent(5))
			target |= (uint64_t)PAGE << (1 + below(9 * (level - 1) - 1));
		return target | bits | E_PS;
	}
	if (level == 1)
		return random_target(nested_table) | bits;
	/* a table of the level below, or of any, or itself */
	if (percent(10))
		below_level = 1 + below(RANDOM_LEVELS);
	below_level = first + (below_level - 1) * TABLES_A_LEVEL + below(TABLES_A_LEVEL);
	return pool_page(below_level) | bits;
}

static unsigned random_slot(void)
{
	return percent(90) ? below(SLOTS) : below(ENTRIES);
}

uint64_t world_edit(bool nested_table)
{
	const unsigned first = nested_table ? NESTED_RANDOM : OWN_RANDOM;
	const unsigned level = 1 + below(RANDOM_LEVELS);
	const unsigned table = first + (level - 1) * TABLES_A_LEVEL + below(TABLES_A_LEVEL);
	const uint64_t at = pool_page(table) + random_slot() * 8;

	world_write(at, random_entry(level, nested_table));
	return at;
}

static void fill_tables(bool nested_table)
{
	const unsigned first = nested_table ? NESTED_RANDOM : OWN_RANDOM;

	for (unsigned i = 0; i < TABLES_A_LEVEL * RANDOM_LEVELS; i++) {
		for (unsigned slot = 0; slot < ENTRIES; slot++) {
			const uint64_t value = slot < SLOTS || percent(2) ?
				random_entry(1 + i / TABLES_A_LEVEL, nested_table) : 0;

			world_write(pool_page(first + i) + slot * 8, value);
		}
	}
}

/*
 * Four levels that map LOW onto itself, and random tables beside: slots 1 to 3 of the top two
 * levels. at: the tables, the top first.
 */
static void fill_fixed(const uint64_t at[4], bool nested)
{
	const unsigned first = nested ? NESTED_RANDOM : OWN_RANDOM;
	const uint64_t bits = E_P | E_W | E_U;

	world_write(at[0], at[1] | bits);
	world_write(at[1], at[2] | bits);
	world_write(at[2] + slot_of(LOW, 2) * 8, at[3] | bits);
	for (unsigned i = 0; i < ENTRIES; i++)
		world_write(at[3] + i * 8, (LOW + i * PAGE) | bits);
	for (unsigned slot = 1; slot < SLOTS; slot++) {
		world_write(at[0] + slot * 8,
		            pool_page(first + 2 * TABLES_A_LEVEL + slot) | bits);
		world_write(at[1] + slot * 8, pool_page(first + TABLES_A_LEVEL + slot) | bits);
	}
}

uint64_t world_random_page(void)
{
	const uint64_t l4 = percent(70) ? 0 : below(SLOTS);
	const uint64_t l3 = l4 ? below(SLOTS) : 1 + below(SLOTS - 1);

	return l4 << 39 | l3 << 30 | (uint64_t)random_slot() << 21 | (uint64_t)random_slot() << 12;
}

void world_build(void)
{
	uint64_t nested[4], own[4];

	for (uint64_t pa = ARENA; pa < ARENA + ARENA_BYTES; pa += 8)
		world_write(pa, random64());
	for (uint64_t pa = LOW; pa < LOW + LOW_USED; pa += 8)
		world_write(pa, 0);
	fill_tables(true);
	fill_tables(false);
	for (unsigned i = 0; i < 4; i++) {
		nested[i] = pool_page(NESTED_ROOT + i);
		own[i] = LOW + LOW_TABLES + i * PAGE;
	}
	for (unsigned i = 0; i < RANDOM_TABLES; i++) {
		for (unsigned slot = 0; slot < ENTRIES; slot++)
			world_write(pool_page(i) + slot * 8, 0);
	}
	fill_fixed(nested, true);
	fill_fixed(own, false);
	/* L2's own tables in the pool, so that its tables lead to them by the same addresses */
	world_write(nested[2] + slot_of(POOL, 2) * 8, pool_page(NESTED_POOL) | E_P | E_W | E_U);
	for (unsigned i = OWN_RANDOM; i < POOL_PAGES; i++) {
		world_write(pool_page(NESTED_POOL) + slot_of(pool_page(i), 1) * 8,
		            pool_page(i) | E_P | E_W | E_U);
	}
}

uint64_t world_check(void)
{
	static const struct { uint64_t from, to; } parts[] = {
		{ ARENA, ARENA + ARENA_BYTES },
		{ POOL, POOL + POOL_PAGES * PAGE },
		{ LOW, LOW + LOW_USED },
	};

	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		for (uint64_t pa = parts[i].from; pa < parts[i].to; pa += 8) {
			const uint64_t differs = *word_at(pa) ^ *word_at(pa - ARENA + COPY);

			if (differs && (differs & ~(E_A | E_D) || !is_table(pa)))
				return pa;
		}
	}
	return 0;
}
