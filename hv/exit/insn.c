/* SPDX-License-Identifier: MIT */
/*
 * Instruction fetch and a decoder that knows no more than what is handled: lengths of opcodes
 * without operands, and 32-bit stores [APM3 1.2]. The address of a store is never computed: the
 * nested fault has told it.
 */
#include "exit/insn.h"

#include "cpu/features.h"
#include "exit/gva.h"
#include "svm/guest.h"

struct insn {
	uint8_t bytes[CODE_MAX];
	unsigned length;  /* fetched */
	unsigned opcode;  /* where it begins, after the prefixes */
	uint8_t rex;
	bool long_mode, operand32, address16, address_prefix;
};

static bool fetch(struct guest *g, struct insn *insn)
{
	insn->long_mode = gva_is_64bit(g);
	insn->length = gva_fetch(g, insn->bytes);
	return insn->length > 0;
}

/* Finds the opcode behind legacy prefixes and REX. */
static void read_prefixes(const struct guest *g, struct insn *insn)
{
	bool default32 = insn->long_mode || (g->vmcb->cs.attributes & SEGMENT_DEFAULT32);

	insn->operand32 = default32;
	insn->address16 = !default32;
	insn->address_prefix = false;
	insn->rex = 0;
	for (insn->opcode = 0; insn->opcode < insn->length; insn->opcode++) {
		const uint8_t byte = insn->bytes[insn->opcode];

		switch (byte) {
		case 0x66:
			insn->operand32 = !default32;
			break;
		case 0x67:
			insn->address_prefix = true;
			insn->address16 = default32 && !insn->long_mode;
			break;
		case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65:
		case 0xf0: case 0xf2: case 0xf3:
			break;
		default:
			if (insn->long_mode && (byte & 0xf0) == 0x40) {
				insn->rex = byte;
				insn->opcode++;
			}
			return;
		}
	}
}

bool insn_end(struct guest *g, unsigned opcode_bytes, uint64_t *rip)
{
	struct insn insn;

	if (features.next_rip && g->vmcb->next_rip) {
		*rip = g->vmcb->next_rip;
		return true;
	}
	if (!fetch(g, &insn))
		return false;
	read_prefixes(g, &insn);
	*rip = g->vmcb->rip + insn.opcode + opcode_bytes;
	return insn.opcode + opcode_bytes <= insn.length;
}

/* Bytes of ModRM, SIB and displacement of a memory operand; 0 for a register operand. */
static unsigned operand_bytes(const struct insn *insn, unsigned at)
{
	const uint8_t modrm = insn->bytes[at], mode = modrm >> 6, rm = modrm & 7;

	if (mode == 3)
		return 0;
	if (insn->address16)
		return 1 + (mode == 0 ? (rm == 6 ? 2u : 0u) : mode);
	if (rm == 4) {
		if (mode == 0)
			return 2 + ((insn->bytes[at + 1] & 7) == 5 ? 4u : 0u);
		return 2 + (mode == 1 ? 1u : 4u);
	}
	if (mode == 0)
		return 1 + (rm == 5 ? 4u : 0u);
	return 1 + (mode == 1 ? 1u : 4u);
}

/* The segment's base for an operand whose base register is 'base' [APM3 1.2]. */
static uint64_t segment_base(const struct guest *g, const struct insn *insn, unsigned base)
{
	const struct vmcb *v = g->vmcb;
	const struct vmcb_segment *segment = base == REG_RSP || base == REG_RBP ? &v->ss : &v->ds;

	for (unsigned i = 0; i < insn->opcode; i++) {
		switch (insn->bytes[i]) {
		case 0x26: segment = &v->es; break;
		case 0x2e: segment = &v->cs; break;
		case 0x36: segment = &v->ss; break;
		case 0x3e: segment = &v->ds; break;
		case 0x64: segment = &v->fs; break;
		case 0x65: segment = &v->gs; break;
		default: break;
		}
	}
	if (insn->long_mode && segment != &v->fs && segment != &v->gs)
		return 0;
	return segment->base;
}

/* A displacement, sign-extended. */
static uint64_t displacement(const uint8_t *at, unsigned bytes)
{
	if (bytes == 1)
		return (uint64_t)(int64_t)(int8_t)at[0];
	if (bytes == 2)
		return (uint64_t)(int64_t)(int16_t)(at[0] | at[1] << 8);
	return (uint64_t)(int64_t)(int32_t)(at[0] | at[1] << 8 | at[2] << 16 |
	                                    (uint32_t)at[3] << 24);
}

static uint64_t address16(const struct guest *g, const struct insn *insn, unsigned at)
{
	static const uint8_t base[8] = { 3, 3, 5, 5, 6, 7, 5, 3 }, index[4] = { 6, 7, 6, 7 };
	const unsigned mode = insn->bytes[at] >> 6, rm = insn->bytes[at] & 7;
	const unsigned n = operand_bytes(insn, at) - 1;
	uint64_t offset = n ? displacement(insn->bytes + at + 1, n) : 0;
	const bool absolute = mode == 0 && rm == 6;

	if (!absolute)
		offset += g->reg[base[rm]] + (rm < 4 ? g->reg[index[rm]] : 0);
	return (offset & 0xffff) + segment_base(g, insn, absolute ? 3u : base[rm]);
}

