/* SPDX-License-Identifier: MIT */
/* The guest's global interrupt flag [APM2 15.17], over interrupts that reach it without us. */
#ifndef HV_SVM_GIF_H
#define HV_SVM_GIF_H

#include <stdbool.h>

struct guest;

/* CLGI, #VMEXIT: from now on nothing interrupts L1. */
void gif_clear(struct guest *g);

/* STGI: what has waited comes. */
void gif_set(struct guest *g);

/* VMRUN: L2 runs with GIF = 1. Sets our interrupt flag as the control block in use wants it. */
void gif_enter(struct guest *g);

/* CLGI and STGI of an L2 to which L1 leaves them: its own interrupts wait in the same way. */
void gif_clear_l2(struct guest *g);
void gif_set_l2(struct guest *g);

/* Makes L2's control block, with GIF = 0, what it is under GIF = 1: at its exit to L1. */
void gif_restore_l2(struct guest *g);

/* An NMI came while GIF was 0; true if it is to wait. */
bool gif_holds_nmi(struct guest *g);

#endif
