/* SPDX-License-Identifier: MIT */
/*
 * rhizome run: boots a guest on the hypervisor in QEMU. Here are the sub-command's options, the
 * command line that they make and the exit status; run_qemu.c starts and watches the process.
 */
#include "run.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MEMORY_MIN_MIB = 64, MEMORY_DEFAULT_MIB = 512, CPUS_MAX = 64 };

struct options {
	const char *kernel, *initrd, *append, *multiboot;
	const char *guest; /* one of kernel and multiboot */
	const char *module[RUN_MODULES_MAX];
	unsigned modules;
	unsigned long memory_mib, cpus, timeout_s;
	const char *stats;
	bool no_large_pages, icount, bare, dry_run;
	char **qemu; /* more arguments for it, ended by null */
};

static const char usage[] =
"Usage: rhizome run --kernel FILE [--initrd FILE] [--append STRING] [OPTIONS] [-- QEMU...]\n"
"       rhizome run --multiboot FILE [--append STRING] [--module FILE]... [OPTIONS] ...\n"
"\n"
"Boots a Linux bzImage or a Multiboot kernel on the hypervisor, in QEMU. The guest's first\n"
"serial line is the terminal's; Ctrl-A X quits. What the hypervisor itself has to say, and\n"
"its statistics at the end, go to standard error.\n"
"\n"
"  --paging nested     two-dimensional paging: the only kind in this version\n"
"  --no-large-pages    map the guest in pages of 4 KiB only\n"
"  --kernel FILE       a Linux bzImage\n"
"  --initrd FILE       its initial RAM disk\n"
"  --append STRING     the guest's command line\n"
"  --multiboot FILE    a Multiboot 1 kernel; has pc-testdev, and isa-debug-exit at 0xf4\n"
"  --module 'FILE ...' a module for it, its own command line behind a space\n"
"  --machine qemu      the only machine in this version\n"
"  --memory SIZE       in MiB, or with G (default 512)\n"
"  --cpus N            processors of the machine (default 1); the guest gets one\n"
"  --icount            emulated instructions are the clock: repeatable figures\n"
"  --timeout SECONDS   end the run then, with 124\n"
"  --stats FILE        writes the statistics as JSON; - is standard output\n"
"  --bare              the same guest without the hypervisor\n"
"  --dry-run           prints QEMU's command line and runs nothing\n"
"  --help              prints this\n"
"\n"
"Exit status: 0 the guest powered off or reset, (v << 1) | 1 it left with v by\n"
"isa-debug-exit, 70 it died, 124 time-out, 2 bad arguments or files, 1 QEMU failed.\n";

enum {
	OPTION_HELP = 256,
	OPTION_PAGING,
	OPTION_NO_LARGE_PAGES,
	OPTION_KERNEL,
	OPTION_INITRD,
	OPTION_APPEND,
	OPTION_MULTIBOOT,
	OPTION_MODULE,
	OPTION_MACHINE,
	OPTION_MEMORY,
	OPTION_CPUS,
	OPTION_ICOUNT,
	OPTION_TIMEOUT,
	OPTION_STATS,
	OPTION_BARE,
	OPTION_DRY_RUN,
	OPTION_LATER, /* of the design, not in this version */
};

static const struct option long_options[] = {
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "paging", required_argument, NULL, OPTION_PAGING },
	{ "no-large-pages", no_argument, NULL, OPTION_NO_LARGE_PAGES },
	{ "kernel", required_argument, NULL, OPTION_KERNEL },
	{ "initrd", required_argument, NULL, OPTION_INITRD },
	{ "append", required_argument, NULL, OPTION_APPEND },
	{ "multiboot", required_argument, NULL, OPTION_MULTIBOOT },
	{ "module", required_argument, NULL, OPTION_MODULE },
	{ "machine", required_argument, NULL, OPTION_MACHINE },
	{ "memory", required_argument, NULL, OPTION_MEMORY },
	{ "cpus", required_argument, NULL, OPTION_CPUS },
	{ "icount", no_argument, NULL, OPTION_ICOUNT },
	{ "timeout", required_argument, NULL, OPTION_TIMEOUT },
	{ "stats", required_argument, NULL, OPTION_STATS },
	{ "bare", no_argument, NULL, OPTION_BARE },
	{ "dry-run", no_argument, NULL, OPTION_DRY_RUN },
	{ "roots", required_argument, NULL, OPTION_LATER },
	{ "root-policy", required_argument, NULL, OPTION_LATER },
	{ "trace", required_argument, NULL, OPTION_LATER },
	{ NULL, 0, NULL, 0 },
};

static enum lab_exit later(const char *what)
{
	return lab_complain(LAB_EXIT_BAD, "%s: not in this version", what);
}

/* A number from min to max; a suffix M or G counts MiB, where 'sizes'. */
static bool parse_number(const char *text, unsigned long min, unsigned long max, bool sizes,
                         unsigned long *value)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	*value = strtoul(text, &end, 10);
	if (errno || *value > max)
		return false;
	if (sizes && (*end == 'G' || *end == 'M')) {
		if (*end == 'G')
			*value *= 1024;
		end++;
	}
	return !*end && *value >= min && *value <= max;
}

