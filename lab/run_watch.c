/* SPDX-License-Identifier: MIT */
/* The machine's process: started, watched, ended. The hypervisor's last words decide the status. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "live.h"
#include "run.h"
#include "terminal.h"

enum {
	POLL_MS = 20,
	LINGER_MS = 1000, /* for a machine that said that it ended, or was told to */
	EXEC_FAILED = 127,
};

/* A run that is under way. */
struct watch {
	const struct run_command *command;
	const struct run_options *options;
	struct console console;
	pid_t child;
	int wait_status;
	bool timed_out, quit;
	char live[LIVE_PATH_SIZE]; /* empty: nobody is told */
	uint64_t live_seen;
};

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A machine with a display of its own draws it nowhere. Complaints still come to us. */
static int hide_display(void)
{
	const int complaints = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	const int nowhere = open("/dev/null", O_RDWR);

	for (int fd = 0; fd <= 2; fd++)
		dup2(nowhere, fd);
	setenv("TERM", "xterm", 1);
	return complaints;
}

static pid_t start(const struct run_command *command)
{
	int complaints = STDERR_FILENO;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child)
		return child;
	/* The machine shall not outlive us. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	signal(SIGPIPE, SIG_DFL);
	if (command->pty)
		complaints = hide_display();
	execvp(command->argument[0], command->argument);
	dprintf(complaints, "rhizome: %s: %s (package %s)\n", command->argument[0],
	        strerror(errno), command->package);
	_exit(EXEC_FAILED);
}

static void tell_live(struct watch *watch)
{
	const struct run_options *options = watch->options;
	char what[512];

	if (!watch->live[0] || watch->console.stats_seen == watch->live_seen)
		return;
	watch->live_seen = watch->console.stats_seen;
	snprintf(what, sizeof(what), "%s, %s paging, policy %s", options->guest,
	         options->paging ? options->paging : "nested",
	         options->policy ? options->policy : "current-first");
	live_write(watch->live, what, watch->console.stats);
}

/* Waits a little, and passes the serial line on where the machine does not. */
static void wait_a_little(struct watch *watch)
{
	if (!watch->command->pty)
		poll(NULL, 0, POLL_MS);
	else if (!terminal_pass_on(watch->command->pty, POLL_MS))
		watch->quit = true;
	console_read(&watch->console);
	tell_live(watch);
}

/* Nothing more comes. QEMU ends by itself when the guest leaves; Bochs knows no such device. */
static bool is_over(const struct watch *watch)
{
	return watch->console.reason || watch->quit ||
	       (watch->options->bochs && watch->console.left);
}

/*
 * Waits for the machine. One that said it ended, but stands still, and one that is out of time are
 * ended: politely, so that QEMU puts the terminal back, then not.
 */
static void wait_for_end(struct watch *watch)
{
	long deadline = watch->options->timeout_s ?
	                now_ms() + (long)watch->options->timeout_s * 1000 : 0;
	bool told = false, ended = false;

	while (waitpid(watch->child, &watch->wait_status, WNOHANG) == 0) {
		wait_a_little(watch);
		if (!ended && is_over(watch)) {
			ended = true;
			if (!deadline || deadline > now_ms() + LINGER_MS)
				deadline = now_ms() + LINGER_MS;
		}
		if (deadline && now_ms() >= deadline) {
			watch->timed_out |= !ended;
			kill(watch->child, told ? SIGKILL : SIGTERM);
			told = true;
			deadline = now_ms() + LINGER_MS;
		}
	}
	wait_a_little(watch);
}

/* The exit status by what the hypervisor said last, else by the machine's own. */
static enum lab_exit judge(const struct watch *watch)
{
	const struct console *console = &watch->console;
	const int status = watch->wait_status;

	if (console->reason && console->code) {
		console_print_words(console);
		return lab_complain((enum lab_exit)console->code, "%s: %s",
		                    console->code == RUN_DIED ? "the guest died" : "not run",
		                    console->reason);
	}
	if (watch->timed_out) {
		console_print_words(console);
		return lab_complain((enum lab_exit)RUN_TIMEOUT, "time is up");
	}
	if (console->reason || watch->quit)
		return LAB_EXIT_OK;
	if (watch->options->bochs && console->left)
		return (enum lab_exit)((console->left_with << 1 | 1) & 0xff);
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXEC_FAILED)
		return LAB_EXIT_BAD; /* no such program: the child has said so */
	if (WIFEXITED(status) && WEXITSTATUS(status) && watch->options->bochs) {
		console_print_words(console);
		return run_bochs_judge(watch->command);
	}
	if (WIFEXITED(status))
		return (enum lab_exit)WEXITSTATUS(status);
	return lab_complain(LAB_EXIT_FAILED, "%s ended by signal %d", watch->command->argument[0],
	                    WTERMSIG(status));
}

enum lab_exit run_watch(struct run_command *command, const struct run_options *options)
{
	struct watch watch = { .command = command, .options = options, .console.fd = -1 };
	enum lab_exit status = LAB_EXIT_OK, reported = LAB_EXIT_OK;

	if (!options->bare)
		status = console_create(&watch.console, command->console);
	if (status)
		return status;
	if (!options->live_s || options->bare || !live_file(watch.live, getpid(), true))
		watch.live[0] = '\0';
	watch.child = start(command);
	if (watch.child < 0) {
		console_free(&watch.console);
		return lab_complain(LAB_EXIT_FAILED, "fork: %s", strerror(errno));
	}
	/* Ctrl-C in a pipeline is the machine's to obey; we then report how it ended. */
	signal(SIGINT, SIG_IGN);
	if (command->pty)
		terminal_enter();
	wait_for_end(&watch);
	terminal_leave();
	signal(SIGINT, SIG_DFL);
	if (watch.live[0])
		unlink(watch.live);
	if (!options->bare)
		reported = run_report(&watch.console, options);
	if (options->trace && !reported)
		reported = run_write_trace(command, options);
	status = judge(&watch);
	console_free(&watch.console);
	return reported ? reported : status;
}
