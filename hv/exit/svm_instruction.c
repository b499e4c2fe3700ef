/* SPDX-License-Identifier: MIT */
/* SVM's instructions, as L1 executes them [APM2 15.5, 15.17]. VMRUN itself: svm/nsvm.c. */
#include "cpu/x86.h"
#include "exit/event.h"
#include "exit/exit.h"
#include "exit/gva.h"
#include "exit/insn.h"
#include "mem/guest.h"
#include "mem/layout.h"
#include "mem/string.h"
#include "svm/gif.h"
#include "svm/nsvm.h"

enum { SVM_BYTES = 3 }; /* of each of them, without prefixes */

/* What VMLOAD and VMSAVE move [APM3 VMLOAD]. */
static void copy_state(struct vmcb *to, const struct vmcb *from)
{
	to->fs = from->fs;
	to->gs = from->gs;
	to->ldtr = from->ldtr;
	to->tr = from->tr;
	memcpy(&to->star, &from->star, offsetof(struct vmcb, cr2) - offsetof(struct vmcb, star));
}

/* The page that rAX names; null: #GP. */
static struct vmcb *operand(struct guest *g, uint64_t gpa)
{
	if (gpa % PAGE_BYTES)
		return NULL;
	if (g->nsvm->block && g->nsvm->block_gpa == gpa)
		return g->nsvm->block;
	return guest_memory_at(g, gpa, PAGE_BYTES);
}

static void move_state(struct guest *g, uint64_t gpa, bool load, uint64_t rip)
{
	struct vmcb *block = operand(g, gpa), *state = g->vmcb_of[L1];

	if (!block) {
		event_gp(g);
		return;
	}
	if (load) {
		copy_state(state, block);
	} else {
		copy_state(block, state);
		rhz_vm_wrote(g->vm, 0, (rhz_gpa){ gpa }, PAGE_BYTES);
	}
	event_skip_to(g, rip);
}

static void flush_address(struct guest *g, uint64_t rip)
{
	const uint64_t gva = gva_is_64bit(g) ? g->reg[REG_RAX] : (uint32_t)g->reg[REG_RAX];
	uint32_t tag;

	if (rhz_vcpu_invlpga(g->mmu, &g->cpu, (rhz_gva){ gva }, (uint32_t)g->reg[REG_RCX],
	                     &tag) == RHZ_FLUSH_ADDRESS)
		invlpga(gva, tag);
	event_skip_to(g, rip);
}

void exit_svm_instruction(struct guest *g)
{
	const uint64_t rax = g->reg[REG_RAX], gpa = gva_is_64bit(g) ? rax : (uint32_t)rax;
	const uint32_t code = (uint32_t)g->vmcb->exit_code;
	uint64_t rip;

	/*
	 * Of what L1 does not intercept, L2 has VMLOAD and VMSAVE, by L1's physical addresses. The
	 * others would be L1's own affair, and no hypervisor leaves them to its guest.
	 */
	if (!g->svme || (g->in_l2 && code != EXIT_VMLOAD && code != EXIT_VMSAVE)) {
		event_ud(g);
		return;
	}
	if (!insn_end(g, SVM_BYTES, &rip))
		return;
	switch (code) {
	case EXIT_VMRUN:
		nsvm_enter(g, gpa, rip);
		return;
	case EXIT_VMLOAD:
	case EXIT_VMSAVE:
		move_state(g, gpa, code == EXIT_VMLOAD, rip);
		return;
	case EXIT_STGI:
		event_skip_to(g, rip);
		gif_set(g);
		return;
	case EXIT_CLGI:
		event_skip_to(g, rip);
		gif_clear(g);
		return;
	case EXIT_INVLPGA:
		flush_address(g, rip);
		return;
	default: /* VMMCALL; SKINIT, INVLPGB and TLBSYNC, which L1 does not have */
		event_ud(g);
	}
}
