/* SPDX-License-Identifier: MIT */
/* Taking away what a recorder made in tracefs: at its end, after its death, or later. */
#ifndef LAB_PROBES_REMOVE_H
#define LAB_PROBES_REMOVE_H

#include "lab.h"

#include <sys/types.h>

/* The names that a recorder's instance and group of kprobe events have. */
void remove_names(long recorder, char instance[32], char group[32]);

/* Starts the child that takes this process' things away when *alive is closed, or we die. */
enum lab_exit remove_start(pid_t *cleaner, int *alive);
/* Lets the child do it and waits for it; a cleaner of 0 was never started. */
enum lab_exit remove_wait(pid_t cleaner, int alive);

#endif
