/* SPDX-License-Identifier: MIT */
/* What all sub-commands of the program share: exit statuses, complaints, numbers for people. */
#ifndef LAB_LAB_H
#define LAB_LAB_H

#include <stddef.h>
#include <stdint.h>

enum lab_exit {
	LAB_EXIT_OK = 0,
	LAB_EXIT_FAILED = 1, /* out of memory, or the output could not be written */
	LAB_EXIT_BAD = 2,    /* bad arguments or bad input; one line on stderr says which */
};

/* One sub-command: argv[0] is its name. Returns an exit status. */
enum lab_exit lab_compare(int argc, char **argv);
enum lab_exit lab_iso(int argc, char **argv);
enum lab_exit lab_profile(int argc, char **argv);
enum lab_exit lab_record(int argc, char **argv);
enum lab_exit lab_replay(int argc, char **argv);
enum lab_exit lab_run(int argc, char **argv);
enum lab_exit lab_top(int argc, char **argv);

/* Prints "rhizome: " and the message as one line on stderr. Returns status. */
enum lab_exit lab_complain(enum lab_exit status, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* realloc that ends the program with LAB_EXIT_FAILED when memory runs out. */
void *lab_realloc(void *memory, size_t count, size_t size);
/* strdup that does. */
char *lab_copy(const char *text);

/* 1234567 as "1,234,567". */
enum { LAB_COMMAS_SIZE = 28 };
const char *lab_commas(uint64_t value, char text[LAB_COMMAS_SIZE]);

/* Flushes stdout and says whether all of it was written; a reader that left is no failure. */
enum lab_exit lab_finish(void);

#endif
