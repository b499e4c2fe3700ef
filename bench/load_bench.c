/* SPDX-License-Identifier: MIT */
/* Loads of CR3, entries, and the guest walk: what happens without any fault. */
#include "fixture.h"

#include "root/walk.h"

enum { MOST_ROOTS = RHZ_MAX_CACHED_ROOTS + 2 };

struct state {
	struct rhz_vcpu *vcpu;
	uint64_t cr3; /* of the next load */
	struct fixture *f;
	uint64_t root[MOST_ROOTS];
	unsigned roots, next;
	unsigned position;
	uint64_t *counter, before; /* what each operation must raise by one */
	struct rhz_walk walk;
	struct rhz_cpu cpu;
	struct rhz_entry entry;
};

static struct state only;

/* So many address spaces, each with a page of its own mapped; the last one is current. */
static struct state *spaces(unsigned roots, unsigned cached)
{
	struct fixture_config config = { .kind = RHZ_SHADOW, .paging = RHZ_PAGING_4LEVEL,
		                         .cached_roots = cached };
	struct state *s = &only;

	*s = (struct state){ .f = fixture_make(&config), .roots = roots };
	for (unsigned i = 0; i < roots; i++) {
		s->root[i] = guest_root(s->f);
		guest_map(s->f, s->root[i], USER_AT, fixture_data(i));
		fixture_load(s->f, s->root[i]);
		fixture_touch(s->f, USER_AT, true);
	}
	s->vcpu = s->f->vcpu;
	s->next = roots - 1;
	s->cr3 = s->root[s->next];
	return s;
}

static void expect(struct state *s, const uint64_t *counter)
{
	s->counter = (uint64_t *)(uintptr_t)counter;
	s->before = *counter;
}

/* Did the operation before do what it should? Round and round: the next root is the oldest. */
static void choose_next(void *state)
{
	struct state *s = state;

	bench_require(*s->counter == s->before++, "a load did something else");
	s->next = (s->next + 1) % s->roots;
	s->cr3 = s->root[s->next];
}

static void op_load(void *state)
{
	struct state *s = state;

	rhz_vcpu_load_cr3(s->vcpu, s->cr3);
}

static void *set_current(const struct bench_row *row)
{
	struct state *s = spaces(1, 64);

	(void)row;
	op_load(s);
	bench_require(s->f->stats->root_current_reused == 1, "the current root was not reused");
	return s;
}

static void *set_cached(const struct bench_row *row)
{
	unsigned position = (unsigned)bench_parameter(row, "position");
	struct state *s = spaces(position + 2, 64);

	expect(s, &s->f->stats->root_reused_at[position]);
	return s;
}

static void *set_known(const struct bench_row *row)
{
	unsigned cached = (unsigned)bench_parameter(row, "cached");
	struct state *s = spaces(cached + 2, cached);

	expect(s, &s->f->stats->root_refound);
	return s;
}

/* Two roots, no cache: the one not current is given up, and so built anew. */
static void *set_unknown(const struct bench_row *row)
{
	struct state *s = spaces(2, 0);

	(void)row;
	expect(s, &s->f->stats->root_built);
	return s;
}

static void choose_unknown(void *state)
{
	struct state *s = state;

	choose_next(s);
	bench_require(rhz_vm_unshadow(s->f->vm, 0, (rhz_gpa){ s->root[s->next] }),
	              "a root was not given up");
}

static void *set_walk(const struct bench_row *row)
{
	static const enum rhz_paging paging[] = {
		[2] = RHZ_PAGING_32, [3] = RHZ_PAGING_PAE, [4] = RHZ_PAGING_4LEVEL,
		[5] = RHZ_PAGING_5LEVEL,
	};
	struct fixture_config config = { .kind = RHZ_SHADOW, .cached_roots = 16,
		                         .paging = paging[bench_parameter(row, "levels")] };
	struct state *s = &only;

	*s = (struct state){ .f = fixture_make(&config) };
	s->vcpu = s->f->vcpu;
	guest_map(s->f, s->f->kernel, 0x40201000, fixture_data(7));
	fixture_load(s->f, s->f->kernel);
	bench_require(rhz_vcpu_translate(s->f->vcpu, (rhz_gva){ 0x40201123 },
	                                 RHZ_ACCESS_WRITE | RHZ_ACCESS_USER,
	                                 &s->walk) == RHZ_WALK_OK &&
	              s->walk.gpa.v == fixture_data(7) + 0x123, "the walk led elsewhere");
	return s;
}

