/* SPDX-License-Identifier: MIT */
/* L2: its control block and registers, one run of it, and what the run must have come to. */
#ifndef GUESTS_NESTED_TORTURE_L2_H
#define GUESTS_NESTED_TORTURE_L2_H

#include <stdbool.h>
#include <stdint.h>

#include "nested-torture/walk.h"
#include "svm/vmcb.h"

#define EXITS_INTR 0x60u
#define EXITS_NMI 0x61u
#define EXITS_VINTR 0x64u
#define EXITS_EXCEPTION 0x40u
#define EXITS_SHUTDOWN 0x7fu
#define EXITS_VMMCALL 0x81u
#define EXITS_NPF 0x400u
#define EXITS_INVALID 0xffffffffu

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, GPRS = 16 };

/* The control block that L2 runs by, and its registers; both random or plain before a run. */
extern struct vmcb l2;
extern uint64_t l2_reg[GPRS];
extern uint8_t l2_iopm[3 * 4096], l2_msrpm[2 * 4096];

/* How L2 translates now. l2_build() makes it and the block agree. */
extern struct paging l2_paging;
extern bool l2_long; /* 64-bit code, with paging; else flat 32-bit code without */

/*
 * A block in which nothing is wrong: all exceptions and what would stop L2 are intercepted, the
 * code begins at LOW_CODE; random mode, registers, ASID and nested paging.
 */
void l2_build(void);

/* Makes the block anew after a change of l2_paging. */
void l2_rebuild(void);

/* The code at LOW_CODE: an instruction, and VMMCALL behind it. */
void l2_code(const void *bytes, unsigned count);

/* Has the block the intercept of an exit code [APM2 15.9, appendix C]? Sets or clears it. */
bool l2_intercepts(uint32_t code);
void l2_intercept(uint32_t code, bool on);

/* What the exit must be. Masks: the bits that are determined. */
struct expected {
	const char *what; /* for a report */
	uint32_t code;
	uint64_t info1, info1_mask, info2, info2_mask;
	uint64_t info1_private; /* bits of it that are right here, and otherwise elsewhere */
	uint64_t rip;
	uint64_t event;      /* EXITINTINFO, all of it */
	bool rip_is_open, state_is_open, event_is_open;
	uint64_t cr0;        /* afterwards */
	bool code_is_told;   /* the instruction's bytes are in the block, with decode assists */
	uint64_t next_rip;   /* where the processor says it; 0: not looked at */
	uint64_t rflags_open; /* bits of RFLAGS that the instruction may change */
	uint64_t reg[GPRS];  /* afterwards, rax and rsp too */
	uint32_t reg_open;   /* by number: not determined */
	bool no_digest;      /* emulators end otherwise: judged here, and no part of the digest */
};

/* An expectation to begin with: VMMCALL behind 'bytes' of code, nothing changed. */
struct expected l2_expect(const char *what, unsigned bytes);

/* Runs L2 and compares. False: something was otherwise, and was told. */
bool l2_run(const struct expected *expected);

/* VMRUN alone, for what cannot be predicted. */
void l2_enter(void);

/* Reports. */
struct report {
	uint32_t seed, step, done, open, failed;
	uint64_t digest;
	bool verbose;
};
extern struct report report;

void tell(const char *what, const char *field, uint64_t expected, uint64_t seen);
void digest(uint64_t value);

#endif
