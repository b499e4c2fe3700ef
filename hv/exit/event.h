/* SPDX-License-Identifier: MIT */
/* Events into the guest, and stepping over an instruction that was done for it. */
#ifndef HV_EXIT_EVENT_H
#define HV_EXIT_EVENT_H

#include <stdint.h>

struct guest;

/* If the exit interrupted an event's delivery, delivers that event at the next entry. */
void event_requeue(struct guest *g);

/* Injects a fault; the instruction is not stepped over. */
void event_ud(struct guest *g);
void event_gp(struct guest *g);

/* Steps over the instruction, which ends at rip: interrupt shadow and single-step trap included. */
void event_skip_to(struct guest *g, uint64_t rip);

#endif
