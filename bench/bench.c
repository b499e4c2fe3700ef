/* SPDX-License-Identifier: MIT */
/* Runs the rows of a benchmark's table: lists, counts and times them. Knows no operation itself. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <valgrind/callgrind.h>
#include <x86intrin.h>

#include "bench.h"

enum {
	DEFAULT_COUNT = 1000,
	WARM_UP = 16,
	TIMED = 1 << 20,          /* operations timed in one go, where nothing needs preparing */
	TIMED_SINGLY = 16,        /* operations timed one by one, for each that is counted */
	REPETITIONS = 9,          /* the fastest counts: the others were disturbed */
};

void bench_require(int condition, const char *what)
{
	if (!condition) {
		fprintf(stderr, "bench: %s\n", what);
		exit(1);
	}
}

long bench_parameter(const struct bench_row *row, const char *name)
{
	for (int i = 0; i < BENCH_PARAMETERS && row->parameter[i].name; i++)
		if (!strcmp(row->parameter[i].name, name))
			return row->parameter[i].value;
	bench_require(0, name);
	return 0;
}

static void empty(void *state)
{
	(void)state;
}

/* callgrind counts from its entry to its return (--toggle-collect): its name is part of that. */
void bench_counted(void (*run)(void *), void *state);
__attribute__((noinline)) void bench_counted(void (*run)(void *), void *state)
{
	run(state);
	__asm__ volatile("" ::: "memory"); /* else the call becomes a jump out of here */
}

static void *set_up(const struct bench_row *row)
{
	void *state = row->setup ? row->setup(row) : NULL;

	for (int i = 0; i < WARM_UP; i++) {
		if (row->prepare)
			row->prepare(state);
		row->run(state);
	}
	return state;
}

static unsigned times_of(const struct bench_row *row)
{
	return row->count ? row->count : DEFAULT_COUNT;
}

static void count(const struct bench_row *row)
{
	unsigned times = times_of(row);
	void *state = set_up(row);

	CALLGRIND_START_INSTRUMENTATION;
	for (unsigned i = 0; i < times; i++) {
		if (row->prepare)
			row->prepare(state);
		bench_counted(row->run, state);
	}
	CALLGRIND_STOP_INSTRUMENTATION;
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Nanoseconds of n operations that need no preparing. */
static double time_together(void (*run)(void *), void *state, int n)
{
	double start = now_ns();

	for (int i = 0; i < n; i++)
		bench_counted(run, state);
	return now_ns() - start;
}

/* Nanoseconds of n operations, each between two readings of the time-stamp counter. */
static double time_singly(const struct bench_row *row, void (*run)(void *), void *state, int n)
{
	uint64_t ticks = 0, all = __rdtsc();
	double start = now_ns();

	for (int i = 0; i < n; i++) {
		row->prepare(state);
		_mm_lfence();
		uint64_t before = __rdtsc();
		_mm_lfence();
		bench_counted(run, state);
		_mm_lfence();
		ticks += __rdtsc() - before;
		if (run == empty)
			row->run(state); /* so that 'prepare' meets what it expects */
	}
	all = __rdtsc() - all;
	return (double)ticks * (now_ns() - start) / (double)all;
}

/* Nanoseconds of one operation; of those timed singly, what reading the counter takes is off. */
static double time_of(const struct bench_row *row)
{
	int n = row->prepare ? TIMED_SINGLY * (int)times_of(row) : TIMED;
	void *state = set_up(row);
	double least = 1e300, nothing = row->prepare ? 1e300 : 0;

	for (int i = 0; i < REPETITIONS; i++) {
		double t = row->prepare ? time_singly(row, row->run, state, n)
		                        : time_together(row->run, state, n);
		double e = row->prepare ? time_singly(row, empty, state, n) : 0;

		least = t < least ? t : least;
		nothing = e < nothing ? e : nothing;
	}
	return least > nothing ? (least - nothing) / n : 0;
}

static void list(const char *suite, const struct bench_row *row)
{
	printf("{\"suite\": \"%s\", \"op\": \"%s\"", suite, row->op);
	for (int i = 0; i < BENCH_PARAMETERS && row->parameter[i].name; i++)
		printf(", \"%s\": %ld", row->parameter[i].name, row->parameter[i].value);
	printf(", \"target\": %u, \"count\": %u, \"measured\": %s}\n", row->target,
	       times_of(row), row->measure ? "true" : "false");
}

static void show(const struct bench_row *row)
{
	printf("%s", row->op);
	for (int i = 0; i < BENCH_PARAMETERS && row->parameter[i].name; i++)
		printf(" %s=%ld", row->parameter[i].name, row->parameter[i].value);
	if (row->measure)
		printf(": %.4f %s\n", row->measure(row), row->unit);
	else
		printf(": %.2f ns\n", time_of(row));
	fflush(stdout);
}

int bench_main(int argc, char **argv, const char *suite, const struct bench_row *rows, size_t n)
{
	static const struct bench_row nothing = { .op = "(empty)", .run = empty };

	if (argc == 3 && !strcmp(argv[1], "--count")) {
		long index = strtol(argv[2], NULL, 10);

		bench_require(index >= -1 && index < (long)n, "no such row");
		count(index < 0 ? &nothing : &rows[index]);
		return 0;
	}
	bench_require(argc == 1 || (argc == 2 && !strcmp(argv[1], "--list")),
	              "usage: [--list | --count INDEX], index -1 being the empty operation");
	for (size_t i = 0; i < n; i++)
		if (argc == 2)
			list(suite, &rows[i]);
		else
			show(&rows[i]);
	return 0;
}
