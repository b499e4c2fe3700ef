/* SPDX-License-Identifier: MIT */
/* Lines of text out of a file or standard input: plain, gzip or zstd, told apart by content. */
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
enum lab_input_result lab_input_line(struct lab_input *input, const char **line, size_t *length);
/* The number of the line last returned, from 1. */
uint64_t lab_input_line_number(const struct lab_input *input);
/* What is wrong, as the rest of a sentence; null if nothing is. */
const char *lab_input_error(const struct lab_input *input);
void lab_input_close(struct lab_input *input);

#endif
