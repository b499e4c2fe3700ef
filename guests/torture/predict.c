/* SPDX-License-Identifier: MIT */
/* What an operation must do, from the tables as we believe them to be. */
#include "torture/arena.h"
#include "torture/machine.h"
#include "torture/operation.h"
#include "torture/stale.h"

enum { PAGE_FAULT = 14, WIDEST = 16 };

struct access {
	uint64_t gva;
	unsigned bytes;
	bool write, fetch, user, ac;
	bool read_first; /* a read-modify-write */
};

/* One access lies in one page or in two. */
struct piece { struct walk walk; unsigned bytes; };
struct target { struct piece piece[2]; unsigned pieces; bool write; };

/* Rights, as [SDM3 4.6.1] has them, then protection keys [SDM3 4.6.2]. The error's P aside. */
static bool is_allowed(const struct access *access, const struct walk *walk, bool *by_key)
{
	const bool guarded = cpu.pke && cpu.mode >= MODE_4 && walk->user && !access->fetch;
	const unsigned rights = guarded ? cpu.pkru >> 2 * walk->key & 3 : 0;
	const bool must_be_writable = access->user || cpu.wp;

	*by_key = rights & 1 || (rights & 2 && access->write && must_be_writable);
	if (walk->identity && !cpu.paged)
		return true;
	if (access->user && !walk->user)
		return false;
	if (!access->user && walk->user &&
	    (access->fetch ? cpu.smep : cpu.smap && !access->ac))
		return false;
	if (access->write && must_be_writable && !walk->writable)
		return false;
	if (access->fetch && walk->no_execute)
		return false;
	return !*by_key;
}

static void fill_error(const struct access *access, const struct walk *walk, uint64_t gva,
                       bool by_key, struct outcome *expected)
{
	uint32_t error = walk->error;

	if (access->write)
		error |= ERROR_W;
	if (access->user)
		error |= ERROR_U;
	if (access->fetch && (cpu.smep || (cpu.mode >= MODE_PAE && cpu.nxe)))
		error |= ERROR_I;
	if (by_key && !(error & ERROR_RSVD))
		error |= ERROR_PK;
	expected->vector = PAGE_FAULT;
	expected->error = error;
	/* Where RSVD is set TCG may leave P out; whether the read or the write faults is open. */
	expected->error_loose = (error & ERROR_RSVD ? ERROR_P : 0) |
	                        (access->read_first ? ERROR_W | ERROR_PK : 0);
	expected->cr2 = gva;
}

/* A faulting instruction may have set A on its way, and D in a page that it did not come to use. */
static void loosen(const struct target *target)
{
	for (unsigned i = 0; i < target->pieces; i++) {
		const struct walk *walk = &target->piece[i].walk;

		for (unsigned step = 0; step < walk->steps; step++) {
			const bool leaf = walk->leaf_level && step == walk->steps - 1;

			if (!(arena_entry(walk->entry_pa[step]) & ENTRY_P))
				continue;
			arena_loosen(walk->entry_pa[step],
			             ENTRY_A | (leaf && target->write ? ENTRY_D : 0));
		}
	}
}

/* One page of an access. */
static enum verdict translate_piece(const struct access *access, uint64_t gva,
                                    struct target *target, struct outcome *expected)
{
	struct walk *walk = &target->piece[target->pieces].walk;
	enum verdict verdict = paging_walk(gva, walk);
	bool by_key = false;

	if (verdict == UNKNOWN || stale_is(walk))
		return UNKNOWN;
	target->pieces++;
	if (verdict == GOOD && !is_allowed(access, walk, &by_key))
		verdict = FAULT;
	if (verdict == FAULT) {
		loosen(target);
		fill_error(access, walk, gva, by_key, expected);
		return FAULT;
	}
	return walk->outside ? UNKNOWN : GOOD;
}

/* All pages of an access, in order; GOOD: it will succeed. */
static enum verdict translate(const struct access *access, struct target *target,
                              struct outcome *expected)
{
	const unsigned first = PAGE - (unsigned)(access->gva & (PAGE - 1));
	enum verdict verdict;

