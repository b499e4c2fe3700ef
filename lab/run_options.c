/* SPDX-License-Identifier: MIT */
/* The options of `rhizome run`, `profile` and `iso`: a table, and what does not fit together. */
#include "run_options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rhizome/rhizome.h>

enum { MEMORY_MIN_MIB = 64, MEMORY_DEFAULT_MIB = 512, CPUS_MAX = 64 };

/* Which commands have an option. */
enum { RUN = 1, ISO = 2, BOTH = RUN | ISO };

enum kind { KIND_TEXT, KIND_FLAG, KIND_NUMBER, KIND_SIZE, KIND_CHOICE, KIND_MODULE, KIND_TRICK,
	    KIND_HELP };

struct setting {
	const char *name;
	enum kind kind;
	unsigned commands;
	size_t at; /* where in struct run_options */
	unsigned long min, max;
	const char *choices; /* each followed by a space */
};

#define AT(field) offsetof(struct run_options, field)
#define TRICK(name) { name, KIND_TRICK, BOTH, 0, 0, 0, NULL }

static const struct setting settings[] = {
	{ "help", KIND_HELP, BOTH, 0, 0, 0, NULL },
	{ "kernel", KIND_TEXT, BOTH, AT(kernel), 0, 0, NULL },
	{ "initrd", KIND_TEXT, BOTH, AT(initrd), 0, 0, NULL },
	{ "append", KIND_TEXT, BOTH, AT(append), 0, 0, NULL },
	{ "multiboot", KIND_TEXT, BOTH, AT(multiboot), 0, 0, NULL },
	{ "module", KIND_MODULE, BOTH, 0, 0, 0, NULL },
	{ "paging", KIND_CHOICE, BOTH, AT(paging), 0, 0, "shadow nested " },
	{ "roots", KIND_NUMBER, BOTH, AT(roots), 0, RHZ_MAX_CACHED_ROOTS, NULL },
	{ "root-policy", KIND_CHOICE, BOTH, AT(policy), 0, 0, NULL },
	TRICK("no-prefetch"),
	TRICK("no-unsync"),
	TRICK("no-root-reuse"),
	TRICK("no-tags"),
	TRICK("no-large-pages"),
	TRICK("no-mmio-cache"),
	TRICK("no-exec-large"),
	TRICK("no-lists"),
	TRICK("no-quick-fill"),
	TRICK("no-nested"),
	{ "marks", KIND_FLAG, BOTH, AT(marks), 0, 0, NULL },
	{ "live", KIND_NUMBER, BOTH, AT(live_s), 0, 3600, NULL },
	{ "bare", KIND_FLAG, BOTH, AT(bare), 0, 0, NULL },
	{ "machine", KIND_CHOICE, RUN, AT(machine), 0, 0, "qemu bochs " },
	{ "memory", KIND_SIZE, RUN, AT(memory_mib), MEMORY_MIN_MIB, 1ul << 20, NULL },
	{ "cpus", KIND_NUMBER, RUN, AT(cpus), 1, CPUS_MAX, NULL },
	{ "icount", KIND_FLAG, RUN, AT(icount), 0, 0, NULL },
	{ "timeout", KIND_NUMBER, RUN, AT(timeout_s), 1, 1ul << 30, NULL },
	{ "stats", KIND_TEXT, RUN, AT(stats), 0, 0, NULL },
	{ "trace", KIND_TEXT, RUN, AT(trace), 0, 0, NULL },
	{ "dry-run", KIND_FLAG, RUN, AT(dry_run), 0, 0, NULL },
	{ "output", KIND_TEXT, ISO, AT(output), 0, 0, NULL },
	{ "console", KIND_CHOICE, ISO, AT(console), 0, 0, "e9 com2 " },
};

enum { SETTINGS = sizeof(settings) / sizeof(settings[0]) };

static bool has_choice(const char *choices, const char *text)
{
	const size_t length = strlen(text);

	for (; *choices; choices += strcspn(choices, " ") + 1) {
		if (strcspn(choices, " ") == length && !strncmp(choices, text, length))
			return true;
	}
	return false;
}

/* "one of a, b, c" out of what each is followed by a space in. */
static enum lab_exit not_one_of(const char *name, const char *text, const char *choices)
{
	char list[128];
	size_t length = 0;

	for (; *choices && length + 3 < sizeof(list); choices++) {
		if (*choices == ' ' && choices[1])
			list[length++] = ',';
		if (choices[0] != ' ' || choices[1])
			list[length++] = *choices;
	}
	list[length] = '\0';
	return lab_complain(LAB_EXIT_BAD, "--%s %s: not one of %s", name, text, list);
}

static const char *policy_names(void)
{
	static char names[128];
	size_t length = 0;

	for (unsigned i = 0; i < RHZ_ROOT_POLICIES && length < sizeof(names); i++)
		length += (size_t)snprintf(names + length, sizeof(names) - length, "%s ",
		                           rhz_root_policy_name((enum rhz_root_policy)i));
	return names;
}

