/* SPDX-License-Identifier: MIT */
/*
 * A guest of the mark guest's own, L2 [APM2 15]: its control block, its code, and the instructions
 * that enter it. L2 has the mark guest's own registers and kernel, and leaves by VMMCALL.
 */
#ifndef GUESTS_MARK_SVM_H
#define GUESTS_MARK_SVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mark/space.h"

struct segment { uint16_t selector, attributes; uint32_t limit; uint64_t base; };

/* What we write of the control block, and what we read of it [APM2 appendix B]. */
struct control_block {
	uint8_t reserved0[0x10];
	uint32_t intercept_vmrun; /* the word with VMRUN's bit, and VMMCALL's */
	uint8_t reserved1[0x58 - 0x14];
	uint32_t asid, tlb_control;
	uint8_t reserved2[0x70 - 0x60];
	uint64_t exit_code;
	uint8_t reserved3[0x90 - 0x78];
	uint64_t nested_control;
	uint8_t reserved4[0xb0 - 0x98];
	uint64_t nested_cr3;
	uint8_t reserved5[0x400 - 0xb8];
	struct segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	uint8_t reserved6[0x4d0 - 0x4a0];
	uint64_t efer;
	uint8_t reserved7[0x548 - 0x4d8];
	uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
	uint8_t reserved8[0x5d8 - 0x580];
	uint64_t rsp;
	uint8_t reserved9[0x668 - 0x5e0];
	uint64_t pat;
	uint8_t reserved10[0x1000 - 0x670];
};
_Static_assert(offsetof(struct control_block, asid) == 0x58, "APM2 table B-1");
_Static_assert(offsetof(struct control_block, exit_code) == 0x70, "APM2 table B-1");
_Static_assert(offsetof(struct control_block, nested_cr3) == 0xb0, "APM2 table B-1");
_Static_assert(offsetof(struct control_block, rip) == 0x578, "APM2 table B-2");
_Static_assert(sizeof(struct control_block) == PAGE_BYTES, "a page");

extern struct control_block l2;
extern struct control_block l1_state; /* for VMLOAD and VMSAVE of the mark guest's own */

enum { TLB_KEEP = 0, TLB_FLUSH_ALL = 1 };

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

static inline void svm_load(struct control_block *block)
{
	__asm__ volatile("vmload %%rax" : : "a"(block) : "memory");
}

static inline void svm_save(struct control_block *block)
{
	__asm__ volatile("vmsave %%rax" : : "a"(block) : "memory");
}

#endif
