/* SPDX-License-Identifier: MIT */
/* The hypervisor's exception entries: one stub a vector, all to exception_screen or a fix-up. */
#include "boot/exception.h"

	.text
	.altmacro

	/* Vectors whose entry pushes an error code: 8, 10 to 14, 17, 21, 29, 30 [APM2 8.2]. */
	.macro stub vector
	.balign 16
	.if (0x60227d00 >> \vector) & 1
	.else
	push $0
	.endif
	push $\vector
	jmp common
	.endm

	.balign 16
	.globl exception_stubs
exception_stubs:
	.set vector, 0
	.rept 32
	stub %vector
	.set vector, vector + 1
	.endr

common:
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
	call exception_handle
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

/* bool rdmsr_safe(uint32_t msr, uint64_t *value); bool wrmsr_safe(uint32_t msr, uint64_t value) */
	.globl rdmsr_safe, wrmsr_safe
rdmsr_safe:
	mov %edi, %ecx
1:	rdmsr
	shl $32, %rdx
	or %rdx, %rax
	mov %rax, (%rsi)
	mov $1, %eax
	ret
wrmsr_safe:
	mov %edi, %ecx
	mov %esi, %eax
	mov %rsi, %rdx
	shr $32, %rdx
2:	wrmsr
	mov $1, %eax
	ret
3:	xor %eax, %eax
	ret

	.section .fixups, "a"
	.quad 1b, 3b
	.quad 2b, 3b

	.section .note.GNU-stack, "", @progbits
