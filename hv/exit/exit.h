/* SPDX-License-Identifier: MIT */
/* Exits: one reason, one file. Each handler leaves the guest ready to run on, or ends the run. */
#ifndef HV_EXIT_EXIT_H
#define HV_EXIT_EXIT_H

struct guest;

/* Calls the handler of the exit that just happened. */
void exit_handle(struct guest *g);

void exit_npf(struct guest *g);
void exit_msr(struct guest *g);
void exit_io(struct guest *g);
void exit_smi(struct guest *g);
void exit_invd(struct guest *g);
void exit_svm_instruction(struct guest *g);

/* What exit_msr and exit_io intercept; called once. */
void exit_msr_init(void);
void exit_io_init(void);

#endif
