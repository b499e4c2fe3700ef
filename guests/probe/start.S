/* SPDX-License-Identifier: MIT */
/* Multiboot entry, descriptor table and exception entries of the probe guest. 32 bits, unpaged. */
	.section .header, "a"
	.balign 4
	.long 0x1badb002
	.long 3
	.long -(0x1badb002 + 3)

	.text
	.globl start
start:
	cld
	mov $stack_top, %esp
	push %ebx
	push %eax
	lgdt gdtr
	ljmp $8, $1f
1:	mov $16, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	call probe_main
2:	hlt
	jmp 2b

	/* The entry pushes a vector; entries with an error code have it below that already. */
	.altmacro
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
	.globl stubs
stubs:
	.set vector, 0
	.rept 32
	stub %vector
	.set vector, vector + 1
	.endr

common:
	pusha
	push %esp
	call probe_exception
	add $4, %esp
	popa
	add $8, %esp
	iret

	.globl interrupt_stub
interrupt_stub:
	pusha
	call probe_interrupt
	popa
	iret

	.data
	.balign 8
gdt:
	.quad 0
	.quad 0x00cf9b000000ffff
	.quad 0x00cf93000000ffff
gdtr:
	.word gdtr - gdt - 1
	.long gdt

	.bss
	.balign 16
	.skip 16384
stack_top:

	.section .note.GNU-stack, "", @progbits
