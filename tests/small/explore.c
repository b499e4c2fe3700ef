/* SPDX-License-Identifier: MIT */
/*
 * Breadth first through all states of each world, to its depth. A state is kept as the event that
 * led to it and the state before; to go on from it the events are repeated from the first state.
 */
#include "small.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { MOST_EVENTS = 512, MOST_DEPTH = 16 };
#define ALL ((1u << KINDS) - 1)
#define USUAL (1u << LOAD | 1u << READ | 1u << STORE | 1u << INVLPG)

/* Wide worlds have all events, deep ones few. */
static const struct plan plans[] = {
	{ .name = "32-wide", .mode = RHZ_PAGING_32, .vcpus = 1, .depth = 3, .deep = 4,
	  .values = 7, .events = ALL },
	{ .name = "32-two", .mode = RHZ_PAGING_32, .vcpus = 2, .depth = 3, .deep = 4, .values = 5,
	  .events = ALL },
	{ .name = "32-deep", .mode = RHZ_PAGING_32, .vcpus = 1, .depth = 5, .deep = 6,
	  .values = 2, .events = USUAL | 1u << STALE_STORE },
	{ .name = "pae-deep", .mode = RHZ_PAGING_PAE, .vcpus = 2, .depth = 4, .deep = 5,
	  .values = 2, .events = USUAL | 1u << STALE_STORE },
	{ .name = "4-wide", .mode = RHZ_PAGING_4LEVEL, .vcpus = 1, .depth = 3, .deep = 4,
	  .values = 7, .events = ALL },
	{ .name = "4-two", .mode = RHZ_PAGING_4LEVEL, .vcpus = 2, .depth = 4, .deep = 5,
	  .values = 3, .events = USUAL },
	{ .name = "4-no-tags", .mode = RHZ_PAGING_4LEVEL, .vcpus = 2, .depth = 3, .deep = 4,
	  .values = 5, .events = ALL, .no_flush_by_tag = true },
	{ .name = "4-synced", .mode = RHZ_PAGING_4LEVEL, .vcpus = 1, .depth = 3, .deep = 4,
	  .values = 5, .events = ALL, .options = RHZ_NO_UNSYNC | RHZ_NO_QUICK_FILL },
	{ .name = "4-small", .mode = RHZ_PAGING_4LEVEL, .vcpus = 1, .depth = 3, .deep = 4,
	  .values = 5, .events = ALL, .quota = RHZ_MIN_SHADOW_PAGES },
};
enum { PLANS = sizeof(plans) / sizeof(plans[0]) };

/* A state: how it is come by. */
struct node {
	uint32_t before;
	uint16_t event;
	uint8_t depth;
};

static struct node *nodes;
static uint64_t *seen; /* hashes, open addressing */
static size_t node_count, node_most, seen_size, seen_count;
static struct event events[MOST_EVENTS];
static unsigned event_count;
jmp_buf failed;
char reason[300];

void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	longjmp(failed, 1);
}

static void *map(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED) {
		fprintf(stderr, "small: no memory\n");
		exit(1);
	}
	return at;
}

/* True: the hash is new. */
static bool put(uint64_t hash)
{
	size_t at = hash & (seen_size - 1);

	while (seen[at]) {
		if (seen[at] == hash)
			return false;
		at = (at + 1) & (seen_size - 1);
	}
	seen[at] = hash;
	return true;
}

/* The first size is room enough for what `make test` explores. */
static void seen_empty(void)
{
	if (seen)
		munmap(seen, seen_size * sizeof(*seen));
	seen_size = 1 << 20;
	seen_count = 0;
	seen = map(seen_size * sizeof(*seen));
}

static void seen_grow(void)
{
	uint64_t *old = seen;
	size_t size = seen_size;

	seen_size *= 2;
	seen = map(seen_size * sizeof(*seen));
	for (size_t i = 0; i < size; i++)
		if (old[i])
			put(old[i]);
	munmap(old, size * sizeof(*old));
}

static bool see(uint64_t hash)
{
	bool new = put(hash);

	seen_count += new;
	if (2 * seen_count > seen_size)
		seen_grow();
	return new;
}

/* The events that lead to a state; returns how many. */
static unsigned path_of(uint32_t number, uint16_t path[MOST_DEPTH])
{
	unsigned depth = nodes[number].depth;

	for (unsigned i = depth; i-- > 0; number = nodes[number].before)
		path[i] = nodes[number].event;
	return depth;
}