	target->pieces = 0;
	target->write = access->write;
	target->piece[0].bytes = access->bytes < first ? access->bytes : first;
	verdict = translate_piece(access, access->gva, target, expected);
	if (verdict != GOOD || access->bytes <= first)
		return verdict;
	target->piece[1].bytes = access->bytes - first;
	/* Across the top of the address space: segment limits would speak first. */
	if (access->gva + first == 0 || (cpu.mode < MODE_4 && (access->gva + first) >> 32))
		return UNKNOWN;
	return translate_piece(access, access->gva + first, target, expected);
}

static bool overlaps(const struct piece *piece, uint64_t entry_pa)
{
	return piece->walk.pa < entry_pa + cpu.format->entry_bytes &&
	       entry_pa < piece->walk.pa + piece->bytes;
}

/*
 * Whether what the data is depends on the order in which walks set A and D: data of one page is an
 * entry of another page's walk. Its own walk is always over before.
 */
static bool depends_on_order(const struct target *data, const struct target *walked)
{
	for (unsigned i = 0; i < data->pieces; i++) {
		for (unsigned j = 0; j < walked->pieces; j++) {
			const struct walk *walk = &walked->piece[j].walk;

			if (data == walked && i == j)
				continue;
			for (unsigned step = 0; step < walk->steps; step++) {
				if (overlaps(&data->piece[i], walk->entry_pa[step]))
					return true;
			}
		}
	}
	return false;
}

static bool is_own_leaf(const struct target *target)
{
	const struct walk *walk = &target->piece[0].walk;

	return walk->leaf_level && overlaps(&target->piece[0], walk->entry_pa[walk->steps - 1]);
}

/* The access succeeds: the walk's entries get A, a written leaf D [SDM3 4.8]. */
static void mark(const struct target *target)
{
	for (unsigned i = 0; i < target->pieces; i++) {
		const struct walk *walk = &target->piece[i].walk;

		for (unsigned step = 0; step < walk->steps; step++) {
			const uint64_t bits = ENTRY_A | (step == walk->steps - 1 && target->write
			                                         ? ENTRY_D : 0);

			/* Page-directory pointers have no A, but TCG sets it. */
			if (cpu.mode == MODE_PAE && step == 0)
				arena_loosen(walk->entry_pa[step], ENTRY_A);
			else
				arena_mark(walk->entry_pa[step], bits);
		}
	}
}

static void load(const struct target *target, uint8_t *bytes, uint8_t *loose)
{
	unsigned at = 0;

	for (unsigned i = 0; i < target->pieces; i++) {
		arena_read(target->piece[i].walk.pa, bytes + at, target->piece[i].bytes,
		           loose + at);
		at += target->piece[i].bytes;
	}
}

static enum verdict store(const struct operation *op, const struct target *target,
                          const uint8_t *bytes, const uint8_t *loose)
{
	unsigned at = 0;

	for (unsigned i = 0; i < target->pieces; i++) {
		const struct piece *piece = &target->piece[i];

		if (!op->pointers && paging_is_protected(piece->walk.pa, piece->bytes))
			return UNKNOWN;
		arena_write(piece->walk.pa, bytes + at, piece->bytes, loose ? loose + at : 0);
		at += piece->bytes;
	}
	stale_note_globals();
	return GOOD;
}

static uint64_t number(const uint8_t *bytes, unsigned n)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < n; i++)
		value |= (uint64_t)bytes[i] << 8 * i;
	return value;
}

static uint64_t number_mask(unsigned bytes)
{
	return ~0ull >> (64 - 8 * bytes);
}

static void put_number(uint8_t *bytes, uint64_t value, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		bytes[i] = (uint8_t)(value >> 8 * i);
}

static struct access access_of(const struct operation *op, unsigned bytes, bool write)
{
	return (struct access){ .gva = op->gva, .bytes = bytes, .write = write, .user = op->user,
	                        .ac = op->ac };
}

static enum verdict predict_read(const struct operation *op, struct outcome *expected)
{
	const struct access access = access_of(op, op->size, false);
	uint8_t bytes[WIDEST], loose[WIDEST];
	struct target target;
	const enum verdict verdict = translate(&access, &target, expected);

