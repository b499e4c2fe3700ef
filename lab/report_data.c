/* SPDX-License-Identifier: MIT */
/* A replay's result for programs: CSV and JSON. docs/replay.md explains each field. */
#include "report.h"

#include <string.h>

typedef unsigned long long ull;

const char *lab_shown_path(const char *path)
{
	return strcmp(path, "-") ? path : "standard input";
}

const char *lab_vcpu_name(const struct lab_vcpu *vcpu, char text[LAB_NAME_SIZE])
{
	if (vcpu->number == LAB_NO_VCPU)
		snprintf(text, LAB_NAME_SIZE, "thread %u", vcpu->task);
	else
		snprintf(text, LAB_NAME_SIZE, "vCPU %u (%u)", vcpu->number, vcpu->task);
	return text;
}

double lab_percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0.0;
}

double lab_mean_position(const struct lab_row *row)
{
	return row->cached ? (double)row->positions / (double)row->cached : 0.0;
}

/* The rows that are wanted, in order: by arrangement, policy, capacity. Null behind the last. */
static const struct lab_row *next_row(const struct lab_findings *findings,
                                      const struct lab_wanted *wanted, unsigned *at)
{
	for (; *at < LAB_CONTEXTS * RHZ_ROOT_POLICIES * LAB_CAPACITIES; ++*at) {
		unsigned capacity = *at % LAB_CAPACITIES, rest = *at / LAB_CAPACITIES;
		unsigned policy = rest % RHZ_ROOT_POLICIES, contexts = rest / RHZ_ROOT_POLICIES;

		if (!wanted->contexts[contexts] || !wanted->policy[policy] ||
		    !wanted->capacity[capacity])
			continue;
		++*at;
		return &findings->row[contexts][policy][capacity];
	}
	return NULL;
}

void lab_report_csv(const struct lab_findings *findings, const struct lab_wanted *wanted,
                    FILE *out)
{
	const struct lab_row *row;

	fputs("policy,capacity,contexts,requests,current,cached,missed,miss_percent,duplicates,"
	      "mean_position,saved_ms_per_s\n", out);
	for (unsigned at = 0; (row = next_row(findings, wanted, &at));) {
		fprintf(out, "%s,%u,%s,%llu,%llu,%llu,%llu,%.4f,%llu,%.4f,",
		        rhz_root_policy_name(row->policy), row->capacity,
		        lab_contexts_name(row->contexts), (ull)findings->requests,
		        (ull)row->current, (ull)row->cached, (ull)row->missed,
		        lab_percent(row->missed, findings->requests), (ull)row->duplicates,
		        lab_mean_position(row));
		if (findings->cost.known)
			fprintf(out, "%.4f", lab_findings_saved(findings, row) * 1e3);
		fputc('\n', out);
	}
}

