/* SPDX-License-Identifier: MIT */
/* rhizome top: the statistics of a run while it runs, with their rates, as kvm_stat shows KVM's. */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "counters.h"
#include "lab.h"
#include "live.h"

static const char usage[] =
"Usage: rhizome top [--count N] [PID]\n"
"\n"
"Shows the statistics of a running \"rhizome run\" live: each counter, and what it gains in a\n"
"second of the guest's time; the busiest first. Without PID it is the run begun last. The numbers\n"
"are as fresh as the run's --live says. q or Ctrl-C ends it, as does the end of the run.\n"
"\n"
"  --count N    ends after N pictures; without a terminal they follow each other\n"
"  --help       prints this\n"
"\n"
"Exit status: 0 done, 2 there is no such run.\n";

enum { POLL_MS = 100, HEADING_ROWS = 4, ROWS_DEFAULT = 24 };

/* What a run's file said, twice: rates are differences. */
struct view {
	char file[LIVE_PATH_SIZE];
	pid_t pid;
	char what[512];
	struct counters now, before;
	bool has_before;
};

struct row { const char *name; uint64_t total; double rate; };

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	(void)signal;
	stopped = 1;
}

/* Reads the file. False: it is not there, or says nothing yet. */
static bool read_file(const char *file, char what[512], struct counters *counters)
{
	static char json[1 << 16];
	FILE *in = fopen(file, "r");
	bool read;

	if (!in)
		return false;
	read = fgets(what, 512, in) && fgets(json, sizeof(json), in) &&
	       counters_read(counters, json);
	fclose(in);
	what[strcspn(what, "\n")] = '\0';
	return read;
}

static bool is_alive(pid_t pid)
{
	return kill(pid, 0) == 0 || errno == EPERM;
}

/* The PID of the run whose file was made last; what a killed run left behind is removed. */
static pid_t newest_run(void)
{
	char folder[LIVE_PATH_SIZE], file[LIVE_PATH_SIZE];
	struct dirent *entry;
	struct stat stats;
	time_t newest = 0;
	pid_t found = 0;
	DIR *dir;

	dir = live_folder(folder, false) ? opendir(folder) : NULL;
	while (dir && (entry = readdir(dir))) {
		char *end;
		const pid_t pid = (pid_t)strtol(entry->d_name, &end, 10);

		if (pid <= 0 || strcmp(end, ".run") || !live_file(file, pid, false))
			continue;
		if (!is_alive(pid))
			unlink(file);
		else if (stat(file, &stats) == 0 && stats.st_mtime >= newest)
			newest = stats.st_mtime, found = pid;
	}
	if (dir)
		closedir(dir);
	return found;
}

static int by_rate(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->rate != y->rate)
		return x->rate < y->rate ? 1 : -1;
	if (x->total != y->total)
		return x->total < y->total ? 1 : -1;
	return strcmp(x->name, y->name);
}

/* Counters that move, the busiest first; clocks are none. */
static unsigned make_rows(const struct view *view, struct row *row)
{
	const double hz = (double)counters_get(&view->now, "tsc_hz");
	const double ticks = (double)(counters_get(&view->now, "tsc") -
	                              counters_get(&view->before, "tsc"));
	unsigned n = 0;

	for (unsigned i = 0; i < view->now.count; i++) {
		const char *name = view->now.counter[i].name;
		const uint64_t total = view->now.counter[i].value;
		const double more = (double)total - (double)counters_get(&view->before, name);

		if (!total || !strncmp(name, "tsc", 3))
			continue;
		row[n++] = (struct row){ name, total,
		                         view->has_before && ticks > 0 ? more * hz / ticks : 0 };
	}
	qsort(row, n, sizeof(row[0]), by_rate);
	return n;
}

static unsigned terminal_rows(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || size.ws_row <= HEADING_ROWS)
		return ROWS_DEFAULT;
	return size.ws_row;
}

