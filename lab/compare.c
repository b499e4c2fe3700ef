/* SPDX-License-Identifier: MIT */
/* rhizome compare: two traces, or two runs, side by side. */
#include "flat.h"
#include "input.h"
#include "report.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_MAX = 64 << 20, NAME_WIDTH = 40 };

static const char usage[] =
"Usage: rhizome compare [OPTIONS] A B\n"
"\n"
"Sets two traces or two runs side by side. A and B are each a trace as \"rhizome replay\"\n"
"reads it, the JSON of \"rhizome replay --json\", or that of \"rhizome run --stats\"; plain or\n"
"packed with gzip or zstd.\n"
"\n"
"  --all     every figure, also those that are the same, and all of what_if\n"
"  --csv     prints CSV in place of the table\n"
"  --quiet   no progress on the terminal\n"
"  --help    prints this\n"
"\n"
"Exit status: 0 done, 1 the output could not be written, 2 bad arguments or bad input.\n";

struct options {
	bool all, csv, quiet;
};

/* One of the two. */
struct side {
	const char *path;
	struct lab_flat flat;
};

/* Turns a trace into what "rhizome replay --json" would say of it. */
static enum lab_exit study_side(struct side *side, const struct options *options)
{
	struct lab_study study = { .random = true, .seed = 1, .quiet = options->quiet };
	struct lab_findings *findings;
	struct lab_wanted wanted;
	enum lab_exit status = lab_study_read(&study, side->path);
	char *text = NULL;
	size_t length = 0, at;
	FILE *out;

	memset(&wanted, true, sizeof(wanted));
	if (status == LAB_EXIT_OK) {
		findings = lab_realloc(NULL, 1, sizeof(*findings));
		lab_findings_make(findings, &study, &wanted);
		out = open_memstream(&text, &length);
		if (!out)
			exit(lab_complain(LAB_EXIT_FAILED, "out of memory"));
		lab_report_json(findings, &wanted, out);
		if (fclose(out) || !lab_flat_read(&side->flat, text, length, &at))
			exit(lab_complain(LAB_EXIT_FAILED, "out of memory"));
		free(findings);
		free(text);
	}
	lab_study_free(&study);
	return status;
}

static enum lab_exit read_json(struct side *side, struct lab_input *input)
{
	size_t room = 1 << 16, length = 0, got, at;
	char *text = lab_realloc(NULL, room, 1);
	enum lab_exit status = LAB_EXIT_OK;

	while ((got = lab_input_bytes(input, text + length, room - length)) > 0) {
		length += got;
		if (length == room && room < JSON_MAX)
			text = lab_realloc(text, room *= 2, 1);
	}
	if (lab_input_error(input))
		status = lab_complain(LAB_EXIT_BAD, "%s: %s", lab_shown_path(side->path),
		                      lab_input_error(input));
	else if (!lab_flat_read(&side->flat, text, length, &at))
		status = lab_complain(LAB_EXIT_BAD, "%s: byte %zu: this is no JSON object",
		                      lab_shown_path(side->path), at);
	else if (!side->flat.count)
		status = lab_complain(LAB_EXIT_BAD, "%s: there are no figures in it",
		                      lab_shown_path(side->path));
	free(text);
	return status;
}

/* JSON is told from a trace by its first byte. */
static enum lab_exit read_side(struct side *side, const struct options *options)
{
	struct lab_input *input = lab_input_open(side->path);
	const char *data;
	size_t have = lab_input_peek(input, 16, &data);
	enum lab_exit status;

	while (have && strchr(" \t\r\n", *data) && *data) {
		data++;
		have--;
	}
	if (have && *data == '{') {
		status = read_json(side, input);
		lab_input_close(input);
		return status;
	}
	if (!strcmp(side->path, "-")) {
		/* What was peeked at is gone: standard input cannot be opened once more. */
		lab_input_close(input);
		return lab_complain(LAB_EXIT_BAD, "compare: only JSON can come by standard input");
	}
	lab_input_close(input);
	return study_side(side, options);
}

/* "what_if[17].missed" as "current-first 3 shared: missed"; false if it is of no such row. */
static bool name_row(const struct lab_flat *flat, const char *name, char text[LAB_FLAT_NAME],
                     double *capacity)
{
	const struct lab_flat_item *policy, *contexts, *number;
	char key[LAB_FLAT_NAME + 16];
	const char *dot = strchr(name, '.');
	int stem = dot ? (int)(dot - name) : 0;

	if (strncmp(name, "what_if[", 8) || !dot)
		return false;
	snprintf(key, sizeof(key), "%.*s.policy", stem, name);
	policy = lab_flat_find(flat, key);
	snprintf(key, sizeof(key), "%.*s.contexts", stem, name);
	contexts = lab_flat_find(flat, key);
	snprintf(key, sizeof(key), "%.*s.capacity", stem, name);
	number = lab_flat_find(flat, key);
	if (!policy || !policy->string || !contexts || !contexts->string || !number)
		return false;
	*capacity = number->number;
	snprintf(text, LAB_FLAT_NAME, "%.20s %.0f %.10s: %.60s", policy->string, number->number,
	         contexts->string, dot + 1);
	return true;
}

