/* SPDX-License-Identifier: MIT */
/* Random steps of a seed, each checked against its prediction. */
#ifndef GUESTS_TORTURE_STEP_H
#define GUESTS_TORTURE_STEP_H

#include <stdbool.h>
#include <stdint.h>

struct report {
	const char *mode;
	uint32_t seed, step;
	uint64_t digest;
	uint32_t done, faults; /* operations, and those that faulted */
	uint32_t open;         /* not done: the architecture leaves the outcome open */
};

/* Ends the machine at the first mismatch. */
void step_run(uint32_t steps, bool verbose, struct report *report);

#endif
