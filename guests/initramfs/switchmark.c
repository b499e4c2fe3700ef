/* SPDX-License-Identifier: MIT */
/*
 * On one processor each hop of the token is a switch from one address space to the next, in turn:
 * the pattern that a cache of fewer roots than processes never hits.
 */
#include "marks.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WARM_UP_ROUNDS = 10, PROCESSES_MAX = 256 };

static int ring[PROCESSES_MAX][2];

/* Waits for the token and hands it on. */
static void hop(int from, int to)
{
	char token;

	if (read(from, &token, 1) != 1 || write(to, &token, 1) != 1)
		mark_failed("the token is lost");
}

/* Starts the token and waits until it has come round. */
static void turn(int from, int to)
{
	char token = 0;

	if (write(to, &token, 1) != 1 || read(from, &token, 1) != 1)
		mark_failed("the token is lost");
}

void switchmark(unsigned processes, unsigned rounds)
{
	uint64_t begin, end;

	for (unsigned i = 0; i < processes; i++) {
		if (pipe(ring[i]))
			mark_failed("pipe");
	}
	/* Process i reads from pipe i and writes to the next one; we are process 0. */
	for (unsigned i = 1; i < processes; i++) {
		const pid_t child = fork();

		if (child < 0)
			mark_failed("fork");
		if (child == 0) {
			for (unsigned r = 0; r < WARM_UP_ROUNDS + rounds; r++)
				hop(ring[i][0], ring[(i + 1) % processes][1]);
			_exit(0);
		}
	}
	for (unsigned r = 0; r < WARM_UP_ROUNDS; r++)
		turn(ring[0][0], ring[1][1]);
	mark_moment((unsigned char)processes);
	begin = ticks();
	MARK(MARK_BEGIN);
	for (unsigned r = 0; r < rounds; r++)
		turn(ring[0][0], ring[1][1]);
	MARK(MARK_END);
	end = ticks();
	mark_moment((unsigned char)processes);
	mark_print("switchmark", "processes", processes, (uint64_t)processes * rounds,
	           end - begin);
	while (wait(NULL) > 0)
		;
}
