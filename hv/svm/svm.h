/* SPDX-License-Identifier: MIT */
/* The AMD backend: turning SVM on, the guest's control block, and the loop. */
#ifndef HV_SVM_SVM_H
#define HV_SVM_SVM_H

#include <stdint.h>

struct guest;

/* Ends the run with a clear message if this processor cannot run us. */
void svm_check(void);

/* Turns SVM on and makes the control blocks. */
void svm_init(struct guest *g);

/* Machine states at a guest's first instruction. */
void svm_set_flat32(struct guest *g, uint16_t cs, uint16_t ds);
void svm_set_flat64(struct guest *g, uint16_t cs, uint16_t ds, uint64_t cr3);

/* Runs the guest for ever: a run ends elsewhere. */
__attribute__((noreturn)) void svm_loop(struct guest *g);

#endif