/* As the library walks, for a fault and for all else. */
static void op_walk(void *state)
{
	struct state *s = state;

	vcpu_walk(s->vcpu, (rhz_gva){ 0x40201123 }, RHZ_ACCESS_WRITE | RHZ_ACCESS_USER, &s->walk);
}

/* As the embedder asks for it: with the lock taken and given back. */
static void op_translate(void *state)
{
	struct state *s = state;

	rhz_vcpu_translate(s->vcpu, (rhz_gva){ 0x40201123 }, RHZ_ACCESS_WRITE | RHZ_ACCESS_USER,
	                   &s->walk);
}

static void op_enter(void *state)
{
	struct state *s = state;

	rhz_vcpu_enter(s->vcpu, &s->cpu, &s->entry);
}

static void *set_enter(const struct bench_row *row)
{
	struct state *s = spaces(1, 16);

	(void)row;
	rhz_cpu_init(&s->cpu, 0, 1, 63, true);
	op_enter(s);
	op_enter(s);
	bench_require(s->entry.tag == 1 && s->entry.flush == RHZ_FLUSH_NONE, "a flush for nothing");
	return s;
}

/* Something was taken away since the last entry. */
static void *set_enter_stale(const struct bench_row *row)
{
	struct state *s = set_enter(row);

	expect(s, &s->f->stats->flush_tag);
	return s;
}

static void take_away(void *state)
{
	struct state *s = state;

	bench_require(*s->counter == s->before++, "the tag was not flushed");
	fixture_unmap(s->f, fixture_data(0), RHZ_PAGE_SIZE);
	fixture_touch(s->f, USER_AT, true);
}

/* A switch as a hypervisor makes it: the load, then the entry; by tags nothing is flushed. */
static void *set_switch(const struct bench_row *row)
{
	struct state *s = spaces(2, 16);

	(void)row;
	rhz_cpu_init(&s->cpu, 0, 1, 63, true);
	expect(s, &s->f->stats->root_reused_at[0]);
	return s;
}

static void op_switch(void *state)
{
	op_load(state);
	op_enter(state);
}

#define CURRENT .setup = set_current, .run = op_load
#define CACHED .target = 110, .setup = set_cached, .prepare = choose_next, .run = op_load
#define KNOWN .setup = set_known, .prepare = choose_next, .run = op_load
#define WALK .setup = set_walk, .run = op_walk

static const struct bench_row rows[] = {
	{ "load_current", .target = 60, CURRENT },
	{ "load_cached", { { "position", 0 } }, CACHED },
	{ "load_cached", { { "position", 1 } }, CACHED },
	{ "load_cached", { { "position", 2 } }, CACHED },
	{ "load_cached", { { "position", 15 } }, CACHED },
	{ "load_cached", { { "position", 31 } }, CACHED },
	{ "load_cached", { { "position", 63 } }, CACHED },
	{ "load_known", { { "cached", 16 } }, .target = 350, KNOWN },
	{ "load_known", { { "cached", 64 } }, .target = 350, KNOWN },
	{ "load_new", .setup = set_unknown, .prepare = choose_unknown, .run = op_load },
	{ "walk", { { "levels", 4 } }, .target = 130, WALK },
	{ "walk", { { "levels", 2 } }, WALK },
	{ "walk", { { "levels", 3 } }, WALK },
	{ "walk", { { "levels", 5 } }, WALK },
	{ "translate", { { "levels", 4 } }, .setup = set_walk, .run = op_translate },
	{ "enter", .setup = set_enter, .run = op_enter },
	{ "enter_flush_tag", .setup = set_enter_stale, .prepare = take_away, .run = op_enter },
	{ "load_cached_and_enter", .setup = set_switch, .prepare = choose_next, .run = op_switch },
};

BENCH_SUITE("load", rows)
