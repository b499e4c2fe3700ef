/* SPDX-License-Identifier: MIT */
/* Steps: accesses, edits, invalidations, switches, registers, batches. */
#include "torture/step.h"

#include "torture/arena.h"
#include "torture/machine.h"
#include "torture/operation.h"
#include "torture/random.h"
#include "torture/stale.h"
#include "torture/tell.h"
#include "torture/world.h"

enum { RECENT = 16, CHECK_STEPS = 256, BATCH = 64, TRIES = 3 };

static struct report *now;
static bool verbose;
static uint64_t recent[RECENT];

/* One operation: predicted, done, compared. False: it is open, and was not done. */
static bool perform(const struct operation *op)
{
	struct outcome expected, seen;

	if (operation_predict(op, &expected) == UNKNOWN) {
		arena_rollback();
		now->open++;
		return false;
	}
	arena_commit();
	if (verbose)
		tell_operation(now, op, &expected);
	operation_run(op, &seen);
	if (!operation_fits(op, &expected, &seen))
		tell_mismatch(now, op, &expected, &seen);
	now->done++;
	now->digest = mix(now->digest, seen.vector);
	if (seen.vector == VECTOR_DONE) {
		now->digest = mix(now->digest, expected.value);
	} else {
		now->faults++;
		now->digest = mix(now->digest, seen.error & ~expected.error_loose);
		now->digest = mix(now->digest, seen.cr2);
	}
	return true;
}

static void event(const char *what, uint64_t value)
{
	if (verbose)
		tell_event(now, what, value);
}

static void load_root(bool no_flush)
{
	event(no_flush ? "load root without flush" : "load root", cpu.root);
	paging_load_root(no_flush);
	stale_loaded(no_flush);
}

static void flush_all(void)
{
	event("flush all", 0);
	paging_flush_all();
	if (features.pge)
		stale_flushed_all();
	else
		stale_loaded(false);
}

static void invalidate_address(uint64_t gva)
{
	event("invlpg", gva);
	invlpg((unsigned long)gva);
	stale_invalidated(gva);
}

static void invpcid(enum invpcid type, unsigned pcid, uint64_t gva)
{
	event("invpcid", type);
	paging_invpcid(type, pcid, gva);
	stale_invpcid(type, pcid, gva);
}

/* One of the ways to make an address of the current context fresh. */
static void freshen(uint64_t gva)
{
	switch (below(cpu.mode >= MODE_4 ? 8 : 4)) {
	case 0:
	case 1:
		invalidate_address(gva);
		break;
	case 2:
		load_root(false);
		break;
	case 3:
		flush_all();
		break;
	case 4:
		invpcid(INVPCID_ADDRESS, cpu.pcid, gva);
		break;
	case 5:
		invpcid(INVPCID_SINGLE, cpu.pcid, 0);
		break;
	case 6:
		invpcid(INVPCID_ALL, 0, 0);
		break;
	default:
		invpcid(INVPCID_NON_GLOBAL, 0, 0);
		break;
	}
}

static bool is_stale(uint64_t gva)
{
	struct walk walk;

	return paging_walk(gva, &walk) != UNKNOWN && stale_is(&walk);
}

/* Mostly makes a stale address fresh; what stays stale is left alone. */
static void prepare(uint64_t gva)
{
	if (!is_stale(gva) || percent(20))
		return;
	for (unsigned i = 0; i < TRIES && is_stale(gva); i++)
		freshen(gva);
	if (is_stale(gva)) {
		load_root(false);
		flush_all();
	}
}

static uint64_t pick_page(void)
{
	const unsigned slot = below(RECENT);

	if (percent(50))
		recent[slot] = world_page();
	return recent[slot];
}

static unsigned pick_size(void)
{
#ifdef __x86_64__
	return percent(50) ? 8 : 1u << below(4);
#else
	return percent(60) ? 4 : 1u << below(3);
#endif
}

/* Any operation but OP_FETCH and OP_PUSH, which need a place of their own. */
static enum kind pick_kind(bool writes)
{
	static const uint8_t kinds[] = {
		OP_WRITE, OP_WRITE, OP_WRITE, OP_ZERO, OP_XCHG, OP_XADD, OP_CMPXCHG, OP_LOCK_OR,
		OP_LOCK_AND, OP_OR, OP_AND, OP_BTS, OP_BTR, OP_STOS, OP_MOVS, OP_CMPXCHG2,
		OP_WRITE_SIB, OP_WRITE_FAR,
	};

	if (!writes && percent(50))
		return OP_READ;
	return (enum kind)kinds[below(sizeof(kinds))];
}

static uint64_t pick_bit(void)
{
	static const uint8_t bits[] = { 0, 1, 2, 5, 6, 7, 12, 21, 51, 59, 63 };

	return bits[below(sizeof(bits))];
}

