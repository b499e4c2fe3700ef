/* SPDX-License-Identifier: MIT */
/*
 * A guest of the mark guest's own, L2 [APM2 15]: its control block, its code, and the instructions
 * that enter it. L2 has the mark guest's own registers and kernel, and leaves by VMMCALL.
 */
#ifndef GUESTS_MARK_SVM_H
#define GUESTS_MARK_SVM_H

#include <stdbool.h>
#include <stdint.h>

#include "svm/vmcb.h"

extern struct vmcb l2;
extern struct vmcb l1_state; /* for VMLOAD and VMSAVE of the mark guest's own */

/* Turns SVM on. Returns why L2 cannot be had; null: it can. */
const char *svm_begin(bool nested_paging);

/* ASIDs that the processor has, 0 included, which is not L2's to have. */
unsigned svm_asids(void);

/*
 * L2 as a row finds it: ASID 1, nothing to flush, at 'code', which may run as often as a row
 * likes. nested_cr3 0: without nested paging. GIF is 0 from here on, as it is after each exit.
 */
void svm_prepare(const char *code, uint64_t cr3, uint64_t nested_cr3);

/* The last exit must have been VMMCALL's. */
void svm_check(void);

/* L2's code; each goes on to VMMCALL, and stays there. */
extern const char l2_leave[];
extern const char l2_cpuid_loop[]; /* 'count' times CPUID */
extern const char l2_cr3_loop[];   /* 'count' times MOV to CR3 of what it is */
extern const char l2_write_loop[]; /* writes a word of each of 'count' pages from 'address' */

/* VMRUN, until L2 leaves. What L2 changes of general registers stays changed. */
static inline void svm_run(uint64_t count, uint64_t address)
{
	__asm__ volatile("vmrun %%rax"
	                 : "+S"(count), "+D"(address)
	                 : "a"(&l2)
	                 : "rbx", "rcx", "rdx", "memory", "cc");
}

static inline void svm_clgi(void)
{
	__asm__ volatile("clgi" : : : "memory");
}

static inline void svm_stgi(void)
{
	__asm__ volatile("stgi" : : : "memory");
}

static inline void svm_load(struct vmcb *block)
{
	__asm__ volatile("vmload %%rax" : : "a"(block) : "memory");
}

static inline void svm_save(struct vmcb *block)
{
	__asm__ volatile("vmsave %%rax" : : "a"(block) : "memory");
}

#endif
