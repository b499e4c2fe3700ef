/* SPDX-License-Identifier: MIT */
/*
 * Traces, read once from the beginning to the end: what they hold of roots, for each vCPU. Memory
 * depends on the number of vCPUs and of different roots, not on the length.
 *
 * A vCPU is a thread; threads of different files are different vCPUs. KVM announces a nested entry
 * or exit before it asks for the root, so each vCPU's context is known when its request comes.
 */
#ifndef LAB_STUDY_H
#define LAB_STUDY_H

#include "kvm.h"
#include "lab.h"
#include "spread.h"
#include "view.h"

/* Where the requests of a trace were taken from. */
enum lab_requests_from {
	LAB_FROM_NEW_PGD = 1,  /* the kprobe event, or our own trace: every request that KVM had */
	LAB_FROM_INFERRED = 2, /* nested transitions and loads of CR3 */
};

/* What KVM did itself. */
struct lab_kvm_did {
	uint64_t mmu_loads, root_syncs;
	uint64_t frees, frees_current; /* calls of kvm_mmu_free_roots; for the current root */
	uint64_t roots_new, roots_found; /* first page after an MMU load: made, or found again */
};

/* A request's way from kvm_mmu_new_pgd to the entry into the guest, by what came of it. */
enum lab_answer { LAB_ANSWER_CURRENT, LAB_ANSWER_CACHED, LAB_ANSWER_MISSED, LAB_ANSWERS };

struct lab_vcpu {
	uint32_t task, vm, number; /* number: LAB_NO_VCPU if not known */
	uint32_t file;             /* index into the study's paths */
	uint64_t first_ns, last_ns; /* of its requests */
	struct lab_view *view;
	struct lab_kvm_did did;
	struct lab_kvm_check *check;
	struct lab_spread *cost[LAB_ANSWERS]; /* null: not one */
	uint64_t answers[LAB_ANSWERS];        /* as the recorder told them */
};

struct lab_study {
	struct lab_vcpu *vcpus;
	size_t vcpus_count;
	char **paths;
	size_t paths_count;

	unsigned from;            /* enum lab_requests_from, or-ed over all files */
	bool cr3_missing;         /* inferred, and no load of CR3 was seen */
	bool direct;              /* L1 runs on nested or extended tables: its CR3 is no matter */
	bool nested;              /* there were nested entries */
	bool stopped;             /* a recorder did not come to its end */
	uint64_t read, events, broken, lost; /* read: lines, or events of a binary form */
	bool lost_unknown;        /* ... and more, nobody knows how many */
	const char *broken_file;  /* where the first broken line was */
	uint64_t broken_place;
	double seconds;           /* sum over the files: first to last request */
	uint64_t entries, loads_known; /* events that times need */
	char recorded_policy[32]; /* by the recorder's facts; "" */
	int recorded_capacity;    /* -1: not known */

	bool random;              /* random-4 is wanted; set before reading */
	uint64_t seed;
	bool quiet;               /* no progress is shown */
};

/* Adds what one file holds. Complains and says so if the file cannot be used. */
enum lab_exit lab_study_read(struct lab_study *study, const char *path);
/* The sum over all vCPUs (or those of a VM of a file) under row's policy, capacity, contexts. */
struct lab_row lab_study_row(const struct lab_study *study, enum rhz_root_policy policy,
                             unsigned capacity, enum lab_contexts contexts);
uint64_t lab_study_requests(const struct lab_study *study);
uint64_t lab_study_distinct(const struct lab_study *study, bool *at_least);
void lab_study_free(struct lab_study *study);

#endif
