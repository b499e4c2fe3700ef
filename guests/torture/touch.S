/* SPDX-License-Identifier: MIT */
/*
 * One operation at CPL 0 or 3. touch() loads registers and jumps; the operation ends with INT 80h
 * or with a fault, and either way the entry below notes everything and returns from touch().
 */
#include "torture/layout.h"

#ifdef __x86_64__
#define R(name) %r##name
#define WORD 8
#else
#define R(name) %e##name
#define WORD 4
#endif

	.text
	.globl touch
touch:
#ifdef __x86_64__
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
#else
	mov 4(%esp), %eax
	push %ebx
	push %ebp
	push %esi
	push %edi
	mov %eax, %edi
#endif
	pushf
	mov R(sp), touch_stack
	mov R(di), touch_now
	mov TOUCH_CX(R(di)), R(cx)
	mov TOUCH_DX(R(di)), R(dx)
	mov TOUCH_BX(R(di)), R(bx)
	mov TOUCH_SI(R(di)), R(si)
	mov TOUCH_AX(R(di)), R(ax)
	cmpb $0, TOUCH_USER(R(di))
	jne 1f
#ifdef __x86_64__
	push TOUCH_FLAGS(%rdi)
	popf
	push TOUCH_IP(%rdi)
#else
	push TOUCH_FLAGS(%edi)
	popf
	push TOUCH_IP(%edi)
#endif
	mov TOUCH_DI(R(di)), R(di)
	ret
1:	push $SELECTOR_USER_DATA
	push TOUCH_SP(R(di))
	push TOUCH_FLAGS(R(di))
	push $SELECTOR_USER_CODE
	push TOUCH_IP(R(di))
	mov TOUCH_DI(R(di)), R(di)
#ifdef __x86_64__
	iretq
#else
	iret
#endif

	.altmacro
	.macro stub vector
	.balign 16
	.if (0x60227d00 >> \vector) & 1
	.else
	push $0
	.endif
	push $\vector
	jmp entered
	.endm

	.balign 16
	.globl stubs, done_stub
stubs:
	.set vector, 0
	.rept 32
	stub %vector
	.set vector, vector + 1
	.endr
done_stub:
	push $0
	push $VECTOR_DONE

entered:
	cmpl $0, touch_now
	je 2f
	push R(bx)
	mov touch_now, R(bx)
	mov R(ax), TOUCH_AX(R(bx))
	mov R(cx), TOUCH_CX(R(bx))
	mov R(dx), TOUCH_DX(R(bx))
	mov R(si), TOUCH_SI(R(bx))
	mov R(di), TOUCH_DI(R(bx))
	pop TOUCH_BX(R(bx))
	pop TOUCH_VECTOR(R(bx))
	pop TOUCH_ERROR(R(bx))
	pop TOUCH_IP(R(bx))
	mov %cr2, R(ax)
	mov R(ax), TOUCH_CR2(R(bx))
	movl $0, touch_now
	mov touch_stack, R(sp)
	popf
#ifdef __x86_64__
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
#else
	pop %edi
	pop %esi
	pop %ebp
	pop %ebx
#endif
	ret

	/* Nothing was being touched: our own mistake, or somebody else's. */
2:
#ifdef __x86_64__
	mov (%rsp), %rdi
	mov 8(%rsp), %rsi
	mov 16(%rsp), %rdx
#else
	mov $0, %ebp
#endif
	call machine_stray

	.bss
	.balign 8
	.globl touch_now
touch_stack:
	.skip 8
touch_now:
	.skip 8

	/*
	 * The operations, each for 1, 2, 4 and 8 bytes; position-independent, since CPL 3 runs them
	 * at another address. They take the value in AX, the address in DI, a second in SI.
	 */
	.section .user, "ax"
	.globl operations
operations:
	.macro operation name, b, w, l, q
	.balign 16
	.globl op_\name
op_\name:
	\b
	int $VECTOR_DONE
	.balign 16
	\w
	int $VECTOR_DONE
	.balign 16
	\l
	int $VECTOR_DONE
	.balign 16
#ifdef __x86_64__
	\q
#endif
	int $VECTOR_DONE
	.endm

#define D (R(di))
	operation read, <mov D, %al>, <mov D, %ax>, <mov D, %eax>, <mov D, %rax>
	operation write, <mov %al, D>, <mov %ax, D>, <mov %eax, D>, <mov %rax, D>
	operation zero, <movb $0, D>, <movw $0, D>, <movl $0, D>, <movq $0, D>
	operation xchg, <xchg %al, D>, <xchg %ax, D>, <xchg %eax, D>, <xchg %rax, D>
	operation xadd, <lock xadd %al, D>, <lock xadd %ax, D>, <lock xadd %eax, D>, \
		<lock xadd %rax, D>
	operation cmpxchg, <lock cmpxchg %bl, D>, <lock cmpxchg %bx, D>, \
		<lock cmpxchg %ebx, D>, <lock cmpxchg %rbx, D>
	operation lock_or, <lock or %al, D>, <lock or %ax, D>, <lock or %eax, D>, \
		<lock or %rax, D>
	operation lock_and, <lock and %al, D>, <lock and %ax, D>, <lock and %eax, D>, \
		<lock and %rax, D>
	operation or, <or %al, D>, <or %ax, D>, <or %eax, D>, <or %rax, D>
	operation and, <and %al, D>, <and %ax, D>, <and %eax, D>, <and %rax, D>
	/* Bits have no form of one byte; the second stands for it. */
	operation bts, <lock bts %ax, D>, <lock bts %ax, D>, <lock bts %eax, D>, \
		<lock bts %rax, D>
	operation btr, <lock btr %ax, D>, <lock btr %ax, D>, <lock btr %eax, D>, \
		<lock btr %rax, D>
	operation stos, <rep stosb>, <rep stosw>, <rep stosl>, <rep stosq>
	operation movs, <movsb>, <movsw>, <movsl>, <movsq>
	operation push, nop, nop, <push R(ax)>, <push R(ax)>
	operation fetch, <jmp *R(di)>, <jmp *R(di)>, <jmp *R(di)>, <jmp *R(di)>
	/* Two words at once: 16 bytes on 64-bit processors. */
	operation cmpxchg2, nop, nop, <lock cmpxchg8b D>, <lock cmpxchg16b D>
	/* Other addressing of the same store: base, scaled index, displacements of both sizes. */
	operation write_sib, <mov %al, 0x40(R(di),R(cx),4)>, <mov %ax, 0x40(R(di),R(cx),4)>, \
		<mov %eax, 0x40(R(di),R(cx),4)>, <mov %rax, 0x40(R(di),R(cx),4)>
	operation write_far, <mov %al, -0x1234(R(di),R(cx),1)>, <mov %ax, -0x1234(R(di),R(cx),1)>, \
		<mov %eax, -0x1234(R(di),R(cx),1)>, <mov %rax, -0x1234(R(di),R(cx),1)>

	.section .note.GNU-stack, "", @progbits
