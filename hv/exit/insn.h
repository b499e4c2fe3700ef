/* SPDX-License-Identifier: MIT */
/* The guest's instruction at its rip: bytes, length, and the stores that APIC drivers use. */
#ifndef HV_EXIT_INSN_H
#define HV_EXIT_INSN_H

#include <stdbool.h>
#include <stdint.h>

struct guest;

/*
 * Where the instruction ends, 'opcode_bytes' being what follows its prefixes: from the processor if
 * it says so (NRIPS), else decoded. False: it cannot be fetched; the guest runs it again.
 */
bool insn_end(struct guest *g, unsigned opcode_bytes, uint64_t *rip);

/* A memory operand, with the register that stands beside it. */
struct insn_operand {
	uint64_t gva;
	unsigned reg;
	uint64_t rip; /* the next instruction */
};

/*
 * Decodes the memory operand of the instruction at rip, 'opcode_bytes' as above. False: there is
 * none, or it cannot be fetched; the guest runs it again.
 */
bool insn_operand(struct guest *g, unsigned opcode_bytes, struct insn_operand *operand);

/* True if an INVPCID is at rip. */
bool insn_is_invpcid(struct guest *g);

enum insn_store_kind { INSN_MOV, INSN_XCHG };

struct insn_store {
	enum insn_store_kind kind;
	uint32_t value;
	unsigned reg; /* of XCHG: where the old value goes */
	uint64_t rip; /* the next instruction */
};

enum insn_result {
	INSN_OK,
	INSN_NO_FETCH, /* the code is not mapped (any more): run on, it will fault */
	INSN_UNKNOWN,  /* none of the stores that are known */
};

/* Decodes a 32-bit store: MOV from a register or an immediate, XCHG with a register. */
enum insn_result insn_decode_store(struct guest *g, struct insn_store *store);

#endif
