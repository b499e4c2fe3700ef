/* SPDX-License-Identifier: MIT */
/* The screen that names a guest's state and its last exits. */
#ifndef HV_SVM_SCREEN_H
#define HV_SVM_SCREEN_H

struct guest;

/* Prints it, if there is a guest yet. */
void guest_screen(void);

/* The guest cannot go on: the screen, the statistics, and the end with END_DEAD. */
__attribute__((noreturn)) void guest_died(const struct guest *g, const char *reason);

#endif
