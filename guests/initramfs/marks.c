/* SPDX-License-Identifier: MIT */
/*
 * switchmark, forkmark, faultmark: one static program, told apart by its name (or by its first
 * argument, where it is called marks). Each measures in one go and prints one line of JSON.
 * bootmark takes no arguments: Linux has come to its shell.
 */
#include "marks.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct mark {
	const char *name, *what;
	unsigned least, most, rounds;
	void (*run)(unsigned n, unsigned rounds);
};

static const struct mark marks[] = {
	{ "switchmark", "processes", 2, 256, 200, switchmark },
	{ "forkmark", "processes", 1, 256, 10, forkmark },
	{ "faultmark", "pages", 1, 65536, 10, faultmark },
};
enum { MARKS = sizeof(marks) / sizeof(marks[0]), ROUNDS_MAX = 1000000 };
enum { HYPERVISOR_PORT = 0xe9 };

static const char *mark_name = "marks";

void mark_failed(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", mark_name, what, strerror(errno));
	exit(1);
}

void mark_print(const char *op, const char *parameter, unsigned value, uint64_t operations,
                uint64_t sum_ticks)
{
	printf("{\"op\": \"%s\", \"%s\": %u, \"operations\": %llu, \"ticks\": %llu}\n", op,
	       parameter, value, (unsigned long long)operations,
	       (unsigned long long)((sum_ticks + operations / 2) / operations));
	fflush(stdout);
}

void mark_moment(unsigned char number)
{
	const int ports = open("/dev/port", O_WRONLY);

	/* A kernel without that device, or one that is locked down, has nobody to tell. */
	if (ports < 0 || pwrite(ports, &number, 1, HYPERVISOR_PORT) != 1)
		errno = 0;
	if (ports >= 0)
		close(ports);
}

static __attribute__((noreturn)) void refuse(void)
{
	fprintf(stderr, "usage: switchmark|forkmark|faultmark N [ROUNDS], or bootmark; N being\n");
	for (unsigned i = 0; i < MARKS; i++)
		fprintf(stderr, "  %-11s %u to %u %s (rounds: %u unless told)\n", marks[i].name,
		        marks[i].least, marks[i].most, marks[i].what, marks[i].rounds);
	exit(2);
}

static unsigned number(const char *text, unsigned least, unsigned most)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end || errno || value < least || value > most)
		refuse();
	return (unsigned)value;
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/');

	name = name ? name + 1 : argv[0];
	if (!strcmp(name, "marks") && argc > 1) {
		name = argv[1];
		argc--;
		argv++;
	}
	if (argc == 1 && !strcmp(name, "bootmark")) {
		MARK(MARK_SHELL);
		return 0;
	}
	if (argc < 2 || argc > 3)
		refuse();
	for (unsigned i = 0; i < MARKS; i++) {
		const struct mark *mark = &marks[i];

		if (strcmp(name, mark->name))
			continue;
		mark_name = mark->name;
		mark->run(number(argv[1], mark->least, mark->most),
		          argc > 2 ? number(argv[2], 1, ROUNDS_MAX) : mark->rounds);
		return 0;
	}
	refuse();
}
