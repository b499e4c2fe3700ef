/* SPDX-License-Identifier: MIT */
/* The kinds of steps. Each builds an L2, lets it do one thing, and knows what must come of it. */
#ifndef GUESTS_NESTED_TORTURE_STEPS_H
#define GUESTS_NESTED_TORTURE_STEPS_H

void step_access(void);    /* loads, stores, fetches through random tables */
void step_illegal(void);   /* blocks that VMRUN must refuse */

#endif
