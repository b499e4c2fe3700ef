/* SPDX-License-Identifier: MIT */
/* What the host and the embedder do: slots, dirty log, taking memory away, giving pages up. */
#include <stdlib.h>

#include "fixture.h"

enum { LOGGED = 4096, MOST_SLOTS = 510 };

struct state {
	struct fixture *f;
	struct rhz_slot slot;
	unsigned id;
	uint64_t pages, count, before, found;
	uint64_t log[LOGGED / 64], out[LOGGED / 64];
	enum rhz_status status;
};

static struct state only;

static struct state *start(uint32_t quota)
{
	struct fixture_config config = { .kind = RHZ_SHADOW, .paging = RHZ_PAGING_4LEVEL,
		                         .options = RHZ_NO_PREFETCH, .quota = quota };
	struct state *s = &only;

	*s = (struct state){ .f = fixture_make(&config) };
	return s;
}

static uint64_t gva_of(uint64_t page)
{
	return USER_AT + page * RHZ_PAGE_SIZE;
}

/* ---- slots ---- */

/* Beside the fixture's slot, so many small ones above it; the next one is to be added. */
static void *set_slots(const struct bench_row *row)
{
	struct state *s = start(0);
	long others = bench_parameter(row, "slots");

	s->slot = (struct rhz_slot){ .gpa = { 1ull << 40 }, .bytes = LEAF_TABLE_BYTES,
		                     .ram = s->f->ram_id, .offset = DATA_AT };
	for (long i = 0; i < others; i++) {
		bench_require(rhz_slot_add(s->f->vm, &s->slot, &s->id) == RHZ_OK, "no slot");
		s->slot.gpa.v += LEAF_TABLE_BYTES;
	}
	return s;
}

static void op_slot_add(void *state)
{
	struct state *s = state;

	s->status = rhz_slot_add(s->f->vm, &s->slot, &s->id);
}

static void slot_remove(void *state)
{
	struct state *s = state;

	if (s->count++)
		bench_require(s->status == RHZ_OK && rhz_slot_delete(s->f->vm, s->id) == RHZ_OK,
		              "a slot was not added");
}

/* A slot of 2 MiB of which so many pages are mapped goes. */
static void *set_slot_delete(const struct bench_row *row)
{
	struct state *s = set_slots(&(struct bench_row){ .parameter = { { "slots", 0 } } });

	s->pages = (uint64_t)bench_parameter(row, "mapped");
	for (uint64_t i = 0; i < s->pages; i++)
		guest_map(s->f, s->f->kernel, gva_of(i), s->slot.gpa.v + i * RHZ_PAGE_SIZE);
	return s;
}

static void op_slot_delete(void *state)
{
	struct state *s = state;

	s->status = rhz_slot_delete(s->f->vm, s->id);
}

static void slot_bring(void *state)
{
	struct state *s = state;

	if (s->count++)
		bench_require(s->status == RHZ_OK && s->f->vm_stats->pages_4k == s->before,
		              "mappings were left");
	s->before = s->f->vm_stats->pages_4k;
	bench_require(rhz_slot_add(s->f->vm, &s->slot, &s->id) == RHZ_OK, "no slot");
	for (uint64_t i = 0; i < s->pages; i++)
		fixture_touch(s->f, gva_of(i), true);
}

/* ---- dirty log ---- */

static void *set_harvest(const struct bench_row *row)
{
	struct state *s = start(0);

	s->pages = (uint64_t)bench_parameter(row, "dirty");
	s->slot = (struct rhz_slot){ .gpa = { 1ull << 40 }, .bytes = (uint64_t)LOGGED * 4096,
		                     .ram = s->f->ram_id, .offset = DATA_AT,
		                     .flags = RHZ_SLOT_DIRTY_LOG, .dirty = s->log };
	bench_require(rhz_slot_add(s->f->vm, &s->slot, &s->id) == RHZ_OK, "no slot");
	for (uint64_t i = 0; i < s->pages; i++)
		guest_map(s->f, s->f->kernel, gva_of(i), s->slot.gpa.v + i * RHZ_PAGE_SIZE);
	return s;
}

static void op_harvest(void *state)
{
	struct state *s = state;

	s->status = rhz_slot_harvest(s->f->vm, s->id, 0, LOGGED, s->out, &s->found);
}

static void make_dirty(void *state)
{
	struct state *s = state;

	if (s->count++)
		bench_require(s->status == RHZ_OK && s->found == s->pages, "pages were not dirty");
	for (uint64_t i = 0; i < s->pages; i++)
		fixture_touch(s->f, gva_of(i), true);
}

/* ---- taking memory away ---- */

