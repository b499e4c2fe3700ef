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
	__builtin_memcpy(&to->star, &from->star,
	                 offsetof(struct vmcb, cr2) - offsetof(struct vmcb, star));
}

/* rAX as an address. */
static uint64_t address_in_rax(const struct guest *g)
{
	return gva_is_64bit(g) ? g->reg[REG_RAX] : (uint32_t)g->reg[REG_RAX];
}

/*
 * The page that rAX names, or null: #GP. It is L2's block, or the one beside it that was named
 * last: there L1 keeps its own state. What is RAM stays RAM.
 */
static struct vmcb *operand(struct guest *g, uint64_t gpa)
{
	struct nsvm *nsvm = g->nsvm;

	if (gpa % PAGE_BYTES)
		return NULL;
	if (nsvm->block && nsvm->block_gpa == gpa)
		return nsvm->block;
	if (!nsvm->state || nsvm->state_gpa != gpa) {
		nsvm->state = guest_memory_at(g, gpa, PAGE_BYTES);
		nsvm->state_gpa = gpa;
	}
	return nsvm->state;
}

/*
 * Of what L1 does not intercept, L2 has VMLOAD and VMSAVE, by L1's physical addresses. The others
 * would be L1's own affair, and no hypervisor leaves them to its guest.
 */
HV_INLINE void move_state(struct guest *g, bool load)
{
	const uint64_t gpa = address_in_rax(g);
	struct vmcb *block, *state = g->vmcb_of[L1];
	uint64_t rip;

	if (!g->svme) {
		event_ud(g);
		return;
	}
	if (!insn_end(g, SVM_BYTES, &rip))
		return;
	block = operand(g, gpa);
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

void exit_vmload(struct guest *g)
{
	move_state(g, true);
}

void exit_vmsave(struct guest *g)
{
	move_state(g, false);
}

/* L1's own instruction, which ends at *rip; false: nothing more is to be done for it now. */
HV_INLINE bool is_l1s(struct guest *g, uint64_t *rip)
{
	if (__builtin_expect(!g->svme || g->in_l2, 0)) {
		event_ud(g);
		return false;
	}
	return insn_end(g, SVM_BYTES, rip);
}

void exit_vmrun(struct guest *g)
{
	uint64_t rip;

	if (is_l1s(g, &rip))
		nsvm_enter(g, address_in_rax(g), rip);
}

void exit_stgi(struct guest *g)
{
	uint64_t rip;

	if (!is_l1s(g, &rip))
		return;
	event_skip_to(g, rip);
	gif_set(g);
}

void exit_clgi(struct guest *g)
{
	uint64_t rip;

	if (!is_l1s(g, &rip))
		return;
	event_skip_to(g, rip);
	gif_clear(g);
}

void exit_invlpga(struct guest *g)
{
	uint64_t rip;
	uint32_t tag;

	if (!is_l1s(g, &rip))
		return;
	if (rhz_vcpu_invlpga(g->mmu, &g->cpu, (rhz_gva){ address_in_rax(g) },
	                     (uint32_t)g->reg[REG_RCX], &tag) == RHZ_FLUSH_ADDRESS)
		invlpga(address_in_rax(g), tag);
	event_skip_to(g, rip);
}

/* VMMCALL; SKINIT, INVLPGB and TLBSYNC, which L1 does not have. */
void exit_svm_undefined(struct guest *g)
{
	event_ud(g);
}
