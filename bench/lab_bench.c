/* SPDX-License-Identifier: MIT */
/*
 * How fast traces are read and replayed, all policies and capacities at once: times on one core,
 * the least of several runs. The inputs are made of the shipped traces, repeated.
 */
#include "bench.h"
#include "compact.h"
#include "source.h"
#include "study.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SHADOW BENCH_DATA "/kvm-shadow-cut.txt.zst"
#define DATFILE BENCH_DATA "/kvm-roots.dat.zst"

enum { RUNS = 5, COPIES = 16, PATH_SIZE = 64, REQUESTS = 1000000 };

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int make_file(char path[PATH_SIZE])
{
	int fd;

	snprintf(path, PATH_SIZE, "/tmp/lab_bench.XXXXXX");
	fd = mkstemp(path);
	bench_require(fd >= 0, "no file can be made in /tmp");
	return fd;
}

static void unpack(const char *from, int to)
{
	char command[512];

	snprintf(command, sizeof(command), "zstd -dqc '%s' >&%d", from, to);
	bench_require(!system(command), "zstd cannot unpack a shipped trace");
}

/* Seconds that a replay of the file takes; *events: how many there were. */
static double replay_seconds(const char *path, uint64_t *events)
{
	double best = 0;

	for (int run = 0; run < RUNS; run++) {
		struct lab_study study = { .random = true, .seed = 1, .quiet = true };
		double start = now(), seconds;

		bench_require(lab_study_read(&study, path) == LAB_EXIT_OK, "no trace");
		seconds = now() - start;
		if (!run || seconds < best)
			best = seconds;
		*events = study.events;
		lab_study_free(&study);
	}
	return best;
}

static double text(const struct bench_row *row)
{
	char path[PATH_SIZE];
	int fd = make_file(path);
	uint64_t events;
	double seconds, bytes;

	(void)row;
	for (int copy = 0; copy < COPIES; copy++)
		unpack(SHADOW, fd);
	bytes = (double)lseek(fd, 0, SEEK_END);
	close(fd);
	seconds = replay_seconds(path, &events);
	unlink(path);
	return seconds * 1e9 / (bytes / 1000);
}

/* The shipped trace in the compact form, COPIES times over, an hour apart. */
static double compact(const struct bench_row *row)
{
	char path[PATH_SIZE];
	int fd = make_file(path);
	struct lab_compact_writer *writer = lab_compact_create(fd, 1000000000, NULL, 0);
	uint64_t events;
	double seconds;

	(void)row;
	for (uint64_t copy = 0; copy < COPIES; copy++) {
		struct lab_source *source = lab_source_open(SHADOW);
		struct lab_event event;
		enum lab_line what;

		while ((what = lab_source_next(source, &event)) < LAB_LINE_END) {
			event.time_ns += copy * 3600000000000u;
			if (what == LAB_LINE_EVENT)
				bench_require(lab_compact_write(writer, &event), "no room");
		}
		lab_source_close(source);
	}
	bench_require(lab_compact_close(writer), "no room");
	close(fd);
	seconds = replay_seconds(path, &events);
	unlink(path);
	return seconds * 1e9 / (double)events;
}

/* Nothing but requests, each for another root than the last: what the what-if itself takes. */
static double requests(const struct bench_row *row)
{
	uint64_t roots = (uint64_t)bench_parameter(row, "roots"), state = 1, events, last = 0;
	char path[PATH_SIZE];
	int fd = make_file(path);
	struct lab_compact_writer *writer = lab_compact_create(fd, 1000000000, NULL, 0);
	double seconds;

	for (uint64_t i = 0; i < REQUESTS; i++) {
		struct lab_event event = { .kind = LAB_EVENT_NEW_PGD, .time_ns = i * 1000 };

		state = state * 6364136223846793005u + 1442695040888963407u;
		last = (last + 1 + (state >> 33) % (roots - 1)) % roots;
		event.value = (last + 1) << 12;
		bench_require(lab_compact_write(writer, &event), "no room");
	}
	bench_require(lab_compact_close(writer), "no room");
	close(fd);
	seconds = replay_seconds(path, &events);
	unlink(path);
	return seconds * 1e9 / (double)events;
}

static double datfile(const struct bench_row *row)
{
	char path[PATH_SIZE];
	int fd = make_file(path);
	uint64_t events;
	double seconds;

	(void)row;
	unpack(DATFILE, fd);
	close(fd);
	seconds = replay_seconds(path, &events);
	unlink(path);
	return seconds * 1e9 / (double)events;
}

/* The same file by the tool that wrote it. */
static double trace_cmd(const struct bench_row *row)
{
	char path[PATH_SIZE], command[128];
	int fd = make_file(path);
	uint64_t events;
	double best = 0;

	(void)row;
	unpack(DATFILE, fd);
	close(fd);
	replay_seconds(path, &events);
	snprintf(command, sizeof(command), "trace-cmd report '%s' >/dev/null 2>&1", path);
	for (int run = 0; run < RUNS; run++) {
		double start = now(), seconds;

		bench_require(!system(command), "trace-cmd report fails");
		seconds = now() - start;
		if (!run || seconds < best)
			best = seconds;
	}
	unlink(path);
	return best * 1e9 / (double)events;
}

/* 150 MB/s of text are 6,667 ns for 1000 bytes, 5 million events/s 200 ns for one. */
static const struct bench_row rows[] = {
	{ .op = "replay_text", .measure = text, .unit = "ns/KB", .target = 6667 },
	{ .op = "replay_compact", .measure = compact, .unit = "ns/event", .target = 200 },
	{ .op = "replay_requests", .parameter = { { "roots", 12 } }, .measure = requests,
	  .unit = "ns/request" },
	{ .op = "replay_requests", .parameter = { { "roots", 100 } }, .measure = requests,
	  .unit = "ns/request" },
	{ .op = "replay_datfile", .measure = datfile, .unit = "ns/event" },
	{ .op = "trace_cmd_report", .measure = trace_cmd, .unit = "ns/event" },
};

BENCH_SUITE("lab", rows)
