/* SPDX-License-Identifier: MIT */
/* The threads that a recording has met, and the figures of its live line. */
#include "kvm.h"
#include "record.h"
#include "vms.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS_FIRST = 64, CONTEXTS = 2 };

/* A thread; free while task is 0. */
struct thread {
	uint32_t task, vm, vcpu;
	bool nested; /* in L2, under nested tables of L1's */
	bool asked;  /* for a root: it is a vCPU */
	struct lab_kvm_array roots[CONTEXTS]; /* as KVM has them: L1, its nested tables */
};

struct record_seen {
	struct thread *bucket; /* open addressing */
	uint32_t buckets, threads;
	bool direct;
	uint64_t requests, missed, lost;
	bool lost_more; /* and some that were not counted */
	uint32_t vcpus;
	uint64_t begin_ns;
	uint64_t requests_before, before_ns; /* of the line before */
};

struct record_seen *record_seen_new(bool direct, uint64_t begin_ns)
{
	struct record_seen *seen = lab_realloc(NULL, 1, sizeof(*seen));

	*seen = (struct record_seen){ .buckets = BUCKETS_FIRST, .direct = direct,
	                              .begin_ns = begin_ns, .before_ns = begin_ns };
	seen->bucket = lab_realloc(NULL, BUCKETS_FIRST, sizeof(*seen->bucket));
	memset(seen->bucket, 0, BUCKETS_FIRST * sizeof(*seen->bucket));
	return seen;
}

void record_seen_free(struct record_seen *seen)
{
	free(seen->bucket);
	free(seen);
}

static struct thread *find(struct record_seen *seen, uint32_t task)
{
	uint32_t at = task * 0x9e3779b1u % seen->buckets;

	while (seen->bucket[at].task && seen->bucket[at].task != task)
		at = (at + 1) % seen->buckets;
	return &seen->bucket[at];
}

static void grow(struct record_seen *seen)
{
	struct thread *old = seen->bucket;
	uint32_t count = seen->buckets;

	seen->buckets *= 2;
	seen->bucket = lab_realloc(NULL, seen->buckets, sizeof(*seen->bucket));
	memset(seen->bucket, 0, seen->buckets * sizeof(*seen->bucket));
	for (uint32_t i = 0; i < count; i++)
		if (old[i].task)
			*find(seen, old[i].task) = old[i];
	free(old);
}

static struct thread *meet(struct record_seen *seen, uint32_t task)
{
	struct thread *thread = find(seen, task);

	if (thread->task)
		return thread;
	if (seen->threads * 2 >= seen->buckets) {
		grow(seen);
		thread = find(seen, task);
	}
	seen->threads++;
	memset(thread, 0, sizeof(*thread));
	thread->task = task;
	thread->vcpu = LAB_NO_VCPU;
	thread->vm = (uint32_t)vms_process_of((pid_t)task);
	return thread;
}

static void count_request(struct record_seen *seen, struct thread *thread, uint64_t table)
{
	struct lab_kvm_array *roots = &thread->roots[thread->nested];

	/* A direct MMU has one root whatever CR3 says. */
	if (seen->direct && !thread->nested)
		table = 0;
	seen->requests++;
	seen->missed += !lab_kvm_load(roots, table);
	seen->vcpus += !thread->asked;
	thread->asked = true;
}

void record_see(struct record_seen *seen, struct lab_event *event)
{
	struct thread *thread = meet(seen, event->task);

	if (event->vcpu != LAB_NO_VCPU)
		thread->vcpu = event->vcpu;
	event->vm = thread->vm;
	event->vcpu = thread->vcpu;
	if (event->kind == LAB_EVENT_NESTED_ENTER)
		thread->nested = event->nested_paging;
	else if (event->kind == LAB_EVENT_NESTED_EXIT)
		thread->nested = false;
	else if (event->kind == LAB_EVENT_NEW_PGD)
		count_request(seen, thread, event->value);
}

void record_see_lost(struct record_seen *seen, uint64_t lost)
{
	seen->lost += lost;
	seen->lost_more |= !lost;
}

uint64_t record_requests(const struct record_seen *seen)
{
	return seen->requests;
}

void record_print_line(struct record_seen *seen, char *line, size_t size, uint64_t now_ns,
                       bool whole)
{
	uint64_t passed = now_ns - (whole ? seen->begin_ns : seen->before_ns);
	uint64_t more = seen->requests - (whole ? 0 : seen->requests_before);
	char requests[LAB_COMMAS_SIZE], rate[LAB_COMMAS_SIZE], lost[LAB_COMMAS_SIZE];
	char hits[64] = "";

	if (seen->requests)
		snprintf(hits, sizeof(hits), ", %.1f %% reused with KVM's %d",
		         100.0 * (double)(seen->requests - seen->missed) / (double)seen->requests,
		         LAB_KVM_CAPACITY);
	lab_commas(passed ? (uint64_t)((double)more * 1e9 / (double)passed + 0.5) : 0, rate);
	snprintf(line, size, "%s requests for a root by %u vCPU%s, %s/s%s; %s events lost%s",
	         lab_commas(seen->requests, requests), seen->vcpus, seen->vcpus == 1 ? "" : "s",
	         rate, hits, lab_commas(seen->lost, lost), seen->lost_more ? " and more" : "");
	seen->before_ns = now_ns;
	seen->requests_before = seen->requests;
}
