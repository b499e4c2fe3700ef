/* SPDX-License-Identifier: MIT */
/* The prediction of translations. */
#include "nested-torture/walk.h"

#include "nested-torture/world.h"

enum { LEVELS = 4, TOUCHES_MAX = 256 };

static struct touch { uint64_t pa, before, must, may; } touches[TOUCHES_MAX];
static unsigned touch_count;

/*
 * Frames that were L2's own tables, and L1's nested tables above the leaves, since walk_forget().
 * Rhizome has a named limit (docs/nested.md): one access that needs a frame as both, where the
 * processor writes what we keep shadowed, never ends.
 */
enum { FRAMES_MAX = 128 };
static struct { uint64_t frame[FRAMES_MAX]; unsigned count; } own_tables, nested_tables;

static void note_frame(bool own, uint64_t pa)
{
	const uint64_t frame = pa & -PAGE;
	unsigned *count = own ? &own_tables.count : &nested_tables.count;
	uint64_t *frames = own ? own_tables.frame : nested_tables.frame;

	for (unsigned i = 0; i < *count; i++) {
		if (frames[i] == frame)
			return;
	}
	if (*count == FRAMES_MAX)
		__builtin_trap();
	frames[(*count)++] = frame;
}

static bool frame_is_both(void)
{
	for (unsigned i = 0; i < own_tables.count; i++) {
		for (unsigned j = 0; j < nested_tables.count; j++) {
			if (own_tables.frame[i] == nested_tables.frame[j])
				return true;
		}
	}
	return false;
}

void walk_forget(void)
{
	touch_count = own_tables.count = nested_tables.count = 0;
}

static void touch(uint64_t pa, uint64_t must, uint64_t may)
{
	unsigned i;

	for (i = 0; i < touch_count && touches[i].pa != pa; i++)
		;
	if (i == touch_count) {
		if (touch_count == TOUCHES_MAX)
			__builtin_trap();
		touches[touch_count++] = (struct touch){ .pa = pa, .before = *word_at(pa) };
	}
	touches[i].must |= must;
	touches[i].may |= may;
}

void walk_failed(void)
{
	for (unsigned i = 0; i < touch_count; i++) {
		touches[i].may |= touches[i].must;
		touches[i].must = 0;
	}
}

uint64_t walk_settle(void)
{
	uint64_t wrong = 0;

	for (unsigned i = 0; i < touch_count; i++) {
		const struct touch *t = &touches[i];
		const uint64_t now = *word_at(t->pa), least = t->before | t->must;

		if ((now & least) != least || now & ~(least | t->may))
			wrong = t->pa;
		else
			world_expect(t->pa, &now, sizeof(now));
	}
	return wrong;
}

/* One set of tables. through: addresses in them are L2's physical ones under nested paging. */
struct tables {
	const struct paging *through;
	uint64_t root;
	bool is_nested, nx, wp, smep, smap_acts, user;
};

static bool has_reserved_bits(const struct tables *t, uint64_t entry, unsigned level)
{
	uint64_t reserved = E_FRAME & -(1ull << processor.address_bits);

	if (!t->nx)
		reserved |= E_NX;
	if (level == LEVELS)
		reserved |= E_PS; /* must be zero [APM2 5.3.3] */
	if (level > 1 && level < LEVELS && entry & E_PS)
		reserved |= E_FRAME & ((1ull << (12 + 9 * (level - 1))) - 1) & ~E_PAT_LARGE;
	return entry & reserved;
}

/* Rights: the AND of all levels' [APM2 5.6]; access is F_W and F_I. */
static bool may_access(const struct tables *t, uint64_t rights, uint64_t access)
{
	const bool user_page = rights & E_U;

	if (t->user && !user_page)
		return false;
	if (access & F_I)
		return !(rights & E_NX) && !(t->smep && !t->user && user_page);
	if (t->smap_acts && !t->user && user_page)
		return false;
	return !(access & F_W) || rights & E_W || !(t->wp || t->user);
}

