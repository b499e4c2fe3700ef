/* SPDX-License-Identifier: MIT */
/* rhizome replay: what each policy and capacity would have made of the requests in a trace. */
#include "report.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

struct options {
	bool capacity[RHZ_MAX_CACHED_ROOTS + 1];
	bool policy[RHZ_ROOT_POLICIES];
	uint64_t seed;
	bool csv;
	const char *json;
};

static const char usage[] =
"Usage: rhizome replay [OPTIONS] FILE...\n"
"\n"
"Takes the requests for a root out of a trace of a KVM host, runs them through the\n"
"library's root cache, and shows for each policy and number of cached roots how many\n"
"find the current root, a cached one, or none.\n"
"\n"
"FILE is the text of tracefs' trace, of trace-cmd report or of perf script, plain or\n"
"packed with gzip or zstd; - is standard input. It needs one of\n"
"  - a kprobe event new_pgd on kvm_mmu_new_pgd with its pgd= (every request)\n"
"  - the tracepoints kvm_nested_vmenter and kvm_nested_vmexit_inject, and kvm_cr where\n"
"    the processor has it (inferred: the requests that they tell of)\n"
"\n"
"  --capacity LIST    cached roots to try, 0 to 64: 3,8,11-16\n"
"                     (default 0,1,2,3,4,5,6,8,11,16,32,64)\n"
"  --all-capacities   0-64\n"
"  --policy LIST      none, victim, current-first, at-creation, random-4, pinned\n"
"                     (default all)\n"
"  --seed N           for random-4 (default 1)\n"
"  --json FILE        writes JSON; with - in place of the table\n"
"  --csv              prints CSV in place of the table\n"
"  --help             prints this\n"
"\n"
"Exit status: 0 done, 1 the output could not be written, 2 bad arguments or bad input.\n";

/* Cuts the next number off *list: digits alone, at most max. */
static bool take_number(const char **list, unsigned long max, unsigned long *value)
{
	char *end;

	if (!isdigit((unsigned char)**list))
		return false;
	errno = 0;
	*value = strtoul(*list, &end, 10);
	*list = end;
	return !errno && *value <= max;
}

static bool parse_capacities(const char *list, struct options *options)
{
	memset(options->capacity, 0, sizeof(options->capacity));
	for (;;) {
		unsigned long first, last;

		if (!take_number(&list, RHZ_MAX_CACHED_ROOTS, &first))
			return false;
		last = first;
		if (*list == '-') {
			list++;
			if (!take_number(&list, RHZ_MAX_CACHED_ROOTS, &last) || last < first)
				return false;
		}
		for (; first <= last; first++)
			options->capacity[first] = true;
		if (*list == '\0')
			return true;
		if (*list++ != ',')
			return false;
	}
}

static bool parse_policies(const char *list, struct options *options)
{
	memset(options->policy, 0, sizeof(options->policy));
	for (;;) {
		size_t length = strcspn(list, ",");
		enum rhz_root_policy policy;
		char name[32];

		if (length >= sizeof(name))
			return false;
		memcpy(name, list, length);
		name[length] = '\0';
		if (rhz_root_policy_find(name, &policy) != RHZ_OK)
			return false;
		options->policy[policy] = true;
		list += length;
		if (*list++ == '\0')
			return true;
	}
}

enum { OPTION_CAPACITY = 256, OPTION_ALL, OPTION_POLICY, OPTION_SEED, OPTION_JSON, OPTION_CSV,
       OPTION_HELP };

static bool parse_one(int option, const char *value, struct options *options)
{
	unsigned long seed = 0;

	switch (option) {
	case OPTION_CAPACITY:
		return parse_capacities(value, options);
	case OPTION_ALL:
		memset(options->capacity, true, sizeof(options->capacity));
		return true;
	case OPTION_POLICY:
		return parse_policies(value, options);
	case OPTION_SEED:
		if (!take_number(&value, ~0ul, &seed) || *value)
			return false;
		options->seed = seed;
		return true;
	case OPTION_JSON:
		options->json = value;
		return *value != '\0';
	default:
		options->csv = true;
		return true;
	}
}

