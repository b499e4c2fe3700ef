/* SPDX-License-Identifier: MIT */
/* What a study comes to; see findings.h. docs/replay.md explains each figure. */
#include "findings.h"

#include <stdio.h>
#include <string.h>

enum { ENOUGH_TIMES = 10 };

const char *lab_cause_name(enum lab_cause cause)
{
	static const char *const names[LAB_CAUSES] = {
		"unknown", "cr3", "nested_enter", "nested_exit", "mode",
	};

	return names[cause];
}

const char *lab_contexts_name(enum lab_contexts contexts)
{
	return contexts == LAB_SHARED ? "shared" : "separate";
}

const char *lab_from_name(unsigned from)
{
	return from == LAB_FROM_NEW_PGD ? "new_pgd" :
	       from == LAB_FROM_INFERRED ? "tracepoints" : "both";
}

struct lab_times lab_times_of(const struct lab_spread *spread)
{
	return (struct lab_times){
		.count = spread->count,
		.p10 = lab_spread_quantile(spread, 0.10),
		.p25 = lab_spread_quantile(spread, 0.25),
		.p50 = lab_spread_quantile(spread, 0.50),
		.p75 = lab_spread_quantile(spread, 0.75),
		.p90 = lab_spread_quantile(spread, 0.90),
		.mean = spread->count ? spread->sum / spread->count : 0,
	};
}

static const char *lacking(const struct lab_study *study)
{
	if (!(study->from & LAB_FROM_NEW_PGD))
		return "new_pgd";
	if (!study->loads_known)
		return "mmu_load";
	return study->entries ? NULL : "kvm_entry";
}

static void find_cost(const struct lab_study *study, struct lab_findings *findings)
{
	struct lab_cost *cost = &findings->cost;
	struct lab_spread *sum = findings->times;
	const struct lab_times *hit, *miss = &cost->answer[LAB_ANSWER_MISSED];

	cost->unknown = lacking(study);
	if (cost->unknown)
		return;
	for (size_t i = 0; i < study->vcpus_count; i++)
		for (unsigned k = 0; k < LAB_ANSWERS; k++)
			if (study->vcpus[i].cost[k])
				lab_spread_merge(&sum[k], study->vcpus[i].cost[k]);
	for (unsigned k = 0; k < LAB_ANSWERS; k++)
		cost->answer[k] = lab_times_of(&sum[k]);
	hit = &cost->answer[LAB_ANSWER_CACHED];
	if (hit->count < ENOUGH_TIMES)
		hit = &cost->answer[LAB_ANSWER_CURRENT];
	if (hit->count < ENOUGH_TIMES || miss->count < ENOUGH_TIMES) {
		cost->unknown = miss->count < ENOUGH_TIMES ? "ten misses" : "ten hits";
		return;
	}
	cost->known = true;
	cost->extra_ns = (double)miss->p50 - (double)hit->p50;
	cost->extra_low_ns = (double)miss->p25 - (double)hit->p50;
	cost->extra_high_ns = (double)miss->p75 - (double)hit->p50;
	if (cost->extra_ns < 0)
		cost->extra_ns = 0;
	if (cost->extra_low_ns < 0)
		cost->extra_low_ns = 0;
	if (cost->extra_high_ns < 0)
		cost->extra_high_ns = 0;
}

static void add_isolation(const struct lab_isolation *from, struct lab_isolated *to)
{
	uint64_t found = from->joined_at[LAB_CURRENT], all = 0;

	to->flips += from->flips;
	for (unsigned at = LAB_KVM_CAPACITY; at <= LAB_STACK_NONE; at++)
		to->flips_missed += from->flips_at[at];
	for (unsigned at = 0; at < LAB_POSITIONS; at++)
		all += from->joined_at[at];
	for (unsigned capacity = 0; capacity < LAB_CAPACITIES; capacity++) {
		to->joined_missed[capacity] += all - found;
		found += capacity < LAB_STACK_SIZE ? from->joined_at[capacity] : 0;
	}
}

