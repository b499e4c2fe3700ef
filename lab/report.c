/* SPDX-License-Identifier: MIT */
/* The three forms of a replay's result. docs/replay.md explains each of their fields. */
#include "report.h"

#include <langinfo.h>
#include <stdarg.h>
#include <string.h>

enum { BAR_WIDTH = 9, TEXT_WIDTH = 96 };

static const char *shown(const char *path)
{
	return strcmp(path, "-") ? path : "standard input";
}

static const char *source_name(unsigned sources)
{
	switch (sources) {
	case LAB_SOURCE_NEW_PGD:
		return "new_pgd";
	case LAB_SOURCE_INFERRED:
		return "tracepoints";
	default:
		return "both";
	}
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0.0;
}

static double mean_position(const struct lab_row *row)
{
	return row->cached ? (double)row->positions / (double)row->cached : 0.0;
}

/* Prints a sentence, broken into lines before words that would pass TEXT_WIDTH. */
static void print_wrapped(FILE *out, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void print_wrapped(FILE *out, const char *format, ...)
{
	char text[1024];
	char *word, *rest = text;
	size_t column = 0;
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	while ((word = strsep(&rest, " "))) {
		if (column && column + 1 + strlen(word) > TEXT_WIDTH) {
			fputc('\n', out);
			column = 0;
		}
		column += (size_t)fprintf(out, "%s%s", column ? " " : "", word);
	}
	fputc('\n', out);
}

static void print_heading(const struct lab_report *report, FILE *out)
{
	const struct lab_requests *r = report->requests;
	char a[LAB_COMMAS_SIZE], b[LAB_COMMAS_SIZE], c[LAB_COMMAS_SIZE];
	double seconds = (double)(r->last_ns - r->first_ns) / 1e9;

	for (size_t i = 0; i < report->paths_count; i++)
		fprintf(out, "%s%s", i ? ", " : "", shown(report->paths[i]));
	fprintf(out, "\n  requests  %s for %s roots, from %u vCPU%s", lab_commas(r->count, a),
	        lab_commas(r->distinct, b), r->vcpus, r->vcpus == 1 ? "" : "s");
	if (report->paths_count == 1)
		fprintf(out, ", in %.1f s", seconds);
	fputc('\n', out);
	if (r->sources & LAB_SOURCE_INFERRED)
		fprintf(out, "  inferred  from nested entries and exits%s; no new_pgd was "
		        "recorded\n",
		        r->cr3_missing ? "; loads of CR3 are missing" : " and writes to CR3");
	if (r->direct)
		fprintf(out, "  paging    two-dimensional: L1 has one root, whatever its CR3\n");
	if (r->kvm_mmu_loads || r->kvm_root_syncs || r->kvm_root_frees)
		fprintf(out, "  KVM did   %s MMU loads, %s root syncs, %s calls to free roots\n",
		        lab_commas(r->kvm_mmu_loads, a), lab_commas(r->kvm_root_syncs, b),
		        lab_commas(r->kvm_root_frees, c));
	if (r->kvm_mmu_loads && r->kvm_array_misses && !r->nested)
		fprintf(out, "  check     KVM's array of %d, replayed with the %s cached roots "
		        "that KVM dropped by itself,\n            misses %s times\n",
		        LAB_KVM_CAPACITY,
		        lab_commas(r->kvm_dropped, a), lab_commas(r->kvm_array_misses, b));
	if (r->broken)
		fprintf(out, "  left out  %s lines that are no trace events; the first: %s:%llu\n",
		        lab_commas(r->broken, a), shown(r->broken_file),
		        (unsigned long long)r->broken_line);
	if (r->lost)
		fprintf(out, "  lost      %s events, says the recorder\n", lab_commas(r->lost, a));
}

/* The share of misses as a bar: eighths of a block where the terminal has them. */
static void print_bar(double share, FILE *out)
{
	static const char *const eighth[] = {
		"", "\u258f", "\u258e", "\u258d", "\u258c", "\u258b", "\u258a", "\u2589",
	};
	bool blocks = !strcmp(nl_langinfo(CODESET), "UTF-8");
	unsigned eighths = (unsigned)(share * BAR_WIDTH * 8 + 0.5);

	if (!eighths && share > 0)
		eighths = 1;
	fputs(eighths ? " " : "", out);
	for (; eighths >= 8; eighths -= 8)
		fputs(blocks ? "\u2588" : "#", out);
	fputs(blocks ? eighth[eighths] : eighths >= 4 ? "#" : eighths ? "." : "", out);
}

static bool same_result(const struct lab_row *a, const struct lab_row *b)
{
	return a->policy == b->policy && a->current == b->current && a->cached == b->cached &&
	       a->missed == b->missed && a->duplicates == b->duplicates &&
	       a->positions == b->positions;
}

/* One line for rows first to last, which differ in capacity alone. */
static void print_row(const struct lab_report *report, const struct lab_row *first,
                      const struct lab_row *last, bool named, FILE *out)
{
	uint64_t requests = report->requests->count;
	char capacity[16], position[16] = "-";
	char text[5][LAB_COMMAS_SIZE];

	if (first == last)
		snprintf(capacity, sizeof(capacity), "%u", first->capacity);
	else
		snprintf(capacity, sizeof(capacity), "%u-%u", first->capacity, last->capacity);
	if (first->cached)
		snprintf(position, sizeof(position), "%.2f", mean_position(first));
	fprintf(out, "%-13s%9s%10s%10s%10s%10s%8.2f%8s%9s ",
	        named ? rhz_root_policy_name(first->policy) : "", capacity,
	        lab_commas(requests, text[0]), lab_commas(first->current, text[1]),
	        lab_commas(first->cached, text[2]), lab_commas(first->missed, text[3]),
	        percent(first->missed, requests), lab_commas(first->duplicates, text[4]), position);
	print_bar((double)first->missed / (double)requests, out);
	fputc('\n', out);
}

static const struct lab_row *best_row(const struct lab_report *report, uint64_t slack)
{
	const struct lab_row *best = NULL, *chosen = NULL;

	for (size_t i = 0; i < report->rows_count; i++) {
		const struct lab_row *row = &report->rows[i];

		if (row->policy == report->advised && (!best || row->missed < best->missed))
			best = row;
	}
	for (size_t i = 0; best && !chosen && i < report->rows_count; i++)
		if (report->rows[i].policy == report->advised &&
		    report->rows[i].missed <= best->missed + slack)
			chosen = &report->rows[i];
	return chosen;
}

static void print_advice(const struct lab_report *report, FILE *out)
{
	uint64_t requests = report->requests->count;
	const struct lab_row *best = best_row(report, 0);
	const struct lab_row *enough = best_row(report, requests / 50);
	const struct lab_row *kvm = &report->kvm;
	const char *policy = rhz_root_policy_name(report->advised);
	char a[LAB_COMMAS_SIZE], b[LAB_COMMAS_SIZE], c[LAB_COMMAS_SIZE], d[LAB_COMMAS_SIZE];

	if (!best || !enough)
		return;
	if (kvm->missed <= enough->missed) {
		print_wrapped(out, "Under %s the smallest capacity within 2 %% of the best is %u "
		              "(%s of %s requests miss), and KVM's own %u costs nothing over it "
		              "(%s miss).", policy, enough->capacity, lab_commas(enough->missed, a),
		              lab_commas(requests, b), kvm->capacity, lab_commas(kvm->missed, c));
		return;
	}
	print_wrapped(out, "Under %s the smallest capacity within 2 %% of the best is %u: %s of %s "
	              "requests miss; with KVM's own %u it is %s, so that %.1f %% of all requests "
	              "build a root that %u cached roots would have kept.", policy,
	              enough->capacity, lab_commas(enough->missed, a), lab_commas(requests, b),
	              kvm->capacity, lab_commas(kvm->missed, d),
	              percent(kvm->missed - enough->missed, requests), enough->capacity);
	if (best != enough)
		print_wrapped(out, "The best is %s misses, from %u cached roots on; built once "
		              "each, the roots would make %s.", lab_commas(best->missed, a),
		              best->capacity, lab_commas(report->requests->distinct, c));
}

void lab_report_table(const struct lab_report *report, FILE *out)
{
	print_heading(report, out);
	fprintf(out, "\n%-13s%9s%10s%10s%10s%10s%8s%8s%9s\n%-13s%9s%10s%10s%10s%10s%8s%8s%9s\n",
	        "", "cached", "", "current", "cached", "", "", "dupli-", "mean",
	        "policy", "roots", "requests", "reused", "reused", "missed", "miss %", "cates",
	        "position");
	for (size_t i = 0, last; i < report->rows_count; i = last + 1) {
		const struct lab_row *row = &report->rows[i];
		bool named = i == 0 || row[-1].policy != row->policy;

		for (last = i; last + 1 < report->rows_count; last++)
			if (!same_result(row, &report->rows[last + 1]))
				break;
		print_row(report, row, &report->rows[last], named, out);
	}
	fputc('\n', out);
	print_advice(report, out);
}

void lab_report_csv(const struct lab_report *report, FILE *out)
{
	uint64_t requests = report->requests->count;

	fputs("policy,capacity,contexts,requests,current,cached,missed,miss_percent,duplicates,"
	      "mean_position\n", out);
	for (size_t i = 0; i < report->rows_count; i++) {
		const struct lab_row *row = &report->rows[i];

		fprintf(out, "%s,%u,shared,%llu,%llu,%llu,%llu,%.4f,%llu,%.4f\n",
		        rhz_root_policy_name(row->policy), row->capacity,
		        (unsigned long long)requests, (unsigned long long)row->current,
		        (unsigned long long)row->cached, (unsigned long long)row->missed,
		        percent(row->missed, requests), (unsigned long long)row->duplicates,
		        mean_position(row));
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

static void print_json_string(const char *string, FILE *out)
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

void lab_report_json(const struct lab_report *report, FILE *out)
{
	const struct lab_requests *r = report->requests;

	fprintf(out, "{\n  \"requests\": %llu,\n  \"distinct\": %llu,\n  \"vcpus\": %u,\n",
	        (unsigned long long)r->count, (unsigned long long)r->distinct, r->vcpus);
	fprintf(out, "  \"source\": \"%s\",\n  \"inferred\": %s,\n  \"cr3_missing\": %s,\n",
	        source_name(r->sources), r->sources & LAB_SOURCE_INFERRED ? "true" : "false",
	        r->cr3_missing ? "true" : "false");
	fputs("  \"files\": [", out);
	for (size_t i = 0; i < report->paths_count; i++) {
		fputs(i ? ", " : "", out);
		print_json_string(report->paths[i], out);
	}
	fprintf(out, "],\n  \"lines\": {\"read\": %llu, \"events\": %llu, \"broken\": %llu, "
	        "\"lost_events\": %llu},\n", (unsigned long long)r->lines,
	        (unsigned long long)r->events, (unsigned long long)r->broken,
	        (unsigned long long)r->lost);
	fprintf(out, "  \"kvm\": {\"mmu_load\": %llu, \"sync_roots\": %llu, \"free_roots\": %llu,"
	        " \"dropped\": %llu, ",
	        (unsigned long long)r->kvm_mmu_loads, (unsigned long long)r->kvm_root_syncs,
	        (unsigned long long)r->kvm_root_frees, (unsigned long long)r->kvm_dropped);
	if (r->nested || !r->kvm_array_misses)
		fputs("\"array_misses\": null},\n", out);
	else
		fprintf(out, "\"array_misses\": %llu},\n", (unsigned long long)r->kvm_array_misses);
	fputs("  \"what_if\": [\n", out);
	for (size_t i = 0; i < report->rows_count; i++) {
		const struct lab_row *row = &report->rows[i];

		fprintf(out, "    {\"policy\": \"%s\", \"capacity\": %u, \"contexts\": \"shared\", "
		        "\"current\": %llu, \"cached\": %llu, \"missed\": %llu, "
		        "\"duplicates\": %llu, \"mean_position\": %.4f}%s\n",
		        rhz_root_policy_name(row->policy), row->capacity,
		        (unsigned long long)row->current, (unsigned long long)row->cached,
		        (unsigned long long)row->missed, (unsigned long long)row->duplicates,
		        mean_position(row), i + 1 < report->rows_count ? "," : "");
	}
	fputs("  ]\n}\n", out);
}
