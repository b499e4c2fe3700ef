/* SPDX-License-Identifier: MIT */
/* Event injection [APM2 15.20]. */
#include "exit/event.h"

#include "cpu/x86.h"
#include "exit/step.h"
#include "svm/screen.h"

#define DR6_BS (1ull << 14)

void event_requeue(struct guest *g)
{
	struct vmcb *vmcb = g->vmcb;
	uint64_t event = vmcb->exit_interrupt;
	const uint64_t vector = event & EVENT_VECTOR;

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

/* Exceptions of which a second one makes a double fault [APM2 8.2.9, table 8-3]. */
static bool is_contributory(unsigned vector)
{
	return vector == VECTOR_DE || (vector >= VECTOR_TS && vector <= VECTOR_GP);
}

static bool has_error_code(unsigned vector)
{
	return vector == VECTOR_DF || (vector >= VECTOR_TS && vector <= VECTOR_PF) ||
	       vector == VECTOR_AC;
}

void event_exception(struct guest *g, unsigned vector, uint32_t error_code)
{
	const uint64_t first = g->vmcb->exit_interrupt;
	const unsigned before = first & EVENT_VECTOR;
	const bool faults = is_contributory(vector) || vector == VECTOR_PF;

	if ((first & (EVENT_VALID | EVENT_TYPE)) == (EVENT_VALID | EVENT_EXCEPTION) && faults) {
		if (before == VECTOR_DF)
			guest_died(g, "triple fault");
		if (before == VECTOR_PF || (is_contributory(before) && vector != VECTOR_PF)) {
			vector = VECTOR_DF;
			error_code = 0;
		}
	}
	g->vmcb->event = EVENT_VALID | EVENT_EXCEPTION | vector;
	if (has_error_code(vector))
		g->vmcb->event |= EVENT_HAS_ERROR_CODE | (uint64_t)error_code << 32;
}

void event_ud(struct guest *g)
{
	event_exception(g, VECTOR_UD, 0);
}

void event_gp(struct guest *g)
{
	event_exception(g, VECTOR_GP, 0);
}

void event_reflect(struct guest *g, uint64_t gva, const struct rhz_fault *fault)
{
	/* An intercepted #PF leaves CR2 as it was [APM2 15.12.15]. */
	if (fault->vector == VECTOR_PF) {
		g->vmcb->cr2 = gva;
		write_cr2(gva); /* Bochs' VMRUN does not load it */
	}
	event_exception(g, fault->vector, fault->error_code);
}

void event_skipped(struct guest *g, uint64_t rip)
{
	struct vmcb *vmcb = g->vmcb;

	if (g->stepping)
		step_end(g); /* its TF is not the guest's */
	vmcb->rip = rip;
	vmcb->rflags &= ~RFLAGS_RF;
	if (vmcb->rflags & RFLAGS_TF) {
		vmcb->dr6 |= DR6_BS;
		event_exception(g, VECTOR_DB, 0);
	}
}
