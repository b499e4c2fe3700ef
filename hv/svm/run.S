/* SPDX-License-Identifier: MIT */
/*
 * void svm_enter(uint64_t reg[16], uint64_t vmcb_pa, uint64_t host_vmcb_pa)
 *
 * Runs the guest until its next exit. reg[] as in svm/guest.h: rax, rsp stay in the VMCB. FS, GS,
 * TR, LDTR and the system-call registers are the guest's between VMLOAD and VMSAVE [APM2 15.5.2]:
 * ours are put back, so that an exception in the hypervisor finds its TSS. GIF is 0 at entry and at
 * exit. The guest's FPU and debug-address registers stay where they are: we use none of them.
 */
#define R(n) (8 * n)

	.text
	.globl svm_enter
svm_enter:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	push %rdx
	push %rdi

	mov %rsi, %rax
	vmload %rax
	mov R(1)(%rdi), %rcx
	mov R(2)(%rdi), %rdx
	mov R(3)(%rdi), %rbx
	mov R(5)(%rdi), %rbp
	mov R(6)(%rdi), %rsi
	mov R(8)(%rdi), %r8
	mov R(9)(%rdi), %r9
	mov R(10)(%rdi), %r10
	mov R(11)(%rdi), %r11
	mov R(12)(%rdi), %r12
	mov R(13)(%rdi), %r13
	mov R(14)(%rdi), %r14
	mov R(15)(%rdi), %r15
	mov R(7)(%rdi), %rdi
	vmrun %rax
	vmsave %rax

	/* rax and rsp are ours again [APM2 15.6]; the stack holds reg, then host_vmcb_pa. */
	xchg %rdi, (%rsp)
	mov %rcx, R(1)(%rdi)
	mov %rdx, R(2)(%rdi)
	mov %rbx, R(3)(%rdi)
	mov %rbp, R(5)(%rdi)
	mov %rsi, R(6)(%rdi)
	mov %r8, R(8)(%rdi)
	mov %r9, R(9)(%rdi)
	mov %r10, R(10)(%rdi)
	mov %r11, R(11)(%rdi)
	mov %r12, R(12)(%rdi)
	mov %r13, R(13)(%rdi)
	mov %r14, R(14)(%rdi)
	mov %r15, R(15)(%rdi)
	pop %rcx
	mov %rcx, R(7)(%rdi)
	pop %rax
	vmload %rax

	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	cld
	ret

	.section .note.GNU-stack, "", @progbits