/* What the operation writes, if it is to make an entry for a table of this level. */
static void pick_value(struct operation *op, unsigned level)
{
	op->value = world_entry(level);
	op->other = world_entry(level);
	switch ((unsigned)op->kind) {
	case OP_LOCK_OR:
	case OP_OR:
		op->value = 1ull << pick_bit();
		break;
	case OP_LOCK_AND:
	case OP_AND:
		op->value = ~(1ull << pick_bit());
		break;
	case OP_BTS:
	case OP_BTR:
		op->value = pick_bit();
		op->size = op->size == 1 ? 2 : op->size;
		break;
	case OP_STOS:
		op->count = percent(70) ? 1 + below(3) : 1 + below(12);
		break;
	default:
		break;
	}
}

/* CMPXCHG succeeds half the time: then it is told what is there. */
static void pick_comparand(struct operation *op, uint64_t pa)
{
	uint8_t loose[8];

	if (!arena_has(pa, 16) || percent(50))
		return;
	if (op->kind == OP_CMPXCHG)
		arena_read(pa, &op->value, op->size, loose);
	if (op->kind == OP_CMPXCHG2) {
		arena_read(pa, &op->value, op->size, loose);
		arena_read(pa + op->size, &op->other, op->size, loose);
	}
}

static void complete(struct operation *op, unsigned level)
{
	struct walk walk;

	if (op->kind == OP_CMPXCHG2)
		op->size = sizeof(long);
	pick_value(op, level);
	if ((op->kind == OP_CMPXCHG || op->kind == OP_CMPXCHG2) &&
	    paging_walk(op->gva, &walk) == GOOD)
		pick_comparand(op, walk.pa);
	if (op->kind == OP_MOVS) {
		op->source = percent(50) ? pick_page() + world_offset()
		                         : world_data_page() + below(PAGE / 8) * 8;
		prepare(op->source);
	}
}

/* An access through the tables under test. */
static void step_access(void)
{
	struct operation op = { .gva = pick_page(), .size = pick_size(), .user = percent(50),
	                        .ac = percent(40) };
	const unsigned kind = below(20);
	struct walk walk;

	prepare(op.gva);
	if (kind < 4) {
		op.kind = OP_FETCH;
		op.gva += kind ? 0x800 : PAGE - 3;
	} else if (kind == 4) {
		op.kind = OP_PUSH;
		op.user = true;
		op.size = sizeof(long);
		op.gva += world_offset();
	} else {
		op.kind = pick_kind(false);
		op.gva += world_offset() & -(uint64_t)op.size;
		if (percent(10))
			op.gva += below(op.size);
	}
	if (op.kind != OP_FETCH && percent(4))
		op.gva = (op.gva & -(uint64_t)PAGE) + PAGE - below(8);
	if ((op.gva ^ (op.gva + 7)) & PAGE)
		prepare((op.gva + 7) & -(uint64_t)PAGE);
	complete(&op, paging_walk(op.gva, &walk) == GOOD && arena_has(walk.pa, 1)
	                      ? world_level(walk.pa) : 0);
	perform(&op);
}

/* An edit by the kernel's own mapping of a table, or of an entry that a recent walk read. */
static void step_edit(void)
{
	const unsigned levels = cpu.format->levels, entry = cpu.format->entry_bytes;
	struct operation op = { .size = entry, .kind = pick_kind(true) };
	struct walk walk;
	unsigned level = 1 + below(levels);
	uint64_t pa = 0;

	if (percent(60) && paging_walk(recent[below(RECENT)], &walk) != UNKNOWN && walk.steps) {
		pa = walk.entry_pa[percent(60) ? walk.steps - 1 : below(walk.steps)];
		level = world_level(pa);
	}
	if (!pa) {
		level = percent(50) ? 1 : level;
		pa = world_table(level);
		pa += world_index(level) * entry;
	}
	/* A pointer register's entry is written whole. */
	if (cpu.mode == MODE_PAE && pa < ARENA + ROOTS_MAX * PAGE) {
		op.kind = OP_WRITE;
		op.pointers = true;
		level = 3;
		op.value = pa % 32 ? world_entry(3) : 0;
		op.gva = pa;
		if (pa % 32 && sizeof(long) == 4) {
			op.size = 4;
			perform(&op);
		}
		return;
	}
	if (op.size > sizeof(long) || percent(20))
		op.size = 1u << below(sizeof(long) == 8 ? 4 : 3);
	op.gva = pa;
	if (entry > op.size && percent(50))
		op.gva += below(entry / op.size) * op.size;
	else if (percent(5))
		op.gva += below(entry);
	complete(&op, level);
	if (op.size < entry && op.gva != pa && op.kind != OP_BTS && op.kind != OP_BTR)
		op.value >>= 8 * (op.gva - pa);
	perform(&op);
	if (percent(30)) {
		const uint64_t gva = pick_page();

		prepare(gva);
		op = (struct operation){ .kind = OP_READ, .size = 4, .gva = gva,
		                         .user = percent(50), .ac = true };
		perform(&op);
	}
}