static enum lab_exit take_choice(const struct setting *setting, const char **at, const char *text)
{
	const char *choices = setting->choices ? setting->choices : policy_names();

	if (!has_choice(choices, text))
		return not_one_of(setting->name, text, choices);
	*at = text;
	return LAB_EXIT_OK;
}

/* A number in the setting's range; a suffix M or G counts MiB, where it is a size. */
static enum lab_exit take_number(const struct setting *setting, unsigned long *at,
                                 const char *text)
{
	unsigned long value;
	char *end = NULL;

	errno = 0;
	value = isdigit((unsigned char)*text) ? strtoul(text, &end, 10) : 0;
	if (end && !errno && setting->kind == KIND_SIZE && (*end == 'G' || *end == 'M')) {
		if (*end == 'G')
			value = value > setting->max ? ULONG_MAX : value * 1024;
		end++;
	}
	if (!end || errno || *end || value < setting->min || value > setting->max)
		return lab_complain(LAB_EXIT_BAD, "--%s %s: not a number from %lu to %lu",
		                    setting->name, text, setting->min, setting->max);
	*at = value;
	return LAB_EXIT_OK;
}

static enum lab_exit take_module(struct run_options *options, const char *module)
{
	if (options->modules == RUN_MODULES_MAX)
		return lab_complain(LAB_EXIT_BAD, "more than %d modules", RUN_MODULES_MAX);
	options->module[options->modules++] = module;
	return LAB_EXIT_OK;
}

static enum lab_exit take(struct run_options *options, const struct setting *setting,
                          const char *text)
{
	void *at = (char *)options + setting->at;

	switch (setting->kind) {
	case KIND_TEXT:
		*(const char **)at = text;
		break;
	case KIND_FLAG:
		*(bool *)at = true;
		break;
	case KIND_CHOICE:
		return take_choice(setting, at, text);
	case KIND_NUMBER:
	case KIND_SIZE:
		options->roots_given |= at == &options->roots;
		options->live_given |= at == &options->live_s;
		return take_number(setting, at, text);
	case KIND_MODULE:
		return take_module(options, text);
	case KIND_TRICK:
		if (options->tricks < RUN_TRICKS_MAX)
			options->trick[options->tricks++] = setting->name;
		break;
	case KIND_HELP:
		break;
	}
	return LAB_EXIT_OK;
}

static const char one_guest[] = "give either --kernel or --multiboot";

/* What would silently be without effect on a bare guest; null if nothing is. */
static const char *useless_bare(const struct run_options *options)
{
	if (options->tricks)
		return "--no-... goes with the hypervisor, not with --bare";
	if (options->paging || options->policy || options->roots_given)
		return "--paging, --roots, --root-policy go with the hypervisor, not with --bare";
	if (options->profile)
		return "--bare has no hypervisor to be profiled";
	if (options->stats || options->trace || options->marks || options->live_given)
		return "--stats, --trace, --marks, --live go with the hypervisor, not with --bare";
	return options->console ? "--console goes with the hypervisor, not with --bare" : NULL;
}

/* How the arguments do not fit together; null if they do. */
static const char *misfit(const struct run_options *options)
{
	if (!options->guest || (options->kernel && options->multiboot))
		return one_guest;
	if (options->initrd && !options->kernel)
		return "--initrd goes with --kernel";
	if (options->modules && !options->multiboot)
		return "--module goes with --multiboot";
	if (options->bochs && *options->qemu)
		return "arguments for QEMU do not go with --machine bochs";
	if (options->bochs && options->trace)
		return "--trace does not go with --machine bochs";
	return options->bare ? useless_bare(options) : NULL;
}

/* A file that the machine will read: it must be there, and its name fit into QEMU's lists. */
static enum lab_exit check_file(const char *file)
{
	if (strchr(file, ' '))
		return lab_complain(LAB_EXIT_BAD, "%s: a file name with a space cannot be given on",
		                    file);
	if (access(file, R_OK) != 0)
		return lab_complain(LAB_EXIT_BAD, "%s: %s", file, strerror(errno));
	return LAB_EXIT_OK;
}

static enum lab_exit check_files(const struct run_options *options)
{
	enum lab_exit status = check_file(options->guest);

	if (!status && options->initrd)
		status = check_file(options->initrd);
	for (unsigned i = 0; i < options->modules && !status; i++) {
		char *file = strndup(options->module[i], strcspn(options->module[i], " "));

		status = file ? check_file(file) : LAB_EXIT_FAILED;
		free(file);
	}
	return status;
}

/* What is written at the end must be one that can be: to learn that then would be a pity. */
static enum lab_exit check_output(const char *file)
{
	FILE *out = file && strcmp(file, "-") ? fopen(file, "a") : NULL;

	if (file && strcmp(file, "-") && !out)
		return lab_complain(LAB_EXIT_BAD, "%s: %s", file, strerror(errno));
	if (out)
		fclose(out);
	return LAB_EXIT_OK;
}

