/* SPDX-License-Identifier: MIT */
/* The run's statistics: exits by reason, and the library's. */
#ifndef HV_EXIT_STATS_H
#define HV_EXIT_STATS_H

#include <stdint.h>

struct guest;

/* What exits are counted by. */
enum exit_kind {
	KIND_NPF,
	KIND_MSR,
	KIND_IO,
	KIND_SMI,
	KIND_INVD,
	KIND_SVM,   /* an instruction of SVM's */
	KIND_PF,    /* from here on under shadow paging only */
	KIND_CR3_WRITE,
	KIND_CR_WRITE,
	KIND_CR_READ,
	KIND_INVLPG,
	KIND_INVPCID,
	KIND_CPUID,
	KIND_UD,
	KIND_GP,
	KIND_TASK_SWITCH,
	KIND_STEP,  /* what a single step alone intercepts */
	KIND_L1,    /* of L2, passed on to L1 */
	KIND_OTHER, /* the guest has ended, or we have a bug */
	KINDS
};

/* Begins the lines at intervals, if the options ask for them. */
void stats_init(void);

/* Prints a line if it is time; called at exits if there are to be lines. */
void stats_tick(const struct guest *g);

/* How many exits there were. */
uint64_t stats_exits(const struct guest *g);

/* Prints them as one line: "rhizome: stats " and a JSON object. */
void stats_print(const struct guest *g);

/* The same as "rhizome: mark ", with a number of the guest's: for figures of a part of a run. */
void stats_mark(const struct guest *g, uint8_t mark);

#endif
