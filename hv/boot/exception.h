/* SPDX-License-Identifier: MIT */
/* Exceptions in the hypervisor itself. */
#ifndef HV_BOOT_EXCEPTION_H
#define HV_BOOT_EXCEPTION_H

#define EXCEPTION_STUB_BYTES 16

#ifndef __ASSEMBLER__
#include <stdbool.h>
#include <stdint.h>

/* What boot/exception.S pushes, from the lowest address. */
struct exception_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error_code, rip, cs, rflags, rsp, ss;
};

extern const char exception_stubs[];

/* Sets GIF for a moment, so that what is pending comes; true if an NMI was among it. */
bool exception_window(void);

/* Resumes at a fix-up if the instruction has one (rdmsr_safe); else the screen, and the end. */
void exception_handle(struct exception_frame *frame);

#endif
#endif
