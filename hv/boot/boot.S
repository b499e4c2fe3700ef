/* SPDX-License-Identifier: MIT */
/*
 * Multiboot 1 entry: from 32-bit protected mode to long mode, with 5-level paging if the processor
 * has it (a 4-level nested table under CR4.LA57 = 1 would be misread [APM2 15.25.3]). The tables
 * made here are thrown away once the hypervisor has moved; mem/move.c makes the lasting ones.
 */
#define OFFSET 0x40000000

#define CR0_FLAGS 0x80010033 /* PG, WP, NE, ET, MP, PE */
#define CR4_PAE 0x20
#define CR4_LA57 0x1000
#define EFER 0xc0000080
#define EFER_LME_NXE 0x900
#define PTE_TABLE 3 /* P, W */
#define PTE_LARGE 0x83 /* P, W, PS */

#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 3 /* modules on page boundaries, memory map wanted */

	.section .boot.header, "a"
	.balign 4
	.long MULTIBOOT_MAGIC
	.long MULTIBOOT_FLAGS
	.long -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

	.section .boot, "awx"
	.code32
	.globl boot_entry
boot_entry:
	cli
	cld
	mov $(boot_stack_top - OFFSET), %esp
	mov %ebx, %ebp
	mov $text_no_loader, %esi
	cmp $0x2badb002, %eax
	jne stop
	mov $text_no_long_mode, %esi
	mov $0x80000000, %eax
	cpuid
	cmp $0x80000001, %eax
	jb stop
	mov $0x80000001, %eax
	cpuid
	and $0x20100000, %edx /* LM, NX */
	cmp $0x20100000, %edx
	jne stop

	/* 4 GiB in pages of 2 MiB. */
	mov $(boot_pd - OFFSET), %edi
	mov $PTE_LARGE, %eax
	xor %edx, %edx
	mov $2048, %ecx
1:	mov %eax, (%edi)
	mov %edx, 4(%edi)
	add $8, %edi
	add $0x200000, %eax
	loop 1b

	/* The first GiB at 0 and at IMAGE_OFFSET, all four at DIRECT_BASE. */
	mov $(boot_pd - OFFSET + PTE_TABLE), %eax
	mov %eax, boot_pdpt_low - OFFSET
	mov %eax, boot_pdpt_low - OFFSET + 8
	mov $(boot_pdpt_direct - OFFSET), %edi
	mov $4, %ecx
1:	mov %eax, (%edi)
	add $8, %edi
	add $4096, %eax
	loop 1b
	movl $(boot_pdpt_low - OFFSET + PTE_TABLE), boot_pml4 - OFFSET
	movl $(boot_pdpt_direct - OFFSET + PTE_TABLE), boot_pml4 - OFFSET + 256 * 8
	movl $(boot_pml4 - OFFSET + PTE_TABLE), boot_pml5 - OFFSET
	movl $(boot_pml4 - OFFSET + PTE_TABLE), boot_pml5 - OFFSET + 511 * 8

	mov $(boot_pml4 - OFFSET), %esi
	mov $CR4_PAE, %edi
	xor %eax, %eax
	cpuid
	cmp $7, %eax
	jb 1f
	mov $7, %eax
	xor %ecx, %ecx
	cpuid
	bt $16, %ecx /* LA57 [APM3 E.3.6] */
	jnc 1f
	mov $(boot_pml5 - OFFSET), %esi
	or $CR4_LA57, %edi
1:	mov %edi, %cr4
	mov %esi, %cr3
	mov $EFER, %ecx
	rdmsr
	or $EFER_LME_NXE, %eax
	wrmsr
	mov $CR0_FLAGS, %eax
	mov %eax, %cr0
	lgdt boot_gdtr
	ljmp $8, $boot_long

/* The message at %esi to port E9h and the first serial line, and no further. */
stop:
	lodsb
	test %al, %al
	jz 2f
	out %al, $0xe9
	mov %al, %ah
	mov $0x3fd, %dx
1:	in %dx, %al
	test $0x20, %al
	jz 1b
	mov $0x3f8, %dx
	mov %ah, %al
	out %al, %dx
	jmp stop
2:	hlt
	jmp 2b

	.code64
boot_long:
	mov $16, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
	mov $boot_stack_top, %rsp
	mov %ebp, %edi
	xor %ebp, %ebp
	mov $hv_main, %rax
	call *%rax
2:	hlt
	jmp 2b

	.balign 8
boot_gdt:
	.quad 0
	.quad 0x00af9b000000ffff /* 64-bit code */
	.quad 0x00cf93000000ffff /* data */
boot_gdtr:
	.word boot_gdtr - boot_gdt - 1
	.long boot_gdt

text_no_loader:
	.asciz "rhizome: end 70 not started by a Multiboot 1 loader\r\n"
text_no_long_mode:
	.asciz "rhizome: end 70 this processor has no long mode or no NX\r\n"

	/* The stack: its guard page is unmapped by mem/move.c. */
	.section .bss.pages, "aw", @nobits
	.balign 4096
	.globl boot_stack_guard, boot_stack_top
boot_stack_guard:
	.skip 4096
	.skip 32768
boot_stack_top:

boot_pml5:
	.skip 4096
boot_pml4:
	.skip 4096
boot_pdpt_low:
	.skip 4096
boot_pdpt_direct:
	.skip 4096
boot_pd:
	.skip 4 * 4096

	.section .note.GNU-stack, "", @progbits
