/* SPDX-License-Identifier: MIT */
/* Starting QEMU, watching the hypervisor's console, and what the run's end means. */
#ifndef LAB_RUN_H
#define LAB_RUN_H

#include <stdbool.h>
#include <stddef.h>

#include "lab.h"

enum {
	RUN_MODULES_MAX = 15,
	RUN_CONSOLE_SIZE = 4096,
	RUN_DIED = 70,     /* the guest, and why stands on stderr */
	RUN_TIMEOUT = 124, /* as timeout(1) has it */
};

struct run_command {
	char **argument; /* copies, ended by null */
	size_t arguments;
	char console[RUN_CONSOLE_SIZE]; /* the file that the hypervisor's console is written to */
	unsigned long timeout_s;        /* 0: none */
	const char *stats;              /* where the statistics go as JSON, or null */
	bool hypervisor;                /* false: a bare guest, which has no such console */
};

/* Appends one argument or two. */
void run_add(struct run_command *command, const char *first, const char *second);

/* Chooses the console's file name; nothing is created. */
void run_name_console(struct run_command *command);

/* Prints the command line so that a shell reads it back. */
enum lab_exit run_print(const struct run_command *command);

/* Runs it to its end. Returns the program's exit status, which may be any of 0 to 255. */
enum lab_exit run_qemu(struct run_command *command);

void run_free(struct run_command *command);

#endif
