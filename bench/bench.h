/* SPDX-License-Identifier: MIT */
/*
 * What a benchmark says of itself: a table of operations, one row each. To add an operation write
 * `static void op_x(void *state)` and a row. scripts/bench runs the rows, under callgrind for the
 * exact instructions and natively for the time.
 *
 * What is counted is one call of 'run', less what a call of an empty function costs. So 'run' is
 * to hold the library's call and its arguments, all else belongs into 'prepare', which is never
 * counted.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stddef.h>

enum { BENCH_PARAMETERS = 3 };

struct bench_parameter {
	const char *name;
	long value;
};

struct bench_row {
	const char *op;
	struct bench_parameter parameter[BENCH_PARAMETERS]; /* tell rows of one op apart */
	unsigned target;   /* instructions at most; 0: no target, but of interest */
	unsigned count;    /* operations counted under callgrind; 0: 1000 */
	void *(*setup)(const struct bench_row *row); /* may be null; its result is the state */
	void (*prepare)(void *state);                /* before each operation; may be null */
	void (*run)(void *state);                    /* the operation; null if 'measure' is set */
	double (*measure)(const struct bench_row *row); /* instead: a figure that is no cost ... */
	const char *unit;                               /* ... and its unit, "bytes" */
};

/* The parameter's value; ends the program if the row has none of that name. */
long bench_parameter(const struct bench_row *row, const char *name);

/* Ends the program with a message unless the condition holds: a benchmark must do what it says. */
void bench_require(int condition, const char *what);

/*
 * main() of a benchmark. Without arguments: times every row and prints it. `--list`: the rows as
 * JSON, one a line. `--count INDEX`: the operations of one row, each inside bench_counted().
 */
int bench_main(int argc, char **argv, const char *suite, const struct bench_row *rows, size_t n);

#define BENCH_SUITE(suite, rows)                                                              \
	int main(int argc, char **argv)                                                       \
	{                                                                                     \
		return bench_main(argc, argv, suite, rows, sizeof(rows) / sizeof((rows)[0])); \
	}

#endif
