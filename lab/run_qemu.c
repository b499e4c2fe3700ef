/* SPDX-License-Identifier: MIT */
/* The QEMU process: started, watched, ended. The hypervisor's last words decide the exit status. */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	POLL_MS = 20,
	LINGER_MS = 1000, /* for a QEMU whose machine said that it ended, or was told to */
	EXEC_FAILED = 127,
};

static const char end_mark[] = "rhizome: end ";
static const char stats_mark[] = "rhizome: stats ";

void run_add(struct run_command *command, const char *first, const char *second)
{
	const char *const both[] = { first, second };

	for (unsigned i = 0; i < 2 && both[i]; i++) {
		char *copy = strdup(both[i]);

		if (!copy)
			exit(lab_complain(LAB_EXIT_FAILED, "out of memory"));
		command->argument = lab_realloc(command->argument, command->arguments + 2,
		                                sizeof(command->argument[0]));
		command->argument[command->arguments++] = copy;
		command->argument[command->arguments] = NULL;
	}
}

void run_free(struct run_command *command)
{
	for (size_t i = 0; i < command->arguments; i++)
		free(command->argument[i]);
	free(command->argument);
}

void run_name_console(struct run_command *command)
{
	const char *folder = getenv("TMPDIR");

	snprintf(command->console, sizeof(command->console), "%s/rhizome-console-%ld",
	         folder && *folder ? folder : "/tmp", (long)getpid());
}

static void print_quoted(const char *s)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	                            "0123456789-_./,:=+@%";

	if (*s && s[strspn(s, plain)] == '\0') {
		fputs(s, stdout);
		return;
	}
	putchar('\'');
	for (; *s; s++) {
		if (*s == '\'')
			fputs("'\\''", stdout);
		else
			putchar(*s);
	}
	putchar('\'');
}

enum lab_exit run_print(const struct run_command *command)
{
	for (size_t i = 0; i < command->arguments; i++) {
		if (i)
			putchar(' ');
		print_quoted(command->argument[i]);
	}
	putchar('\n');
	return lab_finish();
}

/* The console's text so far. */
struct console { int fd; char *text; size_t length; };

static void read_more(struct console *console)
{
	char more[4096];
	ssize_t n;

	while (console->fd >= 0 && (n = read(console->fd, more, sizeof(more))) > 0) {
		console->text = lab_realloc(console->text, console->length + (size_t)n + 1, 1);
		memcpy(console->text + console->length, more, (size_t)n);
		console->length += (size_t)n;
		console->text[console->length] = '\0';
	}
}