	if (verdict != GOOD)
		return verdict;
	if (depends_on_order(&target, &target))
		return UNKNOWN;
	mark(&target);
	load(&target, bytes, loose);
	expected->value = number(bytes, op->size);
	expected->value_loose = number(loose, op->size);
	return GOOD;
}

static enum verdict predict_write(const struct operation *op, struct outcome *expected)
{
	const struct access access = access_of(op, op->size, true);
	struct target target;
	uint8_t bytes[WIDEST];
	const enum verdict verdict = translate(&access, &target, expected);

	if (verdict != GOOD)
		return verdict;
	if (depends_on_order(&target, &target))
		return UNKNOWN;
	mark(&target);
	put_number(bytes, op->kind == OP_ZERO ? 0 : op->value, op->size);
	return store(op, &target, bytes, 0);
}

/* New contents and AX of a read-modify-write; false: open, because of loose bits. */
static bool modify(const struct operation *op, uint8_t *bytes, uint8_t *loose,
                   struct outcome *expected)
{
	const uint64_t old = number(bytes, op->size), open = number(loose, op->size);
	const uint64_t bit = 1ull << (op->value & (op->size * 8 - 1));
	uint64_t value = op->value, still = 0;
	bool returns = false;

	switch ((unsigned)op->kind) {
	case OP_XCHG:
		returns = true;
		break;
	case OP_XADD:
		returns = true;
		value += old;
		if (open)
			return false;
		break;
	case OP_CMPXCHG:
		returns = true;
		if (open)
			return false;
		if (((op->value ^ old) & number_mask(op->size)) == 0)
			value = op->other;
		else
			value = old;
		break;
	case OP_LOCK_OR:
	case OP_OR:
		still = open & ~value;
		value |= old;
		break;
	case OP_LOCK_AND:
	case OP_AND:
		still = open & value;
		value &= old;
		break;
	case OP_BTS:
		still = open & ~bit;
		value = old | bit;
		break;
	default: /* OP_BTR */
		still = open & ~bit;
		value = old & ~bit;
		break;
	}
	if (returns) {
		expected->value = old;
		expected->value_loose = open;
	}
	put_number(bytes, value, op->size);
	put_number(loose, still, op->size);
	return true;
}

static enum verdict predict_modify(const struct operation *op, struct outcome *expected)
{
	struct access access = access_of(op, op->size, true);
	uint8_t bytes[WIDEST], loose[WIDEST];
	struct target target;
	enum verdict verdict;

	/* Across pages: which of reading and writing faults first is open. */
	if (((op->gva ^ (op->gva + op->size - 1)) & PAGE) != 0)
		return UNKNOWN;
	access.read_first = true;
	verdict = translate(&access, &target, expected);
	if (verdict != GOOD)
		return verdict;
	/* The leaf gets D before its value is read, or after. */
	if (is_own_leaf(&target))
		return UNKNOWN;
	mark(&target);
	load(&target, bytes, loose);
	if (!modify(op, bytes, loose, expected))
		return UNKNOWN;
	return store(op, &target, bytes, loose);
}

/* Compares with value:other and, if equal, stores other:value. */
static enum verdict predict_double(const struct operation *op, struct outcome *expected)
{
	struct access access = access_of(op, 2 * op->size, true);
	uint8_t bytes[WIDEST], loose[WIDEST];
	struct target target;
	uint64_t low, high;
	enum verdict verdict;

	if ((uint32_t)op->gva % (2 * op->size))
		return UNKNOWN;
	access.read_first = true;
	verdict = translate(&access, &target, expected);
	if (verdict != GOOD)
		return verdict;
	if (is_own_leaf(&target))
		return UNKNOWN;
	mark(&target);
	load(&target, bytes, loose);
	if (number(loose, op->size) || number(loose + op->size, op->size))
		return UNKNOWN;
	low = number(bytes, op->size);
	high = number(bytes + op->size, op->size);
	expected->value = low;
	if (low == (op->value & number_mask(op->size)) &&
	    high == (op->other & number_mask(op->size))) {
		put_number(bytes, op->other, op->size);
		put_number(bytes + op->size, op->value, op->size);
	}
	return store(op, &target, bytes, 0);
}

