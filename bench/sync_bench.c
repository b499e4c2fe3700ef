/* SPDX-License-Identifier: MIT */
/*
 * Tables out of sync: what a load pays that must re-read them, and that one need not.
 *
 * A synced table is measured as the load of CR3 that syncs it. So all is in it: the load itself,
 * the write protection of the table's frame, and the re-reading of its entries.
 */
#include "fixture.h"

enum { MOST_TABLES = 1000, TABLES_A_ROOT = 100, MOST_ROOTS = 12 };

enum how { REMAPPED, PROTECTED, UNMAPPED }; /* what the guest does to an entry */

struct state {
	struct rhz_vcpu *vcpu;
	uint64_t cr3; /* of the next load */
	struct fixture *f;
	uint64_t root[MOST_ROOTS];
	unsigned roots, next;
	uint64_t table[MOST_TABLES]; /* leaf tables */
	unsigned tables;
	unsigned changed;   /* how many of them are written between two loads */
	unsigned entries;   /* present in each ... */
	unsigned apart;     /* ... and so far from each other */
	enum how how;
	uint64_t count;
	uint64_t synced, differed, reused, unsync, flushed; /* statistics as they should be */
	enum rhz_flush flush;
	struct rhz_cpu cpu;
};

static struct state only;

static uint64_t gva_of(unsigned table, unsigned entry)
{
	return USER_AT + table * (uint64_t)LEAF_TABLE_BYTES + entry * RHZ_PAGE_SIZE;
}

static struct state *start(unsigned tables, unsigned entries, unsigned apart)
{
	struct fixture_config config = { .kind = RHZ_SHADOW, .paging = RHZ_PAGING_4LEVEL,
		                         .options = RHZ_NO_PREFETCH, .cached_roots = 16 };
	struct state *s = &only;

	*s = (struct state){ .f = fixture_make(&config), .tables = tables, .entries = entries,
		               .apart = apart };
	s->vcpu = s->f->vcpu;
	return s;
}

/* The index of the entry that changes: the first of the last quarter that is present. */
static unsigned changing(const struct state *s)
{
	return s->entries * 3 / 4 * s->apart;
}

/* A leaf table under a root: its entries mapped by the guest, and shadowed. */
static void fill_table(struct state *s, uint64_t root, unsigned table)
{
	for (unsigned i = 0; i < s->entries; i++) {
		unsigned entry = i * s->apart;

		guest_map(s->f, root, gva_of(table, entry), fixture_data(table * 512 + entry));
		fixture_touch(s->f, gva_of(table, entry), true);
	}
	s->table[table] = guest_table(s->f, root, gva_of(table, 0), 1);
}

static void op_load(void *state)
{
	struct state *s = state;

	rhz_vcpu_load_cr3(s->vcpu, s->cr3);
}

static void record(struct state *s)
{
	s->synced = s->f->stats->tables_synced;
	s->differed = s->f->stats->entries_synced;
	s->reused = s->f->stats->root_cached_reused;
	s->unsync = s->f->vm_stats->mmu_unsync;
}

/* Did the load before sync what was changed, and nothing else? */
static void check(struct state *s)
{
	if (s->count++)
		bench_require(s->f->stats->tables_synced - s->synced == s->changed &&
		              s->f->stats->entries_synced - s->differed == s->changed,
		              "a load synced something else");
}

/* ---- one table of the root in use ---- */

static struct state *one_table(unsigned entries, unsigned apart, enum how how)
{
	struct state *s = start(1, entries, apart);

	s->how = how;
	s->roots = 1;
	s->changed = 1;
	s->root[0] = s->cr3 = s->f->kernel;
	fill_table(s, s->root[0], 0);
	return s;
}

static void *set_remapped(const struct bench_row *row)
{
	return one_table((unsigned)bench_parameter(row, "entries"),
	                 (unsigned)bench_parameter(row, "apart"), REMAPPED);
}

static void *set_protected(const struct bench_row *row)
{
	return one_table((unsigned)bench_parameter(row, "entries"), 1, PROTECTED);
}

static void *set_unmapped(const struct bench_row *row)
{
	return one_table((unsigned)bench_parameter(row, "entries"), 1, UNMAPPED);
}

static void change_entry(struct state *s, unsigned table)
{
	unsigned index = changing(s);
	uint64_t *entry = (uint64_t *)fixture_at(s->f, s->table[table]) + index;
	uint64_t other = fixture_data(MOST_TABLES * 8 + table);
	uint64_t own = fixture_data(table * 512 + index);

	switch (s->how) {
	case REMAPPED:
		*entry ^= other ^ own;
		break;
	case PROTECTED:
		*entry ^= GUEST_WRITABLE;
		break;
	case UNMAPPED:
		*entry ^= own | GUEST_BITS;
		break;
	}
}

/* What the last operation took away comes back, so that all entries are there again. */
static void bring_back(struct state *s)
{
	if (s->how == REMAPPED)
		return;
	fixture_unsync(s->f, s->table[0]);
	change_entry(s, 0);
	op_load(s);
	fixture_touch(s->f, gva_of(0, changing(s)), true);
}

