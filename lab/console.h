/* SPDX-License-Identifier: MIT */
/*
 * What the hypervisor says on its console, read line by line while it is being written to a file:
 * statistics, marks, how the run ended, and words for people.
 */
#ifndef LAB_CONSOLE_H
#define LAB_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lab.h"

struct console {
	int fd;               /* of the file; -1: none */
	uint64_t done;        /* bytes of it that were read */
	char *line;           /* the line that is not whole yet */
	size_t length;
	char *words;          /* all lines for people */
	size_t words_length;
	char *stats;          /* the last statistics, a JSON object; null: none so far */
	uint64_t stats_seen;  /* how many came */
	char *marks;          /* all marks, JSON objects with commas between; null: none */
	size_t marks_length;
	char *reason;         /* of the end; null: it has not come */
	int code;             /* ... and the exit status that the hypervisor asks for */
	bool left;            /* the guest wrote left_with to isa-debug-exit's port */
	unsigned left_with;
};

/* Creates the file, empty, for the machine to write. Complains if it cannot be. */
enum lab_exit console_create(struct console *console, const char *path);

/* Reads what has come. */
void console_read(struct console *console);

/* Prints the words for people on stderr. */
void console_print_words(const struct console *console);

void console_free(struct console *console);

#endif
