/* SPDX-License-Identifier: MIT */
/*
 * Tables, maps and pages where L1 has no memory: beyond the RAM, in the hole below 4 GiB, and where
 * a hypervisor may have taken RAM for itself. What stands there nobody knows; so no end is
 * predicted, but that nothing else changes, and that L1 goes on.
 */
#include "nested-torture/l2.h"
#include "nested-torture/steps.h"
#include "nested-torture/world.h"
#include "torture/machine.h"
#include "torture/random.h"

#define WINDOW 0x6000000ull /* L2's addresses of this 2 MiB page lead there */
#define GIB (1ull << 30)

static uint64_t nowhere(void)
{
	/* the last is below the top of the RAM that `rhizome run` gives: ours, under Rhizome */
	const uint64_t places[] = { 12 * GIB, (1ull << processor.address_bits) - 4 * GIB,
	                            0xd0000000, 0x1fc00000 };

	return places[below(4)] + (uint64_t)below(512) * PAGE;
}

/* The window's entry in L1's nested tables, or L2's own: a page there, or a table. */
static void open_window(bool nested, uint64_t to, bool leaf)
{
	const uint64_t table = nested ? pool_page(NESTED_L2) : LOW + LOW_TABLES + 2 * PAGE;
	uint64_t entry = to | E_P | E_W | E_U;

	if (leaf)
		entry = (to & -ARENA_BYTES) | E_P | E_W | E_U | E_PS;
	world_write(table + slot_of(WINDOW, 2) * 8, to ? entry : 0);
}

static void touch_window(void)
{
	static const uint8_t load[] = { 0x8b, 0x07 }, store[] = { 0x89, 0x07 };
	const bool nested = l2_paging.nested && (!l2_paging.paged || percent(60));
	const uint64_t to = nowhere();

	open_window(true, 0, false);
	open_window(false, WINDOW, true);
	open_window(nested, to, percent(40));
	l2_reg[RDI] = WINDOW + (uint64_t)below(0x80000) * 4;
	l2_code(percent(50) ? load : store, 2);
}

static void use_map(void)
{
	static const uint8_t in[] = { 0xec }, read[] = { 0x0f, 0x32 };

	if (percent(50)) {
		l2_reg[RDX] = 0x3ff; /* the scratch register of a UART */
		l2.iopm = nowhere();
		l2_intercept(0x7b, true);
		l2_code(in, sizeof(in));
	} else {
		l2_reg[RCX] = 0xc0000082;
		l2.msrpm = nowhere();
		l2_intercept(0x7c, true);
		l2_code(read, sizeof(read));
	}
}

void step_hostile(void)
{
	const unsigned kind = below(10);

	l2_build();
	l2_code("", 0);
	if (kind < 5)
		touch_window();
	else if (kind < 8)
		use_map();
	else if (kind == 8)
		l2.nested_cr3 = nowhere();
	else
		l2.cr3 = nowhere();
	walk_forget();
	l2_enter();
	open_window(true, 0, false);
	open_window(false, 0, false);
	report.done++;
}
