/* SPDX-License-Identifier: MIT */
/* A replay's result for people at a terminal. docs/replay.md explains the columns. */
#include "report.h"

#include <langinfo.h>
#include <stdarg.h>
#include <string.h>

enum {
	FIXED_WIDTH = 58, SEPARATE_WIDTH = 10, SAVED_WIDTH = 9, DETAIL_WIDTH = 17,
	BAR_MIN = 5, BAR_MAX = 24, CHART_WIDTH = 24, VCPUS_SHOWN = 16,
};

/* What of the table there is room and reason for. */
struct layout {
	const struct lab_findings *findings;
	FILE *out;
	unsigned columns, bar;
	bool separate, saved, detail, blocks;
};

/* Prints a sentence, broken into lines before words that would pass the width. */
static void print_wrapped(const struct layout *layout, const char *text)
{
	char copy[LAB_TEXT_SIZE];
	char *word, *rest = copy;
	size_t column = 0;

	snprintf(copy, sizeof(copy), "%s", text);
	while ((word = strsep(&rest, " "))) {
		if (column && column + 1 + strlen(word) > layout->columns) {
			fputc('\n', layout->out);
			column = 0;
		}
		column += (size_t)fprintf(layout->out, "%s%s", column ? " " : "", word);
	}
	fputc('\n', layout->out);
}