static enum lab_exit take_number(const char *name, const char *text, unsigned long min,
                                 unsigned long max, bool sizes, unsigned long *value)
{
	if (parse_number(text, min, max, sizes, value))
		return LAB_EXIT_OK;
	return lab_complain(LAB_EXIT_BAD, "--%s %s: not a number from %lu to %lu", name, text, min,
	                    max);
}

static enum lab_exit take_module(struct options *options, const char *module)
{
	if (options->modules == RUN_MODULES_MAX)
		return lab_complain(LAB_EXIT_BAD, "more than %d modules", RUN_MODULES_MAX);
	options->module[options->modules++] = module;
	return LAB_EXIT_OK;
}

/* One option. 'name' is the long one that getopt found. */
static enum lab_exit take_option(struct options *options, int option, const char *name)
{
	switch (option) {
	case OPTION_PAGING:
		return strcmp(optarg, "nested") ? later("--paging other than nested") : LAB_EXIT_OK;
	case OPTION_MACHINE:
		return strcmp(optarg, "qemu") ? later("--machine other than qemu") : LAB_EXIT_OK;
	case OPTION_NO_LARGE_PAGES:
		options->no_large_pages = true;
		break;
	case OPTION_KERNEL:
		options->kernel = optarg;
		break;
	case OPTION_INITRD:
		options->initrd = optarg;
		break;
	case OPTION_APPEND:
		options->append = optarg;
		break;
	case OPTION_MULTIBOOT:
		options->multiboot = optarg;
		break;
	case OPTION_MODULE:
		return take_module(options, optarg);
	case OPTION_MEMORY:
		return take_number(name, optarg, MEMORY_MIN_MIB, 1ul << 20, true,
		                   &options->memory_mib);
	case OPTION_CPUS:
		return take_number(name, optarg, 1, CPUS_MAX, false, &options->cpus);
	case OPTION_TIMEOUT:
		return take_number(name, optarg, 1, 1ul << 30, false, &options->timeout_s);
	case OPTION_ICOUNT:
		options->icount = true;
		break;
	case OPTION_STATS:
		options->stats = optarg;
		break;
	case OPTION_BARE:
		options->bare = true;
		break;
	case OPTION_DRY_RUN:
		options->dry_run = true;
		break;
	default:
		return lab_complain(LAB_EXIT_BAD, "--%s: not in this version", name);
	}
	return LAB_EXIT_OK;
}

static const char one_guest[] = "give either --kernel or --multiboot";

/* How the arguments do not fit together; null if they do. */
static const char *misfit(const struct options *options)
{
	if (options->kernel && options->multiboot)
		return one_guest;
	if (options->initrd && !options->kernel)
		return "--initrd goes with --kernel";
	if (options->modules && !options->multiboot)
		return "--module goes with --multiboot";
	if (options->bare && options->no_large_pages)
		return "--no-large-pages goes with the hypervisor";
	if (options->bare && options->stats)
		return "--stats goes with the hypervisor";
	return NULL;
}

/* A file that QEMU will read: it must be there, and its name fit into QEMU's lists. */
static enum lab_exit check_file(const char *file)
{
	if (strchr(file, ' '))
		return lab_complain(LAB_EXIT_BAD, "%s: QEMU takes no file name with a space", file);
	if (access(file, R_OK) != 0)
		return lab_complain(LAB_EXIT_BAD, "%s: %s", file, strerror(errno));
	return LAB_EXIT_OK;
}

static enum lab_exit check_files(const struct options *options)
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

/* Text that grows. */
struct text { char *at; size_t length; };

static void add(struct text *text, const char *s, bool double_commas)
{
	for (; *s; s++) {
		text->at = lab_realloc(text->at, text->length + 3, 1);
		text->at[text->length++] = *s;
		if (double_commas && *s == ',')
			text->at[text->length++] = ',';
		text->at[text->length] = '\0';
	}
}

/* The modules of the hypervisor, as QEMU's -initrd has them: commas between, doubled within. */
static char *module_list(const struct options *options)
{
	struct text list = { NULL, 0 };

	add(&list, options->guest, true);
	if (options->append && *options->append) {
		add(&list, " ", false);
		add(&list, options->append, true);
	}
	if (options->initrd) {
		add(&list, ",", false);
		add(&list, options->initrd, true);
	}
	for (unsigned i = 0; i < options->modules; i++) {
		add(&list, ",", false);
		add(&list, options->module[i], true);
	}
	return list.at;
}

/* The same for a bare Multiboot guest, whose kernel is QEMU's own -kernel. */
static char *bare_modules(const struct options *options)
{
	struct text list = { NULL, 0 };

	for (unsigned i = 0; i < options->modules; i++) {
		if (i)
			add(&list, ",", false);
		add(&list, options->module[i], true);
	}
	return list.at;
}

