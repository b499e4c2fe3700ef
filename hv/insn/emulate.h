/* SPDX-License-Identifier: MIT */
/*
 * What a decoded store does to memory, registers and flags. Its arithmetic is the processor's own:
 * each op is that instruction, locked, on the operand's host address. No guest, no state.
 */
#ifndef HV_INSN_EMULATE_H
#define HV_INSN_EMULATE_H

#include "insn/decode.h"

/*
 * Any op but STOS and MOVS, on memory at 'at' (16-byte aligned for CMPXCHG16B). A store of 2, 4 or
 * 8 aligned bytes is one access, a read-modify-write is atomic. rflags: the status flags alone
 * change.
 */
void insn_perform(const struct insn *insn, void *at, uint64_t reg[16], uint64_t *rflags);

/*
 * STOS or MOVS, 'count' elements in the order of DF: to 'to', from 'from' (the first element's
 * places). rDI, rSI and, if it repeats, rCX move on by as many elements.
 */
void insn_perform_string(const struct insn *insn, void *to, const void *from, uint64_t count,
                         uint64_t reg[16], uint64_t rflags);

/* How many elements REP asks for; 1 without it. */
uint64_t insn_repetitions(const struct insn *insn, const uint64_t reg[16]);

#endif
