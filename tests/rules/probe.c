/* SPDX-License-Identifier: MIT */
/* A benchmark of operations whose cost is known, for the test of scripts/bench. */
#include "bench.h"

static int prepared;

static void prepare(void *state)
{
	(void)state;
	for (int i = 0; i < 100; i++) /* must not be counted */
		__asm__ volatile("nop");
	prepared = 1;
}

static void op_ten(void *state)
{
	(void)state;
	__asm__ volatile(".rept 10\n\tnop\n\t.endr");
}

static void op_ten_prepared(void *state)
{
	bench_require(prepared, "prepare did not run");
	op_ten(state);
}

static double twice(const struct bench_row *row)
{
	return (double)bench_parameter(row, "half") * 2;
}

static const struct bench_row rows[] = {
	{ "ten", .target = 10, .run = op_ten },
	{ "ten_more_often", .target = 5, .count = 5000, .run = op_ten },
	{ "ten_prepared", { { "n", 3 } }, .prepare = prepare, .run = op_ten_prepared },
	{ "measured", { { "n", 1 }, { "half", 21 } }, .measure = twice, .unit = "bytes" },
};

BENCH_SUITE("probe", rows)
