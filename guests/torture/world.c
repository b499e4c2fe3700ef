/* SPDX-License-Identifier: MIT */
/* Random tables, entries and addresses. */
#include "torture/world.h"

#include "torture/arena.h"
#include "torture/machine.h"
#include "torture/operation.h"
#include "torture/random.h"
#include "torture/stale.h"

#define TAIL 3u /* bytes of a snippet at the end of a page, the rest at the beginning of any */

struct world world;
uint64_t random_state;

static unsigned top(void)
{
	return cpu.format->levels;
}

unsigned world_level(uint64_t pa)
{
	const uint64_t frame = (pa - ARENA) / PAGE;

	return frame < TABLES_FIRST + TABLES ? world.level[frame] : 0;
}

uint64_t world_table(unsigned level)
{
	unsigned frame = level == top() ? below(cpu.roots) : TABLES_FIRST + below(TABLES);

	if (level == top())
		return cpu.root_pa[frame];
	while (world.level[frame] != level)
		frame = TABLES_FIRST + (frame - TABLES_FIRST + 1) % TABLES;
	return ARENA + frame * PAGE;
}

unsigned world_index(unsigned level)
{
	const struct format *format = cpu.format;

	/* A run of indexes beside the few: a leaf table is more than its corners. */
	if (level == 1 && percent(20))
		return 64 + below(64);
	return format->index[level - 1][below(format->indexes[level - 1])];
}

uint64_t world_data_page(void)
{
	return ARENA + (DATA_FIRST + below(DATA)) * PAGE;
}

static uint64_t data_frame(void)
{
	const unsigned kind = below(20);

	if (kind < 13)
		return world_data_page();
	if (kind < 19)
		return ARENA + (TABLES_FIRST + below(TABLES)) * PAGE;
	return ARENA + below(ROOTS_MAX) * PAGE;
}

/* What makes an entry fault. */
static uint64_t spoil(uint64_t entry, unsigned level)
{
	switch (below(6)) {
	case 0:
		return entry & ~ENTRY_P;
	case 1:
		return entry & ~ENTRY_U;
	case 2:
		return entry & ~ENTRY_W;
	case 3:
		return cpu.mode >= MODE_PAE ? entry | ENTRY_NX : entry & ~ENTRY_P;
	case 4:
		if (cpu.mode == MODE_PAE)
			return entry | 1ull << (52 + below(11));
		return cpu.mode == MODE_32 ? entry | 1u << 21 : entry | 1ull << (48 + below(4));
	default:
		return level > 1 ? entry | ENTRY_PS | 1u << 14 : entry & ~(ENTRY_P | ENTRY_W);
	}
}

static uint64_t leaf_entry(unsigned level)
{
	uint64_t entry = ENTRY_P | ENTRY_W | ENTRY_U;

	if (level == 1)
		entry |= data_frame();
	else
		entry |= ENTRY_PS | (ARENA & -(1ull << paging_page_shift(level)));
	if (level == 2 && cpu.mode != MODE_32 && percent(50))
		entry += 1u << 21; /* the arena's upper half */
	if (world.globals && percent(30))
		entry |= ENTRY_G;
	if (features.pku && percent(30))
		entry |= (uint64_t)below(16) << 59;
	if (percent(10))
		entry |= level == 1 ? 1u << 7 : 1u << 12; /* PAT */
	return entry;
}

static uint64_t pointer_entry(void)
{
	return ENTRY_P | (world_table(2) & -(uint64_t)PAGE);
}

uint64_t world_entry(unsigned level)
{
	uint64_t entry;

	if (level == 0)
		return percent(50) ? random64() & ~ENTRY_G : world_entry(1 + below(top()));
	if (cpu.mode == MODE_PAE && level == 3)
		return percent(15) ? 0 : pointer_entry();
	if (level == 1 || (level <= 3 && cpu.mode != MODE_PAE && percent(25)) ||
	    (level == 2 && percent(25))) {
		entry = leaf_entry(level);
	} else {
		unsigned below_it = level - 1;

		if (percent(world.wild))
			below_it = 1 + below(cpu.mode == MODE_PAE ? 2 : top());
		entry = ENTRY_P | ENTRY_W | ENTRY_U | (world_table(below_it) & -(uint64_t)PAGE);
	}
	if (percent(50))
		entry |= ENTRY_A;
	if (percent(40))
		entry |= ENTRY_D;
	entry |= (uint64_t)below(4) << 3 & (percent(10) ? ~0ull : 0); /* PWT, PCD */
	entry |= (uint64_t)below(8) << 9; /* ignored */
	if (percent(world.faulty))
		entry = spoil(entry, level);
	if (percent(4))
		entry = random64() & ~ENTRY_P & ~ENTRY_G; /* not present, whatever else it says */
	return cpu.mode == MODE_32 ? (uint32_t)entry : entry;
}