static void add_did(const struct lab_vcpu *vcpu, struct lab_findings *findings)
{
	struct lab_kvm_did *did = &findings->did;
	const struct lab_kvm_check *from = vcpu->check;
	struct lab_kvm_check *check = &findings->check;

	did->mmu_loads += vcpu->did.mmu_loads;
	did->root_syncs += vcpu->did.root_syncs;
	did->frees += vcpu->did.frees;
	did->frees_current += vcpu->did.frees_current;
	did->roots_new += vcpu->did.roots_new;
	did->roots_found += vcpu->did.roots_found;
	check->requests += from->requests;
	check->pool_misses += from->pool_misses;
	check->array_misses += from->array_misses;
	check->kvm_misses += from->kvm_misses;
	check->drops += from->drops;
	check->drops_unknown += from->drops_unknown;
	check->after_drop += from->after_drop;
	check->after_hole += from->after_hole;
	check->kept += from->kept;
	check->warm += from->warm;
	check->unexplained += from->unexplained;
	check->unasked += from->unasked;
	check->frees_asked += from->frees_asked;
	check->frees_unasked += from->frees_unasked;
}

static void add_vcpu(const struct lab_vcpu *vcpu, struct lab_findings *findings)
{
	const struct lab_view *view = vcpu->view;

	findings->asking += view->requests > 0;
	for (unsigned cause = 0; cause < LAB_CAUSES; cause++)
		for (unsigned at = 0; at < LAB_POSITIONS; at++)
			findings->by_cause[cause][at] += view->at[cause][at];
	lab_whatif_distances(&view->whatif, findings->distance);
	for (unsigned tags = 0; tags < LAB_CAPACITIES; tags++) {
		uint64_t switches = 0;

		lab_whatif_tags(&view->whatif, tags, &switches, &findings->kept[tags]);
		findings->switches += tags ? 0 : switches;
	}
	for (unsigned k = 0; k < LAB_ANSWERS; k++)
		findings->answers[k] += vcpu->answers[k];
	add_isolation(&view->isolation, &findings->isolated);
	add_did(vcpu, findings);
}

struct lab_row lab_findings_row_of(const struct lab_vcpu *vcpu, enum rhz_root_policy policy,
                                   unsigned capacity, enum lab_contexts contexts)
{
	struct lab_row row = { .policy = policy, .capacity = capacity, .contexts = contexts };

	lab_whatif_add(&vcpu->view->whatif, &row);
	return row;
}

double lab_findings_saved(const struct lab_findings *findings, const struct lab_row *row)
{
	double misses = (double)findings->kvm.missed - (double)row->missed;

	if (!findings->cost.known || findings->study->seconds <= 0)
		return 0;
	return misses * findings->cost.extra_ns / 1e9 / findings->study->seconds;
}

double lab_findings_saved_of(const struct lab_findings *findings, const struct lab_vcpu *vcpu,
                             unsigned capacity)
{
	struct lab_row kvm = lab_findings_row_of(vcpu, findings->advised, LAB_KVM_CAPACITY,
	                                         LAB_SEPARATE);
	struct lab_row row = lab_findings_row_of(vcpu, findings->advised, capacity, LAB_SHARED);
	double seconds = (double)(vcpu->last_ns - vcpu->first_ns) / 1e9;

	if (!findings->cost.known || seconds <= 0)
		return 0;
	return ((double)kvm.missed - (double)row.missed) * findings->cost.extra_ns / 1e9 / seconds;
}

/* The smallest capacity whose misses are within 2 % of all requests of the fewest. */
static void choose(struct lab_findings *findings)
{
	const struct lab_row *rows = findings->row[LAB_SHARED][findings->advised];
	uint64_t fewest = rows[RHZ_MAX_CACHED_ROOTS].missed;

	for (unsigned c = 0; c < LAB_CAPACITIES; c++)
		if (rows[c].missed < fewest)
			fewest = rows[c].missed;
	for (findings->best = 0; rows[findings->best].missed > fewest;)
		findings->best++;
	for (findings->chosen = 0;
	     rows[findings->chosen].missed > fewest + findings->requests / 50;)
		findings->chosen++;
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0.0;
}

