/* SPDX-License-Identifier: MIT */
/*
 * What a processor may have cached, as sets. Read docs/oracle.md first: here all entries have A and
 * D, all accesses are a user's, and a context is current from a load of CR3 to the next, which
 * invalidates all. So the values that a chain's upper entry held since the last invalidation are a
 * set, and each of them may be followed by what the leaf holds at any later time.
 */
#include "small.h"

static value join(value upper, value leaf)
{
	return VALUE(FRAME_OF(leaf), IS_WRITABLE(upper) && IS_WRITABLE(leaf));
}

/* What memory says now joins what it said before. */
static void read_memory(unsigned v)
{
	struct allowed *allowed = &world.seat[v].allowed;

	for (unsigned i = 0; i < ENTRIES; i++) {
		value now = world.memory[world.seat[v].cr3][i];

		if (now)
			allowed->upper[i] |= BIT(now);
		for (value upper = 1; upper < VALUE(HOLE_FRAME, 0); upper++) {
			if (!(allowed->upper[i] & BIT(upper)))
				continue;
			for (unsigned j = 0; j < ENTRIES; j++) {
				value leaf = world.memory[FRAME_OF(upper)][j];

				if (leaf)
					allowed->leaf[i * ENTRIES + j] |= BIT(join(upper, leaf));
			}
		}
	}
}

void oracle_changed(void)
{
	for (unsigned v = 0; v < plan->vcpus; v++)
		read_memory(v);
}

void oracle_flush(unsigned v)
{
	world.seat[v].allowed = (struct allowed){ 0 };
	read_memory(v);
}

/* All upper levels are forgotten, and the leaf of this address [SDM3 4.10.4.1]. */
void oracle_invlpg(unsigned v, unsigned place)
{
	struct allowed *allowed = &world.seat[v].allowed;

	for (unsigned i = 0; i < ENTRIES; i++)
		allowed->upper[i] = 0;
	allowed->leaf[place] = 0;
	read_memory(v);
}

value oracle_walk(unsigned v, unsigned place)
{
	value upper = world.memory[world.seat[v].cr3][place / ENTRIES], leaf;

	if (!upper || FRAME_OF(upper) == HOLE_FRAME)
		return 0;
	leaf = world.memory[FRAME_OF(upper)][place % ENTRIES];
	return leaf ? join(upper, leaf) : 0;
}
