/* SPDX-License-Identifier: MIT */
/*
 * Nested entries and exits: root switches among the contexts of one vCPU. L2's faults under L1's
 * nested tables stand beside the switches.
 */
#include "fixture.h"

enum { MOST_GUESTS = 64, ASID = 7, NGPA = 0x200000 };

/* What the faults go through, page by page, again and again. */
enum { PAGES_AT = 0x400000, PAGES = 16 * 512, FIRST_DATA = 1000 };

struct state {
	struct fixture *f;
	struct rhz_vcpu *vcpu;
	struct rhz_nested nested;
	struct rhz_regs l2;
	uint64_t root[MOST_GUESTS]; /* nested tables, or L2's own */
	unsigned guests, next;
	uint64_t ngpa;
	uint64_t found; /* so far: roots, or faults fixed */
	struct rhz_cpu cpu;
	struct rhz_entry entry;
	struct rhz_fault fault;
	struct rhz_l1_exit exit;
};

static struct state only;

static void must(bool ok, const char *what)
{
	bench_require(ok, what);
}

static void op_enter_nested(void *state)
{
	struct state *s = state;

	rhz_vcpu_switch_nested(s->vcpu, &s->nested, ASID, RHZ_GUEST_KEEP);
}

static void op_enter_l2(void *state)
{
	struct state *s = state;

	rhz_vcpu_switch_context(s->vcpu, RHZ_CONTEXT_L2, &s->l2, ASID, RHZ_GUEST_KEEP);
}

static void op_exit(void *state)
{
	struct state *s = state;

	rhz_vcpu_switch_context(s->vcpu, RHZ_CONTEXT_L1, NULL, 0, RHZ_GUEST_KEEP);
}

static void processor_enters(struct state *s)
{
	rhz_vcpu_enter(s->vcpu, &s->cpu, &s->entry);
}

/* Nested entry and exit as a hypervisor makes them, the processor's entries in them. */
static void op_round(void *state)
{
	op_enter_nested(state);
	processor_enters(state);
	op_exit(state);
	processor_enters(state);
}

static void choose(struct state *s)
{
	s->next = (s->next + 1) % s->guests;
	s->nested.table = s->l2.cr3 = s->root[s->next];
}

/* Did the switches before find their roots? */
static void all_found(struct state *s, unsigned switches)
{
	uint64_t found = s->f->stats->root_current_reused + s->f->stats->root_cached_reused;

	must(found == s->found + switches, "a nested entry or exit found no root");
	must(!s->f->stats->nested_flush_unneeded, "a flush without a reason");
	s->found = found;
}

static enum rhz_fault_result l2_fault(struct state *s)
{
	return rhz_vcpu_l2_fault(s->vcpu, (rhz_ngpa){ s->ngpa },
	                         RHZ_NPF_FINAL | RHZ_PF_U | RHZ_PF_W, &s->fault, &s->exit);
}

/* L1 by shadow paging with so many guests; each has run once and touched its page. */
static struct state *make(unsigned guests, bool npt, uint32_t options)
{
	struct fixture_config config = { .kind = RHZ_SHADOW, .nested = RHZ_NPT_5LEVEL,
		                         .paging = RHZ_PAGING_4LEVEL, .cached_roots = 32,
		                         .options = options };
	struct state *s = &only;

