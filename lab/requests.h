/* SPDX-License-Identifier: MIT */
/*
 * The requests for a root that traces hold, in order: four bytes for each request, whatever its
 * line was like, and each root once.
 */
#ifndef LAB_REQUESTS_H
#define LAB_REQUESTS_H

#include "lab.h"

#include <rhizome/root.h>

/* Where the requests of a trace were taken from. */
enum lab_source {
	LAB_SOURCE_NONE = 0,
	LAB_SOURCE_NEW_PGD = 1,  /* the kprobe event: every request that KVM had */
	LAB_SOURCE_INFERRED = 2, /* nested transitions and kvm_cr: what fixed tracepoints tell */
};

struct lab_root {
	struct rhz_root_key key;
	uint32_t vcpu;
	uint32_t next; /* of the same hash bucket; internal */
};

struct lab_requests {
	uint32_t *root; /* one for each request: index into roots */
	size_t count;
	struct lab_root *roots; /* each pair of vCPU and key once */
	size_t distinct;
	uint32_t vcpus;

	unsigned sources;  /* enum lab_source, or-ed over all files */
	bool cr3_missing;  /* inferred, and no load of CR3 was seen */
	bool direct;       /* L1 runs on nested or extended tables: one root whatever its CR3 */
	uint64_t lines, events, broken, lost;
	const char *broken_file; /* where the first broken line was */
	uint64_t broken_line;
	uint64_t first_ns, last_ns; /* of the first file's requests */
	uint64_t kvm_mmu_loads, kvm_root_syncs, kvm_root_frees; /* what KVM did itself */
	/* KVM's array replayed with the cached roots that KVM dropped by itself; not with nested
	   guests, for which it has two arrays and the trace does not say which. */
	uint64_t kvm_array_misses, kvm_dropped;
	bool nested;

	uint32_t *bucket;
	size_t buckets, room, roots_room;
};

/* Adds what one file holds. Complains and says so if the file cannot be used. */
enum lab_exit lab_requests_read(struct lab_requests *requests, const char *path);
void lab_requests_free(struct lab_requests *requests);

#endif
