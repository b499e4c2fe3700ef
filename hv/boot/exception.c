/* SPDX-License-Identifier: MIT */
/* What an exception in the hypervisor leads to: a fix-up, or one screen and the end. */
#include "boot/exception.h"

#include <stddef.h>

#include "cpu/console.h"
#include "cpu/end.h"
#include "cpu/x86.h"
#include "svm/screen.h"

enum { BACKTRACE = 12 };

struct fixup { uint64_t at, resume; };
extern const struct fixup fixups_start[], fixups_end[];
extern const char image_start[], image_rodata[];
extern const char boot_stack_guard[], boot_stack_top[];

static volatile bool nmi_taken;

static bool in_text(uint64_t rip)
{
	return rip >= (uint64_t)image_start && rip < (uint64_t)image_rodata;
}

/* Follows the frame pointers, inside the stack and upwards only. */
static void backtrace(const struct exception_frame *frame)
{
	const uint64_t low = (uint64_t)boot_stack_guard, high = (uint64_t)boot_stack_top;
	uint64_t rbp = frame->rbp;

	print("backtrace: %016lx", frame->rip);
	for (unsigned i = 0; i < BACKTRACE; i++) {
		const uint64_t *at = (const uint64_t *)rbp;

		if (rbp < low || rbp > high - 16 || rbp % 8 || !in_text(at[1]))
			break;
		print(" %lx", at[1]);
		if (at[0] <= rbp)
			break;
		rbp = at[0];
	}
	print("\n");
}

bool exception_window(void)
{
	nmi_taken = false;
	/* our own IF may be set for L2's sake [APM2 15.21.1] */
	__asm__ volatile("pushf\n\tcli\n\tstgi\n\tnop\n\tclgi\n\tpopf" : : : "memory");
	return nmi_taken;
}

void exception_handle(struct exception_frame *frame)
{
	if (frame->vector == VECTOR_NMI) {
		nmi_taken = true;
		return;
	}
	for (const struct fixup *f = fixups_start; f != fixups_end; f++) {
		if (f->at == frame->rip && frame->vector == VECTOR_GP) {
			frame->rip = f->resume;
			return;
		}
	}
	print("\nrhizome: exception %lu in the hypervisor, error code %lx, cr2 %016lx\n",
	      frame->vector, frame->error_code, read_cr2());
	print("rip %016lx rsp %016lx rflags %08lx\n", frame->rip, frame->rsp, frame->rflags);
	print("rax %016lx rbx %016lx rcx %016lx rdx %016lx\n", frame->rax, frame->rbx, frame->rcx,
	      frame->rdx);
	print("rsi %016lx rdi %016lx rbp %016lx r8  %016lx\n", frame->rsi, frame->rdi, frame->rbp,
	      frame->r8);
	print("r9  %016lx r10 %016lx r11 %016lx r12 %016lx\n", frame->r9, frame->r10, frame->r11,
	      frame->r12);
	print("r13 %016lx r14 %016lx r15 %016lx\n", frame->r13, frame->r14, frame->r15);
	backtrace(frame);
	guest_screen();
	end(END_DEAD, "exception in the hypervisor");
}