/* "  label     text", the text broken into lines that begin below its first word. */
static void print_fact(const struct layout *layout, const char *label, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void print_fact(const struct layout *layout, const char *label, const char *format, ...)
{
	char text[LAB_TEXT_SIZE];
	char *word, *rest = text;
	size_t column = 12;
	bool first = true;
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	fprintf(layout->out, "  %-10s", label);
	for (; (word = strsep(&rest, " ")); first = false) {
		if (!first && column + 1 + strlen(word) > layout->columns) {
			fprintf(layout->out, "\n%12s", "");
			column = 12;
			first = true;
		}
		column += (size_t)fprintf(layout->out, "%s%s", first ? "" : " ", word);
	}
	fputc('\n', layout->out);
}

/* A share as a bar: eighths of a block where the terminal has them. */
static void print_bar(const struct layout *layout, double share, unsigned width)
{
	static const char *const eighth[] = {
		"", "\u258f", "\u258e", "\u258d", "\u258c", "\u258b", "\u258a", "\u2589",
	};
	unsigned eighths = (unsigned)(share * width * 8 + 0.5);

	if (!eighths && share > 0 && width)
		eighths = 1;
	fputs(eighths ? " " : "", layout->out);
	for (; eighths >= 8; eighths -= 8)
		fputs(layout->blocks ? "\u2588" : "#", layout->out);
	fputs(layout->blocks ? eighth[eighths] : eighths >= 4 ? "#" : eighths ? "." : "",
	      layout->out);
}

/* Shares as columns of one line, each an eighth of its height. */
static void print_line(const struct layout *layout, const double *share, unsigned count)
{
	static const char *const height[] = {
		" ", "\u2581", "\u2582", "\u2583", "\u2584", "\u2585", "\u2586", "\u2587", "\u2588",
	};
	static const char plain[] = " ..::||##";

	for (unsigned i = 0; i < count; i++) {
		unsigned eighths = (unsigned)(share[i] * 8 + 0.5);

		eighths = eighths > 8 ? 8 : !eighths && share[i] > 0 ? 1 : eighths;
		if (layout->blocks)
			fputs(height[eighths], layout->out);
		else
			fputc(plain[eighths], layout->out);
	}
}

static void print_check(const struct layout *layout)
{
	const struct lab_kvm_check *c = &layout->findings->check;
	char a[LAB_COMMAS_SIZE], b[LAB_COMMAS_SIZE], d[LAB_COMMAS_SIZE], e[LAB_COMMAS_SIZE];
	char text[LAB_TEXT_SIZE];
	int length;

	length = snprintf(text, sizeof(text), "current-first with %d misses %s times; KVM also %s "
	                  "times after dropping the root itself and %s times after a hole in its "
	                  "array had pushed it out", LAB_KVM_CAPACITY,
	                  lab_commas(c->pool_misses, a),
	                  lab_commas(c->after_drop, b), lab_commas(c->after_hole, d));
	if (c->kept)
		length += snprintf(text + length, sizeof(text) - (size_t)length, ", %s times not",
		                   lab_commas(c->kept, a));
	if (c->warm)
		length += snprintf(text + length, sizeof(text) - (size_t)length, ", %s less since "
		                   "it was cached before the trace began", lab_commas(c->warm, a));
	snprintf(text + length, sizeof(text) - (size_t)length,
	         ": %s, and it loaded an MMU %s times for a request",
	         lab_commas(c->array_misses - c->warm, a), lab_commas(c->kvm_misses, e));
	print_fact(layout, "check", "%s", text);
	if (c->unexplained || c->unasked)
		print_fact(layout, "", "%s of these loads are not explained; %s more came without "
		           "a request, as changes of mode do", lab_commas(c->unexplained, a),
		           lab_commas(c->unasked, b));
}

static void print_kvm(const struct layout *layout)
{
	const struct lab_kvm_did *did = &layout->findings->did;
	char a[LAB_COMMAS_SIZE], b[LAB_COMMAS_SIZE], c[LAB_COMMAS_SIZE], d[LAB_COMMAS_SIZE];
	char e[LAB_COMMAS_SIZE];

	if (!did->mmu_loads && !did->root_syncs && !did->frees)
		return;
	if (did->roots_new || did->roots_found)
		print_fact(layout, "KVM did", "%s MMU loads (%s roots built, %s found again), %s "
		           "root syncs, %s calls to free roots", lab_commas(did->mmu_loads, a),
		           lab_commas(did->roots_new, b), lab_commas(did->roots_found, c),
		           lab_commas(did->root_syncs, d), lab_commas(did->frees, e));
	else
		print_fact(layout, "KVM did", "%s MMU loads, %s root syncs, %s calls to free roots",
		           lab_commas(did->mmu_loads, a), lab_commas(did->root_syncs, d),
		           lab_commas(did->frees, e));
	if (layout->findings->check_holds)
		print_check(layout);
}

static void print_cost(const struct layout *layout)
{
	const struct lab_cost *cost = &layout->findings->cost;
	const struct lab_times *miss = &cost->answer[LAB_ANSWER_MISSED];
	const struct lab_times *hit = &cost->answer[LAB_ANSWER_CACHED];

	if (!cost->known) {
		print_fact(layout, "cost", "not known: the trace lacks %s", cost->unknown);
		return;
	}
	if (hit->count < 10)
		hit = &cost->answer[LAB_ANSWER_CURRENT];
	print_fact(layout, "cost", "a miss is %.1f us from the request to the entry (half of them "
	           "%.1f to %.1f), a root found %.1f us (%.1f to %.1f): %.1f us for each miss",
	           (double)miss->p50 / 1e3, (double)miss->p25 / 1e3, (double)miss->p75 / 1e3,
	           (double)hit->p50 / 1e3, (double)hit->p25 / 1e3, (double)hit->p75 / 1e3,
	           cost->extra_ns / 1e3);
}

static void print_source(const struct layout *layout)
{
	const struct lab_study *s = layout->findings->study;
	char a[LAB_COMMAS_SIZE];

	if (s->from & LAB_FROM_INFERRED)
		print_fact(layout, "inferred", "from nested entries and exits%s; no new_pgd was "
		           "recorded",
		           s->cr3_missing ? "; loads of CR3 are missing" : " and writes to CR3");
	if (s->direct)
		print_fact(layout, "paging", "two-dimensional: L1 has one root, whatever its CR3");
	if (s->broken)
		print_fact(layout, "left out", "%s lines that are no trace events; the first: "
		           "%s:%llu", lab_commas(s->broken, a), lab_shown_path(s->broken_file),
		           (unsigned long long)s->broken_place);
	if (s->lost || s->lost_unknown)
		print_fact(layout, "lost", "%s events%s, says the recorder", lab_commas(s->lost, a),
		           s->lost_unknown ? " and more that nobody counted" : "");
	if (s->stopped)
		print_fact(layout, "cut short", "the recorder did not come to its end");
}

static void print_heading(const struct layout *layout)
{
	const struct lab_findings *f = layout->findings;
	char a[LAB_COMMAS_SIZE], b[LAB_COMMAS_SIZE], c[LAB_COMMAS_SIZE];

	for (size_t i = 0; i < f->study->paths_count; i++)
		fprintf(layout->out, "%s%s", i ? ", " : "", lab_shown_path(f->study->paths[i]));
	fputc('\n', layout->out);
	print_fact(layout, "requests", "%s for %s%s roots, from %llu vCPU%s, in %.1f s",
	           lab_commas(f->requests, a), f->distinct_at_least ? "at least " : "",
	           lab_commas(f->distinct, b), (unsigned long long)f->asking,
	           f->asking == 1 ? "" : "s", f->study->seconds);
	print_source(layout);
	if (f->by_cause[LAB_CAUSE_UNKNOWN][LAB_CURRENT] == 0 || f->study->nested) {
		uint64_t sum[LAB_CAUSES] = { 0 }, other;

		for (unsigned cause = 0; cause < LAB_CAUSES; cause++)
			for (unsigned at = 0; at < LAB_POSITIONS; at++)
				sum[cause] += f->by_cause[cause][at];
		other = sum[LAB_CAUSE_UNKNOWN] + sum[LAB_CAUSE_MODE];
		if (sum[LAB_CAUSE_UNKNOWN] < f->requests)
			print_fact(layout, "causes", "CR3 %s, nested entry %s, nested exit %s, "
			           "other %llu", lab_commas(sum[LAB_CAUSE_CR3], a),
			           lab_commas(sum[LAB_CAUSE_NESTED_ENTER], b),
			           lab_commas(sum[LAB_CAUSE_NESTED_EXIT], c),
			           (unsigned long long)other);
	}
	print_kvm(layout);
	print_cost(layout);
}

static bool same_result(const struct layout *layout, const struct lab_row *a,
                        const struct lab_row *b)
{
	const struct lab_row *apart = layout->findings->row[LAB_SEPARATE][a->policy];

	return a->current == b->current && a->cached == b->cached && a->missed == b->missed &&
	       a->duplicates == b->duplicates && a->positions == b->positions &&
	       apart[a->capacity].missed == apart[b->capacity].missed;
}

static void print_titles(const struct layout *layout)
{
	FILE *out = layout->out;

	fprintf(out, "\n%-13s%7s%10s%10s%10s%8s", "", "cached", "current", "cached", "", "");
	if (layout->separate)
		fprintf(out, "%10s", "missed,");
	if (layout->saved)
		fprintf(out, "%9s", "saved");
	if (layout->detail)
		fprintf(out, "%8s%9s", "dupli-", "mean");
	fprintf(out, "\n%-13s%7s%10s%10s%10s%8s", "policy", "roots", "reused", "reused", "missed",
	        "miss %");
	if (layout->separate)
		fprintf(out, "%10s", "separate");
	if (layout->saved)
		fprintf(out, "%9s", "ms/s");
	if (layout->detail)
		fprintf(out, "%8s%9s", "cates", "position");
	fputc('\n', out);
}

/* One line for rows first to last, which differ in capacity alone. */
static void print_row(const struct layout *layout, const struct lab_row *first,
                      const struct lab_row *last, bool named)
{
	const struct lab_findings *f = layout->findings;
	const struct lab_row *apart = &f->row[LAB_SEPARATE][first->policy][first->capacity];
	char capacity[24], position[16] = "-";
	char text[4][LAB_COMMAS_SIZE];

	snprintf(capacity, sizeof(capacity), first == last ? "%u" : "%u-%u", first->capacity,
	         last->capacity);
	if (first->cached)
		snprintf(position, sizeof(position), "%.2f", lab_mean_position(first));
	fprintf(layout->out, "%-13s%7s%10s%10s%10s%8.2f",
	        named ? rhz_root_policy_name(first->policy) : "", capacity,
	        lab_commas(first->current, text[0]), lab_commas(first->cached, text[1]),
	        lab_commas(first->missed, text[2]), lab_percent(first->missed, f->requests));
	if (layout->separate)
		fprintf(layout->out, "%10s", lab_commas(apart->missed, text[3]));
	if (layout->saved)
		fprintf(layout->out, "%9.2f", lab_findings_saved(f, first) * 1e3);
	if (layout->detail)
		fprintf(layout->out, "%8s%9s", lab_commas(first->duplicates, text[3]), position);
	print_bar(layout, (double)first->missed / (double)f->requests, layout->bar);
	fputc('\n', layout->out);
}

static void print_rows(const struct layout *layout, const struct lab_wanted *wanted)
{
	const struct lab_row *shown[LAB_CAPACITIES];

	print_titles(layout);
	for (unsigned p = 0; p < RHZ_ROOT_POLICIES; p++) {
		unsigned count = 0;

		for (unsigned c = 0; wanted->policy[p] && c < LAB_CAPACITIES; c++)
			if (wanted->capacity[c])
				shown[count++] = &layout->findings->row[LAB_SHARED][p][c];
		for (unsigned i = 0, last; i < count; i = last + 1) {
			for (last = i; last + 1 < count; last++)
				if (!same_result(layout, shown[i], shown[last + 1]))
					break;
			print_row(layout, shown[i], shown[last], i == 0);
		}
	}
}

/* How far back requests reach, and the hit rate for each capacity as a line. */
static void print_distances(const struct layout *layout)
{
	static const unsigned from[] = { 0, 1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 65 };
	const struct lab_findings *f = layout->findings;
	const struct lab_row *rows = f->row[LAB_SHARED][f->advised];
	double share[33];
	unsigned capacities = layout->columns < 33 + 44 ? layout->columns - 44 : 33;
	char a[LAB_COMMAS_SIZE];

	fprintf(layout->out, "\nDifferent roots asked for since the same one was:\n");
	for (unsigned i = 0; from[i] < 65; i++) {
		uint64_t sum = 0;
		char range[16];

		for (unsigned at = from[i]; at < from[i + 1]; at++)
			sum += f->distance[at];
		snprintf(range, sizeof(range), from[i] + 1 == from[i + 1] ? "%u" : "%u-%u", from[i],
		         from[i + 1] - 1);
		if (!sum)
			continue;
		fprintf(layout->out, "  %-11s%10s%8.2f %%", from[i] == 64 ? "more, first" : range,
		        lab_commas(sum, a), lab_percent(sum, f->requests));
		print_bar(layout, (double)sum / (double)f->requests, CHART_WIDTH);
		fputc('\n', layout->out);
	}
	for (unsigned c = 0; c < capacities; c++)
		share[c] = 1 - (double)rows[c].missed / (double)f->requests;
	fprintf(layout->out, "Hits by cached roots, %s: 0 ", rhz_root_policy_name(f->advised));
	print_line(layout, share, capacities);
	fprintf(layout->out, " %u\n", capacities - 1);
}

static void print_vcpu(const struct layout *layout, const struct lab_vcpu *vcpu)
{
	const struct lab_findings *f = layout->findings;
	const struct lab_timeline *timeline = &vcpu->view->timeline;
	struct lab_row kvm = lab_findings_row_of(vcpu, f->advised, LAB_KVM_CAPACITY, LAB_SEPARATE);
	struct lab_row own = lab_findings_row_of(vcpu, f->advised, f->chosen, LAB_SHARED);
	double share[16] = { 0 }, most = 1;
	char name[LAB_NAME_SIZE], text[4][LAB_COMMAS_SIZE];

	fprintf(layout->out, "%-20.20s%10s%8s%11s%11s", lab_vcpu_name(vcpu, name),
	        lab_commas(vcpu->view->requests, text[0]),
	        lab_commas(vcpu->view->known.count, text[1]), lab_commas(kvm.missed, text[2]),
	        lab_commas(own.missed, text[3]));
	if (layout->saved)
		fprintf(layout->out, "%9.2f", lab_findings_saved_of(f, vcpu, f->chosen) * 1e3);
	for (unsigned i = 0; i < LAB_BINS; i++)
		share[i / (LAB_BINS / 16)] += timeline->bin[i].requests;
	for (unsigned i = 0; i < 16; i++)
		most = share[i] > most ? share[i] : most;
	for (unsigned i = 0; i < 16; i++)
		share[i] /= most;
	fputs("  ", layout->out);
	if (layout->columns >= 88)
		print_line(layout, share, 16);
	fputc('\n', layout->out);
}

static void print_vcpus(const struct layout *layout)
{
	const struct lab_findings *f = layout->findings;
	unsigned shown = 0;
	char chosen[24];

	if (f->asking < 2)
		return;
	snprintf(chosen, sizeof(chosen), "%u miss", f->chosen);
	fprintf(layout->out, "\n%-20s%10s%8s%11s%11s%s%s\n", "vCPU (thread)", "requests", "roots",
	        "KVM's miss", chosen, layout->saved ? "     ms/s" : "",
	        layout->columns >= 88 ? "  requests over time" : "");
	for (size_t i = 0; i < f->study->vcpus_count; i++) {
		if (!f->study->vcpus[i].view->requests || shown++ >= VCPUS_SHOWN)
			continue;
		print_vcpu(layout, &f->study->vcpus[i]);
	}
	if (shown > VCPUS_SHOWN)
		fprintf(layout->out, "and %u more; --json has them all\n", shown - VCPUS_SHOWN);
}

static void print_nested(const struct layout *layout)
{
	const struct lab_findings *f = layout->findings;
	uint64_t at[LAB_POSITIONS], all = 0, near = 0;
	char a[LAB_COMMAS_SIZE], b[LAB_COMMAS_SIZE], c[LAB_COMMAS_SIZE], d[LAB_COMMAS_SIZE];

	for (unsigned i = 0; i < LAB_POSITIONS; i++) {
		at[i] = f->by_cause[LAB_CAUSE_NESTED_ENTER][i] +
		        f->by_cause[LAB_CAUSE_NESTED_EXIT][i];
		all += at[i];
		near += i < LAB_KVM_CAPACITY ? at[i] : 0;
	}
	if (all)
		print_fact(layout, "nested", "%s transitions ask for a root: %s find the current "
		           "one (%.2f %%), %s one of %d cached ones, %s neither",
		           lab_commas(all, a),
		           lab_commas(at[LAB_CURRENT], b), lab_percent(at[LAB_CURRENT], all),
		           lab_commas(near, c), LAB_KVM_CAPACITY,
		           lab_commas(all - at[LAB_CURRENT] - near, d));
}

static void print_more(const struct layout *layout)
{
	const struct lab_findings *f = layout->findings;
	char a[LAB_COMMAS_SIZE], b[LAB_COMMAS_SIZE], c[LAB_COMMAS_SIZE], d[LAB_COMMAS_SIZE];

	fputc('\n', layout->out);
	print_nested(layout);
	if (f->isolated.seen)
		print_fact(layout, "PTI", "%s requests are for the other half of the same "
		           "process's pair of roots, %s of them miss with %d cached roots; were "
		           "each pair one root, %s requests would miss in all, not %s",
		           lab_commas(f->isolated.flips, a),
		           lab_commas(f->isolated.flips_missed, b), LAB_KVM_CAPACITY,
		           lab_commas(f->isolated.joined_missed[LAB_KVM_CAPACITY], c),
		           lab_commas(f->row[LAB_SHARED][RHZ_ROOTS_CURRENT_FIRST]
		                             [LAB_KVM_CAPACITY].missed, d));
	if (f->switches)
		print_fact(layout, "tags", "%s switches to another root, a flush each with one tag "
		           "for all; with a tag a root %s flushes with 4 tags, %s with 8, %s with "
		           "15",
		           lab_commas(f->switches, a), lab_commas(f->switches - f->kept[4], b),
		           lab_commas(f->switches - f->kept[8], c),
		           lab_commas(f->switches - f->kept[15], d));
	fputc('\n', layout->out);
}

void lab_report_table(const struct lab_findings *findings, const struct lab_wanted *wanted,
                      unsigned columns, FILE *out)
{
	struct layout layout = {
		.findings = findings, .out = out, .columns = columns < 60 ? 60 : columns,
		.separate = findings->contexts_differ && wanted->contexts[LAB_SEPARATE],
		.saved = findings->cost.known,
		.blocks = !strcmp(nl_langinfo(CODESET), "UTF-8"),
	};
	unsigned used = FIXED_WIDTH;

	/* What matters less goes first when there is little room. */
	layout.separate &= used + SEPARATE_WIDTH <= layout.columns;
	used += layout.separate * SEPARATE_WIDTH;
	layout.saved &= used + SAVED_WIDTH <= layout.columns;
	used += layout.saved * SAVED_WIDTH;
	layout.detail = used + DETAIL_WIDTH + BAR_MIN <= layout.columns;
	used += layout.detail * DETAIL_WIDTH;
	layout.bar = layout.columns > used ? layout.columns - used - 1 : 0;
	if (layout.bar > BAR_MAX)
		layout.bar = BAR_MAX;
	print_heading(&layout);
	print_rows(&layout, wanted);
	print_distances(&layout);
	print_vcpus(&layout);
	print_more(&layout);
	print_wrapped(&layout, findings->sentence);
}