/* Gives the rows names that are the same on both sides whatever their order. */
static void name_rows(struct lab_flat *flat)
{
	char (*names)[LAB_FLAT_NAME] = lab_realloc(NULL, flat->count, sizeof(*names));
	double capacity;

	for (size_t i = 0; i < flat->count; i++)
		if (!name_row(flat, flat->item[i].name, names[i], &capacity))
			memcpy(names[i], flat->item[i].name, LAB_FLAT_NAME);
	for (size_t i = 0; i < flat->count; i++)
		memcpy(flat->item[i].name, names[i], LAB_FLAT_NAME);
	free(names);
	lab_flat_index(flat);
}

/* Without --all: no lists, and of the rows the default policy's with some capacities. */
static bool is_shown(const struct options *options, const char *name)
{
	static const char *const rows[] = {
		"current-first 3 shared: missed", "current-first 3 separate: missed",
		"current-first 8 shared: missed", "current-first 16 shared: missed",
		"current-first 64 shared: missed", "current-first 8 shared: saved_ms_per_s",
	};

	if (options->all)
		return true;
	if (!strchr(name, ':'))
		return !strchr(name, '[');
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (!strcmp(name, rows[i]))
			return true;
	return false;
}

static const char *shown_number(const struct lab_flat_item *item, char text[32])
{
	char commas[LAB_COMMAS_SIZE];

	if (!item)
		return "-";
	if (item->number >= 0 && item->number == floor(item->number) && item->number < 1e15)
		snprintf(text, 32, "%s", lab_commas((uint64_t)item->number, commas));
	else
		snprintf(text, 32, "%.3f", item->number);
	return text;
}

static void print_line(const struct options *options, const char *name,
                       const struct lab_flat_item *a, const struct lab_flat_item *b)
{
	char text[2][32], difference[32] = "", ratio[32] = "";

	if (a && b && !options->all && a->number == b->number)
		return;
	if (options->csv) {
		printf("\"%s\",", name);
		if (a)
			printf("%.17g", a->number);
		putchar(',');
		if (b)
			printf("%.17g", b->number);
		putchar('\n');
		return;
	}
	if (a && b) {
		double more = b->number - a->number;

		snprintf(difference, sizeof(difference), more == floor(more) ? "%+.0f" : "%+.3f",
		         more);
		if (a->number != 0)
			snprintf(ratio, sizeof(ratio), "%.3f", b->number / a->number);
	}
	printf("%-*.*s %15s %15s %15s %8s\n", NAME_WIDTH, NAME_WIDTH, name,
	       shown_number(a, text[0]), shown_number(b, text[1]), difference, ratio);
}

static void print_choices(const struct side *sides)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct lab_flat_item *choice = lab_flat_find(&sides[i].flat,
		                                                   "choice.sentence");

		if (choice && choice->string)
			printf("\n%c  %s\n", 'A' + (int)i, choice->string);
	}
}

/* A's order, then what only B has. */
static void print_all(const struct side *sides, const struct options *options)
{
	const struct lab_flat *a = &sides[0].flat, *b = &sides[1].flat;

	if (options->csv)
		puts("figure,a,b");
	else
		printf("A  %s\nB  %s\n\n%-*s %15s %15s %15s %8s\n", lab_shown_path(sides[0].path),
		       lab_shown_path(sides[1].path), NAME_WIDTH, "", "A", "B", "B - A", "B / A");
	for (size_t i = 0; i < a->count; i++)
		if (!a->item[i].string && is_shown(options, a->item[i].name))
			print_line(options, a->item[i].name, &a->item[i],
			           lab_flat_find(b, a->item[i].name));
	for (size_t i = 0; i < b->count; i++)
		if (!b->item[i].string && is_shown(options, b->item[i].name) &&
		    !lab_flat_find(a, b->item[i].name))
			print_line(options, b->item[i].name, NULL, &b->item[i]);
	if (!options->csv)
		print_choices(sides);
}

/* Returns LAB_EXIT_OK to go on; *done if there is nothing left to do. */
static enum lab_exit parse(int argc, char **argv, struct options *options, bool *done)
{
	static const struct option known[] = {
		{ "all", no_argument, NULL, 'a' },     { "csv", no_argument, NULL, 'c' },
		{ "quiet", no_argument, NULL, 'q' },   { "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			*done = true;
			return lab_finish();
		}
		if (option == '?')
			return lab_complain(LAB_EXIT_BAD, "compare: no option \"%s\"; see "
			                    "\"rhizome compare --help\"", argv[optind - 1]);
		options->all |= option == 'a';
		options->csv |= option == 'c';
		options->quiet |= option == 'q';
	}
	if (argc - optind != 2)
		return lab_complain(LAB_EXIT_BAD, "compare: two files are needed, %d given",
		                    argc - optind);
	return LAB_EXIT_OK;
}

enum lab_exit lab_compare(int argc, char **argv)
{
	struct side sides[2] = { { .path = NULL } };
	struct options options = { .all = false };
	enum lab_exit status;
	bool done = false;

	status = parse(argc, argv, &options, &done);
	if (status != LAB_EXIT_OK || done)
		return status;
	for (unsigned i = 0; status == LAB_EXIT_OK && i < 2; i++) {
		sides[i].path = argv[optind + (int)i];
		status = read_side(&sides[i], &options);
		if (status == LAB_EXIT_OK)
			name_rows(&sides[i].flat);
	}
	if (status == LAB_EXIT_OK) {
		print_all(sides, &options);
		status = lab_finish();
	}
	for (unsigned i = 0; i < 2; i++)
		lab_flat_free(&sides[i].flat);
	return status;
}
