/* SPDX-License-Identifier: MIT */
/*
 * What a file or standard input holds, as lines or bytes: plain, gzip or zstd, told apart by
 * content.
 */
#ifndef LAB_INPUT_H
#define LAB_INPUT_H

#include <stddef.h>
#include <stdint.h>

struct lab_input;

enum lab_input_result {
	LAB_INPUT_LINE,  /* a line, without its newline, valid until the next call */
	LAB_INPUT_END,
	LAB_INPUT_ERROR, /* lab_input_error says which */
};

enum { LAB_LINE_MAX = 1 << 20 }; /* a longer line is cut, the rest of it left out */

/* Opens a path, or standard input for "-". Never null: what went wrong shows at the first line. */
struct lab_input *lab_input_open(const char *path);
/* The same for bytes in memory, which stay the caller's. */
struct lab_input *lab_input_memory(const void *data, size_t length);
/* What comes next, unpacked, without taking it: at least 'count' bytes (16 at most) if there are as
   many. Returns how many there are. */
size_t lab_input_peek(struct lab_input *input, size_t count, const char **data);
/* Takes up to room bytes; 0 at the end or on an error. */
size_t lab_input_bytes(struct lab_input *input, void *to, size_t room);
/* The descriptor, if it is that of a file that is not packed; else -1. */
int lab_input_plain_fd(const struct lab_input *input);
/* How many bytes of the file were read, and of how many; *total is 0 if nobody knows. */
void lab_input_progress(const struct lab_input *input, uint64_t *done, uint64_t *total);
enum lab_input_result lab_input_line(struct lab_input *input, const char **line, size_t *length);
/* The number of the line last returned, from 1. */
uint64_t lab_input_line_number(const struct lab_input *input);
/* What is wrong, as the rest of a sentence; null if nothing is. */
const char *lab_input_error(const struct lab_input *input);
void lab_input_close(struct lab_input *input);

#endif