/* What follows the last whole line that begins with mark; null: there is none. */
static const char *find_line(const struct console *console, const char *mark)
{
	const char *found = NULL;

	for (const char *line = console->text; line && *line;) {
		const char *end = strchr(line, '\n');

		if (!end)
			break;
		if (!strncmp(line, mark, strlen(mark)))
			found = line + strlen(mark);
		line = end + 1;
	}
	return found;
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static pid_t start(const struct run_command *command)
{
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child)
		return child;
	/* QEMU shall not outlive us. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	signal(SIGPIPE, SIG_DFL);
	execvp(command->argument[0], command->argument);
	fprintf(stderr, "rhizome: %s: %s (package qemu-system-x86)\n", command->argument[0],
	        strerror(errno));
	_exit(EXEC_FAILED);
}

/*
 * Waits for QEMU. A machine that said it ended, but stands still, and one that is out of time are
 * ended: politely, so that QEMU puts the terminal back, then not. True: it ran out of time.
 */
static bool watch(const struct run_command *command, pid_t child, struct console *console,
                  int *wait_status)
{
	const long begin = now_ms();
	long deadline = command->timeout_s ? begin + (long)command->timeout_s * 1000 : 0;
	bool timed_out = false, told = false, ended = false;
	const struct timespec pause = { 0, POLL_MS * 1000000 };

	while (waitpid(child, wait_status, WNOHANG) == 0) {
		read_more(console);
		if (!ended && find_line(console, end_mark)) {
			ended = true;
			if (!deadline || deadline > now_ms() + LINGER_MS)
				deadline = now_ms() + LINGER_MS;
		}
		if (deadline && now_ms() >= deadline) {
			timed_out = timed_out || !ended;
			kill(child, told ? SIGKILL : SIGTERM);
			told = true;
			deadline = now_ms() + LINGER_MS;
		}
		nanosleep(&pause, NULL);
	}
	read_more(console);
	return timed_out;
}

static void print_stats(const char *json)
{
	const char *at = json + 1;

	fprintf(stderr, "rhizome: statistics\n");
	while (*at == '"') {
		const size_t name = strcspn(at + 1, "\"");
		const char *value = at + 1 + name + 3;
		const size_t digits = strcspn(value, ",}");

		if (strncmp(value, "0,", 2) && strncmp(value, "0}", 2))
			fprintf(stderr, "  %-28.*s %14.*s\n", (int)name, at + 1, (int)digits,
			        value);
		at = value + digits;
		at += strspn(at, ", ");
	}
}

static enum lab_exit write_stats(const char *file, const char *json)
{
	const int length = (int)strcspn(json, "\n");
	const bool to_stdout = !strcmp(file, "-");
	FILE *out = to_stdout ? stdout : fopen(file, "w");
	bool wrong;

	if (!out)
		return lab_complain(LAB_EXIT_BAD, "%s: %s", file, strerror(errno));
	fprintf(out, "%.*s\n", length, json);
	if (to_stdout)
		return lab_finish();
	wrong = ferror(out);
	if (fclose(out) || wrong)
		return lab_complain(LAB_EXIT_FAILED, "%s: %s", file, strerror(errno));
	return LAB_EXIT_OK;
}

/* The hypervisor's own words, without those that are for us. */
static void print_screen(const struct console *console)
{
	for (const char *line = console->text; line && *line;) {
		const size_t length = strcspn(line, "\n");

		if (strncmp(line, end_mark, strlen(end_mark)) &&
		    strncmp(line, stats_mark, strlen(stats_mark)))
			fprintf(stderr, "%.*s\n", (int)length, line);
		line += length + (line[length] == '\n');
	}
}

/* The exit status by what the hypervisor said last, else by QEMU's own. */
static enum lab_exit judge(const struct console *console, int wait_status, bool timed_out)
{
	const char *end = find_line(console, end_mark);
	const int code = end ? atoi(end) : 0;

	if (end && code) {
		const char *reason = end + strspn(end, "0123456789 ");

		print_screen(console);
		return lab_complain((enum lab_exit)code, "%s: %.*s",
		                    code == RUN_DIED ? "the guest died" : "not run",
		                    (int)strcspn(reason, "\n"), reason);
	}
	if (timed_out) {
		print_screen(console);
		return lab_complain((enum lab_exit)RUN_TIMEOUT, "time is up");
	}
	if (end)
		return LAB_EXIT_OK;
	if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) != EXEC_FAILED)
		return (enum lab_exit)WEXITSTATUS(wait_status);
	if (WIFSIGNALED(wait_status))
		return lab_complain(LAB_EXIT_FAILED, "QEMU ended by signal %d",
		                    WTERMSIG(wait_status));
	return LAB_EXIT_BAD; /* no QEMU: the child has said so */
}

enum lab_exit run_qemu(struct run_command *command)
{
	struct console console = { .fd = -1 };
	enum lab_exit status, written = LAB_EXIT_OK;
	const char *json;
	int wait_status = 0;
	bool timed_out;
	pid_t child;

	if (command->hypervisor) {
		console.fd = open(command->console, O_RDONLY | O_CREAT | O_EXCL, 0600);
		if (console.fd < 0)
			return lab_complain(LAB_EXIT_BAD, "%s: %s", command->console,
			                    strerror(errno));
	}
	/* Ctrl-C in a pipeline is QEMU's to obey; we then report how it ended. */
	child = start(command);
	if (child < 0)
		return lab_complain(LAB_EXIT_FAILED, "fork: %s", strerror(errno));
	signal(SIGINT, SIG_IGN);
	timed_out = watch(command, child, &console, &wait_status);
	signal(SIGINT, SIG_DFL);
	if (console.fd >= 0) {
		close(console.fd);
		unlink(command->console);
	}
	json = find_line(&console, stats_mark);
	if (json)
		print_stats(json);
	status = judge(&console, wait_status, timed_out);
	if (command->stats && json)
		written = write_stats(command->stats, json);
	else if (command->stats)
		lab_complain(LAB_EXIT_FAILED, "no statistics: the run did not come to its end");
	free(console.text);
	return written ? written : status;
}