/* How many bytes at text are one well-formed UTF-8 character; 0 if they are none. [RFC 3629 4] */
static size_t utf8_length(const unsigned char *text)
{
	size_t length = text[0] < 0x80 ? 1 : text[0] >= 0xc2 && text[0] <= 0xdf ? 2 :
	                text[0] >= 0xe0 && text[0] <= 0xef ? 3 :
	                text[0] >= 0xf0 && text[0] <= 0xf4 ? 4 : 0;

	for (size_t i = 1; i < length; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
	    (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
		return 0;
	return length;
}

void lab_json_string(const char *string, FILE *out)
{
	const unsigned char *at = (const unsigned char *)string;

	fputc('"', out);
	while (*at) {
		size_t length = utf8_length(at);

		if (*at == '"' || *at == '\\')
			fprintf(out, "\\%c", *at);
		else if (*at < 0x20 || !length)
			fprintf(out, "\\u%04x", length ? *at : 0xfffdu);
		else
			fwrite(at, 1, length, out);
		at += length ? length : 1;
	}
	fputc('"', out);
}

static const char *truth(bool value)
{
	return value ? "true" : "false";
}

static void json_heading(const struct lab_findings *f, FILE *out)
{
	const struct lab_study *s = f->study;

	fprintf(out, "  \"requests\": %llu,\n  \"distinct\": %llu,\n  \"distinct_at_least\": %s,\n"
	        "  \"vcpus\": %llu,\n  \"seconds\": %.6f,\n", (ull)f->requests, (ull)f->distinct,
	        truth(f->distinct_at_least), (ull)f->asking, s->seconds);
	fprintf(out, "  \"source\": \"%s\",\n  \"inferred\": %s,\n  \"cr3_missing\": %s,\n"
	        "  \"direct\": %s,\n  \"nested\": %s,\n  \"whole\": %s,\n", lab_from_name(s->from),
	        truth(s->from & LAB_FROM_INFERRED), truth(s->cr3_missing), truth(s->direct),
	        truth(s->nested), truth(!s->stopped));
	fputs("  \"files\": [", out);
	for (size_t i = 0; i < s->paths_count; i++) {
		fputs(i ? ", " : "", out);
		lab_json_string(s->paths[i], out);
	}
	fprintf(out, "],\n  \"lines\": {\"read\": %llu, \"events\": %llu, \"broken\": %llu, "
	        "\"lost_events\": %llu, \"lost_unknown\": %s},\n", (ull)s->read, (ull)s->events,
	        (ull)s->broken, (ull)s->lost, truth(s->lost_unknown));
}

static void json_kvm(const struct lab_findings *f, FILE *out)
{
	const struct lab_kvm_did *did = &f->did;
	const struct lab_kvm_check *c = &f->check;

	fprintf(out, "  \"kvm\": {\"mmu_load\": %llu, \"roots_new\": %llu, \"roots_found\": %llu, "
	        "\"sync_roots\": %llu, \"free_roots\": %llu, \"free_current\": %llu},\n",
	        (ull)did->mmu_loads, (ull)did->roots_new, (ull)did->roots_found,
	        (ull)did->root_syncs, (ull)did->frees, (ull)did->frees_current);
	if (!f->check_holds) {
		fputs("  \"check\": null,\n", out);
		return;
	}
	fprintf(out, "  \"check\": {\"pool_misses\": %llu, \"after_drop\": %llu, "
	        "\"after_hole\": %llu, \"kept\": %llu, \"array_misses\": %llu, \"warm\": %llu, "
	        "\"unexplained\": %llu, \"unasked\": %llu, \"kvm_misses\": %llu, "
	        "\"frees_asked\": %llu, \"frees_unasked\": %llu, \"dropped\": %llu, "
	        "\"dropped_unknown\": %llu},\n", (ull)c->pool_misses,
	        (ull)c->after_drop, (ull)c->after_hole, (ull)c->kept, (ull)c->array_misses,
	        (ull)c->warm, (ull)c->unexplained, (ull)c->unasked, (ull)c->kvm_misses,
	        (ull)c->frees_asked, (ull)c->frees_unasked,
	        (ull)c->drops, (ull)c->drops_unknown);
}

/* How the requests of a cause, or all, fare under current-first with shared contexts. */
static void json_fate(const uint64_t at[LAB_POSITIONS], FILE *out)
{
	uint64_t all = 0, cached[2] = { 0 };

	for (unsigned i = 0; i < LAB_POSITIONS; i++)
		all += at[i];
	for (unsigned i = 0; i < LAB_STACK_SIZE; i++) {
		cached[0] += i < LAB_KVM_CAPACITY ? at[i] : 0;
		cached[1] += at[i];
	}
	fprintf(out, "{\"requests\": %llu, \"current\": %llu, \"cached_3\": %llu, "
	        "\"cached_64\": %llu}", (ull)all, (ull)at[LAB_CURRENT], (ull)cached[0],
	        (ull)cached[1]);
}

static void json_causes(const struct lab_findings *f, FILE *out)
{
	uint64_t nested[LAB_POSITIONS];

	fputs("  \"causes\": {", out);
	for (unsigned cause = 0; cause < LAB_CAUSES; cause++) {
		fprintf(out, "%s\"%s\": ", cause ? ", " : "",
		        lab_cause_name((enum lab_cause)cause));
		json_fate(f->by_cause[cause], out);
	}
	for (unsigned at = 0; at < LAB_POSITIONS; at++)
		nested[at] = f->by_cause[LAB_CAUSE_NESTED_ENTER][at] +
		             f->by_cause[LAB_CAUSE_NESTED_EXIT][at];
	fputs("},\n  \"nested_transitions\": ", out);
	json_fate(nested, out);
	fputs(",\n  \"reuse_distances\": [", out);
	for (unsigned i = 0; i <= LAB_STACK_SIZE; i++)
		fprintf(out, "%s%llu", i ? ", " : "", (ull)f->distance[i]);
	fputs("],\n", out);
}

static void json_times(const struct lab_times *t, FILE *out)
{
	fprintf(out, "{\"count\": %llu, \"p10\": %llu, \"p25\": %llu, \"p50\": %llu, "
	        "\"p75\": %llu, \"p90\": %llu, \"mean\": %llu}", (ull)t->count, (ull)t->p10,
	        (ull)t->p25, (ull)t->p50, (ull)t->p75, (ull)t->p90, (ull)t->mean);
}

static void json_cost(const struct lab_findings *f, FILE *out)
{
	const struct lab_cost *cost = &f->cost;

	fputs("  \"cost_ns\": ", out);
	if (!cost->known) {
		fprintf(out, "null,\n  \"cost_lacks\": \"%s\",\n", cost->unknown);
		return;
	}
	fputs("{\"current\": ", out);
	json_times(&cost->answer[LAB_ANSWER_CURRENT], out);
	fputs(",\n    \"cached\": ", out);
	json_times(&cost->answer[LAB_ANSWER_CACHED], out);
	fputs(",\n    \"missed\": ", out);
	json_times(&cost->answer[LAB_ANSWER_MISSED], out);
	fprintf(out, ",\n    \"extra\": %.1f, \"extra_low\": %.1f, \"extra_high\": %.1f},\n",
	        cost->extra_ns, cost->extra_low_ns, cost->extra_high_ns);
}

static void json_isolation_and_tags(const struct lab_findings *f, FILE *out)
{
	fprintf(out, "  \"pti\": {\"seen\": %s, \"flips\": %llu, \"flips_missed_3\": %llu, "
	        "\"missed_without\": [", truth(f->isolated.seen), (ull)f->isolated.flips,
	        (ull)f->isolated.flips_missed);
	for (unsigned c = 0; c < LAB_CAPACITIES; c++)
		fprintf(out, "%s%llu", c ? ", " : "", (ull)f->isolated.joined_missed[c]);
	fprintf(out, "]},\n  \"tags\": {\"switches\": %llu, \"flushes\": [", (ull)f->switches);
	for (unsigned tags = 0; tags < LAB_CAPACITIES; tags++)
		fprintf(out, "%s%llu", tags ? ", " : "", (ull)(f->switches - f->kept[tags]));
	fputs("]},\n", out);
}

static void json_recorded(const struct lab_findings *f, FILE *out)
{
	const struct lab_study *s = f->study;
	uint64_t answered = f->answers[0] + f->answers[1] + f->answers[2];

	if (!answered) {
		fputs("  \"recorded\": null,\n", out);
		return;
	}
	fprintf(out, "  \"recorded\": {\"policy\": \"%s\", \"capacity\": %d, \"current\": %llu, "
	        "\"cached\": %llu, \"missed\": %llu},\n", s->recorded_policy,
	        s->recorded_capacity, (ull)f->answers[LAB_ANSWER_CURRENT],
	        (ull)f->answers[LAB_ANSWER_CACHED], (ull)f->answers[LAB_ANSWER_MISSED]);
}

static void json_row(const struct lab_row *row, FILE *out)
{
	fprintf(out, "\"policy\": \"%s\", \"capacity\": %u, \"contexts\": \"%s\", "
	        "\"current\": %llu, \"cached\": %llu, \"missed\": %llu",
	        rhz_root_policy_name(row->policy), row->capacity, lab_contexts_name(row->contexts),
	        (ull)row->current, (ull)row->cached, (ull)row->missed);
}

static void json_vcpus(const struct lab_findings *f, FILE *out)
{
	const char *comma = "";

	fputs("  \"by_vcpu\": [", out);
	for (size_t i = 0; i < f->study->vcpus_count; i++) {
		const struct lab_vcpu *vcpu = &f->study->vcpus[i];
		struct lab_row kvm = lab_findings_row_of(vcpu, f->advised, LAB_KVM_CAPACITY,
		                                         LAB_SEPARATE);
		struct lab_row own = lab_findings_row_of(vcpu, f->advised, f->chosen, LAB_SHARED);

		if (!vcpu->view->requests)
			continue;
		fprintf(out, "%s\n    {\"file\": %u, \"vm\": %u, \"vcpu\": %lld, \"thread\": %u, "
		        "\"requests\": %llu, \"distinct\": %llu, \"seconds\": %.6f,\n"
		        "     \"kvm\": {", comma, vcpu->file, vcpu->vm,
		        vcpu->number == LAB_NO_VCPU ? -1 : (long long)vcpu->number, vcpu->task,
		        (ull)vcpu->view->requests, (ull)vcpu->view->known.count,
		        (double)(vcpu->last_ns - vcpu->first_ns) / 1e9);
		json_row(&kvm, out);
		fputs("},\n     \"chosen\": {", out);
		json_row(&own, out);
		fputs("}, \"saved_ms_per_s\": ", out);
		if (f->cost.known)
			fprintf(out, "%.4f}", lab_findings_saved_of(f, vcpu, f->chosen) * 1e3);
		else
			fputs("null}", out);
		comma = ",";
	}
	fputs("\n  ],\n", out);
}

/* A VM is a process; where the trace does not name it, all of a file's threads are one. */
static void json_vms(const struct lab_findings *f, FILE *out)
{
	const struct lab_study *s = f->study;
	const char *comma = "";

	fputs("  \"by_vm\": [", out);
	for (size_t i = 0; i < s->vcpus_count; i++) {
		struct lab_row kvm = { .policy = f->advised, .capacity = LAB_KVM_CAPACITY,
		                       .contexts = LAB_SEPARATE };
		struct lab_row own = { .policy = f->advised, .capacity = f->chosen };
		uint64_t requests = 0, distinct = 0, vcpus = 0;
		bool first = true;

		for (size_t k = 0; k < s->vcpus_count; k++) {
			const struct lab_vcpu *vcpu = &s->vcpus[k];

			if (vcpu->vm != s->vcpus[i].vm || vcpu->file != s->vcpus[i].file)
				continue;
			first &= k >= i;
			requests += vcpu->view->requests;
			distinct += vcpu->view->known.count;
			vcpus += vcpu->view->requests > 0;
			lab_whatif_add(&vcpu->view->whatif, &kvm);
			lab_whatif_add(&vcpu->view->whatif, &own);
		}
		if (!first || !requests)
			continue;
		fprintf(out, "%s\n    {\"file\": %u, \"vm\": %u, \"vcpus\": %llu, "
		        "\"requests\": %llu, \"distinct\": %llu,\n     \"kvm\": {", comma,
		        s->vcpus[i].file, s->vcpus[i].vm, (ull)vcpus, (ull)requests,
		        (ull)distinct);
		json_row(&kvm, out);
		fputs("},\n     \"chosen\": {", out);
		json_row(&own, out);
		fputs("}}", out);
		comma = ",";
	}
	fputs("\n  ],\n", out);
}

void lab_report_json(const struct lab_findings *findings, const struct lab_wanted *wanted,
                     FILE *out)
{
	const struct lab_row *row;
	const char *comma = "";

	fputs("{\n", out);
	json_heading(findings, out);
	json_kvm(findings, out);
	json_recorded(findings, out);
	json_causes(findings, out);
	json_cost(findings, out);
	json_isolation_and_tags(findings, out);
	json_vcpus(findings, out);
	json_vms(findings, out);
	fprintf(out, "  \"choice\": {\"policy\": \"%s\", \"capacity\": %u, \"best\": %u, "
	        "\"sentence\": ", rhz_root_policy_name(findings->advised), findings->chosen,
	        findings->best);
	lab_json_string(findings->sentence, out);
	fputs("},\n  \"what_if\": [", out);
	for (unsigned at = 0; (row = next_row(findings, wanted, &at)); comma = ",") {
		fprintf(out, "%s\n    {", comma);
		json_row(row, out);
		fprintf(out, ", \"duplicates\": %llu, \"mean_position\": %.4f, "
		        "\"saved_ms_per_s\": ", (ull)row->duplicates, lab_mean_position(row));
		if (findings->cost.known)
			fprintf(out, "%.4f}", lab_findings_saved(findings, row) * 1e3);
		else
			fputs("null}", out);
	}
	fputs("\n  ]\n}\n", out);
}