/* The address of the operand whose ModRM is at 'at' of an instruction that ends at rip. */
static uint64_t address(const struct guest *g, const struct insn *insn, unsigned at, uint64_t rip)
{
	const uint8_t *bytes = insn->bytes + at;
	const unsigned mode = bytes[0] >> 6, rm = bytes[0] & 7, total = operand_bytes(insn, at);
	const unsigned sib = rm == 4;
	const unsigned n = total - 1 - sib;
	unsigned base = rm | (insn->rex & 1u) << 3;
	uint64_t offset;

	if (insn->address16)
		return (uint32_t)address16(g, insn, at);
	offset = n ? displacement(bytes + 1 + sib, n) : 0;
	if (sib) {
		const unsigned index = (bytes[1] >> 3 & 7u) | (insn->rex & 2u) << 2;

		base = (bytes[1] & 7u) | (insn->rex & 1u) << 3;
		if (index != REG_RSP)
			offset += g->reg[index] << (bytes[1] >> 6);
	}
	if (mode == 0 && (base & 7) == REG_RBP) {
		if (insn->long_mode && !sib)
			offset += rip;
		base = REGS; /* none */
	} else {
		offset += g->reg[base];
	}
	if (!insn->long_mode || insn->address_prefix)
		offset = (uint32_t)offset;
	offset += segment_base(g, insn, base);
	return insn->long_mode ? offset : (uint32_t)offset;
}

bool insn_operand(struct guest *g, unsigned opcode_bytes, struct insn_operand *operand)
{
	struct insn insn;
	unsigned modrm, length;

	if (!fetch(g, &insn))
		return false;
	read_prefixes(g, &insn);
	modrm = insn.opcode + opcode_bytes;
	length = modrm < insn.length ? operand_bytes(&insn, modrm) : 0;
	if (!length || modrm + length > insn.length)
		return false;
	operand->rip = g->vmcb->rip + modrm + length;
	operand->reg = (insn.bytes[modrm] >> 3 & 7u) | (insn.rex & 4u) << 1;
	operand->gva = address(g, &insn, modrm, operand->rip);
	return true;
}

bool insn_is_invpcid(struct guest *g)
{
	struct insn insn;

	if (!fetch(g, &insn))
		return false;
	read_prefixes(g, &insn);
	return insn.opcode + 3 < insn.length && insn.bytes[0] == 0x66 &&
	       insn.bytes[insn.opcode] == 0x0f && insn.bytes[insn.opcode + 1] == 0x38 &&
	       insn.bytes[insn.opcode + 2] == 0x82;
}

static uint32_t immediate(const struct insn *insn, unsigned at)
{
	return insn->bytes[at] | (uint32_t)insn->bytes[at + 1] << 8 |
	       (uint32_t)insn->bytes[at + 2] << 16 | (uint32_t)insn->bytes[at + 3] << 24;
}

static unsigned store_length(const struct insn *insn, struct insn_store *store,
                             const struct guest *g)
{
	const unsigned modrm = insn->opcode + 1;
	const uint8_t opcode = insn->bytes[insn->opcode];
	unsigned operand;

	if (modrm + 6 >= CODE_MAX || !insn->operand32 || (insn->rex & 8))
		return 0;
	if (opcode == 0xa3) { /* MOV moffs, eax */
		if (insn->address_prefix)
			return 0;
		store->value = (uint32_t)g->reg[REG_RAX];
		return modrm + (insn->long_mode ? 8u : insn->address16 ? 2u : 4u);
	}
	operand = operand_bytes(insn, modrm);
	if (!operand)
		return 0;
	store->reg = (insn->bytes[modrm] >> 3 & 7u) | (insn->rex & 4u) << 1;
	store->value = (uint32_t)g->reg[store->reg];
	switch (opcode) {
	case 0x87: /* XCHG */
		store->kind = INSN_XCHG;
		return modrm + operand;
	case 0x89: /* MOV r/m, r */
		return modrm + operand;
	case 0xc7: /* MOV r/m, imm */
		if (insn->bytes[modrm] >> 3 & 7 || modrm + operand + 4 > CODE_MAX)
			return 0;
		store->value = immediate(insn, modrm + operand);
		return modrm + operand + 4;
	default:
		return 0;
	}
}

enum insn_result insn_decode_store(struct guest *g, struct insn_store *store)
{
	struct insn insn = { .length = 0 };
	unsigned length;

	if (!fetch(g, &insn))
		return INSN_NO_FETCH;
	read_prefixes(g, &insn);
	store->kind = INSN_MOV;
	length = store_length(&insn, store, g);
	if (!length)
		return INSN_UNKNOWN;
	if (length > insn.length)
		return INSN_NO_FETCH;
	store->rip = g->vmcb->rip + length;
	return INSN_OK;
}