/* Returns LAB_EXIT_OK to go on; *done if there is nothing left to do. */
static enum lab_exit parse(int argc, char **argv, struct options *options, bool *done)
{
	static const struct option known[] = {
		{ "capacity", required_argument, NULL, OPTION_CAPACITY },
		{ "all-capacities", no_argument, NULL, OPTION_ALL },
		{ "policy", required_argument, NULL, OPTION_POLICY },
		{ "seed", required_argument, NULL, OPTION_SEED },
		{ "json", required_argument, NULL, OPTION_JSON },
		{ "csv", no_argument, NULL, OPTION_CSV },
		{ "help", no_argument, NULL, OPTION_HELP },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, ":h", known, NULL)) != -1) {
		if (option == OPTION_HELP || option == 'h') {
			fputs(usage, stdout);
			*done = true;
			return lab_finish();
		}
		if (option == ':')
			return lab_complain(LAB_EXIT_BAD, "replay: %s needs a value",
			                    argv[optind - 1]);
		if (option == '?')
			return lab_complain(LAB_EXIT_BAD, "replay: no option \"%s\"; see \"rhizome "
			                    "replay --help\"", argv[optind - 1]);
		if (!parse_one(option, optarg, options))
			return lab_complain(LAB_EXIT_BAD, "replay: \"%s\" is no value for --%s; "
			                    "see \"rhizome replay --help\"", optarg,
			                    known[option - OPTION_CAPACITY].name);
	}
	if (optind == argc)
		return lab_complain(LAB_EXIT_BAD, "replay: no file given; - is standard input");
	if (options->csv && options->json && !strcmp(options->json, "-"))
		return lab_complain(LAB_EXIT_BAD, "replay: --csv and --json - would both print");
	return LAB_EXIT_OK;
}

static size_t simulate_all(const struct lab_requests *requests, const struct options *options,
                           struct lab_row *rows)
{
	size_t count = 0;

	for (unsigned p = 0; p < RHZ_ROOT_POLICIES; p++) {
		enum rhz_root_policy policy = (enum rhz_root_policy)p;
		bool fixed = policy == RHZ_ROOTS_NONE || policy == RHZ_ROOTS_PINNED;
		size_t first = count;

		for (unsigned c = 0; options->policy[p] && c <= RHZ_MAX_CACHED_ROOTS; c++) {
			if (!options->capacity[c])
				continue;
			/* These two do as they like, whatever capacity is asked for. */
			if (fixed && count > first)
				rows[count] = rows[first];
			else
				rows[count] = lab_simulate(requests, policy, c, options->seed);
			rows[count++].capacity = c;
		}
	}
	return count;
}

static enum lab_exit write_json(const struct lab_report *report, const char *path)
{
	FILE *file = fopen(path, "w");
	bool written;

	if (!file)
		return lab_complain(LAB_EXIT_FAILED, "%s: %s", path, strerror(errno));
	lab_report_json(report, file);
	written = !ferror(file);
	if (fclose(file) || !written)
		return lab_complain(LAB_EXIT_FAILED, "%s: cannot be written: %s", path,
		                    strerror(errno));
	return LAB_EXIT_OK;
}

static enum lab_exit report_all(const struct lab_report *report, const struct options *options)
{
	enum lab_exit status = LAB_EXIT_OK;

	if (options->json && strcmp(options->json, "-"))
		status = write_json(report, options->json);
	if (status != LAB_EXIT_OK)
		return status;
	if (options->csv)
		lab_report_csv(report, stdout);
	else if (options->json && !strcmp(options->json, "-"))
		lab_report_json(report, stdout);
	else
		lab_report_table(report, stdout);
	return lab_finish();
}

/* The default policy if it was run; else the first one that was. */
static enum rhz_root_policy advised_policy(const struct options *options)
{
	unsigned p = RHZ_ROOTS_CURRENT_FIRST;

	if (!options->policy[p])
		for (p = 0; !options->policy[p]; p++)
			;
	return (enum rhz_root_policy)p;
}

enum lab_exit lab_replay(int argc, char **argv)
{
	struct lab_row rows[RHZ_ROOT_POLICIES * (RHZ_MAX_CACHED_ROOTS + 1)];
	struct lab_requests requests = { .count = 0 };
	struct options options = { .seed = 1 };
	struct lab_report report = { .requests = &requests, .rows = rows };
	enum lab_exit status;
	bool done = false;

	parse_capacities("0-6,8,11,16,32,64", &options);
	memset(options.policy, true, sizeof(options.policy));
	status = parse(argc, argv, &options, &done);
	if (status != LAB_EXIT_OK || done)
		return status;
	setlocale(LC_CTYPE, "");
	report.paths = argv + optind;
	report.paths_count = (size_t)(argc - optind);
	for (size_t i = 0; status == LAB_EXIT_OK && i < report.paths_count; i++)
		status = lab_requests_read(&requests, report.paths[i]);
	if (status == LAB_EXIT_OK) {
		report.rows_count = simulate_all(&requests, &options, rows);
		report.advised = advised_policy(&options);
		report.kvm = lab_simulate(&requests, report.advised, LAB_KVM_CAPACITY,
		                          options.seed);
		status = report_all(&report, &options);
	}
	lab_requests_free(&requests);
	return status;
}
