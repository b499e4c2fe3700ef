/* SPDX-License-Identifier: MIT */
/*
 * The decoder: bytes of an instruction in, a struct out. It knows the stores that kernels make to
 * page tables and to APICs [APM3 1.2, 3], and no others. No state, no guest.
 */
#ifndef HV_INSN_DECODE_H
#define HV_INSN_DECODE_H

#include <stdbool.h>
#include <stdint.h>

enum insn_op {
	INSN_NOT_KNOWN, /* none of these */
	INSN_MOV,
	INSN_ADD, INSN_OR, INSN_ADC, INSN_SBB, INSN_AND, INSN_SUB, INSN_XOR, /* as /0 to /6 */
	INSN_INC, INSN_DEC, INSN_NOT, INSN_NEG,
	INSN_BTS, INSN_BTR, INSN_BTC,
	INSN_XCHG, INSN_XADD, INSN_CMPXCHG,
	INSN_CMPXCHG_PAIR, /* CMPXCHG8B, CMPXCHG16B */
	INSN_STOS, INSN_MOVS,
	INSN_OPS
};

/* Segment registers as instructions number them. */
enum { INSN_ES, INSN_CS, INSN_SS, INSN_DS, INSN_FS, INSN_GS };

enum {
	INSN_MAX = 15,     /* bytes of the longest instruction [APM3 1.1] */
	INSN_BUFFER = 32,  /* bytes that the decoder may look at, valid or not */
	INSN_NO_REG = 16,
};

struct insn {
	uint8_t op;            /* enum insn_op */
	uint8_t length;
	uint8_t bytes;         /* of the operand: 1, 2, 4, 8 or 16 */
	uint8_t address_bytes; /* 2, 4 or 8 */
	uint8_t reg;           /* the register operand; INSN_NO_REG: the immediate, or none */
	bool high;             /* it is AH, CH, DH or BH, and reg their first byte's register */
	uint8_t segment;       /* of the memory operand; of STOS and MOVS: of the source */
	uint8_t base, index;   /* or INSN_NO_REG */
	uint8_t scale;         /* index is shifted left by it */
	bool rip_relative;
	bool repeat;           /* STOS and MOVS: rCX times */
	bool bit_string;       /* the bit number in reg reaches beyond the operand */
	int32_t immediate;
	uint64_t displacement;
};

enum insn_decoded {
	INSN_OK,
	INSN_CUT,     /* longer than the bytes that there are */
	INSN_UNKNOWN, /* none that is known here */
	INSN_UD,      /* #UD: LOCK where it must not be */
};

/*
 * Decodes the instruction at 'from' (readable for INSN_BUFFER bytes, 'count' of them valid) as code
 * of 16, 32 or 64 'bits'.
 */
enum insn_decoded insn_decode(struct insn *insn, const uint8_t *from, unsigned count,
                              unsigned bits);

/*
 * Decodes the memory operand of any instruction with 'opcode_bytes' of opcode and a ModRM: its
 * address, and the register beside it (of more than a byte). length ends with the operand.
 */
enum insn_decoded insn_decode_operand(struct insn *insn, const uint8_t *from, unsigned count,
                                      unsigned bits, unsigned opcode_bytes);

/* How many bytes of prefixes, REX included, stand before the opcode; at most count. */
unsigned insn_prefixes(const uint8_t *from, unsigned count, unsigned bits);

/*
 * The offset of the memory operand in its segment, the destination of STOS and MOVS.
 * next: where the instruction ends.
 */
uint64_t insn_offset(const struct insn *insn, const uint64_t reg[16], uint64_t next);

/* A register's or address's bits that an address of so many bytes has. */
static inline uint64_t insn_address_mask(const struct insn *insn)
{
	return ~0ull >> (64 - 8 * insn->address_bytes);
}

#endif
