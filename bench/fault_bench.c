/* SPDX-License-Identifier: MIT */
/* Faults, each on a leaf that is not there; tables are, but where a row says otherwise. */
#include "fixture.h"

enum {
	TABLES = 16, /* leaf tables that the faults go round in */
	PAGES = TABLES * 512,
	STEP = 520,  /* from one fault to the next: another table, another eight */
	STEP_IN_TABLE = 8,
};

struct state {
	struct rhz_vcpu *vcpu;
	uint64_t gva; /* of the next fault; direct: gpa */
	struct fixture *f;
	uint64_t page; /* the next fault's, in the run of mapped ones */
	uint64_t count;
	unsigned pages; /* that each fault maps */
	unsigned step;  /* from one fault to the next, in pages */
	uint64_t around; /* pages that the faults go round in */
	uint32_t error_code;
	uint64_t fixed, prefetched;
	uint64_t table;
	struct rhz_fault fault;
	enum rhz_fault_result result;
};

static struct state only;

static void op_fault(void *state)
{
	struct state *s = state;

	s->result = rhz_vcpu_page_fault(s->vcpu, (rhz_gva){ s->gva }, s->error_code, 0, &s->fault);
}

static struct state *start(uint32_t options, enum rhz_paging_kind kind)
{
	struct fixture_config config = { .kind = kind, .cached_roots = 16, .options = options,
		                         .paging = kind == RHZ_SHADOW ? RHZ_PAGING_4LEVEL :
		                                                        RHZ_PAGING_NONE };
	struct state *s = &only;

	*s = (struct state){ .f = fixture_make(&config), .result = RHZ_FAULT_RESUME };
	s->vcpu = s->f->vcpu;
	s->gva = USER_AT;
	s->step = STEP;
	s->around = PAGES;
	return s;
}

static void go_to(struct state *s, uint64_t page)
{
	s->page = page % s->around;
	s->gva = USER_AT + s->page * RHZ_PAGE_SIZE;
}

/* Each 'every'-th page of the run is the guest's; shadowed by a first fault in each table. */
static void map_run(struct state *s, unsigned every)
{
	for (uint64_t i = 0; i < PAGES; i += every)
		guest_map(s->f, s->f->kernel, USER_AT + i * RHZ_PAGE_SIZE, fixture_data(i));
	for (uint64_t i = 0; i < PAGES; i += 512)
		fixture_touch(s->f, USER_AT + i * RHZ_PAGE_SIZE, false);
	s->fixed = s->f->stats->pf_fixed;
	s->prefetched = s->f->stats->prefetched;
}

static void *set_fill(const struct bench_row *row)
{
	struct state *s = start(RHZ_NO_PREFETCH, RHZ_SHADOW);

	map_run(s, 1);
	s->error_code = RHZ_PF_U | (bench_parameter(row, "write") ? RHZ_PF_W : 0);
	s->pages = 1;
	if (bench_parameter(row, "tables") == 1) {
		s->step = STEP_IN_TABLE;
		s->around = 512;
	}
	return s;
}

/* With prefetch: a leaf and so many neighbours of its eight. */
static void *set_fill_eight(const struct bench_row *row)
{
	long neighbours = bench_parameter(row, "neighbours");
	struct state *s = start(0, RHZ_SHADOW);

	map_run(s, neighbours ? 1 : 8);
	s->error_code = RHZ_PF_U;
	s->pages = 8;
	return s;
}

/* The leaf before must have come by a fault; the next one must be a hole. */
static void choose_page(void *state)
{
	struct state *s = state;
	uint64_t filled = s->count ? s->f->stats->pf_fixed - s->fixed : 1;

	bench_require(s->result == RHZ_FAULT_RESUME && filled == 1, "a fault did something else");
	s->fixed = s->f->stats->pf_fixed;
	s->count++;
	go_to(s, s->page + s->step);
	fixture_unmap(s->f, fixture_data(s->page), s->pages * RHZ_PAGE_SIZE);
}

static void choose_eight(void *state)
{
	struct state *s = state;

	if (s->count)
		bench_require(s->f->stats->prefetched - s->prefetched == 7, "not seven neighbours");
	s->prefetched = s->f->stats->prefetched;
	choose_page(s);
	s->prefetched = s->f->stats->prefetched;
}

