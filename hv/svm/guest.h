/* SPDX-License-Identifier: MIT */
/* The one guest with its one processor: what run.S and the exits work on. */
#ifndef HV_SVM_GUEST_H
#define HV_SVM_GUEST_H

#include <rhizome/rhizome.h>

#include "svm/vmcb.h"

/*
 * General registers by their number in an instruction. rax and rsp live in the VMCB: rax is copied
 * here at an exit and back at the entry, rsp is copied here to be read.
 */
enum { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REGS = 16 };

enum { LAST_EXITS = 8, EXIT_KINDS = 12 };

struct exit_record { uint64_t code, info1, info2, rip; };

struct guest {
	uint64_t reg[REGS];
	struct vmcb *vmcb;
	uint64_t vmcb_pa, host_vmcb_pa;

	struct rhz_vm *vm;
	struct rhz_vcpu *mmu;
	struct rhz_cpu cpu;
	bool flush_address; /* the library asked for it at the last fault */

	uint64_t exits;
	uint64_t exits_of[EXIT_KINDS];
	struct exit_record last[LAST_EXITS]; /* a ring: exit n at n % LAST_EXITS */
};

extern struct guest guest;

#endif