	*s = (struct state){ .f = fixture_make(&config), .guests = guests };
	s->vcpu = s->f->vcpu;
	s->l2 = *rhz_vcpu_regs(s->vcpu);
	s->nested = (struct rhz_nested){ 0, s->l2.cr0, s->l2.cr4, s->l2.efer };
	rhz_cpu_init(&s->cpu, 0, 1, 63, true);
	for (unsigned i = 0; i < guests; i++) {
		s->root[i] = npt ? fixture_frame(s->f) : guest_root(s->f);
		guest_map(s->f, s->root[i], npt ? NGPA : USER_AT, fixture_data(i));
	}
	for (unsigned i = 0; i < 2 * guests; i++) {
		choose(s);
		if (npt) {
			op_enter_nested(s);
			s->ngpa = NGPA;
			must(i >= guests || l2_fault(s) == RHZ_FAULT_RESUME,
			     "L2's page is not there");
		} else {
			op_enter_l2(s);
			if (i < guests)
				fixture_touch(s->f, USER_AT, true);
		}
		processor_enters(s);
		op_exit(s);
		processor_enters(s);
	}
	s->found = s->f->stats->root_current_reused + s->f->stats->root_cached_reused;
	return s;
}

/* In L1, the next guest chosen. */
static void before_entry(void *state)
{
	struct state *s = state;

	if (rhz_vcpu_context(s->vcpu) != RHZ_CONTEXT_L1) {
		op_exit(s);
		all_found(s, 2);
	}
	choose(s);
}

static void before_exit(void *state)
{
	struct state *s = state;

	if (rhz_vcpu_context(s->vcpu) == RHZ_CONTEXT_L1)
		op_enter_nested(s);
}

static void before_round(void *state)
{
	struct state *s = state;

	must(s->entry.flush == RHZ_FLUSH_NONE, "an entry flushed");
	choose(s);
}

static void *set_nested(const struct bench_row *row)
{
	return make((unsigned)bench_parameter(row, "guests"), true, 0);
}

static void *set_l2(const struct bench_row *row)
{
	return make((unsigned)bench_parameter(row, "guests"), false, 0);
}

/* ---- faults ---- */

/* In L2 by nested tables of some more pages, which it has not touched. */
static void *set_fault(const struct bench_row *row)
{
	struct state *s = make(1, true, RHZ_NO_PREFETCH);

	(void)row;
	for (unsigned i = 0; i < PAGES; i++)
		guest_map(s->f, s->root[0], PAGES_AT + i * RHZ_PAGE_SIZE,
		          fixture_data(FIRST_DATA + i));
	op_enter_nested(s);
	s->ngpa = PAGES_AT;
	s->found = 0;
	return s;
}

static void op_fault(void *state)
{
	l2_fault(state);
}

static void next_page(void *state)
{
	struct state *s = state;

	must(s->f->stats->pf_fixed != s->found, "a fault was not fixed");
	s->found = s->f->stats->pf_fixed;
	s->ngpa += RHZ_PAGE_SIZE;
	if (s->ngpa < PAGES_AT + PAGES * RHZ_PAGE_SIZE)
		return;
	s->ngpa = PAGES_AT;
	fixture_unmap(s->f, fixture_data(FIRST_DATA), PAGES * RHZ_PAGE_SIZE);
}

#define ENTER_NESTED .setup = set_nested, .prepare = before_entry, .run = op_enter_nested
#define ENTER_L2 .setup = set_l2, .prepare = before_entry, .run = op_enter_l2

static const struct bench_row rows[] = {
	{ "enter_npt", { { "guests", 1 } }, ENTER_NESTED },
	{ "enter_npt", { { "guests", 8 } }, ENTER_NESTED },
	{ "enter_npt", { { "guests", 31 } }, ENTER_NESTED },
	{ "enter_shadow", { { "guests", 1 } }, ENTER_L2 },
	{ "enter_shadow", { { "guests", 8 } }, ENTER_L2 },
	{ "exit", { { "guests", 1 } }, .setup = set_nested,
	  .prepare = before_exit, .run = op_exit },
	{ "round_trip", { { "guests", 1 } }, .setup = set_nested, .prepare = before_round,
	  .run = op_round },
	{ "round_trip", { { "guests", 8 } }, .setup = set_nested, .prepare = before_round,
	  .run = op_round },
	{ "l2_fault_fill", .setup = set_fault, .prepare = next_page, .run = op_fault },
};

BENCH_SUITE("nested", rows)
