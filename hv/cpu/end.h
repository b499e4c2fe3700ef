/* SPDX-License-Identifier: MIT */
/* The ends of a run. The console's last line names each, for people and for `rhizome run`. */
#ifndef HV_CPU_END_H
#define HV_CPU_END_H

#include <stdbool.h>

/* Exit codes of `rhizome run` that the hypervisor asks for. */
enum { END_RESET = 0, END_REFUSED = 2, END_DEAD = 70 };

/* Whether the machine is reset at the end, or stands still so that a reader sees the screen. */
void end_resets(bool resets);

/* Prints "rhizome: end CODE REASON" and ends the run. */
__attribute__((noreturn)) void end(int code, const char *reason);

#endif
