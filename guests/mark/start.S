/* SPDX-License-Identifier: MIT */
/*
 * Multiboot entry of the mark guest: 64-bit mode, 4-level paging, the first 4 GiB identity-mapped
 * in pages of 2 MiB, write protection on. Exceptions and interrupts save all registers and go to C,
 * as a kernel's do.
 */
#define CR0_FLAGS 0x80010033 /* PG, WP, NE, ET, MP, PE */
#define CR4_PAE 0x20
#define EFER 0xc0000080
#define EFER_LME 0x100
#define PTE_TABLE 0x67 /* P, W, U, A, D */
#define PTE_LARGE 0xe3 /* P, W, A, D, PS */

	.section .header, "a"
	.balign 4
	.long 0x1badb002
	.long 3
	.long -(0x1badb002 + 3)

	.text
	.code32
	.globl start
start:
	cli
	cld
	mov $stack_top, %esp
	mov %eax, %ebp

	mov $level2, %edi
	mov $PTE_LARGE, %eax
	mov $2048, %ecx
1:	mov %eax, (%edi)
	add $8, %edi
	add $0x200000, %eax
	loop 1b
	mov $level3, %edi
	mov $level2 + PTE_TABLE, %eax
	mov $4, %ecx
1:	mov %eax, (%edi)
	add $8, %edi
	add $4096, %eax
	loop 1b
	movl $level3 + PTE_TABLE, kernel_root

	mov $CR4_PAE, %eax
	mov %eax, %cr4
	mov $EFER, %ecx
	rdmsr
	or $EFER_LME, %eax
	wrmsr
	mov $kernel_root, %eax
	mov %eax, %cr3
	mov $CR0_FLAGS, %eax
	mov %eax, %cr0
	lgdt gdtr
	ljmp $8, $1f

	.code64
1:	mov $16, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov %ebp, %edi
	mov %ebx, %esi
	call mark_main
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

	.balign 16
	.globl interrupt_stub
interrupt_stub:
	push $0
	push $-1
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
	call mark_event
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

	.data
	.balign 8
gdt:
	.quad 0
	.quad 0x00af9b000000ffff
	.quad 0x00cf93000000ffff
gdtr:
	.word gdtr - gdt - 1
	.long gdt

	.bss
	.balign 4096
	.globl kernel_root
kernel_root:
	.skip 4096
level3:
	.skip 4096
level2:
	.skip 4 * 4096
	.skip 16384
stack_top:

	.section .note.GNU-stack, "", @progbits
