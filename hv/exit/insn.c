/* SPDX-License-Identifier: MIT */
/* The decoder (insn/) upon the instruction at the guest's rip, and its operand's address. */
#include "exit/insn.h"

#include "cpu/features.h"
#include "exit/gva.h"
#include "mem/string.h"
#include "svm/guest.h"

unsigned insn_bits(const struct guest *g)
{
	if (gva_is_64bit(g))
		return 64;
	return g->vmcb->cs.attributes & SEGMENT_DEFAULT32 ? 32 : 16;
}

uint64_t insn_linear(const struct guest *g, unsigned segment, uint64_t offset)
{
	/* FS and GS are VMLOAD's, and so in L1's block */
	const struct vmcb *v = segment >= INSN_FS ? g->vmcb_of[L1] : g->vmcb;

	/* es, cs, ss, ds, fs and gs follow one another; in 64-bit code the last two have bases */
	if (gva_is_64bit(g))
		return segment >= INSN_FS ? offset + (&v->es)[segment].base : offset;
	return (uint32_t)(offset + (&v->es)[segment].base);
}

uint64_t insn_advance(const struct guest *g, unsigned bytes)
{
	const uint64_t rip = g->vmcb->rip + bytes;

	if (gva_is_64bit(g))
		return rip;
	return g->vmcb->cs.attributes & SEGMENT_DEFAULT32 ? (uint32_t)rip : (uint16_t)rip;
}

/* Where the instruction's bytes are, INSN_BUFFER of them readable; in place if possible. */
static const uint8_t *code(struct guest *g, uint8_t buffer[INSN_BUFFER], unsigned *count)
{
	const uint8_t *at = gva_code(g, count);

	if (__builtin_expect(at && *count >= INSN_BUFFER, 1)) {
		*count = INSN_MAX;
		return at;
	}
	memset(buffer, 0, INSN_BUFFER);
	*count = gva_fetch(g, buffer);
	return buffer;
}

/*
 * Where instructions without prefixes were found, by their rip. That the same bytes are still there
 * is looked at; that the address still leads there is not: a guest that remaps its code between two
 * exits of one instruction, and has another form of it there, deceives itself.
 */
enum { END_BITS = 9, ENDS = 1 << END_BITS };
static struct known_end { uint64_t rip, cr3; const uint8_t *at; uint32_t bytes; } ends[ENDS] = {
	[0 ... ENDS - 1] = { .cr3 = UINT64_MAX }, /* nobody's */
};

/* The same code under many roots, as a nested guest's, keeps a place for each. */
static struct known_end *end_at(uint64_t rip, uint64_t cr3)
{
	return &ends[gva_place(rip, cr3, END_BITS)];
}

static __attribute__((noinline)) bool find_end(struct guest *g, unsigned opcode_bytes,
                                               uint64_t *rip)
{
	const uint64_t from = g->vmcb->rip;
	uint8_t buffer[INSN_BUFFER];
	unsigned count, length;
	const uint8_t *at = code(g, buffer, &count);

	length = insn_prefixes(at, count, insn_bits(g)) + opcode_bytes;
	*rip = insn_advance(g, length);
	if (length == opcode_bytes && at != buffer && *rip > from) {
		struct known_end *end = end_at(from, g->vmcb->cr3);

		*end = (struct known_end){ from, g->vmcb->cr3, at, 0 };
		memcpy(&end->bytes, at, sizeof(uint32_t));
	}
	if (length > count)
		*rip = 0;
	return length <= count;
}

bool insn_end(struct guest *g, unsigned opcode_bytes, uint64_t *rip)
{
	const uint64_t from = g->vmcb->rip;
	const struct known_end *end = end_at(from, g->vmcb->cr3);

	if (features.next_rip && g->vmcb->next_rip) {
		*rip = g->vmcb->next_rip;
		return true;
	}
	if (end->rip != from || end->cr3 != g->vmcb->cr3 ||
	    *(const uint32_t *)end->at != end->bytes)
		return find_end(g, opcode_bytes, rip);
	*rip = from + opcode_bytes;
	return true;
}

/*
 * Instructions decoded before, by their bytes: what they mean depends on nothing else but the width
 * of the code and what was looked for, an operand behind so many bytes or (0) a store.
 */
enum { DECODED = 16 };
struct insn_window { uint64_t low, high; } __attribute__((may_alias, packed));
static struct decoded { struct insn_window bytes; unsigned bits, wanted; struct insn insn; }
decoded[DECODED];

static __attribute__((noinline)) enum insn_decoded decode_anew(struct insn *insn, const uint8_t *at,
                                                               unsigned count, unsigned bits,
                                                               unsigned opcode_bytes,
                                                               struct decoded *place)
{
	enum insn_decoded result = INSN_CUT;

	if (opcode_bytes)
		result = insn_decode_operand(insn, at, count, bits, opcode_bytes);
	else if (count)
		result = insn_decode(insn, at, count, bits);
	if (result == INSN_OK && count == INSN_MAX) {
		memcpy(&place->bytes, at, sizeof(place->bytes));
		place->bits = bits;
		place->wanted = opcode_bytes;
		place->insn = *insn;
	}
	return result;
}

static enum insn_decoded decode(struct guest *g, struct insn *insn, unsigned opcode_bytes)
{
	uint8_t buffer[INSN_BUFFER];
	const unsigned bits = insn_bits(g);
	unsigned count;
	const uint8_t *at = code(g, buffer, &count);
	const struct insn_window *bytes = (const struct insn_window *)at;
	struct decoded *place = &decoded[(g->vmcb->rip ^ g->vmcb->rip >> 4) % DECODED];

	if (__builtin_expect(count != INSN_MAX || bytes->low != place->bytes.low ||
	                     bytes->high != place->bytes.high || bits != place->bits ||
	                     opcode_bytes != place->wanted, 0))
		return decode_anew(insn, at, count, bits, opcode_bytes, place);
	*insn = place->insn;
	return INSN_OK;
}

bool insn_operand(struct guest *g, unsigned opcode_bytes, struct insn_operand *operand)
{
	struct insn insn;

	if (decode(g, &insn, opcode_bytes) != INSN_OK)
		return false;
	operand->rip = insn_advance(g, insn.length);
	operand->reg = insn.reg;
	operand->gva = insn_linear(g, insn.segment, insn_offset(&insn, g->reg, operand->rip));
	return true;
}

bool insn_is_invpcid(struct guest *g)
{
	uint8_t buffer[INSN_BUFFER];
	unsigned count, opcode;
	const uint8_t *at = code(g, buffer, &count);

	opcode = insn_prefixes(at, count, insn_bits(g));
	return opcode + 3 < count && at[0] == 0x66 && at[opcode] == 0x0f &&
	       at[opcode + 1] == 0x38 && at[opcode + 2] == 0x82;
}

enum insn_decoded insn_at_rip(struct guest *g, struct insn *insn)
{
	return decode(g, insn, 0);
}

uint8_t insn_opcode(struct guest *g, unsigned *length)
{
	uint8_t buffer[INSN_BUFFER];
	unsigned count, prefixes;
	const uint8_t *at = code(g, buffer, &count);

	prefixes = count ? insn_prefixes(at, count, insn_bits(g)) : 0;
	*length = prefixes + 1;
	return prefixes < count ? at[prefixes] : 0;
}