/* Where the hypervisor is: named by the environment, beside us in the build, or installed. */
static const char *find_hypervisor(void)
{
	static const char *const places[] = { "../hv/rhizome.elf", "../lib/rhizome/rhizome.elf",
	                                      "../lib/x86_64-linux-gnu/rhizome/rhizome.elf" };
	static char path[PATH_MAX + 64];
	char self[PATH_MAX];
	const char *named = getenv("RHIZOME_ELF");
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (named)
		return named;
	if (length <= 0)
		return NULL;
	self[length] = '\0';
	*strrchr(self, '/') = '\0';
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", self, places[i]);
		if (access(path, R_OK) == 0)
			return path;
	}
	return NULL;
}

static void add_guest(struct run_command *command, const struct options *options)
{
	if (options->kernel) {
		run_add(command, "-kernel", options->kernel);
		if (options->initrd)
			run_add(command, "-initrd", options->initrd);
	} else {
		run_add(command, "-kernel", options->multiboot);
		if (options->modules)
			run_add(command, "-initrd", bare_modules(options));
	}
	if (options->append)
		run_add(command, "-append", options->append);
}

static void add_hypervisor(struct run_command *command, const struct options *options,
                           const char *hypervisor)
{
	static char arguments[128];
	static char console[PATH_MAX + 64];

	snprintf(arguments, sizeof(arguments), "paging=nested console=e9 end=reset%s%s",
	         options->multiboot ? " exit-port=f4" : "",
	         options->no_large_pages ? " no-large-pages" : "");
	snprintf(console, sizeof(console), "file,id=rhizome,path=%s", command->console);
	run_add(command, "-chardev", console);
	run_add(command, "-device", "isa-debugcon,iobase=0xe9,chardev=rhizome");
	run_add(command, "-kernel", hypervisor);
	run_add(command, "-append", arguments);
	run_add(command, "-initrd", module_list(options));
}

static enum lab_exit make_command(struct run_command *command, const struct options *options)
{
	static char memory[32], cpus[32];
	const char *hypervisor = options->bare ? NULL : find_hypervisor();

	if (!options->bare && !hypervisor)
		return lab_complain(LAB_EXIT_BAD, "no rhizome.elf beside this program; RHIZOME_ELF "
		                                  "may name it");
	if (hypervisor && access(hypervisor, R_OK) != 0)
		return lab_complain(LAB_EXIT_BAD, "%s: %s", hypervisor, strerror(errno));
	snprintf(memory, sizeof(memory), "%luM", options->memory_mib);
	snprintf(cpus, sizeof(cpus), "%lu", options->cpus);
	run_add(command, "qemu-system-x86_64", NULL);
	run_add(command, "-accel", "tcg");
	run_add(command, "-cpu", "max");
	run_add(command, "-m", memory);
	run_add(command, "-smp", cpus);
	run_add(command, "-display", "none");
	run_add(command, "-nic", "none");
	run_add(command, "-no-reboot", NULL);
	run_add(command, "-serial", "mon:stdio");
	if (options->icount)
		run_add(command, "-icount", "shift=0,sleep=off");
	if (options->multiboot) {
		run_add(command, "-device", "pc-testdev");
		run_add(command, "-device", "isa-debug-exit,iobase=0xf4,iosize=4");
	}
	if (options->bare)
		add_guest(command, options);
	else
		add_hypervisor(command, options, hypervisor);
	for (char **more = options->qemu; *more; more++)
		run_add(command, *more, NULL);
	return LAB_EXIT_OK;
}

/* Reads the arguments. True: go on; false: *status says how to leave. */
static bool read_options(int argc, char **argv, struct options *options, enum lab_exit *status)
{
	const char *wrong;
	int option, at = 0;

	opterr = 0;
	optind = 1;
	while ((option = getopt_long(argc, argv, "+", long_options, &at)) != -1) {
		if (option == '?') {
			*status = lab_complain(LAB_EXIT_BAD,
			                       "%s: no option of \"run\", or its value lacks",
			                       argv[optind - 1]);
			return false;
		}
		if (option == OPTION_HELP) {
			fputs(usage, stdout);
			*status = lab_finish();
			return false;
		}
		*status = take_option(options, option, long_options[at].name);
		if (*status)
			return false;
	}
	options->qemu = argv + optind;
	if (optind < argc && strcmp(argv[optind - 1], "--")) {
		*status = lab_complain(LAB_EXIT_BAD, "%s: QEMU's own arguments go behind --",
		                       argv[optind]);
		return false;
	}
	options->guest = options->kernel ? options->kernel : options->multiboot;
	wrong = options->guest ? misfit(options) : one_guest;
	*status = wrong ? lab_complain(LAB_EXIT_BAD, "%s", wrong) : check_files(options);
	return !wrong && !*status;
}

enum lab_exit lab_run(int argc, char **argv)
{
	struct options options = { .memory_mib = MEMORY_DEFAULT_MIB, .cpus = 1 };
	struct run_command command = { .timeout_s = 0 };
	enum lab_exit status;

	if (!read_options(argc, argv, &options, &status))
		return status;
	command.timeout_s = options.timeout_s;
	command.stats = options.stats;
	command.hypervisor = !options.bare;
	run_name_console(&command);
	status = make_command(&command, &options);
	if (!status && options.dry_run)
		status = run_print(&command);
	else if (!status)
		status = run_qemu(&command);
	run_free(&command);
	return status;
}
