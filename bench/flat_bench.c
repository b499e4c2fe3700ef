/* SPDX-License-Identifier: MIT */
/*
 * Does what an operation costs depend on how much is shadowed? The same operations among a thousand
 * and among a million shadow pages.
 *
 * The many are address spaces of 64 shadow pages each: a root, a table each of levels 3 and 2, and
 * 61 leaf tables with an entry each. Their guest leaf tables are echo frames: different frames of
 * the same contents.
 */
#include "fixture.h"

enum {
	SPACE_LEAVES = 61,
	SPACE_PAGES = SPACE_LEAVES + 3,
	CACHED = 16,
	OWN = CACHED + 2,      /* the spaces measured, beside the many */
	MOST_SPACES = 1000000 / SPACE_PAGES,
	OWN_DATA = ECHO_FRAMES, /* the first data frame that the many do not map */
	STEP = 520,
	PAGES = 16 * 512,
	SYNCED = 64,
};

struct world {
	struct fixture *f;
	long pages;
	uint64_t root[MOST_SPACES + OWN]; /* the many first */
	unsigned many, roots;
	uint64_t table;      /* own leaf table of 64 entries, of the first own space */
	uint64_t upper;      /* the level-2 table above it ... */
	uint64_t other;      /* ... and another leaf table that it may lead to */
};

struct state {
	struct rhz_vcpu *vcpu;
	uint64_t cr3; /* of the next load */
	struct world *w;
	unsigned next;
	uint64_t page, gva;
	uint64_t count, before, before_too;
	struct rhz_fault fault;
};

static struct world world;
static struct state only;

/* The only entry of each echo table: where it stands, and which data frame it maps. */
static void fill_echoes(struct fixture *f)
{
	for (uint64_t i = 0; i < ECHO_FRAMES; i++)
		((uint64_t *)fixture_at(f, ECHO_AT + i * RHZ_PAGE_SIZE))[i * 7 % 512] =
			fixture_data(i) | GUEST_BITS;
}

static void add_space(struct world *w, uint64_t number)
{
	struct fixture *f = w->f;
	uint64_t root = guest_root(f);

	fixture_load(f, root);
	for (uint64_t t = 0; t < SPACE_LEAVES; t++) {
		uint64_t echo = number * SPACE_LEAVES + t;
		uint64_t gva = USER_AT + t * LEAF_TABLE_BYTES;

		*guest_entry(f, root, gva, 2) = (ECHO_AT + echo * RHZ_PAGE_SIZE) | GUEST_BITS;
		fixture_touch(f, gva + echo % ECHO_FRAMES * 7 % 512 * RHZ_PAGE_SIZE, false);
	}
	w->root[w->roots++] = root;
}

/* The own spaces; the first has what is measured, the others a page. */
static void add_own(struct world *w)
{
	struct fixture *f = w->f;

	for (unsigned i = 0; i < OWN; i++) {
		uint64_t root = guest_root(f), pages = i ? 1 : PAGES;

		fixture_load(f, root);
		for (uint64_t p = 0; p < pages; p++) {
			guest_map(f, root, USER_AT + p * RHZ_PAGE_SIZE, fixture_data(OWN_DATA + p));
			if (p < SYNCED || p % 512 == 0)
				fixture_touch(f, USER_AT + p * RHZ_PAGE_SIZE, true);
		}
		w->root[w->roots++] = root;
	}
	w->table = guest_table(f, w->root[w->many], USER_AT, 1);
	w->upper = guest_table(f, w->root[w->many], USER_AT, 2);
	w->other = fixture_frame(f);
	*(uint64_t *)fixture_at(f, w->other) = fixture_data(OWN_DATA) | GUEST_BITS;
}

static void make_world(struct world *w, long pages)
{
	unsigned many = (unsigned)(pages / SPACE_PAGES);
	struct fixture_config config = {
		.kind = RHZ_SHADOW, .paging = RHZ_PAGING_4LEVEL, .options = RHZ_NO_PREFETCH,
		.quota = RHZ_MAX_SHADOW_PAGES, .cached_roots = CACHED,
		.echoes = many * SPACE_LEAVES / ECHO_FRAMES + 1,
	};

	w->f = fixture_make(&config);
	w->pages = pages;
	w->many = many;
	w->roots = 0;
	fill_echoes(w->f);
	for (unsigned i = 0; i < many; i++)
		add_space(w, i);
	bench_require(w->f->vm_stats->mmu_shadow_pages >= many * (uint64_t)SPACE_PAGES,
	              "not as many pages");
	add_own(w);
}

/* The first own space is current. */
static struct state *start(const struct bench_row *row)
{
	struct state *s = &only;
	long pages = bench_parameter(row, "pages");

	if (world.pages != pages)
		make_world(&world, pages);
	*s = (struct state){ .vcpu = world.f->vcpu, .cr3 = world.root[world.many], .w = &world,
		             .next = world.many };
	fixture_load(world.f, s->cr3);
	return s;
}

