/* SPDX-License-Identifier: MIT */
/*
 * One instruction, or one event's delivery, under scratch tables that let it write to guest tables
 * which are tracked. The library's own tables never do.
 */
#ifndef HV_EXIT_STEP_H
#define HV_EXIT_STEP_H

#include "svm/guest.h"

/* Memory that it takes, once, at the first step. */
enum { STEP_PAGES = 8, STEP_FRAMES = 1 + STEP_PAGES * (RHZ_MAX_LEVELS - 1) };

/*
 * Opens the page at gva, which leads to gpa, for the instruction at rip or the event that was being
 * delivered: begins a step, or widens the one that is being made.
 */
void step_open(struct guest *g, uint64_t gva, uint64_t gpa);

/* Ends a step whose instruction is done otherwise or faults: all is as before, but memory. */
void step_end(struct guest *g);

/* While g->stepping: */

/*
 * At each entry, after rhz_vcpu_enter and with the event to be injected in place: another root, and
 * a flush, if a step is being made (or, a flush, if one was).
 */
void step_prepare(struct guest *g, struct rhz_entry *entry);

/* At each #PF, before the library is asked: true if it was the end of a delivery, and no fault. */
bool step_fault(struct guest *g, uint32_t error_code);


#endif
