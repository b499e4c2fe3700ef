/* SPDX-License-Identifier: MIT */
/*
 * The decoder's tables and its one pass over the bytes: prefixes, opcode, ModRM, SIB, displacement,
 * immediate [APM3 1.2, A.1]. What is read beyond the valid bytes is never believed: the length is
 * compared at the end.
 */
#include "insn/decode.h"

/* A form: an op in the low bits (or a group of ops), and what follows the opcode. */
enum {
	OP = 31,
	MODRM = 1 << 5,
	BYTE = 1 << 6,    /* operands of one byte */
	IMM = 1 << 7,     /* an immediate of the operand's size, four bytes at most */
	IMM8 = 1 << 8,    /* one of a byte, sign-extended */
	MOFFS = 1 << 9,   /* an address of the address size instead of a ModRM */
	STRING = 1 << 10,
	PREFIX = 1 << 11,
	LOCK = 1 << 12,   /* LOCK is allowed */
	GROUP = 1 << 13,  /* the op depends on ModRM.reg */
	PLAIN = 1 << 14,  /* 66h, F2h and F3h would make another instruction of it */
	LONG = 1 << 15,   /* a second opcode byte follows */
};

enum { GROUP1, GROUP3, GROUP45, GROUP8, GROUP9, GROUP11, GROUPS };

static const uint8_t group[GROUPS][8] = {
	[GROUP1] = { INSN_ADD, INSN_OR, INSN_ADC, INSN_SBB, INSN_AND, INSN_SUB, INSN_XOR, 0 },
	[GROUP3] = { 0, 0, INSN_NOT, INSN_NEG, 0, 0, 0, 0 },
	[GROUP45] = { INSN_INC, INSN_DEC, 0, 0, 0, 0, 0, 0 },
	[GROUP8] = { 0, 0, 0, 0, 0, INSN_BTS, INSN_BTR, INSN_BTC },
	[GROUP9] = { 0, INSN_CMPXCHG_PAIR, 0, 0, 0, 0, 0, 0 },
	[GROUP11] = { INSN_MOV, 0, 0, 0, 0, 0, 0, 0 },
};

#define ALU(opcode, op) \
	[opcode] = (op) | MODRM | BYTE | LOCK, [(opcode) + 1] = (op) | MODRM | LOCK
#define REX_ROW(at) [(at)] = PREFIX, [(at) + 1] = PREFIX, [(at) + 2] = PREFIX, [(at) + 3] = PREFIX

static const uint16_t one_byte[256] = {
	ALU(0x00, INSN_ADD), ALU(0x08, INSN_OR), ALU(0x10, INSN_ADC), ALU(0x18, INSN_SBB),
	ALU(0x20, INSN_AND), ALU(0x28, INSN_SUB), ALU(0x30, INSN_XOR),
	[0x0f] = LONG,
	[0x26] = PREFIX, [0x2e] = PREFIX, [0x36] = PREFIX, [0x3e] = PREFIX,
	REX_ROW(0x40), REX_ROW(0x44), REX_ROW(0x48), REX_ROW(0x4c),
	[0x64] = PREFIX, [0x65] = PREFIX, [0x66] = PREFIX, [0x67] = PREFIX,
	[0x80] = GROUP1 | GROUP | MODRM | BYTE | IMM | LOCK,
	[0x81] = GROUP1 | GROUP | MODRM | IMM | LOCK,
	[0x83] = GROUP1 | GROUP | MODRM | IMM8 | LOCK,
	[0x86] = INSN_XCHG | MODRM | BYTE | LOCK, [0x87] = INSN_XCHG | MODRM | LOCK,
	[0x88] = INSN_MOV | MODRM | BYTE, [0x89] = INSN_MOV | MODRM,
	[0xa2] = INSN_MOV | MOFFS | BYTE, [0xa3] = INSN_MOV | MOFFS,
	[0xa4] = INSN_MOVS | STRING | BYTE, [0xa5] = INSN_MOVS | STRING,
	[0xaa] = INSN_STOS | STRING | BYTE, [0xab] = INSN_STOS | STRING,
	[0xc6] = GROUP11 | GROUP | MODRM | BYTE | IMM, [0xc7] = GROUP11 | GROUP | MODRM | IMM,
	[0xf0] = PREFIX, [0xf2] = PREFIX, [0xf3] = PREFIX,
	[0xf6] = GROUP3 | GROUP | MODRM | BYTE | LOCK, [0xf7] = GROUP3 | GROUP | MODRM | LOCK,
	[0xfe] = GROUP45 | GROUP | MODRM | BYTE | LOCK, [0xff] = GROUP45 | GROUP | MODRM | LOCK,
};

static const uint16_t two_byte[256] = {
	[0xab] = INSN_BTS | MODRM | LOCK, [0xb3] = INSN_BTR | MODRM | LOCK,
	[0xb0] = INSN_CMPXCHG | MODRM | BYTE | LOCK, [0xb1] = INSN_CMPXCHG | MODRM | LOCK,
	[0xba] = GROUP8 | GROUP | MODRM | IMM8 | LOCK,
	[0xbb] = INSN_BTC | MODRM | LOCK,
	[0xc0] = INSN_XADD | MODRM | BYTE | LOCK, [0xc1] = INSN_XADD | MODRM | LOCK,
	[0xc3] = INSN_MOV | MODRM | PLAIN, /* MOVNTI */
	[0xc7] = GROUP9 | GROUP | MODRM | LOCK | PLAIN,
};