/* Leaf tables that are the guest's, but not yet shadowed. */
static void choose_table(void *state)
{
	struct state *s = state;

	bench_require(s->result == RHZ_FAULT_RESUME, "a fault did something else");
	go_to(s, s->page + 512);
	bench_require(rhz_vm_unshadow(s->f->vm, 0, (rhz_gpa){
		guest_table(s->f, s->f->kernel, s->gva, 1) }), "a table was not given up");
}

/* A table of level 2 is written: that needs emulation. */
static void *set_tracked(const struct bench_row *row)
{
	struct state *s = start(0, RHZ_SHADOW);

	(void)row;
	map_run(s, 1);
	s->gva = PHYSMAP + guest_table(s->f, s->f->kernel, USER_AT, 2);
	s->error_code = RHZ_PF_P | RHZ_PF_W;
	op_fault(s);
	bench_require(s->result == RHZ_FAULT_TRACKED, "a write was let through");
	return s;
}

/* The guest's own fault: nothing is mapped there. */
static void *set_reflect(const struct bench_row *row)
{
	struct state *s = start(0, RHZ_SHADOW);

	(void)row;
	map_run(s, 8);
	s->gva = USER_AT + RHZ_PAGE_SIZE;
	s->error_code = RHZ_PF_U;
	op_fault(s);
	bench_require(s->result == RHZ_FAULT_REFLECT, "a fault was not the guest's");
	return s;
}

/* No RAM at the address: the first fault makes an entry, which answers the others. */
static void *set_mmio(const struct bench_row *row)
{
	struct state *s = start(0, RHZ_SHADOW);

	(void)row;
	guest_map(s->f, s->f->kernel, USER_AT, 0xfee00000000ull);
	s->error_code = RHZ_PF_U;
	op_fault(s);
	op_fault(s);
	bench_require(s->f->stats->pf_mmio_cached == 1, "an MMIO entry did not answer");
	return s;
}

/* ---- the direct MMU ---- */

static void *set_direct(const struct bench_row *row)
{
	bool large = bench_parameter(row, "level") == 2;
	struct state *s = start(large ? 0 : RHZ_NO_LARGE_PAGES, RHZ_NPT_4LEVEL);

	s->pages = large ? 512 : 1;
	s->gva = fixture_data(0);
	return s;
}

static void op_direct(void *state)
{
	struct state *s = state;

	s->result = rhz_vcpu_nested_fault(s->vcpu, (rhz_gpa){ s->gva }, RHZ_ACCESS_WRITE,
	                                  &s->fault);
}

static void choose_direct(void *state)
{
	struct state *s = state;

	bench_require(s->result == RHZ_FAULT_RESUME && s->f->stats->pf_fixed == s->count++,
	              "a fault did something else");
	bench_require(s->count == 1 || s->fault.level == (s->pages == 1 ? 1 : 2), "another level");
	s->page = (s->page + 1) % 32;
	s->gva = fixture_data(s->page * s->pages);
	fixture_unmap(s->f, s->gva, s->pages * RHZ_PAGE_SIZE);
}

#define FILL .setup = set_fill, .prepare = choose_page, .run = op_fault
#define DIRECT .setup = set_direct, .prepare = choose_direct, .run = op_direct

static const struct bench_row rows[] = {
	{ "fill", { { "write", 0 }, { "tables", TABLES } }, .target = 450, FILL },
	{ "fill", { { "write", 1 }, { "tables", TABLES } }, .target = 450, FILL },
	{ "fill", { { "write", 0 }, { "tables", 1 } }, .target = 450, FILL },
	{ "fill", { { "write", 1 }, { "tables", 1 } }, .target = 450, FILL },
	{ "fill_prefetch", { { "neighbours", 7 } }, .setup = set_fill_eight,
	  .prepare = choose_eight, .run = op_fault },
	{ "fill_prefetch", { { "neighbours", 0 } }, .setup = set_fill_eight,
	  .prepare = choose_page, .run = op_fault },
	{ "fill_new_table", { { "write", 0 }, { "tables", TABLES } }, .setup = set_fill,
	  .prepare = choose_table, .run = op_fault },
	{ "tracked_write", .setup = set_tracked, .run = op_fault },
	{ "reflect", .setup = set_reflect, .run = op_fault },
	{ "mmio_cached", .setup = set_mmio, .run = op_fault },
	{ "direct", { { "level", 1 } }, DIRECT },
	{ "direct", { { "level", 2 } }, DIRECT },
};

BENCH_SUITE("fault", rows)
