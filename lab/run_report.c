/* SPDX-License-Identifier: MIT */
/* The statistics at the end of a run: a table for people, JSON for programs. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "counters.h"
#include "run.h"

static void print_table(const char *json)
{
	struct counters counters;
	char commas[LAB_COMMAS_SIZE];

	if (!counters_read(&counters, json))
		return;
	fprintf(stderr, "rhizome: statistics\n");
	for (unsigned i = 0; i < counters.count; i++) {
		if (counters.counter[i].value)
			fprintf(stderr, "  %-28s %18s\n", counters.counter[i].name,
			        lab_commas(counters.counter[i].value, commas));
	}
}

/* The object, with the marks as one more member. */
static void print_json(FILE *out, const struct console *console)
{
	const char *json = console->stats;
	const char *end = strrchr(json, '}');

	if (console->marks && end)
		fprintf(out, "%.*s, \"marks\": [%s]}\n", (int)(end - json), json, console->marks);
	else
		fprintf(out, "%s\n", json);
}

static enum lab_exit write_json(const char *file, const struct console *console)
{
	const bool to_stdout = !strcmp(file, "-");
	FILE *out = to_stdout ? stdout : fopen(file, "w");
	bool wrong;

	if (!out)
		return lab_complain(LAB_EXIT_BAD, "%s: %s", file, strerror(errno));
	print_json(out, console);
	if (to_stdout)
		return lab_finish();
	wrong = ferror(out);
	if (fclose(out) || wrong)
		return lab_complain(LAB_EXIT_FAILED, "%s: %s", file, strerror(errno));
	return LAB_EXIT_OK;
}

enum lab_exit run_report(const struct console *console, const struct run_options *options)
{
	if (console->stats) {
		if (options->profile)
			profile_print(console->stats);
		else
			print_table(console->stats);
		return options->stats ? write_json(options->stats, console) : LAB_EXIT_OK;
	}
	if (options->stats)
		lab_complain(LAB_EXIT_FAILED, "no statistics: the run did not come to its end");
	return LAB_EXIT_OK;
}
