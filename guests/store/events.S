/* SPDX-License-Identifier: MIT */
/* Entries of all vectors of the store guest: all registers on the stack, then store_event. */
	.text
	.altmacro
	.macro entry vector
	.balign 16
	.if \vector < 32
	.if (0x60227d00 >> \vector) & 1
	.else
	push $0
	.endif
	.else
	push $0
	.endif
	push $\vector
	jmp save
	.endm

	.balign 16
	.globl store_entries
store_entries:
	.set vector, 0
	.rept 128
	entry %vector
	.set vector, vector + 1
	.endr

save:
	push %rax
	push %rcx
	push %rdx
	push %rbx
	push %rbp
	push %rsi
	push %rdi
	push %r8
	push %r9
	push %r10
	push %r11
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, %rdi
	cld
	mov %rsp, %rbx
	and $-16, %rsp
	call store_event
	mov %rbx, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %r11
	pop %r10
	pop %r9
	pop %r8
	pop %rdi
	pop %rsi
	pop %rbp
	pop %rbx
	pop %rdx
	pop %rcx
	pop %rax
	add $16, %rsp
	iretq

	.section .note.GNU-stack, "", @progbits
