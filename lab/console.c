/* SPDX-License-Identifier: MIT */
/* The console's file: read as it grows, and given back to the file system behind us. */
#define _GNU_SOURCE /* fallocate */
#include "console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	GIVE_BACK = 1 << 20,  /* bytes read after which their room in the file is given back */
	WORDS_MAX = 1 << 20,  /* a hypervisor that has gone mad may say no more than this */
	MARKS_MAX = 16 << 20,
	LINE_MAX = 1 << 16,
};

static const char mark_of[] = "rhizome: mark ", stats_of[] = "rhizome: stats ",
                  end_of[] = "rhizome: end ", left_of[] = "rhizome: left with ";

enum lab_exit console_create(struct console *console, const char *path)
{
	*console = (struct console){ .fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600) };
	if (console->fd < 0)
		return lab_complain(LAB_EXIT_BAD, "%s: %s", path, strerror(errno));
	return LAB_EXIT_OK;
}

/* What follows 'mark', if the line begins with it. */
static const char *behind(const char *line, const char *mark)
{
	return strncmp(line, mark, strlen(mark)) ? NULL : line + strlen(mark);
}

static char *copy(const char *s)
{
	const size_t size = strlen(s) + 1;

	return memcpy(lab_realloc(NULL, size, 1), s, size);
}

static void append(char **text, size_t *length, const char *s, const char *next, size_t max)
{
	const size_t more = strlen(s) + strlen(next);

	if (*length + more >= max)
		return;
	*text = lab_realloc(*text, *length + more + 1, 1);
	sprintf(*text + *length, "%s%s", s, next);
	*length += more;
}

static void take_end(struct console *console, const char *end)
{
	char *reason;

	if (console->reason)
		return;
	console->code = (int)strtol(end, &reason, 10);
	console->reason = copy(reason + strspn(reason, " "));
}

static void take_line(struct console *console, const char *line)
{
	const char *rest;

	if ((rest = behind(line, stats_of))) {
		free(console->stats);
		console->stats = copy(rest);
		console->stats_seen++;
	} else if ((rest = behind(line, mark_of))) {
		append(&console->marks, &console->marks_length, console->marks ? ", " : "", rest,
		       MARKS_MAX);
	} else if ((rest = behind(line, end_of))) {
		take_end(console, rest);
	} else if ((rest = behind(line, left_of))) {
		console->left = true;
		console->left_with = (unsigned)strtoul(rest, NULL, 10);
	} else {
		append(&console->words, &console->words_length, line, "\n", WORDS_MAX);
	}
}

static void take_characters(struct console *console, const char *more, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (more[i] == '\n') {
			console->line[console->length] = '\0';
			take_line(console, console->line);
			console->length = 0;
		} else if (more[i] != '\r' && more[i] && console->length + 1 < LINE_MAX) {
			console->line[console->length++] = more[i];
		}
	}
}

void console_read(struct console *console)
{
	char more[4096];
	ssize_t n;

	if (console->fd < 0)
		return;
	if (!console->line)
		console->line = lab_realloc(NULL, LINE_MAX, 1);
	while ((n = read(console->fd, more, sizeof(more))) > 0) {
		take_characters(console, more, (size_t)n);
		if ((console->done + (uint64_t)n) / GIVE_BACK != console->done / GIVE_BACK) {
			/* Where the file system cannot do this, the file is as long as it is. */
			fallocate(console->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			          (off_t)((console->done + (uint64_t)n) & -(uint64_t)GIVE_BACK));
		}
		console->done += (uint64_t)n;
	}
}

void console_print_words(const struct console *console)
{
	if (console->words)
		fputs(console->words, stderr);
}

void console_free(struct console *console)
{
	if (console->fd >= 0)
		close(console->fd);
	free(console->line);
	free(console->words);
	free(console->stats);
	free(console->marks);
	free(console->reason);
	*console = (struct console){ .fd = -1 };
}
