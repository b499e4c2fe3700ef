/* SPDX-License-Identifier: MIT */
/* Where each intercepted instruction ends, and what decode assists tell of it. */
#include "svm/assist.h"

#include "cpu/features.h"
#include "cpu/x86.h"
#include "exit/exit.h"
#include "exit/gva.h"
#include "exit/insn.h"
#include "mem/string.h"
#include "svm/guest.h"

enum {
	OPCODE = 7,      /* bytes of opcode behind the prefixes; 0: no instruction intercept */
	OPERAND = 1 << 3, /* a ModRM follows, which may name memory */
	SOFTWARE = 1 << 5, /* its last byte is told */
	MOVE = 1 << 4,   /* of a control or debug register; CLTS, LMSW, SMSW among them */
};

/* By exit code. A far IRET or INT n is as long as a near one; IN and OUT say it in EXITINFO2. */
static const uint8_t shapes[EXIT_CODES] = {
	[0x00 ... 0x3f] = MOVE, [EXIT_CR0_SEL_WRITE] = MOVE,
	[0x66 ... 0x6d] = 2 | OPERAND, /* SIDT, SGDT, SLDT, STR, LIDT, LGDT, LLDT, LTR */
	[0x6e] = 2, [0x6f] = 2,        /* RDTSC, RDPMC */
	[0x70] = 1, [0x71] = 1,        /* PUSHF, POPF */
	[EXIT_CPUID] = 2,
	[0x73] = 2, [0x74] = 1,        /* RSM, IRET */
	[EXIT_SOFTWARE] = 2 | SOFTWARE,
	[EXIT_INVD] = 2,
	[0x77] = 1, [0x78] = 1,        /* PAUSE behind its F3, HLT */
	[EXIT_INVLPG] = 2 | OPERAND,
	[EXIT_INVLPGA] = 3,
	[EXIT_MSR] = 2,
	[EXIT_VMRUN ... EXIT_SKINIT] = 3,
	[0x87] = 3, [0x88] = 1, [0x89] = 2, /* RDTSCP, ICEBP, WBINVD */
	[0x8a ... 0x8e] = 3,           /* MONITOR, MWAIT, XSETBV, RDPRU */
	[EXIT_INVLPGB] = 3,
	[EXIT_INVPCID] = 3 | OPERAND,
	[EXIT_TLBSYNC] = 3,
};

static void of_operand(struct guest *g, struct vmcb *block, uint64_t code, unsigned opcode_bytes)
{
	struct insn_operand operand;

	/* a register form has nothing behind its ModRM */
	if (!insn_operand(g, opcode_bytes, &operand)) {
		insn_end(g, opcode_bytes + 1, &block->next_rip);
		return;
	}
	block->next_rip = operand.rip;
	if (code == EXIT_INVLPG)
		block->exit_info1 = operand.gva;
}

/* The vector of INT n is its last byte. */
static void of_software(struct guest *g, struct vmcb *block)
{
	uint8_t code[INSN_BUFFER];
	const uint64_t length = block->next_rip - g->vmcb->rip;

	if (length - 2 < INSN_MAX && gva_fetch(g, code) >= length)
		block->exit_info1 = code[length - 1];
}

static __attribute__((noinline)) void of_rarer(struct guest *g, struct vmcb *block, uint64_t code)
{
	const uint8_t shape = shapes[code];

	if (shape & MOVE) {
		exit_cr_assist(g, &block->exit_info1, &block->next_rip);
	} else if (shape & OPERAND) {
		of_operand(g, block, code, shape & OPCODE);
	} else if (shape & SOFTWARE) {
		if (insn_end(g, shape & OPCODE, &block->next_rip))
			of_software(g, block);
	} else if (code == EXIT_IOIO) {
		block->next_rip = block->exit_info2;
	}
}

/* The bytes at rip of an instruction that faulted; none where its own fetch did [APM2 15.8.4]. */
static __attribute__((noinline)) void of_fault(struct guest *g, struct vmcb *block)
{
	uint8_t code[INSN_BUFFER] = { 0 };
	unsigned count;

	block->fetched = 0;
	if (block->exit_info1 & RHZ_PF_I)
		return;
	count = gva_fetch(g, code);
	block->fetched = (uint8_t)(count < INSN_MAX ? count : INSN_MAX);
	memcpy(block->instruction, code, sizeof(block->instruction));
}

static __attribute__((noinline)) void by_processor(const struct vmcb *l2, struct vmcb *block)
{
	block->next_rip = l2->next_rip;
	memcpy(&block->fetched, &l2->fetched, 1 + sizeof(l2->instruction));
}

void assist(struct guest *g, struct vmcb *block)
{
	const uint64_t code = block->exit_code;

	if (features.next_rip && features.decode_assists) {
		by_processor(g->vmcb, block);
		return;
	}
	/* most exits are by a plain instruction */
	if (code < EXIT_CODES && shapes[code] - 1u < OPCODE) {
		insn_end(g, shapes[code], &block->next_rip);
		return;
	}
	block->next_rip = 0;
	if (code == EXIT_NPF || code == EXIT_EXCEPTION + VECTOR_PF)
		of_fault(g, block);
	else if (code < EXIT_CODES)
		of_rarer(g, block, code);
}
