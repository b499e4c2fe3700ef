/* SPDX-License-Identifier: MIT */
/* rhizome replay: what each policy and capacity would have made of the requests in a trace. */
#include "report.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct options {
	struct lab_wanted wanted;
	bool chosen; /* capacities were named */
	uint64_t seed;
	bool csv, quiet;
	const char *json, *html;
};

static const char usage[] =
"Usage: rhizome replay [OPTIONS] FILE...\n"
"\n"
"Takes the requests for a root out of a trace of a KVM host, runs them through the\n"
"library's root cache, and shows for each policy and number of cached roots how many\n"
"find the current root, a cached one, or none, and what that costs.\n"
"\n"
"FILE is what \"rhizome record\" or \"rhizome run --trace\" wrote, trace-cmd's trace.dat, or\n"
"the text of tracefs' trace, of trace-cmd report or of perf script; plain or packed with\n"
"gzip or zstd; - is standard input. It needs one of\n"
"  - a kprobe event new_pgd on kvm_mmu_new_pgd with its pgd= (every request)\n"
"  - the tracepoints kvm_nested_vmenter and kvm_nested_vmexit_inject, and kvm_cr where\n"
"    the processor has it (inferred: the requests that they tell of)\n"
"\n"
"  --capacity LIST    cached roots to show, 0 to 64: 3,8,11-16 (default: the table shows\n"
"                     0,1,2,3,4,5,6,8,11,16,32,64, CSV and JSON all)\n"
"  --all-capacities   0-64 in the table, too\n"
"  --policy LIST      none, victim, current-first, at-creation, random-4, pinned\n"
"                     (default all)\n"
"  --contexts WHICH   shared (one pool for all contexts of a vCPU), separate (KVM: a cache\n"
"                     for each MMU) or both (default)\n"
"  --seed N           for random-4 (default 1)\n"
"  --json FILE        writes JSON; with - in place of the table\n"
"  --csv              prints CSV in place of the table\n"
"  --html FILE        writes a page that needs nothing else\n"
"  --quiet            no progress on the terminal\n"
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
	memset(options->wanted.capacity, 0, sizeof(options->wanted.capacity));
	options->chosen = true;
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
			options->wanted.capacity[first] = true;
		if (*list == '\0')
			return true;
		if (*list++ != ',')
			return false;
	}
}

static bool parse_policies(const char *list, struct options *options)
{
	memset(options->wanted.policy, 0, sizeof(options->wanted.policy));
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
		options->wanted.policy[policy] = true;
		list += length;
		if (*list++ == '\0')
			return true;
	}
}

static bool parse_contexts(const char *which, struct options *options)
{
	bool both = !strcmp(which, "both");

	options->wanted.contexts[LAB_SHARED] = both || !strcmp(which, "shared");
	options->wanted.contexts[LAB_SEPARATE] = both || !strcmp(which, "separate");
	return options->wanted.contexts[LAB_SHARED] || options->wanted.contexts[LAB_SEPARATE];
}

enum { OPTION_CAPACITY = 256, OPTION_ALL, OPTION_POLICY, OPTION_CONTEXTS, OPTION_SEED, OPTION_JSON,
       OPTION_CSV, OPTION_HTML, OPTION_QUIET, OPTION_HELP };

static bool parse_one(int option, const char *value, struct options *options)
{
	unsigned long seed = 0;

	switch (option) {
	case OPTION_CAPACITY:
		return parse_capacities(value, options);
	case OPTION_ALL:
		memset(options->wanted.capacity, true, sizeof(options->wanted.capacity));
		options->chosen = true;
		return true;
	case OPTION_POLICY:
		return parse_policies(value, options);
	case OPTION_CONTEXTS:
		return parse_contexts(value, options);
	case OPTION_SEED:
		if (!take_number(&value, ~0ul, &seed) || *value)
			return false;
		options->seed = seed;
		return true;
	case OPTION_JSON:
		options->json = value;
		return *value != '\0';
	case OPTION_HTML:
		options->html = value;
		return *value != '\0';
	case OPTION_QUIET:
		options->quiet = true;
		return true;
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
		{ "contexts", required_argument, NULL, OPTION_CONTEXTS },
		{ "seed", required_argument, NULL, OPTION_SEED },
		{ "json", required_argument, NULL, OPTION_JSON },
		{ "csv", no_argument, NULL, OPTION_CSV },
		{ "html", required_argument, NULL, OPTION_HTML },
		{ "quiet", no_argument, NULL, OPTION_QUIET },
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

/* One of the reports that go to a file of their own. */
typedef void (*write_report)(const struct lab_findings *findings, const struct lab_wanted *wanted,
                             FILE *out);

static enum lab_exit write_file(const struct lab_findings *findings,
                                const struct lab_wanted *wanted, const char *path,
                                write_report write)
{
	FILE *file = fopen(path, "w");
	bool written;

	if (!file)
		return lab_complain(LAB_EXIT_FAILED, "%s: %s", path, strerror(errno));
	write(findings, wanted, file);
	written = !ferror(file);
	if (fclose(file) || !written)
		return lab_complain(LAB_EXIT_FAILED, "%s: cannot be written: %s", path,
		                    strerror(errno));
	return LAB_EXIT_OK;
}

/* The terminal's width; a fixed one for files and pipes. */
static unsigned columns(void)
{
	struct winsize size;
	const char *given = getenv("COLUMNS");

	if (!isatty(STDOUT_FILENO))
		return 96;
	if (given && atoi(given) > 0)
		return (unsigned)atoi(given);
	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_col ? 80 : size.ws_col;
}

static enum lab_exit report_all(const struct lab_findings *findings, struct options *options)
{
	struct lab_wanted all = options->wanted;
	enum lab_exit status = LAB_EXIT_OK;

	if (!options->chosen)
		memset(all.capacity, true, sizeof(all.capacity));
	if (options->json && strcmp(options->json, "-"))
		status = write_file(findings, &all, options->json, lab_report_json);
	if (status == LAB_EXIT_OK && options->html)
		status = write_file(findings, &all, options->html, lab_report_html);
	if (status != LAB_EXIT_OK)
		return status;
	if (options->csv)
		lab_report_csv(findings, &all, stdout);
	else if (options->json && !strcmp(options->json, "-"))
		lab_report_json(findings, &all, stdout);
	else
		lab_report_table(findings, &options->wanted, columns(), stdout);
	return lab_finish();
}

enum lab_exit lab_replay(int argc, char **argv)
{
	struct options options = { .seed = 1 };
	struct lab_study study = { .vcpus_count = 0 };
	struct lab_findings *findings;
	enum lab_exit status;
	bool done = false;

	parse_capacities("0-6,8,11,16,32,64", &options);
	options.chosen = false;
	memset(options.wanted.policy, true, sizeof(options.wanted.policy));
	memset(options.wanted.contexts, true, sizeof(options.wanted.contexts));
	status = parse(argc, argv, &options, &done);
	if (status != LAB_EXIT_OK || done)
		return status;
	setlocale(LC_CTYPE, "");
	study.random = options.wanted.policy[RHZ_ROOTS_RANDOM_4];
	study.seed = options.seed;
	study.quiet = options.quiet;
	for (int i = optind; status == LAB_EXIT_OK && i < argc; i++)
		status = lab_study_read(&study, argv[i]);
	if (status == LAB_EXIT_OK) {
		findings = lab_realloc(NULL, 1, sizeof(*findings));
		lab_findings_make(findings, &study, &options.wanted);
		status = report_all(findings, &options);
		free(findings);
	}
	lab_study_free(&study);
	return status;
}
