/* SPDX-License-Identifier: MIT */
/* The tasks of the task guest. Each notes what it finds, leaves, and goes on where it left. */
#define MAIN 0x18

	.text
	.globl other_entry
other_entry:
	call look_other
	testl $1, leave_by_jump
	jz 1f
	ljmp $MAIN, $0
	jmp other_entry
1:	iret
	jmp other_entry

	/* The switch has pushed an error code. */
	.globl faulted_entry
faulted_entry:
	popl seen_error
	call look_faulted
	iret
	jmp faulted_entry

	/* In a code segment of its own, since a 16-bit TSS has 16 bits of EIP. */
	.globl narrow_entry
narrow_entry:
	incl narrow_runs
	iret
	jmp narrow_entry

	.section .note.GNU-stack, "", @progbits