static void print_view(const struct view *view, bool terminal)
{
	struct row row[COUNTERS_MAX];
	unsigned n = make_rows(view, row);
	const double hz = (double)counters_get(&view->now, "tsc_hz");
	char commas[LAB_COMMAS_SIZE], rate[LAB_COMMAS_SIZE];

	if (terminal) {
		printf("\033[H\033[2J");
		if (n > terminal_rows() - HEADING_ROWS)
			n = terminal_rows() - HEADING_ROWS;
	}
	printf("rhizome top: run %ld: %s", (long)view->pid, view->what);
	if (hz > 0)
		printf(", %.0f s", (double)counters_get(&view->now, "tsc") / hz);
	printf("\n\n%-28s %18s %14s\n", "counter", "total", "per second");
	for (unsigned i = 0; i < n; i++)
		printf("%-28s %18s %14s\n", row[i].name, lab_commas(row[i].total, commas),
		       view->has_before ? lab_commas((uint64_t)(row[i].rate > 0 ? row[i].rate : 0),
		                                     rate) : "-");
	if (!terminal)
		putchar('\n');
	fflush(stdout);
}

/* Takes what the file says now. True: it is something new. */
static bool look(struct view *view)
{
	struct counters counters;

	if (!read_file(view->file, view->what, &counters) ||
	    counters_get(&counters, "tsc") == counters_get(&view->now, "tsc"))
		return false;
	view->has_before = view->now.count != 0;
	view->before = view->now;
	view->now = counters;
	return true;
}

static bool wants_to_quit(bool terminal)
{
	struct pollfd in = { .fd = terminal ? STDIN_FILENO : -1, .events = POLLIN };
	char key;

	return (poll(&in, 1, POLL_MS) == 1 && read(STDIN_FILENO, &key, 1) == 1 && key == 'q') ||
	       stopped;
}

static enum lab_exit show(struct view *view, unsigned long count)
{
	const bool terminal = isatty(STDOUT_FILENO);
	unsigned long shown = 0;

	signal(SIGINT, stop);
	while (!count || shown < count) {
		if (look(view)) {
			print_view(view, terminal);
			shown++;
		} else if (!is_alive(view->pid) || access(view->file, R_OK) != 0) {
			break;
		}
		if ((!count || shown < count) && wants_to_quit(terminal && isatty(STDIN_FILENO)))
			break;
	}
	return lab_finish();
}

static bool read_number(const char *text, unsigned long *value)
{
	char *end;

	errno = 0;
	*value = strtoul(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && !errno && *value > 0 &&
	       *value <= 0x7fffffff;
}

enum lab_exit lab_top(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "count", required_argument, NULL, 'c' },
		{ NULL, 0, NULL, 0 },
	};
	struct view view = { .pid = 0 };
	unsigned long count = 0, pid = 0;
	int option;

	opterr = 0;
	optind = 1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			return lab_finish();
		}
		if (option != 'c')
			return lab_complain(LAB_EXIT_BAD,
			                    "%s: no option of \"top\", or its value lacks",
			                    argv[optind - 1]);
		if (!read_number(optarg, &count))
			return lab_complain(LAB_EXIT_BAD, "--count %s: not a number from 1",
			                    optarg);
	}
	if (optind + 1 < argc || (optind < argc && !read_number(argv[optind], &pid)))
		return lab_complain(LAB_EXIT_BAD, "%s: not the PID of a run", argv[argc - 1]);
	view.pid = pid ? (pid_t)pid : newest_run();
	if (!view.pid)
		return lab_complain(LAB_EXIT_BAD,
		                    "no \"rhizome run\" of yours tells its statistics");
	if (!live_file(view.file, view.pid, false) || access(view.file, R_OK) != 0)
		return lab_complain(LAB_EXIT_BAD, "%ld: no \"rhizome run\" that tells its "
		                                  "statistics", (long)view.pid);
	return show(&view, count);
}
