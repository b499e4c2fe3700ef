/* SPDX-License-Identifier: MIT */
/*
 * void svm_run(void)
 *
 * The loop: runs the guest until its next exit, calls svm_turn, and so for ever. General registers
 * are in guest.reg[]; rax and rsp stay in the control block. FS, GS, TR, LDTR and the system-call
 * registers are the guest's between VMLOAD and VMSAVE [APM2 15.5.2]: ours are put back, so that an
 * exception in the hypervisor finds its TSS. GIF is 0 whenever we run. The guest's FPU and
 * debug-address registers stay where they are: we use none of them.
 */
#include "svm/guest.h"

#define REG(n) guest + 8 * n(%rip)

	.text
	.globl svm_run
svm_run:
	mov guest + GUEST_STATE_PA(%rip), %rax
	vmload %rax
	mov guest + GUEST_VMCB_PA(%rip), %rax
	mov REG(1), %rcx
	mov REG(2), %rdx
	mov REG(3), %rbx
	mov REG(5), %rbp
	mov REG(6), %rsi
	mov REG(7), %rdi
	mov REG(8), %r8
	mov REG(9), %r9
	mov REG(10), %r10
	mov REG(11), %r11
	mov REG(12), %r12
	mov REG(13), %r13
	mov REG(14), %r14
	mov REG(15), %r15
	vmrun %rax

	/* rax, rsp and rflags are ours again [APM2 15.6]. */
	mov %rcx, REG(1)
	mov %rdx, REG(2)
	mov %rbx, REG(3)
	mov %rbp, REG(5)
	mov %rsi, REG(6)
	mov %rdi, REG(7)
	mov %r8, REG(8)
	mov %r9, REG(9)
	mov %r10, REG(10)
	mov %r11, REG(11)
	mov %r12, REG(12)
	mov %r13, REG(13)
	mov %r14, REG(14)
	mov %r15, REG(15)
	mov guest + GUEST_STATE_PA(%rip), %rax
	vmsave %rax
	mov guest + GUEST_HOST_VMCB_PA(%rip), %rax
	vmload %rax
	call svm_turn
	jmp svm_run

	.section .note.GNU-stack, "", @progbits
