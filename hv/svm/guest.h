/* SPDX-License-Identifier: MIT */
/* The one guest with its one processor: what run.S and the exits work on. */
#ifndef HV_SVM_GUEST_H
#define HV_SVM_GUEST_H

/* Offsets for run.S. */
#define GUEST_VMCB_PA 136
#define GUEST_HOST_VMCB_PA 144
#define GUEST_STATE_PA 152

#ifndef __ASSEMBLER__
#include <rhizome/rhizome.h>

#include "svm/vmcb.h"

/*
 * General registers by their number in an instruction. rax and rsp live in the VMCB: rax is copied
 * here at an exit and back at the entry, rsp is copied here to be read.
 */
enum { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REGS = 16 };

enum { LAST_EXITS = 8, EXIT_KINDS = 24 };

struct exit_record { uint64_t code, info1, info2, rip; };
_Static_assert(LAST_EXITS * sizeof(struct exit_record) == 256, "an offset of 8 bits wraps");

/*
 * Where code was found through the shadow tables: good until anything is taken from a table, and
 * after that if all entries on the way are what they were.
 */
enum { CODE_PAGES = 64, CODE_PAGE_BYTES = 4096 };
struct code_page {
	uint64_t gva, root, removals;
	const uint8_t *at;
	uint64_t entries;
	const uint64_t *entry[RHZ_MAX_LEVELS];
	uint64_t value[RHZ_MAX_LEVELS];
	uint64_t unused; /* places are found by a shift */
};

/* What exits for our sake, whoever runs; and what more where our tables shadow. */
struct intercepts {
	uint32_t word1, word2, word3;
	uint32_t shadow1, shadow3, shadow_exceptions;
};

enum { L1, L2 };

struct guest {
	uint64_t reg[REGS];
	struct vmcb *vmcb; /* the control block in use */
	uint64_t vmcb_pa, host_vmcb_pa;
	uint64_t state_pa; /* of L1's block, which has what VMLOAD loads, for L2 as well */

	bool shadow; /* the processor walks our tables of those of L1, or L2, whoever runs */
	/* Any makes a turn of the loop special, the last two an entry too: one test each. */
	union {
		struct {
			bool in_l2, unused; /* L2 runs, and not L1 */
			bool stepping;      /* exit/step.c has a say in the next entry */
			bool watched;       /* statistics now and then, or a trace, are wanted */
		};
		struct { uint16_t nested, entry_is_special; };
		uint32_t special;
	};
	bool gif;      /* L1's */
	bool nmi_held; /* for L1, until its GIF is 1 */
	bool svme;     /* EFER.SVME as L1 has it */
	uint64_t hsave_pa; /* VM_HSAVE_PA as L1 wrote it; we need none of it */
	struct vmcb *vmcb_of[2];
	uint64_t vmcb_pa_of[2];
	struct intercepts own;
	struct nsvm *nsvm; /* null: L1 has no SVM */
	struct rhz_vm *vm;
	struct rhz_vcpu *mmu;
	struct rhz_cpu cpu;
	struct rhz_entry entry; /* the last one */
	const struct rhz_vm_stats *vm_stats;
	struct code_page code[CODE_PAGES];
	bool flush_address; /* the library asked for it at the last nested fault */

	uint64_t exits_of[EXIT_KINDS];
	uint64_t stores_emulated, stores_stepped; /* to tables */
	struct exit_record last[LAST_EXITS]; /* a ring */
	uint8_t last_at;                     /* bytes into it where the oldest is; wraps */
};

static inline struct code_page *code_page_of(struct guest *g, uint64_t gva)
{
	return &g->code[(g->entry.root.v ^ gva) / CODE_PAGE_BYTES % CODE_PAGES];
}

_Static_assert(offsetof(struct guest, vmcb_pa) == GUEST_VMCB_PA, "as run.S has it");
_Static_assert(offsetof(struct guest, host_vmcb_pa) == GUEST_HOST_VMCB_PA, "as run.S has it");
_Static_assert(offsetof(struct guest, state_pa) == GUEST_STATE_PA, "as run.S has it");

extern struct guest guest;

#endif
#endif
