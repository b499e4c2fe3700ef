/* SPDX-License-Identifier: MIT */
/* A child costs its tables, the pages it writes, and their end. All children of a round live at
 * once; the first round is not counted. */
#include "marks.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGES = 16, PAGE_BYTES = 4096 };

static char shared[PAGES * PAGE_BYTES];

static void write_pages(void)
{
	for (unsigned i = 0; i < PAGES; i++)
		*(volatile char *)&shared[i * PAGE_BYTES] = 1;
}

/* Writes pages that are shared until then, and stays until the parent closes the gate. */
static __attribute__((noreturn)) void live(const int gate[2])
{
	char none;

	close(gate[1]);
	write_pages();
	_exit(read(gate[0], &none, 1) != 0);
}

static void one_round(unsigned processes)
{
	int gate[2], status;

	if (pipe(gate))
		mark_failed("pipe");
	for (unsigned i = 0; i < processes; i++) {
		const pid_t child = fork();

		if (child < 0)
			mark_failed("fork");
		if (child == 0)
			live(gate);
	}
	close(gate[1]);
	close(gate[0]);
	for (unsigned i = 0; i < processes; i++) {
		if (wait(&status) < 0 || status)
			mark_failed("a child");
	}
}

void forkmark(unsigned processes, unsigned rounds)
{
	uint64_t begin;

	write_pages();
	one_round(processes);
	begin = ticks();
	MARK(MARK_BEGIN);
	for (unsigned r = 0; r < rounds; r++)
		one_round(processes);
	MARK(MARK_END);
	mark_print("forkmark", "processes", processes, (uint64_t)processes * rounds,
	           ticks() - begin);
}