enum { REX_W = 8, REX_R = 4, REX_X = 2, REX_B = 1 };

struct prefixes {
	unsigned rex;
	bool operand, address, lock, repeat;
	uint8_t segment; /* or INSN_NO_REG */
};

static void take_prefix(struct prefixes *prefixes, uint8_t byte, unsigned bits)
{
	prefixes->rex = 0; /* one that is not the last prefix is ignored [APM3 1.2.7] */
	switch (byte) {
	case 0x26: case 0x2e: case 0x36: case 0x3e:
		/* without a meaning in 64-bit code [APM3 1.2.4] */
		if (bits != 64)
			prefixes->segment = byte >> 3 & 3;
		break;
	case 0x64: case 0x65:
		prefixes->segment = byte == 0x64 ? INSN_FS : INSN_GS;
		break;
	case 0x66:
		prefixes->operand = true;
		break;
	case 0x67:
		prefixes->address = true;
		break;
	case 0xf0:
		prefixes->lock = true;
		break;
	default:
		prefixes->repeat = true;
		break;
	}
}

/* Reads prefixes; where the opcode is, or INSN_MAX if there is none. */
static unsigned read_prefixes(struct prefixes *prefixes, const uint8_t *from, unsigned bits)
{
	unsigned at;

	for (at = 0; at < INSN_MAX && one_byte[from[at]] & PREFIX; at++) {
		if ((from[at] & 0xf0) != 0x40)
			take_prefix(prefixes, from[at], bits);
		else if (bits == 64)
			prefixes->rex = from[at];
		else
			break; /* INC or DEC of a register */
	}
	return at;
}

unsigned insn_prefixes(const uint8_t *from, unsigned count, unsigned bits)
{
	struct prefixes prefixes = { .segment = INSN_NO_REG };
	unsigned at = read_prefixes(&prefixes, from, bits);

	return at < count ? at : count;
}

static uint64_t read_signed(const uint8_t *from, unsigned bytes)
{
	uint64_t value;

	switch (bytes) {
	case 0:
		return 0;
	case 1:
		return (uint64_t)(int8_t)from[0];
	case 2:
		return (uint64_t)(int16_t)(from[0] | from[1] << 8);
	default:
		__builtin_memcpy(&value, from, sizeof(value));
		return bytes == 8 ? value : (uint64_t)(int32_t)value;
	}
}

/* ModRM with 16-bit addresses [APM3 table A-33]; the bytes that it takes. */
static unsigned read_modrm16(struct insn *insn, const uint8_t *from)
{
	static const uint8_t base[8] = { 3, 3, 5, 5, 6, 7, 5, 3 };
	static const uint8_t index[8] = { 6, 7, 6, 7, INSN_NO_REG, INSN_NO_REG, INSN_NO_REG,
	                                  INSN_NO_REG };
	const unsigned mode = from[0] >> 6, rm = from[0] & 7;
	unsigned displacement = mode;

	insn->base = base[rm];
	insn->index = index[rm];
	if (mode == 0 && rm == 6) {
		insn->base = INSN_NO_REG;
		displacement = 2;
	}
	if (insn->base == 5)
		insn->segment = INSN_SS;
	insn->displacement = read_signed(from + 1, displacement);
	return 1 + displacement;
}

/* ModRM and SIB with 32- or 64-bit addresses; the bytes that they take. */
static unsigned read_modrm(struct insn *insn, const uint8_t *from, unsigned rex, unsigned bits)
{
	const unsigned mode = from[0] >> 6;
	unsigned base = from[0] & 7, at = 1, displacement;

	displacement = mode == 0 ? 0 : mode == 1 ? 1 : 4;
	if (base == 4) {
		const unsigned sib = from[at++], index = (sib >> 3 & 7) | (rex & REX_X) << 2;

		base = sib & 7;
		insn->scale = (uint8_t)(sib >> 6);
		if (index != 4)
			insn->index = (uint8_t)index;
	} else if (base == 5 && mode == 0 && bits == 64) {
		insn->rip_relative = true;
	}
	if (base == 5 && mode == 0) {
		displacement = 4;
	} else {
		if (base == 4 || base == 5)
			insn->segment = INSN_SS;
		insn->base = (uint8_t)(base | (rex & REX_B) << 3);
	}
	insn->displacement = read_signed(from + at, displacement);
	return at + displacement;
}

static void read_reg(struct insn *insn, unsigned modrm, unsigned rex)
{
	insn->reg = (uint8_t)((modrm >> 3 & 7) | (rex & REX_R) << 1);
	if (insn->bytes == 1 && !rex && insn->reg >= 4) {
		insn->high = true;
		insn->reg -= 4;
	}
}

