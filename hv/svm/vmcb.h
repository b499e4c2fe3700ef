/* SPDX-License-Identifier: MIT */
/* The virtual machine control block [APM2 appendix B], and the codes in it. No state, no code. */
#ifndef HV_SVM_VMCB_H
#define HV_SVM_VMCB_H

#include <stddef.h>
#include <stdint.h>

/* Intercepts [APM2 15.9]. */
#define INTERCEPT_CR_READ(n) (1u << (n))
#define INTERCEPT_CR_WRITE(n) (1u << (16 + (n)))
#define INTERCEPT_EXCEPTION(vector) (1u << (vector))
#define INTERCEPT1_NMI (1u << 1)
#define INTERCEPT1_SMI (1u << 2)
#define INTERCEPT1_INIT (1u << 3)
#define INTERCEPT1_CR0_SEL_WRITE (1u << 5)
#define INTERCEPT1_CPUID (1u << 18)
#define INTERCEPT1_INVD (1u << 22)
#define INTERCEPT1_INVLPG (1u << 25)
#define INTERCEPT1_INVLPGA (1u << 26)
#define INTERCEPT1_IOIO (1u << 27)
#define INTERCEPT1_MSR (1u << 28)
#define INTERCEPT1_TASK_SWITCH (1u << 29)
#define INTERCEPT1_SHUTDOWN (1u << 31)
#define INTERCEPT2_VMRUN (1u << 0)
#define INTERCEPT2_VMMCALL (1u << 1)
#define INTERCEPT2_VMLOAD (1u << 2)
#define INTERCEPT2_VMSAVE (1u << 3)
#define INTERCEPT2_STGI (1u << 4)
#define INTERCEPT2_CLGI (1u << 5)
#define INTERCEPT2_SKINIT (1u << 6)
#define INTERCEPT3_INVLPGB (1u << 0)
#define INTERCEPT3_INVPCID (1u << 2)
#define INTERCEPT3_TLBSYNC (1u << 4)

/* TLB_CONTROL [APM2 15.16.2]. */
#define TLB_FLUSH_NONE 0u
#define TLB_FLUSH_ALL 1u
#define TLB_FLUSH_ASID 3u
#define TLB_FLUSH_ASID_LOCAL 7u

/* EVENTINJ and EXITINTINFO [APM2 15.20]. */
#define EVENT_VECTOR 0xffull
#define EVENT_TYPE (7ull << 8)
#define EVENT_INTERRUPT (0ull << 8)
#define EVENT_NMI (2ull << 8)
#define EVENT_EXCEPTION (3ull << 8)
#define EVENT_SOFTWARE (4ull << 8)
#define EVENT_HAS_ERROR_CODE (1ull << 11)
#define EVENT_VALID (1ull << 31)

/* Interrupt control [APM2 15.21]. */
#define V_TPR 0xffull
#define V_IRQ (1ull << 8)
#define V_PRIORITY (0xfull << 16)
#define V_IGNORE_TPR (1ull << 20)
#define V_VECTOR (0xffull << 32)

#define NESTED_PAGING (1ull << 0)
#define V_INTR_MASKING (1ull << 24)
#define INTERRUPT_SHADOW (1ull << 0)

/* EXITINFO1 of an IN or OUT [APM2 15.10.2]. */
#define IO_IN (1u << 0)
#define IO_STRING (1u << 2)
#define IO_SIZE8 (1u << 4)
#define IO_SIZE16 (1u << 5)
#define IO_SIZE32 (1u << 6)

