/* SPDX-License-Identifier: MIT */
/* Event injection [APM2 15.20]. */
#include "exit/event.h"

#include "cpu/x86.h"
#include "svm/guest.h"

#define DR6_BS (1ull << 14)

void event_requeue(struct guest *g)
{
	struct vmcb *vmcb = g->vmcb;
	uint64_t event = vmcb->exit_interrupt;
	const uint64_t vector = event & EVENT_VECTOR;

	vmcb->event = 0;
	if (!(event & EVENT_VALID))
		return;
	switch (event & EVENT_TYPE) {
	case EVENT_SOFTWARE:
		/* rip is still at the INT n: it runs again. */
		return;
	case EVENT_EXCEPTION:
		/* As are INT3 and INTO, for which there is no telling where they end. */
		if (vector == VECTOR_BP || vector == VECTOR_OF)
			return;
		/* QEMU 7.2 reports interrupts as exceptions, which VMRUN would refuse. */
		if (vector >= VECTORS)
			event = (event & ~(EVENT_TYPE | EVENT_HAS_ERROR_CODE)) | EVENT_INTERRUPT;
		else if (vector == VECTOR_NMI)
			event = (event & ~(EVENT_TYPE | EVENT_HAS_ERROR_CODE)) | EVENT_NMI;
		break;
	default:
		break;
	}
	vmcb->event = event;
}

void event_ud(struct guest *g)
{
	g->vmcb->event = EVENT_VALID | EVENT_EXCEPTION | VECTOR_UD;
}

void event_gp(struct guest *g)
{
	g->vmcb->event = EVENT_VALID | EVENT_EXCEPTION | EVENT_HAS_ERROR_CODE | VECTOR_GP;
}

void event_skip_to(struct guest *g, uint64_t rip)
{
	struct vmcb *vmcb = g->vmcb;

	vmcb->rip = rip;
	vmcb->interrupt_state &= ~INTERRUPT_SHADOW;
	if (vmcb->rflags & RFLAGS_TF) {
		vmcb->dr6 |= DR6_BS;
		vmcb->event = EVENT_VALID | EVENT_EXCEPTION | VECTOR_DB;
	}
}
