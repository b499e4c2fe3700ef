/* SPDX-License-Identifier: MIT */
/* rhizome profile: a run under the instruction clock, and a table of its exits, dearest first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "counters.h"
#include "run.h"

static const char usage[] =
"Usage: rhizome profile --kernel FILE [--initrd FILE] [--append STRING] [OPTIONS] [-- QEMU...]\n"
"       rhizome profile --multiboot FILE [--append STRING] [--module FILE]... [OPTIONS] ...\n"
"\n"
"As \"rhizome run --icount\", but at the end there is a table of the exits by their reasons, the\n"
"dearest first: how many, and the hypervisor's instructions for them and for each. What all\n"
"exits have in common, the switch of registers, is not in it: some 50 instructions each.\n"
"\n"
"  --stats FILE        the figures as JSON, ticks_... beside exits_...; - is standard output\n"
"  --marks             with the moments that the guest marks, so that parts can be told\n"
"  --help              prints this; \"rhizome run --help\" has the other options\n"
"\n"
"Exit status: as of \"rhizome run\".\n";

static const char exits_of[] = "exits_", ticks_of[] = "ticks_";

struct reason { const char *name; uint64_t exits, ticks; };

static int dearer(const void *a, const void *b)
{
	const struct reason *left = a, *right = b;

	return (left->ticks < right->ticks) - (left->ticks > right->ticks);
}

static void print_line(const struct reason *reason, uint64_t all)
{
	char exits[LAB_COMMAS_SIZE], ticks[LAB_COMMAS_SIZE], each[LAB_COMMAS_SIZE];

	fprintf(stderr, "  %-16s %14s %18s %12s %8.2f\n", reason->name,
	        lab_commas(reason->exits, exits), lab_commas(reason->ticks, ticks),
	        lab_commas(reason->exits ? reason->ticks / reason->exits : 0, each),
	        all ? 100.0 * (double)reason->ticks / (double)all : 0);
}

/* The reasons that have exits; returns how many. */
static unsigned collect(struct reason reason[COUNTERS_MAX], const struct counters *counters)
{
	char ticks[COUNTER_NAME_MAX + sizeof(ticks_of)];
	unsigned n = 0;

	for (unsigned i = 0; i < counters->count; i++) {
		const char *name = counters->counter[i].name;

		if (strncmp(name, exits_of, strlen(exits_of)) || !counters->counter[i].value)
			continue;
		name += strlen(exits_of);
		snprintf(ticks, sizeof(ticks), "%s%s", ticks_of, name);
		reason[n++] = (struct reason){ name, counters->counter[i].value,
		                               counters_get(counters, ticks) };
	}
	return n;
}

void profile_print(const char *json)
{
	struct counters counters;
	struct reason reason[COUNTERS_MAX], sum = { "all", 0, 0 };
	unsigned n;

	if (!counters_read(&counters, json))
		return;
	n = collect(reason, &counters);
	for (unsigned i = 0; i < n; i++) {
		sum.exits += reason[i].exits;
		sum.ticks += reason[i].ticks;
	}
	qsort(reason, n, sizeof(reason[0]), dearer);
	fprintf(stderr, "rhizome: what exits cost\n  %-16s %14s %18s %12s %8s\n", "reason", "exits",
	        "instructions", "each", "%");
	for (unsigned i = 0; i < n; i++)
		print_line(&reason[i], sum.ticks);
	print_line(&sum, sum.ticks);
}

enum lab_exit lab_profile(int argc, char **argv)
{
	return run_guest(argc, argv, usage);
}
