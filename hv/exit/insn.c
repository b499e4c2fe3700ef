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
	const struct vmcb *v = g->vmcb;

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

bool insn_end(struct guest *g, unsigned opcode_bytes, uint64_t *rip)
{
	uint8_t buffer[INSN_BUFFER];
	unsigned count, length;
	const uint8_t *at;

	if (features.next_rip && g->vmcb->next_rip) {
		*rip = g->vmcb->next_rip;
		return true;
	}
	at = code(g, buffer, &count);
	length = insn_prefixes(at, count, insn_bits(g)) + opcode_bytes;
	*rip = insn_advance(g, length);
	return length <= count;
}

bool insn_operand(struct guest *g, unsigned opcode_bytes, struct insn_operand *operand)
{
	uint8_t buffer[INSN_BUFFER];
	unsigned count;
	const uint8_t *at = code(g, buffer, &count);
	struct insn insn;

	if (insn_decode_operand(&insn, at, count, insn_bits(g), opcode_bytes) != INSN_OK)
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
	uint8_t buffer[INSN_BUFFER];
	unsigned count;
	const uint8_t *at = code(g, buffer, &count);

	return count ? insn_decode(insn, at, count, insn_bits(g)) : INSN_CUT;
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
