/* SPDX-License-Identifier: MIT */
/*
 * Multiboot entry. The 32-bit build stays unpaged; the 64-bit build goes to long mode on tables
 * that map the first GiB onto itself, with five levels if the command line says mode=5.
 */
#include "torture/layout.h"

	.section .header, "a"
	.balign 4
	.long 0x1badb002
	.long 3
	.long -(0x1badb002 + 3)

	.text
	.code32
	.globl start
start:
	cld
	cli
	mov $stack_top, %esp
	mov %ebx, %ebp
	lgdt gdtr
#ifdef __x86_64__
	/* Boot tables: one page each, and large pages. */
	mov $kernel_pdpt, %eax
	or $7, %eax
	mov %eax, boot_pml4
	mov $kernel_pd, %eax
	or $7, %eax
	mov %eax, kernel_pdpt
	mov $kernel_pd, %edi
	mov $0x83, %eax
1:	mov %eax, (%edi)
	add $8, %edi
	add $0x200000, %eax
	cmp $0x40000083, %eax
	jne 1b
	mov $boot_pml4, %edx
	mov $0x20, %esi
	/* mode=5, and a processor that can */
	mov 16(%ebp), %edi
2:	cmpb $0, (%edi)
	je 3f
	cmpl $0x65646f6d, (%edi)
	jne 4f
	cmpw $0x353d, 4(%edi)
	je 5f
4:	inc %edi
	jmp 2b
5:	push %edx
	mov $7, %eax
	xor %ecx, %ecx
	cpuid
	pop %edx
	test $(1 << 16), %ecx
	jz 3f
	mov $boot_pml4, %eax
	or $7, %eax
	mov %eax, boot_pml5
	mov $boot_pml5, %edx
	or $0x1000, %esi
3:	mov %esi, %cr4
	mov %edx, %cr3
	mov $0xc0000080, %ecx
	rdmsr
	or $0x100, %eax
	wrmsr
	mov %cr0, %eax
	or $0x80010000, %eax
	mov %eax, %cr0
	ljmp $SELECTOR_CODE, $long_mode
	.code64
long_mode:
#else
	ljmp $SELECTOR_CODE, $1f
1:
#endif
	/* Data segments that both privilege levels may keep. */
	mov $SELECTOR_USER_DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov $SELECTOR_DATA, %eax
	mov %eax, %ss
#ifdef __x86_64__
	mov %ebp, %edi
	mov $stack_top, %rsp
#else
	push %ebp
#endif
	call torture_main
6:	hlt
	jmp 6b

	.data
	.balign 8
	.globl gdt
gdt:
	.quad 0
#ifdef __x86_64__
	.quad 0x00af9b000000ffff
#else
	.quad 0x00cf9b000000ffff
#endif
	.quad 0x00cf93000000ffff
#ifdef __x86_64__
	.quad 0x00affb000000ffff
#else
	.quad 0x00cffb000000ffff
#endif
	.quad 0x00cff3000000ffff
	.quad 0, 0 /* the TSS */
	.globl gdtr
gdtr:
	.word gdtr - gdt - 1
	.long gdt
	.long 0

	.bss
	.balign 4096
#ifdef __x86_64__
	.globl boot_pml5, boot_pml4, kernel_pdpt, kernel_pd
boot_pml5:
	.skip 4096
boot_pml4:
	.skip 4096
kernel_pdpt:
	.skip 4096
kernel_pd:
	.skip 4096
#endif
	.skip 16384
stack_top:

	.section .note.GNU-stack, "", @progbits
