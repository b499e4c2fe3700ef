/* SPDX-License-Identifier: MIT */
/* Exits: one reason, one file. Each handler leaves the guest ready to run on, or ends the run. */
#ifndef HV_EXIT_EXIT_H
#define HV_EXIT_EXIT_H

#include <stdbool.h>
#include <stdint.h>

struct guest;

/* What the codes without a handler of their own lead to; called once. */
void exit_init(void);

/* Calls the handler of the exit that just happened. */
void exit_handle(struct guest *g);

void exit_npf(struct guest *g);
void exit_msr(struct guest *g);
void exit_io(struct guest *g);
void exit_smi(struct guest *g);
void exit_invd(struct guest *g);
void exit_vmrun(struct guest *g);
void exit_vmload(struct guest *g);
void exit_vmsave(struct guest *g);
void exit_stgi(struct guest *g);
void exit_clgi(struct guest *g);
void exit_invlpga(struct guest *g);
void exit_svm_undefined(struct guest *g);

/* Under shadow paging only. */
void exit_pf(struct guest *g);
void exit_cr3_write(struct guest *g);
void exit_cr_write(struct guest *g);
void exit_cr_read(struct guest *g);
void exit_invlpg(struct guest *g);
void exit_invpcid(struct guest *g);
void exit_cpuid(struct guest *g);
void exit_ud(struct guest *g);
void exit_gp(struct guest *g);

void exit_task_switch(struct guest *g);

/*
 * A store to a guest table (RHZ_FAULT_TRACKED), or one that only emulation can do right: the
 * instruction's at rip, or an event delivery's (EXITINTINFO is valid).
 */
void exit_tracked(struct guest *g, uint64_t gva, uint64_t gpa);

/* Under either paging: one to an APIC's page. Of gva the offset in the page alone is looked at. */
void exit_nested_tracked(struct guest *g, uint64_t gpa);
void exit_mmio_write(struct guest *g, uint64_t gva, uint64_t gpa);

/* Exits that a single step alone asks for (exit/step.h): #DB, other exceptions, NMI. */
void exit_debug(struct guest *g);
void exit_exception(struct guest *g);
void exit_nmi(struct guest *g);

/* If a MOV to CR3 or CR4 is at rip, does it as at its exit. */
bool cr_move_again(struct guest *g);

/*
 * Decode assists of the instruction at rip on a control or debug register: EXITINFO1 of a MOV
 * [APM2 15.8.1], and where it ends. Neither is written if it cannot be read.
 */
void exit_cr_assist(struct guest *g, uint64_t *info, uint64_t *next_rip);

/* What exit_msr and exit_io intercept; called once. */
void exit_msr_init(void);
void exit_io_init(void);

#endif