static void nested_walk(const struct paging *paging, uint64_t ngpa, uint64_t access,
                        uint64_t which, struct walk *walk);

/* [APM2 5.3]. On a fault walk->error has P and RSV only. */
static void walk_tables(const struct tables *t, uint64_t address, uint64_t access,
                        struct walk *walk)
{
	uint64_t frame = t->root & E_FRAME, rights = E_W | E_U, path[LEVELS + 1];
	unsigned level;

	walk->end = WALK_PAGE_FAULT;
	for (level = LEVELS;; level--) {
		uint64_t entry, at = frame + slot_of(address, level) * 8;

		if (t->through) {
			/* a walk reads and writes the tables as a user would [APM2 15.25.5] */
			nested_walk(t->through, at, F_W, F_TABLE, walk);
			if (walk->end != WALK_OK)
				return;
			walk->end = WALK_PAGE_FAULT;
			at = walk->pa;
		}
		if (!in_world(at)) {
			walk->end = WALK_OPEN;
			return;
		}
		if (t->through || (t->is_nested && level > 1))
			note_frame(t->through, at);
		path[level] = at;
		entry = *word_at(at);
		walk->error = 0;
		if (!(entry & E_P))
			return;
		walk->error = F_P | F_RSV;
		if (has_reserved_bits(t, entry, level))
			return;
		touch(at, 0, E_A);
		rights = (rights & entry) | ((rights | entry) & E_NX);
		frame = entry & E_FRAME;
		if (level == 1 || (level < LEVELS && entry & E_PS))
			break;
	}
	walk->error = F_P;
	if (!may_access(t, rights, access))
		return;
	for (unsigned i = LEVELS; i >= level; i--)
		touch(path[i], E_A, 0);
	if (access & F_W)
		touch(path[level], E_D, 0);
	walk->end = WALK_OK;
	frame &= -(1ull << (12 + 9 * (level - 1)));
	walk->pa = frame | (address & ((1ull << (12 + 9 * (level - 1))) - 1));
}

static void nested_walk(const struct paging *paging, uint64_t ngpa, uint64_t access,
                        uint64_t which, struct walk *walk)
{
	/* accesses are a user's [APM2 15.25.5] */
	const struct tables t = { .root = paging->nested_root, .nx = paging->nested_nx,
	                          .is_nested = true, .wp = true, .user = true };

	walk_tables(&t, ngpa, access, walk);
	if (walk->end != WALK_PAGE_FAULT)
		return;
	walk->end = WALK_NESTED_FAULT;
	walk->error |= F_U | which | (access & F_W);
	if (access & F_I && paging->nested_nx)
		walk->error |= F_I;
	walk->address = ngpa;
}

static void translate(const struct paging *paging, const struct tables *t, uint64_t gva,
                      uint64_t access, struct walk *walk)
{
	*walk = (struct walk){ .end = WALK_OK, .pa = gva };
	if (paging->paged) {
		walk_tables(t, gva, access, walk);
		if (walk->end == WALK_PAGE_FAULT) {
			walk->error |= (access & F_W) | (paging->user ? F_U : 0);
			if (access & F_I && (paging->nx || paging->smep))
				walk->error |= F_I;
		}
		if (walk->end != WALK_OK)
			return;
	}
	if (paging->nested)
		nested_walk(paging, walk->pa, access, F_FINAL, walk);
}

void walk_linear(const struct paging *paging, uint64_t gva, uint64_t access, struct walk *walk)
{
	const struct tables t = {
		.through = paging->nested ? paging : 0,
		.root = paging->root,
		.nx = paging->nx, .wp = paging->wp, .smep = paging->smep,
		.smap_acts = paging->smap && !paging->ac, .user = paging->user,
	};

	translate(paging, &t, gva, access, walk);
	if (frame_is_both())
		walk->end = WALK_OPEN;
}
