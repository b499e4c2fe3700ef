/* SPDX-License-Identifier: MIT */
/* A pseudo-terminal for a machine's serial line, passed on to the user's own terminal. */
#ifndef LAB_TERMINAL_H
#define LAB_TERMINAL_H

#include <limits.h>
#include <stdbool.h>

/* Makes one. Returns our side, 0 if there is none to be had, and the name of the other side. */
int terminal_open(char name[PATH_MAX]);

/* The user's terminal gives each key at once, without echo, until terminal_leave. */
void terminal_enter(void);
void terminal_leave(void);

/*
 * Passes on what comes within so many milliseconds, both ways. False: the user wants to quit, by
 * Ctrl-A X, as in QEMU.
 */
bool terminal_pass_on(int pty, int wait_ms);

#endif