static unsigned address_bytes(bool prefix, unsigned bits)
{
	if (bits == 64)
		return prefix ? 4 : 8;
	return (bits == 16) != prefix ? 2 : 4;
}

/* What follows the opcode; the bytes that it takes, 0 if it is not known. */
static unsigned read_operands(struct insn *insn, const uint8_t *from, unsigned form, unsigned rex,
                              unsigned bits)
{
	unsigned at = 0;

	if (form & MODRM) {
		if (from[0] >> 6 == 3)
			return 0; /* a register */
		if (form & GROUP)
			insn->op = group[form & OP][from[0] >> 3 & 7];
		else
			read_reg(insn, from[0], rex);
		at = insn->address_bytes == 2 ? read_modrm16(insn, from) :
		                                read_modrm(insn, from, rex, bits);
	} else if (form & MOFFS) {
		insn->displacement = read_signed(from, insn->address_bytes);
		insn->reg = 0;
		return insn->address_bytes;
	}
	if (form & (IMM | IMM8)) {
		const unsigned bytes = form & IMM8 ? 1 : insn->bytes > 4 ? 4 : insn->bytes;

		insn->immediate = (int32_t)read_signed(from + at, bytes);
		at += bytes;
	}
	return at;
}

enum insn_decoded insn_decode_operand(struct insn *insn, const uint8_t *from, unsigned count,
                                      unsigned bits, unsigned opcode_bytes)
{
	struct prefixes prefixes = { .segment = INSN_NO_REG };
	const unsigned at = read_prefixes(&prefixes, from, bits) + opcode_bytes;

	if (at >= count)
		return INSN_CUT;
	if (from[at] >> 6 == 3)
		return INSN_UNKNOWN;
	*insn = (struct insn){
		.bytes = 4,
		.address_bytes = (uint8_t)address_bytes(prefixes.address, bits),
		.segment = INSN_DS,
		.base = INSN_NO_REG,
		.index = INSN_NO_REG,
	};
	insn->length = (uint8_t)(at + read_operands(insn, from + at, MODRM, prefixes.rex, bits));
	if (prefixes.segment != INSN_NO_REG)
		insn->segment = prefixes.segment;
	return insn->length > count ? INSN_CUT : INSN_OK;
}

enum insn_decoded insn_decode(struct insn *insn, const uint8_t *from, unsigned count, unsigned bits)
{
	struct prefixes prefixes = { .segment = INSN_NO_REG };
	unsigned at = read_prefixes(&prefixes, from, bits), form, operands;

	form = one_byte[from[at++]];
	if (form & LONG)
		form = two_byte[from[at++]];
	if (!form || form & PREFIX)
		return at > count ? INSN_CUT : INSN_UNKNOWN;
	*insn = (struct insn){
		.op = form & OP,
		.bytes = form & BYTE ? 1 : prefixes.rex & REX_W ? 8 :
		         (bits == 16) != prefixes.operand ? 2 : 4,
		.address_bytes = (uint8_t)address_bytes(prefixes.address, bits),
		.reg = INSN_NO_REG,
		.segment = INSN_DS,
		.base = INSN_NO_REG,
		.index = INSN_NO_REG,
		.repeat = prefixes.repeat,
	};
	operands = read_operands(insn, from + at, form, prefixes.rex, bits);
	at += operands;
	if (at > count)
		return INSN_CUT;
	if (!insn->op || (!operands && !(form & STRING)) || at > INSN_MAX ||
	    (form & PLAIN && (prefixes.operand || prefixes.repeat)))
		return INSN_UNKNOWN;
	if (prefixes.lock && !(form & LOCK))
		return INSN_UD;
	if (prefixes.segment != INSN_NO_REG)
		insn->segment = prefixes.segment;
	if (insn->op == INSN_CMPXCHG_PAIR)
		insn->bytes = insn->bytes == 8 ? 16 : 8;
	insn->bit_string = insn->op >= INSN_BTS && insn->op <= INSN_BTC &&
	                   insn->reg != INSN_NO_REG;
	insn->length = (uint8_t)at;
	return INSN_OK;
}

/* Where the operand of a bit string's instruction begins, from the start of the string. */
static uint64_t bit_string_offset(const struct insn *insn, uint64_t bit)
{
	if (insn->bytes == 8)
		return (uint64_t)((int64_t)bit >> 6) * 8;
	if (insn->bytes == 4)
		return (uint64_t)((int64_t)(int32_t)bit >> 5) * 4;
	return (uint64_t)((int64_t)(int16_t)bit >> 4) * 2;
}

uint64_t insn_offset(const struct insn *insn, const uint64_t reg[16], uint64_t next)
{
	uint64_t offset = insn->displacement;

	if (insn->op >= INSN_STOS)
		return reg[7] & insn_address_mask(insn);
	if (insn->base != INSN_NO_REG)
		offset += reg[insn->base];
	if (insn->index != INSN_NO_REG)
		offset += reg[insn->index] << insn->scale;
	if (insn->rip_relative)
		offset += next;
	if (insn->bit_string)
		offset += bit_string_offset(insn, reg[insn->reg]);
	return offset & insn_address_mask(insn);
}
