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

/* The instruction ends at *rip; false: nothing more is to be done for it now. */
HV_INLINE bool is_there(struct guest *g, uint64_t *rip)
{
	if (__builtin_expect(!g->svme, 0)) {
		event_ud(g);
		return false;
	}
	return insn_end(g, SVM_BYTES, rip);
}

/*
 * What L1 does not intercept L2 does: to its own state, to the GIF, which is one for both, and to
 * L1's memory, by L1's physical addresses. VMRUN cannot be among them [APM2 15.5.1].
 */
HV_INLINE void move_state(struct guest *g, bool load)
{
	const uint64_t gpa = address_in_rax(g);
	struct vmcb *block, *state = g->vmcb_of[L1];
	uint64_t rip;

	if (!is_there(g, &rip))
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

void exit_vmrun(struct guest *g)
{
	uint64_t rip;

	if (is_there(g, &rip))
		nsvm_enter(g, address_in_rax(g), rip);
}

void exit_stgi(struct guest *g)
{
	uint64_t rip;

	if (!is_there(g, &rip))
		return;
	event_skip_to(g, rip);
	if (__builtin_expect(g->in_l2, 0))
		gif_set_l2(g);
	else
		gif_set(g);
}

void exit_clgi(struct guest *g)
{
	uint64_t rip;

	if (!is_there(g, &rip))
		return;
	event_skip_to(g, rip);
	if (__builtin_expect(g->in_l2, 0))
		gif_clear_l2(g);
	else
		gif_clear(g);
}

void exit_invlpga(struct guest *g)
{
	const uint64_t gva = address_in_rax(g);
	const uint32_t asid = (uint32_t)g->reg[REG_RCX];
	uint64_t rip;
	uint32_t tag;

	if (!is_there(g, &rip))
		return;
	/* of L2: what runs now is forgotten, what is L1's when L1 runs again */
	if (g->in_l2) {
		rhz_vcpu_flush_guest(g->mmu);
		if (!asid)
			g->nsvm->l1_flush = RHZ_GUEST_FLUSH_ASID;
	}
	if ((!g->in_l2 || asid) &&
	    rhz_vcpu_invlpga(g->mmu, &g->cpu, (rhz_gva){ gva }, asid, &tag) == RHZ_FLUSH_ADDRESS)
		invlpga(gva, tag);
	event_skip_to(g, rip);
}

/* VMMCALL; SKINIT, INVLPGB and TLBSYNC, which L1 does not have. */
void exit_svm_undefined(struct guest *g)
{
	event_ud(g);
}
