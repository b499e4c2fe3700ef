/* SPDX-License-Identifier: MIT */
/*
 * What the fuzz targets share: how an input is taken apart, and how a target says that something
 * is wrong. A target is one file with LLVMFuzzerTestOneInput; a fuzzer's own main() goes with it,
 * or replay.c, which runs it over files.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is left of an input. Behind its end there are zeros. */
struct input {
	const uint8_t *at;
	size_t left;
};

/* A number of so many bytes, 8 at most, the lowest first. */
static inline uint64_t take(struct input *input, size_t bytes)
{
	uint64_t value = 0;
	size_t have = bytes < input->left ? bytes : input->left;

	if (have)
		memcpy(&value, input->at, have);
	input->at += have;
	input->left -= have;
	return value;
}

/* Where that is told, if the target lets the program's own errors go nowhere; else null. */
static FILE *fuzz_errors __attribute__((unused));

/* What is wrong, and where; ends the process, so that the fuzzer keeps the input. */
#define wrong(...) \
	do { \
		FILE *errors_ = fuzz_errors ? fuzz_errors : stderr; \
		fprintf(errors_, "WRONG: %s:%d: ", __FILE__, __LINE__); \
		fprintf(errors_, __VA_ARGS__); \
		fputc('\n', errors_); \
		abort(); \
	} while (0)

/* The same for a condition that must hold. */
#define must(condition) \
	do { \
		if (!(condition)) \
			wrong("%s", #condition); \
	} while (0)

#endif