static void say(struct lab_findings *findings)
{
	const struct lab_row *row = &findings->row[LAB_SHARED][findings->advised][findings->chosen];
	const struct lab_row *kvm = &findings->kvm;
	char a[LAB_COMMAS_SIZE], b[LAB_COMMAS_SIZE], c[LAB_COMMAS_SIZE];
	const char *policy = rhz_root_policy_name(findings->advised);
	const unsigned capacity = LAB_KVM_CAPACITY;
	int length;

	if (kvm->missed <= row->missed) {
		snprintf(findings->sentence, LAB_TEXT_SIZE,
		         "I would keep KVM's %u cached roots: under %s %s of %s requests miss with "
		         "them, and no larger number is better by 2 %% of the requests.",
		         capacity, policy, lab_commas(kvm->missed, a),
		         lab_commas(findings->requests, b));
		return;
	}
	length = snprintf(findings->sentence, LAB_TEXT_SIZE,
	                  "I would choose %u cached roots: under %s it is the smallest number "
	                  "within 2 %% of the best, %s of %s requests miss and with KVM's %u it is "
	                  "%s, so that %.1f %% of all requests build a root that %u would have "
	                  "kept", findings->chosen, policy, lab_commas(row->missed, a),
	                  lab_commas(findings->requests, b), capacity,
	                  lab_commas(kvm->missed, c),
	                  percent(kvm->missed - row->missed, findings->requests),
	                  findings->chosen);
	if (findings->cost.known && length < LAB_TEXT_SIZE)
		snprintf(findings->sentence + length, LAB_TEXT_SIZE - (size_t)length,
		         "; at %.1f us each that is %.2f ms of every second.",
		         findings->cost.extra_ns / 1e3, lab_findings_saved(findings, row) * 1e3);
	else if (length < LAB_TEXT_SIZE)
		snprintf(findings->sentence + length, LAB_TEXT_SIZE - (size_t)length,
		         "; what each costs cannot be told from this trace, which lacks %s.",
		         findings->cost.unknown);
}

/* The default policy if it is wanted; else the first one that is. */
static enum rhz_root_policy advised_policy(const struct lab_wanted *wanted)
{
	unsigned p = RHZ_ROOTS_CURRENT_FIRST;

	if (!wanted->policy[p])
		for (p = 0; !wanted->policy[p]; p++)
			;
	return (enum rhz_root_policy)p;
}

void lab_findings_make(struct lab_findings *findings, const struct lab_study *study,
                       const struct lab_wanted *wanted)
{
	memset(findings, 0, sizeof(*findings));
	findings->study = study;
	findings->requests = lab_study_requests(study);
	findings->distinct = lab_study_distinct(study, &findings->distinct_at_least);
	for (unsigned p = 0; p < RHZ_ROOT_POLICIES; p++) {
		for (unsigned c = 0; c < LAB_CAPACITIES; c++) {
			struct lab_row *shared = &findings->row[LAB_SHARED][p][c];
			struct lab_row *apart = &findings->row[LAB_SEPARATE][p][c];

			*shared = lab_study_row(study, (enum rhz_root_policy)p, c, LAB_SHARED);
			*apart = lab_study_row(study, (enum rhz_root_policy)p, c, LAB_SEPARATE);
			findings->contexts_differ |= shared->missed != apart->missed ||
			                             shared->current != apart->current;
		}
	}
	for (size_t i = 0; i < study->vcpus_count; i++)
		add_vcpu(&study->vcpus[i], findings);
	find_cost(study, findings);
	findings->isolated.seen = findings->isolated.flips * 10 >= findings->requests;
	findings->check_holds = study->from == LAB_FROM_NEW_PGD && findings->did.mmu_loads &&
	                        !study->nested;
	findings->advised = advised_policy(wanted);
	findings->kvm = findings->row[LAB_SEPARATE][findings->advised][LAB_KVM_CAPACITY];
	choose(findings);
	say(findings);
}