/* Exit codes [APM2 appendix C]. */
enum {
	EXIT_CR_READ = 0x00, /* plus the register's number */
	EXIT_CR_WRITE = 0x10,
	EXIT_EXCEPTION = 0x40, /* plus the vector */
	EXIT_NMI = 0x61,
	EXIT_SMI = 0x62,
	EXIT_INIT = 0x63,
	EXIT_CR0_SEL_WRITE = 0x65,
	EXIT_CPUID = 0x72,
	EXIT_SOFTWARE = 0x75, /* INT n */
	EXIT_INVD = 0x76,
	EXIT_INVLPG = 0x79,
	EXIT_INVLPGA = 0x7a,
	EXIT_IOIO = 0x7b,
	EXIT_MSR = 0x7c,
	EXIT_TASK_SWITCH = 0x7d,
	EXIT_SHUTDOWN = 0x7f,
	EXIT_VMRUN = 0x80,
	EXIT_VMMCALL = 0x81,
	EXIT_VMLOAD = 0x82,
	EXIT_VMSAVE = 0x83,
	EXIT_STGI = 0x84,
	EXIT_CLGI = 0x85,
	EXIT_SKINIT = 0x86,
	EXIT_INVLPGB = 0xa0,
	EXIT_INVPCID = 0xa2,
	EXIT_TLBSYNC = 0xa4,
	EXIT_CODES, /* one more than the last of the small codes */
	EXIT_NPF = 0x400,
};
/* QEMU 7.2 writes 32 bits of it, real processors 64: compare the low half. */
#define EXIT_INVALID 0xffffffffu
#define EXIT_INVALID_64 (~0ull)

/* Bits of a code segment's attributes [APM2 4.8.1]. */
#define SEGMENT_LONG (1u << 9)
#define SEGMENT_DEFAULT32 (1u << 10)

struct vmcb_segment {
	uint16_t selector;
	uint16_t attributes; /* descriptor bits 55:52 and 47:40 */
	uint32_t limit;
	uint64_t base;
};

enum { INTERCEPT_WORDS = 6 }; /* bit n of word w: exit code 32 * w + n */

struct vmcb {
	uint32_t intercept_cr, intercept_dr, intercept_exceptions;
	uint32_t intercept1, intercept2, intercept3;
	uint8_t reserved0[0x40 - 0x18];
	uint64_t iopm, msrpm, tsc_offset;
	uint32_t asid;
	uint8_t tlb_control, reserved1[3];
	uint64_t interrupt_control, interrupt_state;
	uint64_t exit_code, exit_info1, exit_info2, exit_interrupt;
	uint64_t nested_control;
	uint8_t reserved2[0xa8 - 0x98];
	uint64_t event;
	uint64_t nested_cr3;
	uint64_t lbr_control;
	uint64_t clean;
	uint64_t next_rip;
	uint8_t fetched, instruction[15];
	uint8_t reserved3[0x400 - 0xe0];

	struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	uint8_t reserved4[0x4cb - 0x4a0];
	uint8_t cpl;
	uint32_t reserved5;
	uint64_t efer;
	uint8_t reserved6[0x548 - 0x4d8];
	uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
	uint8_t reserved7[0x5d8 - 0x580];
	uint64_t rsp;
	uint8_t reserved8[0x5f8 - 0x5e0];
	uint64_t rax;
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t cr2;
	uint8_t reserved9[0x668 - 0x648];
	uint64_t pat;
	uint8_t reserved10[0x1000 - 0x670];
};
_Static_assert(offsetof(struct vmcb, iopm) == 0x40, "APM2 table B-1");
_Static_assert(offsetof(struct vmcb, exit_code) == 0x70, "APM2 table B-1");
_Static_assert(offsetof(struct vmcb, event) == 0xa8, "APM2 table B-1");
_Static_assert(offsetof(struct vmcb, next_rip) == 0xc8, "APM2 table B-1");
_Static_assert(offsetof(struct vmcb, efer) == 0x4d0, "APM2 table B-2");
_Static_assert(offsetof(struct vmcb, rip) == 0x578, "APM2 table B-2");
_Static_assert(offsetof(struct vmcb, rax) == 0x5f8, "APM2 table B-2");
_Static_assert(offsetof(struct vmcb, pat) == 0x668, "APM2 table B-2");
_Static_assert(sizeof(struct vmcb) == 4096, "a page");

#endif