uint64_t world_page(void)
{
	uint64_t gva = 0;

	if (!cpu.paged)
		return data_frame();
	for (unsigned level = 1; level <= top(); level++)
		gva |= (uint64_t)world_index(level) << paging_page_shift(level);
	if (cpu.mode == MODE_4)
		return (uint64_t)((int64_t)(gva << 16) >> 16);
	if (cpu.mode == MODE_5)
		return (uint64_t)((int64_t)(gva << 7) >> 7);
	return gva;
}

unsigned world_offset(void)
{
	const unsigned entry = cpu.format->entry_bytes;

	if (!cpu.paged)
		return below(PAGE / 8) * 8;
	return world_index(1 + below(top())) * entry % PAGE;
}

/* Words of data that say where they are, and code in three places. */
static void fill_data(unsigned frame)
{
	const uint64_t pa = ARENA + frame * PAGE;
	const uint64_t code = SNIPPET(frame * 0x10001u);

	for (unsigned at = 0; at < PAGE; at += 8)
		arena_fill(pa + at, (pa + at) * 0x9e3779b97f4a7c15ull & ~ENTRY_G & ~(ENTRY_G << 32),
		           8);
	arena_fill(pa + 0x800, code, SNIPPET_BYTES);
	arena_fill(pa + PAGE - TAIL, code, TAIL);
	arena_fill(pa, code >> 8 * TAIL, SNIPPET_BYTES - TAIL);
}

static void fill_table(uint64_t pa, unsigned level)
{
	const struct format *format = cpu.format;
	const unsigned last = format->indexes[level - 1];

	for (unsigned i = 0; i < last; i++) {
		if (percent(90))
			arena_fill(pa + format->index[level - 1][i] * format->entry_bytes,
			           world_entry(level), format->entry_bytes);
	}
	for (unsigned i = 64; level == 1 && i < 128; i++) {
		if (percent(50))
			arena_fill(pa + i * format->entry_bytes, world_entry(1),
			           format->entry_bytes);
	}
}

static void choose_levels(void)
{
	for (unsigned i = 0; i < TABLES_FIRST; i++)
		world.level[i] = (uint8_t)(i < cpu.roots && cpu.mode != MODE_PAE ? top() : 0);
	/* Each level below the top has at least one, the lowest the most. */
	for (unsigned i = 0; i < TABLES; i++) {
		const unsigned levels = top() > 1 ? top() - 1 : 1;

		world.level[TABLES_FIRST + i] =
			(uint8_t)(i < levels ? i + 1 : percent(50) ? 1 : 1 + below(levels));
	}
}

static void choose_registers(void)
{
	cpu.paged = cpu.mode != MODE_NONE;
	cpu.wp = percent(70);
	cpu.pge = features.pge && percent(80);
	cpu.pse = features.pse && percent(70);
	cpu.smep = features.smep && percent(30);
	cpu.smap = features.smap && percent(30);
	cpu.nxe = features.nx && percent(80);
	cpu.pke = features.pku && percent(50);
	cpu.pkru = (uint32_t)random64() & (uint32_t)random64();
	cpu.root = cpu.pcid = 0;
}

void world_build(void)
{
	static const uint8_t counts[] = { 1, 2, 3, 4, 8, 16, 32 };

	paging_leave_roots();
	arena_reset(cpu.format->entry_bytes);
	cpu.roots = counts[below(sizeof(counts))];
	for (unsigned i = 0; i < cpu.roots; i++)
		cpu.root_pa[i] = ARENA + i * PAGE + (cpu.mode == MODE_PAE ? i * 5 % 128 * 32 : 0);
	world.globals = percent(25);
	world.faulty = 5 + below(30);
	world.wild = percent(50) ? below(20) : 0;
	choose_registers();
	if (cpu.mode != MODE_NONE) {
		choose_levels();
		for (unsigned i = 0; i < cpu.roots; i++) {
			fill_table(cpu.root_pa[i], top());
			paging_put_kernel(cpu.root_pa[i]);
		}
		for (unsigned i = TABLES_FIRST; i < TABLES_FIRST + TABLES; i++)
			fill_table(ARENA + i * PAGE, world.level[i]);
	}
	for (unsigned i = DATA_FIRST; i < DATA_FIRST + DATA; i++)
		fill_data(i);
	paging_apply();
	stale_reset();
}
