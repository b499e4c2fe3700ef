/* SPDX-License-Identifier: MIT */
/*
 * rhizome record: the moments of a KVM host that concern roots, as they happen. Here are the
 * sub-command's options, the loop and its ends; probes.c asks the kernel, ring.c reads it.
 */
#include "record.h"
#include "compact.h"
#include "ring.h"
#include "vms.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { POLL_MS = 100, LINE_MS = 1000, BUFFER_DEFAULT_KIB = 8192, BUFFER_MAX_KIB = 1 << 20 };

static const char usage[] =
"Usage: rhizome record [OPTIONS]\n"
"\n"
"Records, on a KVM host and as root, every moment that concerns the roots of its guests'\n"
"page tables: requests for a root, loads, frees, syncs, page tables made and given up,\n"
"invalidations, exits, entries, nested ones too. Ctrl-C ends it. Give the file to\n"
"\"rhizome replay\".\n"
"\n"
"  -o, --output FILE     where to (default rhizome.trace; - is standard output)\n"
"  -p, --pid PID[,...]   only the VMs of these processes; may be repeated\n"
"      --vm NAME         only the VM of this name (QEMU's -name); may be repeated\n"
"  -d, --duration S      ends after so many seconds; or with m, h\n"
"  -c, --count N         ends after N requests for a root\n"
"  -b, --buffer KIB      the kernel's buffer for each processor (default 8192)\n"
"  -q, --quiet           no live line\n"
"  -l, --list            prints this host's VMs and records nothing\n"
"      --help            prints this\n"
"\n"
"Exit status: 0 recorded, 1 recording or writing failed, 2 bad arguments, no such VM, no\n"
"root, no KVM or no tracefs.\n";

struct options {
	const char *output;
	pid_t *process;
	size_t processes;
	uint64_t duration_s, count, buffer_kib;
	bool quiet, list;
};