static unsigned make_long_options(struct option *option, unsigned command)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SETTINGS; i++) {
		const enum kind kind = settings[i].kind;
		const bool alone = kind == KIND_FLAG || kind == KIND_TRICK || kind == KIND_HELP;

		if (settings[i].commands & command)
			option[n++] = (struct option){ settings[i].name,
			                               alone ? no_argument : required_argument,
			                               NULL, (int)(256 + i) };
	}
	option[n] = (struct option){ NULL, 0, NULL, 0 };
	return n;
}

/* Reads the options alone. True: go on with the rest. */
static bool read_settings(struct run_options *options, int argc, char **argv, const char *usage,
                          enum lab_exit *status)
{
	struct option option[SETTINGS + 1];
	int found;

	make_long_options(option, strcmp(argv[0], "iso") ? RUN : ISO);
	opterr = 0;
	optind = 1;
	while ((found = getopt_long(argc, argv, "+", option, NULL)) != -1) {
		const struct setting *setting;

		if (found == '?') {
			*status = lab_complain(LAB_EXIT_BAD,
			                       "%s: no option of \"%s\", or its value lacks",
			                       argv[optind - 1], argv[0]);
			return false;
		}
		setting = &settings[found - 256];
		if (setting->kind == KIND_HELP) {
			fputs(usage, stdout);
			*status = lab_finish();
			return false;
		}
		*status = take(options, setting, optarg);
		if (*status)
			return false;
	}
	return true;
}

bool run_options_read(struct run_options *options, int argc, char **argv, const char *usage,
                      enum lab_exit *status)
{
	const bool profile = !strcmp(argv[0], "profile"), iso = !strcmp(argv[0], "iso");
	const char *wrong;

	*options = (struct run_options){
		.memory_mib = MEMORY_DEFAULT_MIB, .cpus = 1, .profile = profile, .icount = profile,
	};
	if (!read_settings(options, argc, argv, usage, status))
		return false;
	options->qemu = argv + optind;
	if (optind < argc && (iso || strcmp(argv[optind - 1], "--"))) {
		*status = lab_complain(LAB_EXIT_BAD, "%s: arguments behind the options are QEMU's, "
		                                     "and go behind --", argv[optind]);
		return false;
	}
	options->bochs = options->machine && !strcmp(options->machine, "bochs");
	options->guest = options->kernel ? options->kernel : options->multiboot;
	if (!options->live_given && !options->icount && !iso)
		options->live_s = 1;
	wrong = misfit(options);
	*status = wrong ? lab_complain(LAB_EXIT_BAD, "%s", wrong) : check_files(options);
	if (!*status && !options->dry_run)
		*status = check_output(options->stats);
	if (!*status && !options->dry_run)
		*status = check_output(options->trace);
	return !*status;
}

/* ---- what the hypervisor is told ---- */

static size_t add_word(char *words, size_t size, size_t length, const char *name,
                       const char *value)
{
	const int n = snprintf(words + length, size - length, "%s%s%s", length ? " " : "", name,
	                       value);

	return length + (size_t)n < size ? length + (size_t)n : length;
}

const char *run_options_words(const struct run_options *options, const char *console,
                              const char *ending)
{
	static char words[1024];
	const size_t size = sizeof(words);
	char number[24];
	size_t length = 0;

	length = add_word(words, size, length, "paging=", options->paging ? options->paging
	                                                                  : "nested");
	length = add_word(words, size, length, "console=", console);
	length = add_word(words, size, length, "end=", ending);
	if (options->multiboot)
		length = add_word(words, size, length, "exit-port=f4", "");
	if (options->policy)
		length = add_word(words, size, length, "root-policy=", options->policy);
	if (options->roots_given) {
		snprintf(number, sizeof(number), "%lu", options->roots);
		length = add_word(words, size, length, "roots=", number);
	}
	if (options->live_s) {
		snprintf(number, sizeof(number), "%lu", options->live_s);
		length = add_word(words, size, length, "stats=", number);
	}
	if (options->marks)
		length = add_word(words, size, length, "marks", "");
	if (options->trace)
		length = add_word(words, size, length, "trace", "");
	if (options->profile)
		length = add_word(words, size, length, "profile", "");
	for (unsigned i = 0; i < options->tricks; i++)
		length = add_word(words, size, length, options->trick[i], "");
	return words;
}

const char *run_find_hypervisor(void)
{
	static const char *const places[] = { "../hv/rhizome.elf", "../lib/rhizome/rhizome.elf",
	                                      "../lib/x86_64-linux-gnu/rhizome/rhizome.elf" };
	static char path[PATH_MAX + 64];
	char self[PATH_MAX];
	const char *named = getenv("RHIZOME_ELF");
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (named && access(named, R_OK) != 0) {
		lab_complain(LAB_EXIT_BAD, "%s: %s", named, strerror(errno));
		return NULL;
	}
	if (named)
		return named;
	self[length > 0 ? length : 0] = '\0';
	if (strrchr(self, '/'))
		*strrchr(self, '/') = '\0';
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", self, places[i]);
		if (access(path, R_OK) == 0)
			return path;
	}
	lab_complain(LAB_EXIT_BAD, "no rhizome.elf beside this program; RHIZOME_ELF may name it");
	return NULL;
}
