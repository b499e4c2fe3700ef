/* SPDX-License-Identifier: MIT */
/* The run's statistics: exits by reason, and the library's. */
#ifndef HV_EXIT_STATS_H
#define HV_EXIT_STATS_H

#include <stdint.h>

struct guest;

/* What exits are counted by, and handled by. */
enum exit_kind {
	KIND_NPF,
	KIND_MSR,
	KIND_IO,
	KIND_SMI,
	KIND_INVD,
	KIND_SVM,   /* an instruction of SVM's */
	KIND_OTHER, /* the guest has ended, or we have a bug */
	KINDS
};

/* Counts an exit and answers its kind. */
enum exit_kind stats_count(struct guest *g, uint64_t exit_code);

/* Prints them as one line: "rhizome: stats " and a JSON object. */
void stats_print(const struct guest *g);

#endif