static void change_one(void *state)
{
	struct state *s = state;

	check(s);
	if (s->count > 1)
		bring_back(s);
	fixture_unsync(s->f, s->table[0]);
	change_entry(s, 0);
	record(s);
}

/* ---- switches ---- */

/* The two that are switched between; both have the kernel's tables, which so are shared. */
static void two_roots(struct state *s)
{
	for (s->roots = 0; s->roots < 2; s->roots++) {
		s->root[s->roots] = guest_root(s->f);
		fixture_load(s->f, s->root[s->roots]);
		fixture_unmap(s->f, 0, RHZ_PAGE_SIZE);
		fixture_touch(s->f, PHYSMAP, false);
	}
}

/* Tables private to other roots, out of sync all the time; the switches are between two more. */
static void *set_others(const struct bench_row *row)
{
	struct state *s = start((unsigned)bench_parameter(row, "tables"), 1, 1);
	unsigned others = (s->tables + TABLES_A_ROOT - 1) / TABLES_A_ROOT;

	two_roots(s);
	for (unsigned i = 0; i < others; i++) {
		uint64_t root = guest_root(s->f);
		unsigned first = i * TABLES_A_ROOT, end = first + TABLES_A_ROOT;

		end = end < s->tables ? end : s->tables;
		fixture_load(s->f, root);
		for (unsigned t = first; t < end; t++)
			fill_table(s, root, t);
		for (unsigned t = first; t < end; t++)
			fixture_unsync(s->f, s->table[t]);
	}
	fixture_load(s->f, s->root[0]);
	fixture_load(s->f, s->root[1]);
	s->next = 1;
	return s;
}

static void choose_other(void *state)
{
	struct state *s = state;

	check(s);
	if (s->count > 1)
		bench_require(s->f->stats->root_cached_reused == s->reused + 1, "no hit");
	bench_require(s->f->vm_stats->mmu_unsync == s->tables, "tables were synced");
	record(s);
	s->next ^= 1;
	s->cr3 = s->root[s->next];
}

/* Kernel tables that two roots share: all were out of sync once, 'changed' are again each time. */
static void *set_shared(const struct bench_row *row)
{
	struct state *s = start((unsigned)bench_parameter(row, "tables"), 64, 1);

	s->changed = (unsigned)bench_parameter(row, "changed");
	fixture_load(s->f, s->f->kernel);
	for (unsigned t = 0; t < s->tables; t++)
		fill_table(s, s->f->kernel, t);
	two_roots(s);
	for (unsigned i = 0; i < 2; i++) {
		*guest_entry(s->f, s->root[i], USER_AT, 4) =
			*guest_entry(s->f, s->f->kernel, USER_AT, 4);
		fixture_load(s->f, s->root[i]);
		/* links the shared tables */
		fixture_unmap(s->f, fixture_data(0), RHZ_PAGE_SIZE);
		fixture_touch(s->f, USER_AT, true);
	}
	for (unsigned t = 0; t < s->tables; t++)
		fixture_unsync(s->f, s->table[t]);
	fixture_load(s->f, s->root[0]);
	bench_require(s->f->stats->tables_synced >= s->tables && !s->f->vm_stats->mmu_unsync,
	              "shared tables were not synced");
	return s;
}

static void change_shared(void *state)
{
	struct state *s = state;

	check(s);
	if (s->count > 1)
		bench_require(s->f->stats->root_cached_reused == s->reused + 1, "no hit");
	for (unsigned t = 0; t < s->changed; t++) {
		fixture_unsync(s->f, s->table[t]);
		change_entry(s, t);
	}
	bench_require(s->f->vm_stats->mmu_unsync == s->changed, "tables were not synced");
	record(s);
	s->next ^= 1;
	s->cr3 = s->root[s->next];
}

/* ---- a table goes out of sync ---- */

static void op_unsync(void *state)
{
	struct state *s = state;
	struct rhz_fault fault;

	rhz_vcpu_page_fault(s->f->vcpu, (rhz_gva){ PHYSMAP + s->table[0] }, RHZ_PF_P | RHZ_PF_W, 0,
	                    &fault);
}

static void sync_again(void *state)
{
	struct state *s = state;

	bench_require(s->f->vm_stats->mmu_unsync == !!s->count++, "a table stayed in sync");
	op_load(s);
}

static void *set_unsync(const struct bench_row *row)
{
	struct state *s = one_table(64, 1, REMAPPED);

	(void)row;
	fixture_unsync(s->f, s->table[0]);
	op_load(s);
	return s;
}

/* ---- INVLPG ---- */

static void op_invlpg(void *state)
{
	struct state *s = state;

	s->flush = rhz_vcpu_invlpg(s->f->vcpu, (rhz_gva){ gva_of(0, changing(s)) });
}

/* Nothing is out of sync. */
static void *set_invlpg(const struct bench_row *row)
{
	const struct bench_row one = { .parameter = { { "tables", 1 }, { "changed", 0 } } };

	(void)row;
	return set_shared(&one);
}