static enum verdict predict_stos(const struct operation *op, struct outcome *expected)
{
	struct operation one = *op;
	enum verdict verdict = GOOD;

	one.kind = OP_WRITE;
	for (expected->left = op->count; expected->left > 0 && verdict == GOOD;) {
		verdict = predict_write(&one, expected);
		if (verdict == GOOD)
			expected->left--;
		one.gva += op->size;
	}
	return verdict;
}

static enum verdict predict_movs(const struct operation *op, struct outcome *expected)
{
	struct access read = access_of(op, op->size, false);
	const struct access write = access_of(op, op->size, true);
	const unsigned entry = cpu.format->entry_bytes;
	uint8_t bytes[WIDEST], loose[WIDEST];
	struct target from, to;
	enum verdict verdict;

	read.gva = op->source;
	verdict = translate(&read, &from, expected);
	if (verdict != GOOD)
		return verdict;
	verdict = translate(&write, &to, expected);
	if (verdict == FAULT)
		loosen(&from);
	if (verdict != GOOD)
		return verdict;
	if (depends_on_order(&from, &from) || depends_on_order(&from, &to) ||
	    depends_on_order(&to, &to) || depends_on_order(&to, &from))
		return UNKNOWN;
	mark(&from);
	mark(&to);
	load(&from, bytes, loose);
	/* Open bits can be followed only from entry to entry. */
	if (number(loose, op->size) &&
	    (op->size != entry || (uint32_t)(op->gva | op->source) % entry))
		return UNKNOWN;
	return store(op, &to, bytes, loose);
}

static enum verdict predict_push(const struct operation *op, struct outcome *expected)
{
	struct operation one = *op;

	one.kind = OP_WRITE;
	return predict_write(&one, expected);
}

static enum verdict predict_fetch(const struct operation *op, struct outcome *expected)
{
	struct access access = access_of(op, SNIPPET_BYTES, false);
	uint8_t bytes[WIDEST], loose[WIDEST];
	struct target target;
	enum verdict verdict;

	access.fetch = true;
	verdict = translate(&access, &target, expected);
	/* An instruction that was not whole: its first page's byte must have been one of ours. */
	if (verdict == FAULT && target.pieces < 2)
		return verdict;
	if (verdict == UNKNOWN || (target.pieces > 1 && !features.split) ||
	    depends_on_order(&target, &target))
		return UNKNOWN;
	target.pieces = verdict == FAULT ? 1 : target.pieces;
	load(&target, bytes, loose);
	if (bytes[0] != 0xb8)
		return UNKNOWN;
	if (verdict == FAULT)
		return target.piece[0].bytes < 5 ? FAULT : UNKNOWN;
	for (unsigned i = 0; i < SNIPPET_BYTES; i++) {
		if (loose[i])
			return UNKNOWN;
	}
	if (bytes[5] != 0xcd || bytes[6] != VECTOR_DONE)
		return UNKNOWN;
	mark(&target);
	expected->value = number(bytes + 1, 4);
	return GOOD;
}

enum verdict operation_predict(const struct operation *op, struct outcome *expected)
{
	*expected = (struct outcome){ .vector = VECTOR_DONE };
	switch (op->kind) {
	case OP_READ:
		return predict_read(op, expected);
	case OP_WRITE:
	case OP_ZERO:
	case OP_WRITE_SIB:
	case OP_WRITE_FAR:
		return predict_write(op, expected);
	case OP_STOS:
		return predict_stos(op, expected);
	case OP_MOVS:
		return predict_movs(op, expected);
	case OP_PUSH:
		return predict_push(op, expected);
	case OP_FETCH:
		return predict_fetch(op, expected);
	case OP_CMPXCHG2:
		return predict_double(op, expected);
	case OP_XCHG:
	case OP_XADD:
	case OP_CMPXCHG:
	case OP_LOCK_OR:
	case OP_LOCK_AND:
	case OP_OR:
	case OP_AND:
	case OP_BTS:
	case OP_BTR:
	case OPS:
		break;
	}
	return predict_modify(op, expected);
}
