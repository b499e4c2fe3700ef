/* SPDX-License-Identifier: MIT */
/* The parts of `rhizome record` beside its options: what the host is, and what has been seen. */
#ifndef LAB_RECORD_H
#define LAB_RECORD_H

#include "event.h"
#include "lab.h"

#include <stddef.h>

enum { RECORD_FACTS = 8, RECORD_FACT_SIZE = 256 };

/* "key=value" lines about this host, for the head of a trace (docs/formats.md). */
struct record_facts {
	char text[RECORD_FACTS][RECORD_FACT_SIZE];
	const char *fact[RECORD_FACTS];
	size_t count;
	bool direct; /* L1's own memory is mapped by nested or extended page tables */
};
void record_read_facts(struct record_facts *facts, const char *missing);

/* What has been seen so far: threads, and how KVM's own cache of roots serves them. */
struct record_seen;
struct record_seen *record_seen_new(bool direct, uint64_t begin_ns);
/* Counts an event, and completes it: its VM, and its vCPU if an earlier event told. */
void record_see(struct record_seen *seen, struct lab_event *event);
void record_see_lost(struct record_seen *seen, uint64_t lost);
uint64_t record_requests(const struct record_seen *seen);
/* One line, without a newline. whole: its rate is that of the whole recording, not since the last
   call. */
void record_print_line(struct record_seen *seen, char *line, size_t size, uint64_t now_ns,
                       bool whole);
void record_seen_free(struct record_seen *seen);

#endif