/* The table is; the entry has changed since, or not. */
static void *set_invlpg_unsync(const struct bench_row *row)
{
	struct state *s = start(1, 64, 1);

	s->changed = (unsigned)bench_parameter(row, "changed");
	s->root[0] = s->cr3 = s->f->kernel;
	fill_table(s, s->root[0], 0);
	fixture_unsync(s->f, s->table[0]);
	s->flushed = s->f->stats->flush_address;
	rhz_cpu_init(&s->cpu, 0, 1, 63, true);
	return s;
}

static void change_listed(void *state)
{
	struct state *s = state;
	struct rhz_entry entry;

	bench_require(s->f->stats->flush_address == s->flushed + (s->count++ ? s->changed : 0),
	              "INVLPG did something else");
	s->flushed = s->f->stats->flush_address;
	/* the guest has run since */
	bench_require(rhz_vcpu_enter(s->vcpu, &s->cpu, &entry) == RHZ_ENTER_OK, "no entry");
	if (s->changed)
		change_entry(s, 0);
}

/* ---- writes that were emulated ---- */

static void op_wrote(void *state)
{
	struct state *s = state;

	rhz_vm_wrote(s->f->vm, 0, (rhz_gpa){ s->table[1] }, 8);
}

/* An entry of a level-2 table, which leads to one of two leaf tables in turn, or stays. */
static void *set_wrote(const struct bench_row *row)
{
	struct state *s = start(1, 64, 1);

	s->changed = (unsigned)bench_parameter(row, "changed");
	s->root[0] = s->cr3 = s->f->kernel;
	fill_table(s, s->f->kernel, 0);
	s->table[1] = guest_table(s->f, s->f->kernel, USER_AT, 2);
	s->table[2] = fixture_frame(s->f);
	*(uint64_t *)fixture_at(s->f, s->table[2]) = fixture_data(0) | GUEST_BITS;
	return s;
}

/* The write before was followed: the shadow tables are right, and the leaf must come by a fault. */
static void change_upper(void *state)
{
	struct state *s = state;
	struct rhz_audit audit;

	bench_require(s->f->vm_stats->mmu_pte_write == s->count++, "a write was not told");
	if (!s->changed)
		return;
	if (s->count < 4)
		bench_require(!rhz_vm_audit(s->f->vm, &audit), "a write was not followed");
	fixture_unmap(s->f, fixture_data(0), RHZ_PAGE_SIZE);
	fixture_touch(s->f, USER_AT, false);
	*(uint64_t *)fixture_at(s->f, s->table[1]) ^= s->table[0] ^ s->table[2];
}

#define SYNC(present, distance) \
	{ "sync_remapped", { { "entries", present }, { "apart", distance } }, \
	  .setup = set_remapped, .prepare = change_one, .run = op_load }
#define OTHERS .target = 110, .setup = set_others, .prepare = choose_other, .run = op_load
#define SHARED .setup = set_shared, .prepare = change_shared, .run = op_load
#define WROTE .setup = set_wrote, .prepare = change_upper, .run = op_wrote
#define INVLPG .setup = set_invlpg_unsync, .prepare = change_listed, .run = op_invlpg

/* Targets of the shared ones: a hit, and a synced table for each that changed. */
static const struct bench_row rows[] = {
	{ "sync_remapped", { { "entries", 64 }, { "apart", 1 } }, .target = 900,
	  .setup = set_remapped, .prepare = change_one, .run = op_load },
	{ "sync_protected", { { "entries", 64 } }, .target = 900,
	  .setup = set_protected, .prepare = change_one, .run = op_load },
	{ "sync_unmapped", { { "entries", 64 } }, .target = 900,
	  .setup = set_unmapped, .prepare = change_one, .run = op_load },
	SYNC(64, 8),
	SYNC(8, 1),
	SYNC(256, 1),
	SYNC(512, 1),
	{ "switch_private", { { "tables", 0 } }, OTHERS },
	{ "switch_private", { { "tables", 10 } }, OTHERS },
	{ "switch_private", { { "tables", 100 } }, OTHERS },
	{ "switch_private", { { "tables", 1000 } }, OTHERS },
	{ "switch_shared", { { "tables", 100 }, { "changed", 0 } }, .target = 110, SHARED },
	{ "switch_shared", { { "tables", 100 }, { "changed", 1 } }, .target = 1010, SHARED },
	{ "switch_shared", { { "tables", 100 }, { "changed", 10 } }, .target = 9110, SHARED },
	{ "unsync_table", .setup = set_unsync, .prepare = sync_again, .run = op_unsync },
	{ "invlpg_all_in_sync", .setup = set_invlpg, .run = op_invlpg },
	{ "invlpg", { { "changed", 0 } }, INVLPG },
	{ "invlpg", { { "changed", 1 } }, INVLPG },
	{ "wrote_upper", { { "changed", 0 } }, WROTE },
	{ "wrote_upper", { { "changed", 1 } }, WROTE },
};

BENCH_SUITE("sync", rows)
