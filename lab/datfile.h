/* SPDX-License-Identifier: MIT */
/*
 * trace.dat, read by trace-cmd's own library in a process of its own, which hands its events over
 * in the compact form: a file that the library cannot stand costs that process, not the program.
 */
#ifndef LAB_DATFILE_H
#define LAB_DATFILE_H

#include "input.h"

struct lab_datfile;

/* Takes all of the input, of which nothing was taken yet. Never null. */
struct lab_datfile *lab_datfile_open(struct lab_input *input);
/* The events in the compact form; 0 at the end or on an error. */
size_t lab_datfile_bytes(struct lab_datfile *datfile, void *to, size_t room);
const char *lab_datfile_error(const struct lab_datfile *datfile);
void lab_datfile_progress(const struct lab_datfile *datfile, uint64_t *done, uint64_t *total);
void lab_datfile_close(struct lab_datfile *datfile);

#endif