static const struct option long_options[] = {
	{ "output", required_argument, NULL, 'o' },
	{ "pid", required_argument, NULL, 'p' },
	{ "vm", required_argument, NULL, 'v' },
	{ "duration", required_argument, NULL, 'd' },
	{ "count", required_argument, NULL, 'c' },
	{ "buffer", required_argument, NULL, 'b' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "list", no_argument, NULL, 'l' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* A number of at least 1; *rest is what stands behind it. */
static bool read_number(const char *text, uint64_t max, uint64_t *value, const char **rest)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	*value = strtoull(text, &end, 10);
	*rest = end;
	return !errno && *value >= 1 && *value <= max;
}

static bool read_duration(const char *text, uint64_t *seconds)
{
	uint64_t unit = 1;
	const char *rest;

	if (!read_number(text, 366 * 24 * 3600, seconds, &rest))
		return false;
	if (*rest == 'm' || *rest == 'h')
		unit = *rest == 'm' ? 60 : 3600;
	*seconds *= unit;
	return !*rest || ((*rest == 's' || unit > 1) && !rest[1]);
}

static void add_process(struct options *options, pid_t process)
{
	options->process = lab_realloc(options->process, options->processes + 1,
	                               sizeof(*options->process));
	options->process[options->processes++] = process;
}

static enum lab_exit add_processes(struct options *options, const char *list)
{
	const char *at = list;
	uint64_t value;

	for (;; at++) {
		if (!read_number(at, INT32_MAX, &value, &at) || (*at && *at != ','))
			return lab_complain(LAB_EXIT_BAD,
			                    "%s: --pid wants process numbers and commas", list);
		if (kill((pid_t)value, 0) != 0 && errno == ESRCH)
			return lab_complain(LAB_EXIT_BAD, "there is no process %llu",
			                    (unsigned long long)value);
		add_process(options, (pid_t)value);
		if (!*at)
			return LAB_EXIT_OK;
	}
}

static enum lab_exit add_named(struct options *options, const char *name)
{
	size_t before = options->processes, count;
	struct vms_vm *vm;

	count = vms_list(&vm);
	for (size_t i = 0; i < count; i++)
		if (!strcmp(vm[i].name, name))
			add_process(options, vm[i].process);
	free(vm);
	if (options->processes > before)
		return LAB_EXIT_OK;
	return lab_complain(LAB_EXIT_BAD, "there is no VM named %s (see rhizome record --list)",
	                    name);
}

static enum lab_exit take_option(struct options *options, int option, const char *value)
{
	const char *rest = "";
	bool good = true;

	switch (option) {
	case 'o':
		options->output = value;
		break;
	case 'p':
		return add_processes(options, value);
	case 'v':
		return add_named(options, value);
	case 'd':
		good = read_duration(value, &options->duration_s);
		break;
	case 'c':
		good = read_number(value, UINT64_MAX, &options->count, &rest) && !*rest;
		break;
	case 'b':
		good = read_number(value, BUFFER_MAX_KIB, &options->buffer_kib, &rest) && !*rest;
		break;
	case 'q':
		options->quiet = true;
		break;
	case 'l':
		options->list = true;
		break;
	}
	return good ? LAB_EXIT_OK : lab_complain(LAB_EXIT_BAD, "%s: not a %s", value,
	                                         option == 'd' ? "duration" : "number from 1");
}

static enum lab_exit print_list(void)
{
	struct vms_vm *vm;
	size_t count = vms_list(&vm);

	if (count)
		printf("%8s  %5s  %s\n", "process", "vCPUs", "name");
	for (size_t i = 0; i < count; i++)
		printf("%8d  %5u  %s\n", (int)vm[i].process, vm[i].vcpus, vm[i].name);
	free(vm);
	if (!count)
		fputs("rhizome: no VM of KVM is running here (or you may not see it)\n", stderr);
	return lab_finish();
}

/* A recording that is under way. */
struct recording {
	const struct options *options;
	struct lab_compact_writer *writer;
	struct record_seen *seen;
	uint64_t begin_ns, line_ns;
	bool full;   /* as many requests as were asked for */
	bool failed; /* and errno says why nothing more can be written */
	int error;
	bool terminal;
	uint64_t senseless; /* requests whose address no page table can have */
};

static void take_event(void *context, const struct lab_event *event, uint64_t lost)
{
	struct recording *recording = context;
	struct lab_event complete;

	if (recording->full || recording->failed)
		return;
	if (!event) {
		record_see_lost(recording->seen, lost);
		recording->failed = !lab_compact_lost(recording->writer, lost);
	} else {
		complete = *event;
		record_see(recording->seen, &complete);
		recording->failed = !lab_compact_write(recording->writer, &complete);
		recording->senseless += event->kind == LAB_EVENT_NEW_PGD && event->value >> 63;
	}
	recording->error = recording->failed ? errno : 0;
	recording->full = recording->options->count &&
	                  record_requests(recording->seen) >= recording->options->count;
}

static bool any_lives(const struct options *options)
{
	bool lives = !options->processes;

	for (size_t i = 0; i < options->processes; i++)
		lives |= kill(options->process[i], 0) == 0 || errno != ESRCH;
	return lives;
}

static void show_line(struct recording *recording, uint64_t now)
{
	char line[200];

	recording->line_ns = now;
	record_print_line(recording->seen, line, sizeof(line), now, false);
	fprintf(stderr, "\r%4llu s: %s\033[K",
	        (unsigned long long)((now - recording->begin_ns) / 1000000000), line);
}

/* Until one of the ends comes. False, with a complaint, if reading failed. */
static bool record_on(struct recording *recording, struct ring *ring)
{
	const struct options *options = recording->options;

	while (!interrupted && !recording->full && !recording->failed) {
		uint64_t now;

		poll(NULL, 0, POLL_MS);
		if (!ring_read(ring, false, take_event, recording))
			return false;
		now = now_ns();
		if (now - recording->line_ns >= LINE_MS * 1000000ull) {
			if (recording->terminal)
				show_line(recording, now);
			/* Whoever looks at the file meanwhile shall find something. */
			if (!recording->failed && !lab_compact_flush(recording->writer)) {
				recording->failed = true;
				recording->error = errno;
			}
			recording->line_ns = now;
			if (!any_lives(options))
				return true;
		}
		if (options->duration_s &&
		    now - recording->begin_ns >= options->duration_s * 1000000000)
			return true;
	}
	return true;
}

/* The last of what the kernel holds, and the end of the file. */
static enum lab_exit finish(struct recording *recording, const struct probes *probes,
                            struct ring *ring)
{
	enum lab_exit status = probes_switch(probes, false);

	if (!ring_read(ring, true, take_event, recording))
		status = LAB_EXIT_FAILED;
	if (!lab_compact_close(recording->writer) && !recording->failed) {
		recording->failed = true;
		recording->error = errno;
	}
	if (recording->terminal)
		fputc('\n', stderr);
	/* A reader that has what it wanted is no failure. */
	if (recording->failed && recording->error != EPIPE)
		status = lab_complain(LAB_EXIT_FAILED, "cannot write %s: %s",
		                      recording->options->output, strerror(recording->error));
	if (recording->senseless)
		status = lab_complain(LAB_EXIT_FAILED, "%llu requests have an address that no "
		                      "page table has: this kernel's kvm_mmu_new_pgd is not the "
		                      "one that is known here",
		                      (unsigned long long)recording->senseless);
	return status;
}

static void print_summary(struct recording *recording, const struct probes *probes,
                          uint64_t end_ns)
{
	char line[200];

	record_print_line(recording->seen, line, sizeof(line), end_ns, true);
	fprintf(stderr, "rhizome: %.1f s, %s; %s\n",
	        (double)(end_ns - recording->begin_ns) / 1e9, line, recording->options->output);
	if (!probes->requests)
		fputs("rhizome: requests for a root could not be recorded; replay infers what "
		      "it can\n", stderr);
}

/* Records with what probes_open made. */
static enum lab_exit record_with(const struct options *options, const struct probes *probes, int fd)
{
	struct recording recording = { .options = options };
	struct record_facts facts;
	enum lab_exit status;
	struct ring *ring = ring_open(probes);
	uint64_t end_ns;

	if (!ring)
		return LAB_EXIT_FAILED;
	record_read_facts(&facts, probes->missing);
	recording.writer = lab_compact_create(fd, 1000000000, facts.fact, facts.count);
	recording.terminal = !options->quiet && isatty(STDERR_FILENO);
	status = probes_switch(probes, true);
	recording.begin_ns = now_ns();
	recording.line_ns = recording.begin_ns;
	recording.seen = record_seen_new(facts.direct, recording.begin_ns);
	if (!status && !record_on(&recording, ring))
		status = LAB_EXIT_FAILED;
	end_ns = now_ns();
	status = finish(&recording, probes, ring) ? LAB_EXIT_FAILED : status;
	print_summary(&recording, probes, end_ns);
	record_seen_free(recording.seen);
	ring_close(ring);
	return status;
}

static int open_output(const char *path)
{
	int fd = STDOUT_FILENO;

	if (strcmp(path, "-"))
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		lab_complain(LAB_EXIT_BAD, "%s: %s", path, strerror(errno));
	return fd;
}

/* All that must be taken away again lies between probes_open and probes_close. */
static enum lab_exit record(const struct options *options)
{
	struct probes probes;
	enum lab_exit status;
	pid_t *tasks = NULL;
	size_t count = 0;
	int fd = -1;

	for (size_t i = 0; i < options->processes; i++)
		if (!vms_add_tasks(options->process[i], &tasks, &count))
			return lab_complain(LAB_EXIT_BAD, "process %d has gone",
			                    (int)options->process[i]);
	probes_remove_stale();
	status = probes_open(&probes, tasks, count, (unsigned)options->buffer_kib);
	if (!status && probes.missing[0])
		fprintf(stderr, "rhizome: not recorded here: %s\n", probes.missing);
	if (!status) {
		fd = open_output(options->output);
		status = fd < 0 ? LAB_EXIT_BAD : record_with(options, &probes, fd);
	}
	if (fd > STDERR_FILENO && close(fd) != 0)
		status = lab_complain(LAB_EXIT_FAILED, "cannot write %s: %s", options->output,
		                      strerror(errno));
	if (probes_close(&probes))
		status = LAB_EXIT_FAILED;
	free(tasks);
	return status;
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

enum lab_exit lab_record(int argc, char **argv)
{
	struct options options = { .output = "rhizome.trace", .buffer_kib = BUFFER_DEFAULT_KIB };
	enum lab_exit status = LAB_EXIT_OK;
	int option;

	opterr = 0;
	optind = 1;
	while (!status && (option = getopt_long(argc, argv, "+o:p:d:c:b:qlh", long_options,
	                                        NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			return lab_finish();
		}
		status = option == '?' ? lab_complain(LAB_EXIT_BAD, "%s: no option of \"record\", "
		                                      "or its value lacks", argv[optind - 1]) :
		                         take_option(&options, option, optarg);
	}
	if (!status && optind < argc)
		status = lab_complain(LAB_EXIT_BAD, "%s: \"record\" takes no files", argv[optind]);
	if (!status && options.list)
		status = print_list();
	else if (!status && !(status = probes_allowed())) {
		catch_signals();
		status = record(&options);
	}
	free(options.process);
	return status;
}
