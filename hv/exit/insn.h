/* SPDX-License-Identifier: MIT */
/* The guest's instruction at its rip: its bytes, where it ends, and the decoder upon them. */
#ifndef HV_EXIT_INSN_H
#define HV_EXIT_INSN_H

#include <stdbool.h>
#include <stdint.h>

#include "insn/decode.h"

struct guest;

/* The code's width: 16, 32 or 64. */
unsigned insn_bits(const struct guest *g);

/* rip after so many bytes more, as the code's width wraps it. */
uint64_t insn_advance(const struct guest *g, unsigned bytes);

/* The linear address of offset 'offset' in a segment, by number. */
uint64_t insn_linear(const struct guest *g, unsigned segment, uint64_t offset);

/*
 * Where the instruction ends, 'opcode_bytes' being what follows its prefixes: from the processor if
 * it says so (NRIPS), else decoded. False, *rip being 0: it cannot be fetched; the guest runs it
 * again.
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

/* Decodes the store at rip. INSN_CUT: it cannot be fetched. */
enum insn_decoded insn_at_rip(struct guest *g, struct insn *insn);

/* The first byte of the opcode at rip, 0 if it cannot be fetched; *length: as far as that. */
uint8_t insn_opcode(struct guest *g, unsigned *length);

#endif