static void op_load(void *state)
{
	struct state *s = state;

	rhz_vcpu_load_cr3(s->vcpu, s->cr3);
}

/* ---- a hit ---- */

static void *set_hit(const struct bench_row *row)
{
	struct state *s = start(row);

	fixture_load(s->w->f, s->w->root[s->w->many + 1]);
	fixture_load(s->w->f, s->w->root[s->w->many]);
	s->before = s->w->f->stats->root_cached_reused;
	return s;
}

static void choose_hit(void *state)
{
	struct state *s = state;

	bench_require(s->w->f->stats->root_cached_reused == s->before + s->count++, "no hit");
	s->next = 2 * s->w->many + 1 - s->next;
	s->cr3 = s->w->root[s->next];
}

/* ---- roots that left the cache: each of all in turn ---- */

static void *set_known(const struct bench_row *row)
{
	struct state *s = start(row);

	s->next = 0;
	for (unsigned i = 0; i < s->w->roots; i++)
		fixture_load(s->w->f, s->w->root[i]);
	s->next = s->w->roots - 1;
	s->before = s->w->f->stats->root_refound;
	return s;
}

static void choose_known(void *state)
{
	struct state *s = state;

	bench_require(s->w->f->stats->root_refound == s->before + s->count++, "not refound");
	s->next = (s->next + 1) % s->w->roots;
	s->cr3 = s->w->root[s->next];
}

/* ---- a fault ---- */

static void op_fault(void *state)
{
	struct state *s = state;

	rhz_vcpu_page_fault(s->vcpu, (rhz_gva){ s->gva }, RHZ_PF_U, 0, &s->fault);
}

static void *set_fault(const struct bench_row *row)
{
	struct state *s = start(row);

	s->before = s->w->f->stats->pf_fixed;
	return s;
}

static void choose_page(void *state)
{
	struct state *s = state;

	bench_require(s->w->f->stats->pf_fixed == s->before + s->count++, "a fault was not fixed");
	s->page = (s->page + STEP) % PAGES;
	s->gva = USER_AT + s->page * RHZ_PAGE_SIZE;
	fixture_unmap(s->w->f, fixture_data(OWN_DATA + s->page), RHZ_PAGE_SIZE);
}

/* ---- a table to sync ---- */

static void *set_sync(const struct bench_row *row)
{
	struct state *s = start(row);

	for (uint64_t p = 0; p < SYNCED; p++) {
		fixture_unmap(s->w->f, fixture_data(OWN_DATA + p), RHZ_PAGE_SIZE);
		fixture_touch(s->w->f, USER_AT + p * RHZ_PAGE_SIZE, true);
	}
	s->before = s->w->f->stats->tables_synced;
	s->before_too = s->w->f->stats->entries_synced;
	return s;
}

static void change_entry(void *state)
{
	struct state *s = state;

	bench_require(s->w->f->stats->tables_synced == s->before + s->count &&
	              s->w->f->stats->entries_synced == s->before_too + s->count,
	              "a load synced something else");
	s->count++;
	fixture_unsync(s->w->f, s->w->table);
	((uint64_t *)fixture_at(s->w->f, s->w->table))[SYNCED * 3 / 4] ^=
		fixture_data(OWN_DATA + SYNCED * 3 / 4) ^ fixture_data(OWN_DATA + PAGES);
}

/* ---- an emulated write ---- */

static void op_wrote(void *state)
{
	struct state *s = state;

	rhz_vm_wrote(s->w->f->vm, 0, (rhz_gpa){ s->w->upper }, 8);
}

static void change_upper(void *state)
{
	struct state *s = state;

	if (s->count++) {
		fixture_unmap(s->w->f, fixture_data(OWN_DATA), RHZ_PAGE_SIZE);
		fixture_touch(s->w->f, USER_AT, false);
	}
	*(uint64_t *)fixture_at(s->w->f, s->w->upper) ^= s->w->table ^ s->w->other;
}

#define AMONG(pages) \
	{ "load_cached", { { "pages", pages } }, .target = 110, \
	  .setup = set_hit, .prepare = choose_hit, .run = op_load }, \
	{ "load_known", { { "pages", pages } }, .target = 350, \
	  .setup = set_known, .prepare = choose_known, .run = op_load }, \
	{ "fill", { { "pages", pages } }, .target = 450, \
	  .setup = set_fault, .prepare = choose_page, .run = op_fault }, \
	{ "sync_remapped", { { "pages", pages } }, .target = 900, \
	  .setup = set_sync, .prepare = change_entry, .run = op_load }, \
	{ "wrote_upper", { { "pages", pages } }, .setup = start_wrote, \
	  .prepare = change_upper, .run = op_wrote }

static void *start_wrote(const struct bench_row *row)
{
	return start(row);
}

static const struct bench_row rows[] = {
	AMONG(1000),
	AMONG(10000),
	AMONG(100000),
	AMONG(1000000),
};

BENCH_SUITE("flat", rows)
