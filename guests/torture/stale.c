/* SPDX-License-Identifier: MIT */
/* Times of invalidations, and what they cover. */
#include "torture/stale.h"

#include "torture/arena.h"

enum { LOG_MAX = 32 };

/* One address invalidation: of a PCID, and, by INVLPG, of global translations. */
struct address { uint64_t first, last; uint32_t when; unsigned pcid; bool globals; };

static struct {
	uint32_t flushed_all;
	uint32_t flushed[PCIDS];
	uint32_t root_changed[PCIDS];
	unsigned root[PCIDS];
	unsigned loaded;          /* the root that is current */
	uint32_t everything;      /* all is stale since then */
	bool globals;             /* some may be cached */
	uint32_t foreign_globals; /* of another root */
	uint64_t pdpte[4];        /* as loaded with CR3 ... */
	uint32_t pdptes_loaded;   /* ... then; other register writes may load them or not */
	struct address log[LOG_MAX];
	unsigned logged;
} stale;

static void load_pdptes(void)
{
	stale.pdptes_loaded = arena.now;
	for (unsigned i = 0; cpu.mode == MODE_PAE && i < 4; i++)
		stale.pdpte[i] = arena_entry(cpu.root_pa[cpu.root] + 8 * i);
}

void stale_note_globals(void)
{
	if (arena.global_words && cpu.pge)
		stale.globals = true;
}

void stale_flushed_all(void)
{
	stale.flushed_all = ++arena.now;
	stale.globals = false;
	stale.logged = 0;
	stale_note_globals();
}

void stale_reset(void)
{
	for (unsigned i = 0; i < PCIDS; i++) {
		stale.root[i] = 0;
		stale.root_changed[i] = stale.flushed[i] = 0;
	}
	stale.everything = stale.foreign_globals = 0;
	stale.loaded = cpu.root;
	load_pdptes();
	stale_flushed_all();
}

void stale_loaded(bool no_flush)
{
	const unsigned pcid = cpu.pcid;

	arena.now++;
	if (stale.root[pcid] != cpu.root)
		stale.root_changed[pcid] = arena.now;
	stale.root[pcid] = cpu.root;
	if (!no_flush)
		stale.flushed[pcid] = arena.now;
	if (stale.globals && stale.loaded != cpu.root)
		stale.foreign_globals = arena.now;
	stale.loaded = cpu.root;
	load_pdptes();
}

void stale_everything(void)
{
	stale.everything = ++arena.now;
}

/* The last invalidation of everything in the current PCID. */
static uint32_t covered_all(void)
{
	if (!stale.globals && stale.flushed[cpu.pcid] > stale.flushed_all)
		return stale.flushed[cpu.pcid];
	return stale.flushed_all;
}

/*
 * INVLPG drops all of the large page that maps the address now, in however many pieces it is cached
 * [SDM3 4.10.4.1]; that is all there is if nothing but large pages has been there since the last
 * wider invalidation.
 */
static bool was_always_large(const struct walk *walk)
{
	const uint32_t since = covered_all();

	if (stale.everything > since || stale.root_changed[cpu.pcid] > since ||
	    stale.foreign_globals > since)
		return false;
	for (unsigned i = 0; i + 1 < walk->steps; i++) {
		if (arena_stamp(walk->entry_pa[i]) > since)
			return false;
	}
	return arena_small_stamp(walk->entry_pa[walk->steps - 1]) <= since;
}

static void log_address(uint64_t gva, unsigned pcid, bool globals)
{
	const unsigned slot = stale.logged++ % LOG_MAX;
	struct walk walk;
	uint64_t offset = PAGE - 1;

	if (globals && paging_walk(gva, &walk) == GOOD && walk.leaf_level > 1 &&
	    was_always_large(&walk))
		offset = (1ull << paging_page_shift(walk.leaf_level)) - 1;
	stale.log[slot] = (struct address){ gva & ~offset, gva | offset, ++arena.now, pcid,
	                                    globals };
}

void stale_invalidated(uint64_t gva)
{
	log_address(gva, cpu.pcid, true);
}

void stale_invpcid(enum invpcid type, unsigned pcid, uint64_t gva)
{
	arena.now++;
	switch (type) {
	case INVPCID_ADDRESS:
		log_address(gva, pcid, false);
		break;
	case INVPCID_SINGLE:
		stale.flushed[pcid] = arena.now;
		break;
	case INVPCID_NON_GLOBAL:
		for (unsigned i = 0; i < PCIDS; i++)
			stale.flushed[i] = arena.now;
		break;
	case INVPCID_ALL:
		stale_flushed_all();
		break;
	}
}

/* The last invalidation that covers the address in the current PCID. */
static uint32_t covered(uint64_t gva)
{
	uint32_t when = covered_all();

	for (unsigned i = 0; i < stale.logged && i < LOG_MAX; i++) {
		const struct address *one = &stale.log[i];

		if (one->first <= gva && gva <= one->last && one->pcid == cpu.pcid &&
		    (one->globals || !stale.globals) && one->when > when)
			when = one->when;
	}
	return when;
}

bool stale_is(const struct walk *walk)
{
	const uint32_t since = covered(walk->gva);

	if (walk->identity)
		return false;
	if (stale.everything > since || stale.root_changed[cpu.pcid] > since ||
	    (stale.globals && stale.foreign_globals > since))
		return true;
	for (unsigned i = 0; i < walk->steps; i++) {
		if (cpu.mode == MODE_PAE && i == 0) {
			if (arena_entry(walk->entry_pa[0]) != stale.pdpte[walk->gva >> 30] ||
			    arena_stamp(walk->entry_pa[0]) > stale.pdptes_loaded)
				return true;
		} else if (arena_stamp(walk->entry_pa[i]) > since) {
			return true;
		}
	}
	return false;
}
