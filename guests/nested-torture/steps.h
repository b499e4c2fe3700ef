/* SPDX-License-Identifier: MIT */
/* The kinds of steps. Each builds an L2, lets it do one thing, and knows what must come of it. */
#ifndef GUESTS_NESTED_TORTURE_STEPS_H
#define GUESTS_NESTED_TORTURE_STEPS_H

void step_access(void);    /* loads, stores, fetches through random tables */
void step_illegal(void);   /* blocks that VMRUN must refuse */
void step_intercept(void); /* instructions that L1 intercepts, or leaves to L2 */
void step_port(void);      /* IN and OUT, by the I/O permission map */
void step_msr(void);       /* RDMSR and WRMSR, by the MSR permission map */
void step_event(void);     /* injected, virtual and real interrupts */
void step_own(void);       /* SVM's instructions that L1 leaves to L2 */
void step_hostile(void);   /* tables, maps and pages where L1 has no memory */

/* An exit by an exception that the instruction at l2.rip raises. */
struct expected;
void expect_exception(struct expected *expected, unsigned vector);

#endif
