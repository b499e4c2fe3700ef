/* SPDX-License-Identifier: MIT */
/* Events into the guest, and stepping over an instruction that was done for it. */
#ifndef HV_EXIT_EVENT_H
#define HV_EXIT_EVENT_H

#include "cpu/x86.h"
#include "svm/guest.h"

/* The exit interrupted an event's delivery: it is delivered at the next entry. */
void event_requeue(struct guest *g);

/* The event whose delivery the exit interrupted, as EVENTINJ takes it; 0: none. */
uint64_t event_interrupted(const struct vmcb *vmcb);

/*
 * Injects an exception; the instruction is not stepped over. If the exit interrupted the delivery
 * of another exception, the two make a double fault, or the guest's end, as the processor would. An
 * exception of L2 may be L1's exit: g->vmcb is another one then.
 */
void event_exception(struct guest *g, unsigned vector, uint32_t error_code);
void event_ud(struct guest *g);
void event_gp(struct guest *g);

/* Injects the fault at gva that the library told to reflect. */
void event_reflect(struct guest *g, uint64_t gva, const struct rhz_fault *fault);

/* As below, where flags tell of a trap behind the instruction, or of a step of ours. */
void event_skipped(struct guest *g, uint64_t rip);

/* Steps over the instruction, which ends at rip: interrupt shadow and single-step trap included. */
HV_INLINE void event_skip_to(struct guest *g, uint64_t rip)
{
	struct vmcb *vmcb = g->vmcb;

	vmcb->rip = rip;
	vmcb->interrupt_state &= ~INTERRUPT_SHADOW;
	if (__builtin_expect(vmcb->rflags & (RFLAGS_TF | RFLAGS_RF), 0))
		event_skipped(g, rip);
}

#endif
