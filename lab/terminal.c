/* SPDX-License-Identifier: MIT */
/* The serial line of a machine that cannot use our terminal by itself (Bochs). */
#define _DEFAULT_SOURCE /* cfmakeraw */
#define _XOPEN_SOURCE 600
#include "terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

enum { CTRL_A = 1 };

static struct termios before;
static bool entered, escaped, no_input;

int terminal_open(char name[PATH_MAX])
{
	const int pty = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct termios raw;
	const char *other;

	if (pty < 0)
		return 0;
	if (grantpt(pty) || unlockpt(pty) || !(other = ptsname(pty)) || tcgetattr(pty, &raw)) {
		close(pty);
		return 0;
	}
	cfmakeraw(&raw);
	tcsetattr(pty, TCSANOW, &raw);
	fcntl(pty, F_SETFL, O_NONBLOCK);
	snprintf(name, PATH_MAX, "%s", other);
	return pty;
}

void terminal_enter(void)
{
	struct termios raw;

	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before))
		return;
	raw = before;
	cfmakeraw(&raw);
	raw.c_oflag = before.c_oflag; /* our own lines still begin at the left */
	entered = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

void terminal_leave(void)
{
	if (entered)
		tcsetattr(STDIN_FILENO, TCSANOW, &before);
	entered = false;
}

/* What the user typed, without the escapes. False: quit. */
static bool pass_in(int pty)
{
	char keys[256];
	const ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

	no_input = n <= 0;
	for (ssize_t i = 0; i < n; i++) {
		if (!escaped && keys[i] == CTRL_A) {
			escaped = true;
			continue;
		}
		if (escaped && (keys[i] == 'x' || keys[i] == 'X'))
			return false;
		escaped = false;
		if (write(pty, &keys[i], 1) != 1)
			break;
	}
	return true;
}

static void pass_out(int pty)
{
	char text[4096];
	ssize_t n;

	while ((n = read(pty, text, sizeof(text))) > 0)
		fwrite(text, 1, (size_t)n, stdout);
	fflush(stdout);
}

bool terminal_pass_on(int pty, int wait_ms)
{
	struct pollfd fd[] = { { .fd = pty, .events = POLLIN },
	                       { .fd = no_input ? -1 : STDIN_FILENO, .events = POLLIN } };
	bool going = true;

	poll(fd, 2, wait_ms);
	pass_out(pty);
	if (fd[1].revents)
		going = pass_in(pty);
	/* Without a reader on the other side poll returns at once. */
	if (fd[0].revents & POLLHUP)
		poll(NULL, 0, wait_ms);
	return going;
}