static void step_switch(void)
{
	const bool pcids = cpu.mode >= MODE_4;

	cpu.root = below(cpu.roots);
	if (pcids)
		cpu.pcid = below(PCIDS);
	load_root(pcids && percent(50));
}

static void step_invalidate(void)
{
	const unsigned kind = below(cpu.mode >= MODE_4 ? 10 : 6);

	if (kind < 4)
		invalidate_address(pick_page() + below(PAGE));
	else if (kind == 4)
		load_root(false);
	else if (kind == 5)
		flush_all();
	else
		invpcid((enum invpcid)(kind - 6), below(PCIDS), pick_page());
}

static void step_register(void)
{
	switch (below(8)) {
	case 0:
	case 1:
		cpu.wp = !cpu.wp;
		event("WP", cpu.wp);
		paging_write_cr0();
		return;
	case 2:
		cpu.smep = features.smep && !cpu.smep;
		event("SMEP", cpu.smep);
		paging_write_cr4();
		return;
	case 3:
		cpu.smap = features.smap && !cpu.smap;
		event("SMAP", cpu.smap);
		paging_write_cr4();
		return;
	case 4:
		cpu.nxe = features.nx && !cpu.nxe;
		event("NXE", cpu.nxe);
		paging_write_efer();
		stale_everything();
		return;
	case 5:
		cpu.pge = features.pge && !cpu.pge;
		event("PGE", cpu.pge);
		paging_write_cr4();
		break;
	case 6:
		cpu.pkru = (uint32_t)random64() & (uint32_t)random64();
		event("PKRU", cpu.pkru);
		paging_write_pkru();
		return;
	default:
		cpu.pke = features.pku && !cpu.pke;
		cpu.pse = features.pse && !cpu.pse;
		event("PKE, PSE", cpu.pke | cpu.pse << 1);
		paging_write_cr4();
		paging_write_pkru();
		stale_everything();
		return;
	}
	if (features.pge)
		stale_flushed_all();
}

/* Many entries of one leaf table, one load of CR3, and touches. */
static void step_batch(void)
{
	const unsigned entry = cpu.format->entry_bytes, pieces = entry / sizeof(long);
	const uint64_t table = world_table(1), page = pick_page();
	const unsigned entries = 1 + below(BATCH);

	for (unsigned i = 0; i < entries; i++) {
		const uint64_t value = world_entry(1);

		for (unsigned piece = 0; piece < pieces; piece++) {
			const struct operation op = {
				.kind = OP_WRITE, .size = sizeof(long),
				.value = value >> 32 * piece,
				.gva = table + (64 + i) * entry + piece * sizeof(long),
			};

			perform(&op);
		}
	}
	load_root(false);
	for (unsigned i = 0; i < entries; i += 1 + below(8)) {
		const uint64_t within = (1ull << paging_page_shift(2)) - 1;
		struct operation op = { .kind = percent(50) ? OP_READ : OP_XCHG, .size = 4,
		                        .user = percent(50), .ac = true };

		op.gva = (page & ~within) + (64 + i) * PAGE + below(PAGE / 4) * 4;
		op.value = random64() & ~ENTRY_G;
		perform(&op);
	}
}

/* Paging off and on again: all is forgotten, and the pointers are loaded anew. */
static void step_unpaged(void)
{
	event("unpaged", 0);
	cpu.paged = false;
	paging_write_cr0();
	for (unsigned i = below(6); i > 0; i--) {
		struct operation op = { .kind = percent(50) ? OP_READ : OP_WRITE, .size = 4,
		                        .user = percent(50) };

		op.gva = world_data_page() + below(PAGE / 4) * 4;
		op.value = random64() & ~ENTRY_G;
		perform(&op);
	}
	cpu.paged = true;
	paging_write_cr0();
	stale_loaded(false);
	stale_flushed_all();
}

static void step(void)
{
	const unsigned kind = below(100);

	if (cpu.mode == MODE_NONE) {
		if (kind < 95)
			step_access();
		else
			step_register();
	} else if (kind < 58) {
		step_access();
	} else if (kind < 84) {
		step_edit();
	} else if (kind < 90) {
		step_switch();
	} else if (kind < 94) {
		step_invalidate();
	} else if (kind < 98) {
		step_register();
	} else if (kind < 99 || cpu.mode >= MODE_4) {
		step_batch();
	} else {
		step_unpaged();
	}
}

void step_run(uint32_t steps, bool tell, struct report *report)
{
	now = report;
	verbose = tell;
	for (unsigned i = 0; i < RECENT; i++)
		recent[i] = world_page();
	for (report->step = 1; report->step <= steps; report->step++) {
		step();
		if (report->step % CHECK_STEPS == 0 || report->step == steps) {
			const uint64_t pa = arena_check(&report->digest);

			if (pa)
				tell_memory(report, pa);
		}
	}
}