/* One frame, mapped so many times. */
static void *set_unmap(const struct bench_row *row)
{
	struct state *s = start(0);

	s->pages = (uint64_t)bench_parameter(row, "mappings");
	for (uint64_t i = 0; i < s->pages; i++)
		guest_map(s->f, s->f->kernel, gva_of(i), fixture_data(0));
	return s;
}

static void op_unmap(void *state)
{
	struct state *s = state;

	s->status = rhz_ram_invalidate(s->f->vm, s->f->ram_id, fixture_data(0), RHZ_PAGE_SIZE);
}

static void map_again(void *state)
{
	struct state *s = state;

	bench_require(!s->count++ || (s->status == RHZ_OK && !s->f->vm_stats->pages_4k),
	              "mappings were left");
	for (uint64_t i = 0; i < s->pages; i++)
		fixture_touch(s->f, gva_of(i), true);
}

/* ---- pages ---- */

/* So many leaf tables with a few entries each; all are given up, and those above them. */
static void *set_shrink(const struct bench_row *row)
{
	struct state *s = start(0);
	uint64_t entries = (uint64_t)bench_parameter(row, "entries");

	s->pages = (uint64_t)bench_parameter(row, "pages");
	for (uint64_t i = 0; i < s->pages * entries; i++)
		guest_map(s->f, s->f->kernel, gva_of(i / entries * 512 + i % entries),
		          fixture_data(i));
	s->found = entries;
	return s;
}

static void op_shrink(void *state)
{
	rhz_vm_shrink(((struct state *)state)->f->vm, 0);
}

static void shadow_again(void *state)
{
	struct state *s = state;

	bench_require(!s->count++ || s->f->vm_stats->mmu_shadow_pages == 1, "pages were left");
	for (uint64_t i = 0; i < s->pages * s->found; i++)
		fixture_touch(s->f, gva_of(i / s->found * 512 + i % s->found), true);
	/* beside the leaf tables: the root, and one each of levels 3 and 2 */
	bench_require(s->f->vm_stats->mmu_shadow_pages == s->pages + 3, "other pages");
}

/* The quota is used up: a fault that needs a new table takes the oldest page first. */
static void *set_recycle(const struct bench_row *row)
{
	struct state *s = start(128);

	(void)row;
	s->pages = 512;
	for (uint64_t i = 0; i < s->pages; i++) {
		guest_map(s->f, s->f->kernel, gva_of(i * 512), fixture_data(i));
		fixture_touch(s->f, gva_of(i * 512), false);
	}
	return s;
}

static void op_recycle(void *state)
{
	struct state *s = state;
	struct rhz_fault fault;

	rhz_vcpu_page_fault(s->f->vcpu, (rhz_gva){ gva_of(s->count % s->pages * 512) }, RHZ_PF_U, 0,
	                    &fault);
}

static void next_table(void *state)
{
	struct state *s = state;

	bench_require(!s->count++ || s->f->vm_stats->mmu_recycled > s->before, "no page was taken");
	s->before = s->f->vm_stats->mmu_recycled;
}

#define SLOT_ADD .setup = set_slots, .prepare = slot_remove, .run = op_slot_add
#define SLOT_DELETE \
	.setup = set_slot_delete, .prepare = slot_bring, .run = op_slot_delete, .count = 100
#define HARVEST .setup = set_harvest, .prepare = make_dirty, .run = op_harvest, .count = 100
#define UNMAP .setup = set_unmap, .prepare = map_again, .run = op_unmap, .count = 100
#define SHRINK .setup = set_shrink, .prepare = shadow_again, .run = op_shrink, .count = 100

static const struct bench_row rows[] = {
	{ "slot_add", { { "slots", 0 } }, SLOT_ADD },
	{ "slot_add", { { "slots", MOST_SLOTS } }, SLOT_ADD },
	{ "slot_delete_2m", { { "mapped", 0 } }, SLOT_DELETE },
	{ "slot_delete_2m", { { "mapped", 64 } }, SLOT_DELETE },
	{ "harvest_4096", { { "dirty", 0 } }, HARVEST },
	{ "harvest_4096", { { "dirty", 64 } }, HARVEST },
	{ "invalidate_page", { { "mappings", 1 } }, UNMAP },
	{ "invalidate_page", { { "mappings", 10 } }, UNMAP },
	{ "invalidate_page", { { "mappings", 100 } }, UNMAP },
	{ "give_up_pages", { { "pages", 16 }, { "entries", 1 } }, SHRINK },
	{ "give_up_pages", { { "pages", 16 }, { "entries", 64 } }, SHRINK },
	{ "fill_recycling", .setup = set_recycle, .prepare = next_table, .run = op_recycle },
};

BENCH_SUITE("host", rows)
