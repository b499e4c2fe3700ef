/* SPDX-License-Identifier: MIT */
/* VMRUN with L2's general registers; L1's handlers of interrupts and NMIs. */
	.text
	.globl l2_vmrun
/* void l2_vmrun(uint64_t reg[16], uint64_t vmcb); rax and rsp are the VMCB's */
l2_vmrun:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	push %rdi
	mov %rsi, %rax
	mov 8(%rdi), %rcx
	mov 16(%rdi), %rdx
	mov 24(%rdi), %rbx
	mov 40(%rdi), %rbp
	mov 48(%rdi), %rsi
	mov 64(%rdi), %r8
	mov 72(%rdi), %r9
	mov 80(%rdi), %r10
	mov 88(%rdi), %r11
	mov 96(%rdi), %r12
	mov 104(%rdi), %r13
	mov 112(%rdi), %r14
	mov 120(%rdi), %r15
	mov 56(%rdi), %rdi
	vmrun %rax
	xchg (%rsp), %rdi
	mov %rcx, 8(%rdi)
	mov %rdx, 16(%rdi)
	mov %rbx, 24(%rdi)
	mov %rbp, 40(%rdi)
	mov %rsi, 48(%rdi)
	mov %r8, 64(%rdi)
	mov %r9, 72(%rdi)
	mov %r10, 80(%rdi)
	mov %r11, 88(%rdi)
	mov %r12, 96(%rdi)
	mov %r13, 104(%rdi)
	mov %r14, 112(%rdi)
	mov %r15, 120(%rdi)
	/* rax and rsp of L2 are in the block; rax here is what L1 had */
	mov %rax, (%rdi)
	pop %rax
	mov %rax, 56(%rdi)
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret

	.globl l1_interrupt, l1_nmi
l1_interrupt:
	push %rax
	incl l1_interrupts
	mov $0xfee000b0, %eax /* end of interrupt */
	movl $0, (%rax)
	pop %rax
	iretq
l1_nmi:
	incl l1_nmis
	iretq

	.section .note.GNU-stack, "", @progbits
