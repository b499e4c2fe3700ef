/* SPDX-License-Identifier: MIT */
/* Events into the guest, and stepping over an instruction that was done for it. */
#ifndef HV_EXIT_EVENT_H
#define HV_EXIT_EVENT_H

#include <stdint.h>

struct guest;
struct rhz_fault;

/* If the exit interrupted an event's delivery, delivers that event at the next entry. */
void event_requeue(struct guest *g);

/*
 * Injects an exception; the instruction is not stepped over. If the exit interrupted the delivery
 * of another exception, the two make a double fault, or the guest's end, as the processor would.
 */
void event_exception(struct guest *g, unsigned vector, uint32_t error_code);
void event_ud(struct guest *g);
void event_gp(struct guest *g);

/* Injects the fault at gva that the library told to reflect. */
void event_reflect(struct guest *g, uint64_t gva, const struct rhz_fault *fault);

/* Steps over the instruction, which ends at rip: interrupt shadow and single-step trap included. */
void event_skip_to(struct guest *g, uint64_t rip);

#endif
