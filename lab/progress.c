/* SPDX-License-Identifier: MIT */
/* How far a long input is read; see progress.h. */
#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_NS = 1000000000, AGAIN_NS = 200000000 };

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void lab_progress_begin(struct lab_progress *progress, const char *name, bool quiet)
{
	*progress = (struct lab_progress){
		.name = strcmp(name, "-") ? name : "standard input",
		.started_ns = now_ns(),
		.wanted = !quiet && isatty(STDERR_FILENO),
	};
}

void lab_progress_show(struct lab_progress *progress, uint64_t done, uint64_t total)
{
	uint64_t now;
	double elapsed;

	if (!progress->wanted)
		return;
	now = now_ns();
	if (now - progress->started_ns < FIRST_NS || now - progress->shown_ns < AGAIN_NS)
		return;
	progress->shown_ns = now;
	progress->visible = true;
	elapsed = (double)(now - progress->started_ns) / 1e9;
	if (total && done)
		fprintf(stderr, "\r%.40s: %3.0f %%, %.0f s left, %.0f MB/s\033[K", progress->name,
		        100.0 * (double)done / (double)total,
		        elapsed * (double)(total - done) / (double)done,
		        (double)done / elapsed / 1e6);
	else
		fprintf(stderr, "\r%.40s: %.0f MB read, %.0f MB/s\033[K", progress->name,
		        (double)done / 1e6, (double)done / elapsed / 1e6);
}

void lab_progress_end(struct lab_progress *progress)
{
	if (progress->visible)
		fputs("\r\033[K", stderr);
}
