/* SPDX-License-Identifier: MIT */
/*
 * Nested SVM: the guest (L1) runs guests of its own (L2). While L2 runs, a second control block is
 * the one in use and L1's keeps L1 as its VMRUN left it: an entry or exit is a new pointer, a
 * root switch of the library's, and the copying of what the two are to see of each other.
 */
#ifndef HV_SVM_NSVM_H
#define HV_SVM_NSVM_H

#include "svm/guest.h"

struct nsvm {
	uint64_t block_gpa;   /* of L2's control block in L1's memory */
	struct vmcb *block;   /* ... and where we have it */
	uint64_t state_gpa;   /* the same of another page that VMLOAD or VMSAVE named */
	struct vmcb *state;
	struct vmcb control;  /* its control area, read once at the entry */
	uint64_t rax;         /* L1's at its VMRUN */
	struct rhz_regs l1;   /* ... and under shadow paging these */
	uint64_t rip;         /* L2's at the entry */
	uint64_t interrupt_control; /* L2's under GIF = 1, while L2 has cleared it */
	bool injecting;       /* control.event may be undelivered */
	enum rhz_guest_flush l1_flush; /* that L2 has asked for, by INVLPGA */
	bool paging;          /* L2 runs by L1's nested tables */
	bool regs_are_ours;   /* L2's control registers are the library's, not the block's */
};

/* Makes the second control block and its permission maps, if L1 may have SVM. */
void nsvm_init(struct guest *g);

/* VMRUN of the control block at gpa, a page of L1's; L1 goes on at 'next' afterwards. */
void nsvm_enter(struct guest *g, uint64_t gpa, uint64_t next);

/* An exit of L2 to L1; L2's state is as the control block has it. */
void nsvm_exit(struct guest *g, uint64_t code, uint64_t info1, uint64_t info2);

/* The exit that just happened in L2: passes it to L1 if L1 asked for it. True if so. */
bool nsvm_takes_exit(struct guest *g);

/* An exception that we raise in L2: an exit to L1 if L1 asked for it. True if so. */
bool nsvm_takes_exception(struct guest *g, unsigned vector, uint32_t error_code, uint64_t gva);

/* An event that L1 injects has not been delivered, nor will be: L2's rip is what it was. */
void nsvm_interrupted(struct guest *g);

/* L2 writes CR0: an exit to L1 if it asked for such changes alone. True if so. */
bool nsvm_takes_cr0(struct guest *g, uint64_t cr0);

/* A fault of L2's by L1's nested tables (exit/npf.c). */
void nsvm_fault(struct guest *g);

/* L2's registers where its tables are the processor's to walk, for rhz_vcpu_translate_l2. */
struct rhz_regs nsvm_regs(const struct guest *g);

#endif
