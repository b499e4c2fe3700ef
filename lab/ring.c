/* SPDX-License-Identifier: MIT */
/* Raw pages of the rings, records out of them, and their order. */
#include "ring.h"

#include <errno.h>
#include <fcntl.h>
#include <kbuffer.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <tracefs.h>
#include <unistd.h>

enum {
	PAGE_MAX = 64 << 10, /* newer kernels may have larger pages in a ring than 4 KiB */
	MARGIN_NS = 1000000, /* an event's time is taken a moment before it can be read */
};

/* An event, or a gap of so many events before it. */
struct waiting {
	struct lab_event event;
	uint64_t order; /* of arrival: events of one ring keep theirs */
	uint64_t lost;
	bool gap;
};

struct ring {
	const struct probes *probes;
	struct kbuffer *parser;
	int *fd;
	unsigned cpus;
	struct waiting *waiting;
	size_t count, room;
	uint64_t arrivals;
	uint8_t page[PAGE_MAX];
};

static void add(struct ring *ring, struct waiting waiting)
{
	if (ring->count == ring->room) {
		ring->room = ring->room ? ring->room * 2 : 4096;
		ring->waiting = lab_realloc(ring->waiting, ring->room, sizeof(*ring->waiting));
	}
	waiting.order = ring->arrivals++;
	ring->waiting[ring->count++] = waiting;
}

struct ring *ring_open(const struct probes *probes)
{
	struct ring *ring = lab_realloc(NULL, 1, sizeof(*ring));
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	char name[64], *path;

	memset(ring, 0, sizeof(*ring));
	ring->probes = probes;
	ring->parser = kbuffer_alloc(KBUFFER_LSIZE_8, KBUFFER_ENDIAN_LITTLE);
	ring->fd = lab_realloc(NULL, (size_t)cpus, sizeof(*ring->fd));
	for (; ring->parser && ring->cpus < (unsigned)cpus; ring->cpus++) {
		snprintf(name, sizeof(name), "per_cpu/cpu%u/trace_pipe_raw", ring->cpus);
		path = tracefs_instance_get_file(probes->instance, name);
		ring->fd[ring->cpus] = path ? open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) : -1;
		tracefs_put_tracing_file(path);
		/* A processor that is possible but was never there has no ring. */
		if (ring->fd[ring->cpus] < 0 && errno != ENOENT && errno != ENODEV) {
			lab_complain(LAB_EXIT_FAILED, "cannot open tracefs' %s: %s", name,
			             strerror(errno));
			ring_close(ring);
			return NULL;
		}
	}
	if (!ring->parser)
		exit(lab_complain(LAB_EXIT_FAILED, "out of memory"));
	return ring;
}

/* The records of one page. */
static void take_page(struct ring *ring)
{
	struct waiting new = { .gap = false };
	unsigned long long time;
	int missed;
	void *record;

	if (kbuffer_load_subbuffer(ring->parser, ring->page) != 0)
		return;
	missed = kbuffer_missed_events(ring->parser);
	record = kbuffer_read_event(ring->parser, &time);
	if (missed && record)
		add(ring, (struct waiting){ .event.time_ns = time, .gap = true,
		                            .lost = missed > 0 ? (uint64_t)missed : 0 });
	for (; record; record = kbuffer_next_event(ring->parser, &time)) {
		memset(&new.event, 0, sizeof(new.event));
		new.event.time_ns = time;
		if (probes_decode(ring->probes, record,
		                  (unsigned)kbuffer_event_size(ring->parser), &new.event))
			add(ring, new);
	}
}

/* Everything that one ring holds by now. */
static bool take_ring(struct ring *ring, unsigned cpu)
{
	for (;;) {
		ssize_t got = read(ring->fd[cpu], ring->page, sizeof(ring->page));

		if (got > 0) {
			take_page(ring);
		} else if (got == 0 || errno == EAGAIN) {
			return true;
		} else if (errno != EINTR) {
			lab_complain(LAB_EXIT_FAILED, "cannot read the ring of processor %u: %s",
			             cpu, strerror(errno));
			return false;
		}
	}
}

static int compare(const void *left, const void *right)
{
	const struct waiting *a = left, *b = right;

	if (a->event.time_ns != b->event.time_ns)
		return a->event.time_ns < b->event.time_ns ? -1 : 1;
	return a->order < b->order ? -1 : 1;
}

bool ring_read(struct ring *ring, bool last,
               void (*take)(void *context, const struct lab_event *event, uint64_t lost),
               void *context)
{
	struct timespec now;
	uint64_t begin;
	size_t ready = 0;
	bool good = true;

	clock_gettime(CLOCK_MONOTONIC, &now);
	begin = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec - MARGIN_NS;
	for (unsigned cpu = 0; cpu < ring->cpus && good; cpu++)
		if (ring->fd[cpu] >= 0)
			good = take_ring(ring, cpu);
	if (ring->count)
		qsort(ring->waiting, ring->count, sizeof(*ring->waiting), compare);
	while (ready < ring->count && (last || ring->waiting[ready].event.time_ns < begin)) {
		const struct waiting *next = &ring->waiting[ready++];

		take(context, next->gap ? NULL : &next->event, next->lost);
	}
	ring->count -= ready;
	if (ready)
		memmove(ring->waiting, ring->waiting + ready,
		        ring->count * sizeof(*ring->waiting));
	return good;
}

void ring_close(struct ring *ring)
{
	for (unsigned cpu = 0; cpu < ring->cpus; cpu++)
		if (ring->fd[cpu] >= 0)
			close(ring->fd[cpu]);
	kbuffer_free(ring->parser);
	free(ring->fd);
	free(ring->waiting);
	free(ring);
}
