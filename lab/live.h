/* SPDX-License-Identifier: MIT */
/*
 * A run's statistics for others to watch: a file for each run, PID.run, in a folder of the user's
 * own. It holds a line that says what runs, and the last statistics as a JSON object. It is
 * replaced as a whole, so a reader always finds one state.
 */
#ifndef LAB_LIVE_H
#define LAB_LIVE_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

enum { LIVE_PATH_SIZE = PATH_MAX };

/*
 * The folder: $XDG_RUNTIME_DIR/rhizome, else rhizome-UID in $TMPDIR or /tmp. With 'make' it is
 * made. False: it is not there, cannot be made, or is not ours alone.
 */
bool live_folder(char folder[LIVE_PATH_SIZE], bool make);

/* The file of a run, this one or another. False: no such folder. */
bool live_file(char file[LIVE_PATH_SIZE], pid_t pid, bool make);

/* Writes the file anew. Whether it could be is of no importance to the run. */
void live_write(const char *file, const char *what, const char *json);

#endif
