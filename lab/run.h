/* SPDX-License-Identifier: MIT */
/* The machine's process: made, started, watched, ended; and what its end means. */
#ifndef LAB_RUN_H
#define LAB_RUN_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "console.h"
#include "run_options.h"

enum {
	RUN_DIED = 70,     /* the guest, and why stands on stderr */
	RUN_TIMEOUT = 124, /* as timeout(1) has it */
};

struct run_command {
	char **argument; /* copies, ended by null */
	size_t arguments;
	const char *package; /* Debian's, that has the program */
	char prefix[PATH_MAX];  /* of the names of the run's files; none of them outlives us */
	char console[PATH_MAX]; /* the file that the hypervisor's console is written to */
	int pty;                /* our side of the guest's serial line; 0: it is ours already */
};

/* Appends one argument or two. */
void run_add(struct run_command *command, const char *first, const char *second);

/* The name of one of the run's files: "console", "trace", "iso", "bochs" or "debugger". */
void run_name_file(const struct run_command *command, const char *which, char path[PATH_MAX]);

/* Prints the command line so that a shell reads it back. */
void run_print(const struct run_command *command);

/* The command line for each machine; what files it needs are made, unless for dry_run. */
enum lab_exit run_qemu_command(struct run_command *command, const struct run_options *options);
enum lab_exit run_bochs_command(struct run_command *command, const struct run_options *options);

/* Bochs ended by itself with an error: says why, as far as its log tells. */
enum lab_exit run_bochs_judge(const struct run_command *command);

/* Runs it to its end. Returns the program's exit status, which may be any of 0 to 255. */
enum lab_exit run_watch(struct run_command *command, const struct run_options *options);

/* Prints the statistics on stderr and, if asked to, writes them as JSON. */
enum lab_exit run_report(const struct console *console, const struct run_options *options);

/* Prints what exits cost, from the statistics of a run with a profile. */
void profile_print(const char *json);

/* Boots the guest and prints what is wanted of it: "run" and "profile". */
enum lab_exit run_guest(int argc, char **argv, const char *help);

/* Makes the file of --trace out of what the hypervisor told. */
enum lab_exit run_write_trace(const struct run_command *command,
                              const struct run_options *options);

/* ... from an open file to a descriptor; options name the file in complaints. */
enum lab_exit run_convert_trace(FILE *in, int fd, const struct run_options *options);

/* Removes the run's files, frees the rest. */
void run_free(struct run_command *command);

#endif
