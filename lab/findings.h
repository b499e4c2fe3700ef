/* SPDX-License-Identifier: MIT */
/* What a study comes to: figures that every form of output shows alike, and the choice. */
#ifndef LAB_FINDINGS_H
#define LAB_FINDINGS_H

#include "study.h"

enum { LAB_CAPACITIES = RHZ_MAX_CACHED_ROOTS + 1, LAB_TEXT_SIZE = 1024 };

/* What is wanted of a replay. */
struct lab_wanted {
	bool policy[RHZ_ROOT_POLICIES];
	bool capacity[LAB_CAPACITIES];
	bool contexts[LAB_CONTEXTS];
};

/* Times in nanoseconds, the median and the quartiles. */
struct lab_times {
	uint64_t count, p10, p25, p50, p75, p90, mean;
};

struct lab_cost {
	struct lab_times answer[LAB_ANSWERS];
	bool known;     /* the trace has misses, hits and entries, so that this can be said: */
	double extra_ns, extra_low_ns, extra_high_ns; /* a miss beyond a cached root found */
	const char *unknown; /* else: what the trace lacks */
};

struct lab_isolated {
	bool seen; /* flips are a tenth of the requests, or more */
	uint64_t flips;
	uint64_t flips_missed; /* with KVM's capacity */
	uint64_t joined_missed[LAB_CAPACITIES]; /* all requests, were a pair one root */
};

struct lab_findings {
	const struct lab_study *study;
	uint64_t requests, distinct, asking; /* asking: vCPUs that asked */
	bool distinct_at_least;
	struct lab_row row[LAB_CONTEXTS][RHZ_ROOT_POLICIES][LAB_CAPACITIES];
	bool contexts_differ; /* some row of the two arrangements does */
	uint64_t by_cause[LAB_CAUSES][LAB_POSITIONS];
	uint64_t distance[LAB_STACK_SIZE + 1]; /* different roots asked for since; the last: more,
	                                          or the first time */
	uint64_t switches, kept[LAB_CAPACITIES]; /* by tags; see lab_whatif_tags */
	struct lab_cost cost;
	struct lab_spread times[LAB_ANSWERS]; /* all of them */
	struct lab_isolated isolated;
	struct lab_kvm_did did;
	struct lab_kvm_check check;
	bool check_holds; /* the check can be made */
	uint64_t answers[LAB_ANSWERS]; /* as the recorder told them */

	enum rhz_root_policy advised; /* the policy that the choice speaks of */
	struct lab_row kvm;           /* that policy with KVM's capacity and separate contexts */
	unsigned chosen;              /* capacity, shared contexts */
	unsigned best;                /* the least capacity with the fewest misses */
	char sentence[LAB_TEXT_SIZE]; /* the choice, and why */
};

/* Never fails. The findings are large: not for a stack. */
void lab_findings_make(struct lab_findings *findings, const struct lab_study *study,
                       const struct lab_wanted *wanted);
/* Seconds of a second that a capacity would save against KVM's own, of all vCPUs or of one. */
double lab_findings_saved(const struct lab_findings *findings, const struct lab_row *row);
double lab_findings_saved_of(const struct lab_findings *findings, const struct lab_vcpu *vcpu,
                             unsigned capacity);
/* A row of one vCPU alone. */
struct lab_row lab_findings_row_of(const struct lab_vcpu *vcpu, enum rhz_root_policy policy,
                                   unsigned capacity, enum lab_contexts contexts);
struct lab_times lab_times_of(const struct lab_spread *spread);

/* "cr3", "nested_enter", … */
const char *lab_cause_name(enum lab_cause cause);
const char *lab_contexts_name(enum lab_contexts contexts);
/* "new_pgd", "tracepoints", "both" */
const char *lab_from_name(unsigned from);

#endif