static void report(uint32_t number, const struct event *last)
{
	uint16_t path[MOST_DEPTH];
	unsigned depth = path_of(number, path);

	printf("FAILED: world %s, depth %u: %s\nafter these events:\n", plan->name, depth + 1,
	       reason);
	for (unsigned i = 0; i < depth; i++)
		event_print(&events[path[i]]);
	event_print(last);
}

static void audit(void)
{
	struct rhz_audit audit;

	if (rhz_vm_audit(vm, &audit))
		fail("audit: invariant %u: %s", audit.invariant, audit.what);
}

/* All that can come of one state. False: something is wrong. */
static bool go_on(uint32_t number, const struct image *first, struct image *here, uint64_t *steps)
{
	volatile unsigned e = 0;
	uint16_t path[MOST_DEPTH];
	unsigned depth = path_of(number, path);

	if (setjmp(failed)) {
		report(number, &events[e]);
		return false;
	}
	image_restore(first);
	for (unsigned i = 0; i < depth; i++)
		event_perform(&events[path[i]]);
	image_save(here);
	for (e = 0; e < event_count; e++) {
		if (e)
			image_restore(here);
		event_perform(&events[e]);
		++*steps;
		if (!see(state_hash()))
			continue;
		audit();
		if (node_count == node_most)
			fail("more than %zu states: give it more room", node_most);
		nodes[node_count++] = (struct node){ number, (uint16_t)e, (uint8_t)(depth + 1) };
	}
	return true;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Explores one world. False: a state is wrong. */
static bool explore(unsigned depth, uint64_t *states)
{
	struct image *first, *here;
	uint64_t steps = 0;
	double start = now();
	bool good = true;

	seen_empty();
	event_count = event_list(events, MOST_EVENTS);
	if (setjmp(failed)) {
		printf("FAILED: world %s at its beginning: %s\n", plan->name, reason);
		return false;
	}
	hardware_init();
	first = image_make();
	here = image_make();
	image_save(first);
	see(state_hash());
	nodes[0] = (struct node){ 0, 0, 0 };
	node_count = 1;
	for (size_t i = 0; good && i < node_count && nodes[i].depth < depth; i++)
		good = go_on((uint32_t)i, first, here, &steps);
	printf("world %-10s depth %u: %9zu states, %10llu events, %5.1f s\n", plan->name, depth,
	       node_count, (unsigned long long)steps, now() - start);
	fflush(stdout);
	*states += node_count;
	if (!good)
		return false;
	image_restore(first);
	image_free(first);
	image_free(here);
	hardware_end();
	return true;
}

static void usage(void)
{
	puts("usage: small [--deep] [--world NAME [--depth N]]\n"
	     "\n"
	     "Explores all states of small worlds, to a depth, on the real library.\n"
	     "  --deep        one event deeper in each\n"
	     "  --world NAME  this one alone");
	for (unsigned i = 0; i < PLANS; i++)
		printf("                %s\n", plans[i].name);
}

int main(int count, char **words)
{
	unsigned passed = 0, bad = 0, depth = 0;
	const char *only = NULL;
	uint64_t states = 0;
	bool deep = false;

	for (int i = 1; i < count; i++) {
		if (!strcmp(words[i], "--deep")) {
			deep = true;
		} else if (!strcmp(words[i], "--world") && i + 1 < count) {
			only = words[++i];
		} else if (!strcmp(words[i], "--depth") && i + 1 < count) {
			depth = (unsigned)atoi(words[++i]);
		} else {
			usage();
			return strcmp(words[i], "--help") ? 2 : 0;
		}
	}
	node_most = deep || depth ? 500000000 : 8000000;
	nodes = map(node_most * sizeof(*nodes));
	pool = map(POOL * 4096);
	ram = map((FRAMES + 1 + 4) * 4096);
	for (unsigned i = 0; i < PLANS; i++) {
		unsigned to = deep ? plans[i].deep : plans[i].depth;

		if (only && strcmp(only, plans[i].name))
			continue;
		plan = &plans[i];
		if (explore(depth && depth < MOST_DEPTH ? depth : to, &states))
			passed++;
		else
			bad++;
	}
	printf("note: %llu distinct states\n", (unsigned long long)states);
	printf("%u passed, %u failed\n", passed, bad);
	return bad != 0 || passed == 0;
}
