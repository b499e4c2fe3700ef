/* SPDX-License-Identifier: MIT */
/* One line on a terminal's standard error that says how far a long input is read. */
#ifndef LAB_PROGRESS_H
#define LAB_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct lab_progress {
	const char *name;
	uint64_t started_ns, shown_ns;
	bool wanted, visible;
};

/* Shown only if standard error is a terminal, and after the first second. */
void lab_progress_begin(struct lab_progress *progress, const char *name, bool quiet);
/* total 0: nobody knows. Cheap enough to be called every few thousand events. */
void lab_progress_show(struct lab_progress *progress, uint64_t done, uint64_t total);
/* Takes the line away. */
void lab_progress_end(struct lab_progress *progress);

#endif
