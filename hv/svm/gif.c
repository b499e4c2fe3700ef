/* SPDX-License-Identifier: MIT */
/*
 * The processor's GIF is 1 whenever a guest runs. L1's GIF = 0 is made of other things: physical
 * interrupts are masked by our own RFLAGS.IF = 0 under V_INTR_MASKING, NMIs are intercepted and
 * held, and CR8, which means V_TPR then, is kept what it was. L2 that L1 lets use CLGI has its GIF
 * = 0 in the same way, virtual interrupts taken away beside.
 */
#include "svm/gif.h"

#include "boot/exception.h"
#include "cpu/apic.h"
#include "cpu/x86.h"
#include "svm/nsvm.h"

void gif_clear(struct guest *g)
{
	struct vmcb *l1 = g->vmcb_of[L1];

	g->gif = false;
	l1->interrupt_control = V_INTR_MASKING | (read_cr8() & V_TPR);
	l1->intercept1 |= INTERCEPT1_NMI;
	__asm__ volatile("cli" : : : "memory");
}

/* CR8 was V_TPR: the processor's becomes what L1 made of it. */
static void restore_priority(const struct vmcb *l1)
{
	const uint64_t priority = l1->interrupt_control & V_TPR;

	if (read_cr8() != priority)
		write_cr8(priority);
}

void gif_set(struct guest *g)
{
	struct vmcb *l1 = g->vmcb_of[L1];

	if (g->gif)
		return;
	g->gif = true;
	restore_priority(l1);
	l1->interrupt_control = 0;
	l1->intercept1 &= ~INTERCEPT1_NMI;
	if (g->nmi_held && !(l1->event & EVENT_VALID)) {
		g->nmi_held = false;
		l1->event = EVENT_VALID | EVENT_NMI | VECTOR_NMI;
	}
}

void gif_enter(struct guest *g)
{
	const struct vmcb *l1 = g->vmcb_of[L1];

	if (!g->gif)
		restore_priority(l1);
	g->gif = true;
	/* One that came under GIF = 0 is L2's, or L1's by its intercept, behind what L1 injects. */
	if (__builtin_expect(g->nmi_held, 0)) {
		g->nmi_held = false;
		apic_send_nmi();
	}
	/*
	 * Under V_INTR_MASKING L1's IF at VMRUN decides over physical interrupts [APM2 15.21.1].
	 * A step of ours has V_INTR_MASKING set to keep them away.
	 */
	if (l1->rflags & RFLAGS_IF && !g->stepping)
		__asm__ volatile("sti" : : : "memory");
	else
		__asm__ volatile("cli" : : : "memory");
}

void gif_clear_l2(struct guest *g)
{
	struct vmcb *l2 = g->vmcb_of[L2];
	uint64_t priority = l2->interrupt_control & V_TPR;

	if (!g->gif)
		return;
	if (!(l2->interrupt_control & V_INTR_MASKING))
		priority = read_cr8();
	g->gif = false;
	g->nsvm->interrupt_control = l2->interrupt_control;
	l2->interrupt_control = (l2->interrupt_control & ~(V_IRQ | V_TPR)) | V_INTR_MASKING |
	                        priority;
	l2->intercept1 |= INTERCEPT1_NMI;
	__asm__ volatile("cli" : : : "memory");
}

void gif_restore_l2(struct guest *g)
{
	const struct vmcb *control = &g->nsvm->control;
	struct vmcb *l2 = g->vmcb_of[L2];
	const uint64_t priority = l2->interrupt_control & V_TPR;

	l2->interrupt_control = g->nsvm->interrupt_control;
	if (l2->interrupt_control & V_INTR_MASKING)
		l2->interrupt_control = (l2->interrupt_control & ~V_TPR) | priority;
	else if (read_cr8() != priority)
		write_cr8(priority);
	l2->intercept1 &= ~INTERCEPT1_NMI | control->intercept1;
}

void gif_set_l2(struct guest *g)
{
	if (g->gif)
		return;
	gif_restore_l2(g);
	g->gif = true;
	gif_enter(g);
}

bool gif_holds_nmi(struct guest *g)
{
	if (g->gif)
		return false;
	g->nmi_held |= exception_window();
	return true;
}
