/* SPDX-License-Identifier: MIT */
/* Event injection [APM2 15.20]. */
#include "exit/event.h"

#include "cpu/x86.h"
#include "exit/step.h"
#include "svm/nsvm.h"
#include "svm/screen.h"

#define DR6_BS (1ull << 14)

uint64_t event_interrupted(const struct vmcb *vmcb)
{
	const uint64_t event = vmcb->exit_interrupt, vector = event & EVENT_VECTOR;
	const uint64_t plain = event & ~(EVENT_TYPE | EVENT_HAS_ERROR_CODE);

	if (!(event & EVENT_VALID))
		return 0;
	if ((event & EVENT_TYPE) != EVENT_EXCEPTION)
		return event;
	/* QEMU 7.2 reports interrupts as exceptions, which VMRUN would refuse. */
	if (vector >= VECTORS)
		return plain | EVENT_INTERRUPT;
	return vector == VECTOR_NMI ? plain | EVENT_NMI : event;
}

/*
 * A virtual interrupt is no longer pending once it is being delivered. QEMU 7.2 forgets it at the
 * end of the delivery alone: injected again, it would come twice.
 */
static void forget_virtual(struct vmcb *vmcb, uint64_t event)
{
	const uint64_t vector = (vmcb->interrupt_control & V_VECTOR) >> 32;

	if (vmcb->interrupt_control & V_IRQ &&
	    event == (EVENT_VALID | EVENT_INTERRUPT | vector))
		vmcb->interrupt_control &= ~V_IRQ;
}

void event_requeue(struct guest *g)
{
	struct vmcb *vmcb = g->vmcb;
	const uint64_t event = event_interrupted(vmcb), vector = event & EVENT_VECTOR;

	/* What L1 has injected has no instruction that could run again. */
	if (g->in_l2 && g->nsvm->injecting) {
		vmcb->event = g->nsvm->control.event;
		return;
	}
	if (g->in_l2)
		forget_virtual(vmcb, event);
	/* rip is still at INT n, INT3 or INTO, for which there is no telling where they end. */
	if ((event & EVENT_TYPE) == EVENT_SOFTWARE)
		return;
	if ((event & EVENT_TYPE) == EVENT_EXCEPTION && (vector == VECTOR_BP || vector == VECTOR_OF))
		return;
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

static void shut_down(struct guest *g)
{
	if (!g->in_l2 || !(g->nsvm->control.intercept1 & INTERCEPT1_SHUTDOWN))
		guest_died(g, "triple fault");
	nsvm_exit(g, EXIT_SHUTDOWN, 0, 0);
}

/* gva: of a page fault. */
static void raise(struct guest *g, unsigned vector, uint32_t error_code, uint64_t gva)
{
	const uint64_t first = g->vmcb->exit_interrupt;
	const unsigned before = first & EVENT_VECTOR;
	const bool faults = is_contributory(vector) || vector == VECTOR_PF;

	if (g->in_l2 && nsvm_takes_exception(g, vector, error_code, gva))
		return;
	/* An intercepted #PF leaves CR2 as it was [APM2 15.12.15]. */
	if (vector == VECTOR_PF) {
		g->vmcb->cr2 = gva;
		write_cr2(gva); /* Bochs' VMRUN does not load it */
	}
	if ((first & (EVENT_VALID | EVENT_TYPE)) == (EVENT_VALID | EVENT_EXCEPTION) && faults) {
		if (before == VECTOR_DF) {
			shut_down(g);
			return;
		}
		if (before == VECTOR_PF || (is_contributory(before) && vector != VECTOR_PF)) {
			vector = VECTOR_DF;
			error_code = 0;
			if (g->in_l2 && nsvm_takes_exception(g, vector, error_code, 0))
				return;
		}
	}
	if (g->in_l2)
		nsvm_interrupted(g);
	g->vmcb->event = EVENT_VALID | EVENT_EXCEPTION | vector;
	if (has_error_code(vector))
		g->vmcb->event |= EVENT_HAS_ERROR_CODE | (uint64_t)error_code << 32;
}

void event_exception(struct guest *g, unsigned vector, uint32_t error_code)
{
	raise(g, vector, error_code, 0);
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
	raise(g, fault->vector, fault->error_code, fault->vector == VECTOR_PF ? gva : 0);
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
