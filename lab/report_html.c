/* SPDX-License-Identifier: MIT */
/* A replay's result as one page: no script, nothing from elsewhere, fit for paper and the dark. */
#include "html.h"

#include <string.h>

enum { TIMELINES = 16 };

static const char style[] =
":root{--ink:#1b1f24;--soft:#5b6570;--paper:#fff;--line:#dfe3e8;--card:#f5f7f9;--accent:#0b63b0;\n"
"--p0:#8a929b;--p1:#c2410c;--p2:#0b63b0;--p3:#0f7b57;--p4:#a0418f;--p5:#a57700}\n"
"@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#a3adb8;--paper:#14181c;\n"
"--line:#333b44;--card:#1d2329;--accent:#6db3f2;--p0:#8d97a2;--p1:#ff9a62;--p2:#6db3f2;\n"
"--p3:#5fd0a5;--p4:#e08fd0;--p5:#e3bd55}}\n"
"*{box-sizing:border-box}\n"
"body{margin:0 auto;max-width:62rem;padding:1.5rem 1.25rem 4rem;background:var(--paper);\n"
"color:var(--ink);font:15px/1.5 system-ui,sans-serif}\n"
"h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2.2rem 0 .3rem}\n"
"p{margin:.4rem 0;max-width:48rem}.soft,figcaption{color:var(--soft)}\n"
".choice{border-left:4px solid var(--accent);background:var(--card);padding:.7rem 1rem;\n"
"margin:1.2rem 0;font-size:1.05rem;max-width:none}\n"
".tiles{display:flex;flex-wrap:wrap;gap:.6rem;margin:1rem 0;padding:0;list-style:none}\n"
".tiles li{background:var(--card);padding:.5rem .9rem;border-radius:6px;min-width:8rem}\n"
".tiles b{display:block;font-size:1.25rem;font-variant-numeric:tabular-nums}\n"
".tiles span{color:var(--soft);font-size:.85rem}\n"
"figure{margin:.5rem 0 1rem}svg{width:100%;height:auto;max-width:50rem;display:block}\n"
"svg text{fill:var(--soft);font:11px system-ui,sans-serif}\n"
".grid{stroke:var(--line);fill:none}.mark{stroke:var(--accent);stroke-dasharray:4 3}\n"
".kvm{stroke:var(--soft)}.line{fill:none;stroke-width:2;stroke:var(--c)}\n"
".dot{fill:var(--c)}.fill{fill:var(--accent);fill-opacity:.75}.chosen{fill:var(--p1)}\n"
".r1{fill:var(--p3)}.r2{fill:var(--p4)}.r3{fill:var(--p5)}\n"
".area{stroke:var(--c);fill:var(--c);fill-opacity:.25;stroke-width:1.5}\n"
".p0{--c:var(--p0)}.p1{--c:var(--p1);stroke-dasharray:7 3}.p2{--c:var(--p2)}\n"
".line.p2{stroke-width:3}.p3{--c:var(--p3);stroke-dasharray:2 3}\n"
".p4{--c:var(--p4);stroke-dasharray:9 3 2 3}.p5{--c:var(--p5)}.dot{stroke:none}\n"
".a0{--c:var(--p3)}.a1{--c:var(--p2)}.a2{--c:var(--p1)}\n"
".legend{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;font-size:.9rem}\n"
".legend svg{display:inline;width:30px;height:8px;vertical-align:middle}\n"
".swatch{display:inline-block;width:12px;height:12px;background:var(--c);opacity:.6}\n"
".wide{overflow-x:auto}table{border-collapse:collapse;margin:.5rem 0;font-size:.9rem;\n"
"font-variant-numeric:tabular-nums}th,td{padding:.2rem .7rem;text-align:right;\n"
"border-bottom:1px solid var(--line)}th{color:var(--soft);font-weight:600}\n"
"th:first-child,td:first-child{text-align:left}summary{cursor:pointer;color:var(--accent)}\n"
"@media print{:root{--ink:#000;--soft:#333;--paper:#fff;--line:#bbb;--card:#fff;\n"
"--accent:#0b4f8f;--p0:#777;--p1:#b03a06;--p2:#0b4f8f;--p3:#0b6347;--p4:#86357a;--p5:#7d5a00}\n"
"body{max-width:none;padding:0;font-size:10.5pt}figure,tr,.choice{break-inside:avoid}\n"
"h2{break-after:avoid}.tiles li,.choice{border:1px solid #999}summary{color:inherit}}\n";

static void tile(const char *value, const char *name, FILE *out)
{
	fprintf(out, "<li><b>%s</b><span>%s</span></li>\n", value, name);
}

static void print_head(const struct lab_findings *f, FILE *out)
{
	char a[LAB_COMMAS_SIZE], text[80];

	fprintf(out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
	        "<meta name=\"color-scheme\" content=\"light dark\">\n"
	        "<title>Root cache replay</title>\n<style>\n%s</style>\n</head>\n<body>\n"
	        "<h1>What another root cache would have made of it</h1>\n<p class=\"soft\">",
	        style);
	for (size_t i = 0; i < f->study->paths_count; i++) {
		fputs(i ? ", " : "", out);
		lab_html_escaped(lab_shown_path(f->study->paths[i]), out);
	}
	fputs("</p>\n<p class=\"choice\">", out);
	lab_html_escaped(f->sentence, out);
	fputs("</p>\n<ul class=\"tiles\">\n", out);
	tile(lab_commas(f->requests, a), "requests for a root", out);
	tile(lab_commas(f->distinct, a), f->distinct_at_least ? "roots, or more" : "roots", out);
	tile(lab_commas(f->asking, a), f->asking == 1 ? "vCPU" : "vCPUs", out);
	snprintf(text, sizeof(text), "%.1f s", f->study->seconds);
	tile(text, "from the first to the last", out);
	snprintf(text, sizeof(text), "%.2f %%", lab_percent(f->kvm.missed, f->requests));
	tile(text, "miss with KVM's 3", out);
	snprintf(text, sizeof(text), "%.2f %%", lab_percent(
	         f->row[LAB_SHARED][f->advised][f->chosen].missed, f->requests));
	tile(text, "miss with the choice", out);
	if (f->cost.known) {
		snprintf(text, sizeof(text), "%.1f us", f->cost.extra_ns / 1e3);
		tile(text, "a miss costs", out);
	}
	fputs("</ul>\n", out);
}

static void print_source(const struct lab_findings *f, FILE *out)
{
	const struct lab_study *s = f->study;

	if (s->from & LAB_FROM_INFERRED)
		fprintf(out, "<p>The requests are <strong>inferred</strong> from nested entries "
		        "and exits%s: kvm_mmu_new_pgd was not recorded.</p>\n",
		        s->cr3_missing ? "; loads of CR3 are missing" : " and writes to CR3");
	if (s->direct)
		fputs("<p>Paging is two-dimensional: L1 has one root, whatever its CR3.</p>\n",
		      out);
	if (s->broken || s->lost || s->lost_unknown)
		fprintf(out, "<p>%llu lines were no trace events; the recorder lost %llu events%s."
		        "</p>\n", (unsigned long long)s->broken, (unsigned long long)s->lost,
		        s->lost_unknown ? " and more that nobody counted" : "");
}

static void print_rows(const struct lab_findings *f, const struct lab_wanted *wanted, FILE *out)
{
	char a[LAB_COMMAS_SIZE], b[LAB_COMMAS_SIZE], c[LAB_COMMAS_SIZE];

	fputs("<details><summary>All figures</summary>\n<div class=\"wide\"><table>\n<tr>"
	      "<th>policy<th>contexts<th>cached roots<th>current reused<th>cached reused<th>missed"
	      "<th>miss %<th>saved ms/s</tr>\n", out);
	for (unsigned k = 0; k < LAB_CONTEXTS * RHZ_ROOT_POLICIES * LAB_CAPACITIES; k++) {
		unsigned capacity = k % LAB_CAPACITIES, rest = k / LAB_CAPACITIES;
		unsigned policy = rest % RHZ_ROOT_POLICIES, contexts = rest / RHZ_ROOT_POLICIES;
		const struct lab_row *row = &f->row[contexts][policy][capacity];

		if (!wanted->policy[policy] || !wanted->contexts[contexts] ||
		    !wanted->capacity[capacity] ||
		    (contexts == LAB_SEPARATE && !f->contexts_differ))
			continue;
		fprintf(out, "<tr><td>%s<td>%s<td>%u<td>%s<td>%s<td>%s<td>%.2f<td>",
		        rhz_root_policy_name(row->policy), lab_contexts_name(row->contexts),
		        capacity, lab_commas(row->current, a), lab_commas(row->cached, b),
		        lab_commas(row->missed, c), lab_percent(row->missed, f->requests));
		if (f->cost.known)
			fprintf(out, "%.3f", lab_findings_saved(f, row) * 1e3);
		fputs("</tr>\n", out);
	}
	fputs("</table></div></details>\n", out);
}

static void print_hit_rates(const struct lab_findings *f, const struct lab_wanted *wanted,
                            FILE *out)
{
	bool both = f->contexts_differ && wanted->contexts[LAB_SEPARATE];

	if (wanted->contexts[LAB_SHARED] || !both) {
		fprintf(out, "<h2>Hit rate against capacity%s</h2>\n<figure>\n",
		        both ? ", one pool for all contexts of a vCPU" : "");
		lab_html_hit_rates(f, wanted, LAB_SHARED, out);
		fputs("<figcaption>Requests that found the current root or a cached "
		      "one.</figcaption></figure>\n", out);
	}
	if (both) {
		fputs("<h2>Hit rate against capacity, a cache for each MMU, as KVM has them</h2>\n"
		      "<figure>\n", out);
		lab_html_hit_rates(f, wanted, LAB_SEPARATE, out);
		fputs("</figure>\n", out);
	}
	print_rows(f, wanted, out);
}

static void times_row(const char *name, const struct lab_times *t, FILE *out)
{
	fprintf(out, "<tr><td>%s<td>%llu<td>%.1f<td>%.1f<td>%.1f<td>%.1f<td>%.1f<td>%.1f</tr>\n",
	        name, (unsigned long long)t->count, (double)t->p10 / 1e3, (double)t->p25 / 1e3,
	        (double)t->p50 / 1e3, (double)t->p75 / 1e3, (double)t->p90 / 1e3,
	        (double)t->mean / 1e3);
}

static void print_cost(const struct lab_findings *f, FILE *out)
{
	const struct lab_cost *cost = &f->cost;

	fputs("<h2>What a miss costs</h2>\n", out);
	if (!cost->known) {
		fprintf(out, "<p>This cannot be told: the trace lacks %s.</p>\n", cost->unknown);
		return;
	}
	fputs("<figure>\n", out);
	lab_html_times(f, out);
	fputs("</figure>\n<div class=\"wide\"><table>\n<tr><th>us<th>requests<th>10 %<th>25 %<th>"
	      "median<th>75 %<th>90 %<th>mean</tr>\n", out);
	times_row("current root reused", &cost->answer[LAB_ANSWER_CURRENT], out);
	times_row("cached root reused", &cost->answer[LAB_ANSWER_CACHED], out);
	times_row("missed", &cost->answer[LAB_ANSWER_MISSED], out);
	fprintf(out, "</table></div>\n<p>A miss takes %.1f us longer than a hit by the medians; by "
	        "the quartiles of the misses %.1f to %.1f us. What the guest's first accesses "
	        "under a root built anew cost is not in it.</p>\n", cost->extra_ns / 1e3,
	        cost->extra_low_ns / 1e3, cost->extra_high_ns / 1e3);
	fputs("<h2>Time saved against KVM's three, in every second</h2>\n<figure>\n", out);
	lab_html_savings(f, out);
	fputs("</figure>\n", out);
}

static void print_vcpus(const struct lab_findings *f, FILE *out)
{
	char a[LAB_COMMAS_SIZE], b[LAB_COMMAS_SIZE], c[LAB_COMMAS_SIZE], d[LAB_COMMAS_SIZE];
	char name[LAB_NAME_SIZE], vm[16];
	unsigned shown = 0;

	fputs("<h2>Roots of each vCPU over time</h2>\n", out);
	for (size_t i = 0; i < f->study->vcpus_count; i++) {
		const struct lab_vcpu *vcpu = &f->study->vcpus[i];

		if (!vcpu->view->requests || shown++ >= TIMELINES)
			continue;
		fprintf(out, "<figure><figcaption>%s</figcaption>\n", lab_vcpu_name(vcpu, name));
		lab_html_timeline(vcpu, out);
		fputs("</figure>\n", out);
	}
	fprintf(out, "<div class=\"wide\"><table>\n<tr><th>vCPU (thread)<th>VM<th>requests<th>roots"
	        "<th>missed, KVM's 3<th>missed, %u<th>saved ms/s</tr>\n", f->chosen);
	for (size_t i = 0; i < f->study->vcpus_count; i++) {
		const struct lab_vcpu *vcpu = &f->study->vcpus[i];
		struct lab_row kvm = lab_findings_row_of(vcpu, f->advised, LAB_KVM_CAPACITY,
		                                         LAB_SEPARATE);
		struct lab_row own = lab_findings_row_of(vcpu, f->advised, f->chosen, LAB_SHARED);

		if (!vcpu->view->requests)
			continue;
		snprintf(vm, sizeof(vm), vcpu->vm ? "%u" : "not told", vcpu->vm);
		fprintf(out, "<tr><td>%s<td>%s<td>%s<td>%s<td>%s<td>%s<td>",
		        lab_vcpu_name(vcpu, name), vm, lab_commas(vcpu->view->requests, a),
		        lab_commas(vcpu->view->known.count, b), lab_commas(kvm.missed, c),
		        lab_commas(own.missed, d));
		if (f->cost.known)
			fprintf(out, "%.3f", lab_findings_saved_of(f, vcpu, f->chosen) * 1e3);
		fputs("</tr>\n", out);
	}
	fputs("</table></div>\n", out);
}

static void print_causes(const struct lab_findings *f, FILE *out)
{
	static const char *const names[LAB_CAUSES] = {
		"not told", "CR3 loaded", "nested entry", "nested exit", "CR0, CR4, EFER",
	};

	fputs("<h2>Why a root was asked for</h2>\n<div class=\"wide\"><table>\n<tr><th>cause<th>"
	      "requests<th>current reused<th>one of 3 cached<th>one of 64 cached<th>neither</tr>\n",
	      out);
	for (unsigned cause = 0; cause < LAB_CAUSES; cause++) {
		const uint64_t *at = f->by_cause[cause];
		uint64_t all = 0, near = 0, far = 0;

		for (unsigned i = 0; i < LAB_POSITIONS; i++) {
			all += at[i];
			near += i < LAB_KVM_CAPACITY ? at[i] : 0;
			far += i < LAB_STACK_SIZE ? at[i] : 0;
		}
		if (all)
			fprintf(out, "<tr><td>%s<td>%llu<td>%llu<td>%llu<td>%llu<td>%llu</tr>\n",
			        names[cause], (unsigned long long)all,
			        (unsigned long long)at[LAB_CURRENT], (unsigned long long)near,
			        (unsigned long long)far,
			        (unsigned long long)at[LAB_STACK_NONE]);
	}
	fputs("</table></div>\n", out);
	if (f->isolated.seen)
		fprintf(out, "<p>Page-table isolation: %llu requests are for the other half of the "
		        "same process's pair of roots; %llu of them miss with %d cached roots."
		        "</p>\n", (unsigned long long)f->isolated.flips,
		        (unsigned long long)f->isolated.flips_missed, LAB_KVM_CAPACITY);
}

static void print_check(const struct lab_findings *f, FILE *out)
{
	const struct lab_kvm_check *c = &f->check;

	if (!f->check_holds)
		return;
	fprintf(out, "<h2>Held against what KVM did</h2>\n<div class=\"wide\"><table>\n"
	        "<tr><td>current-first with %d misses<td>%llu</tr>\n"
	        "<tr><td>KVM had dropped the root itself<td>+ %llu</tr>\n"
	        "<tr><td>a hole in KVM's array had pushed it out<td>+ %llu</tr>\n"
	        "<tr><td>KVM's array still had it<td>- %llu</tr>\n"
	        "<tr><td>cached before the trace began<td>- %llu</tr>\n"
	        "<tr><td>not explained<td>+ %llu</tr>\n"
	        "<tr><th>MMUs that KVM loaded anew for a request<th>%llu</tr>\n</table></div>\n",
	        LAB_KVM_CAPACITY, (unsigned long long)c->pool_misses,
	        (unsigned long long)c->after_drop, (unsigned long long)c->after_hole,
	        (unsigned long long)c->kept, (unsigned long long)c->warm,
	        (unsigned long long)c->unexplained, (unsigned long long)c->kvm_misses);
}

void lab_report_html(const struct lab_findings *findings, const struct lab_wanted *wanted,
                     FILE *out)
{
	print_head(findings, out);
	print_source(findings, out);
	print_hit_rates(findings, wanted, out);
	fputs("<h2>Reuse distances</h2>\n<figure>\n", out);
	lab_html_distances(findings, out);
	fputs("</figure>\n", out);
	print_cost(findings, out);
	print_vcpus(findings, out);
	print_causes(findings, out);
	fputs("<h2>A TLB tag for each root</h2>\n<figure>\n", out);
	lab_html_tags(findings, out);
	fputs("<figcaption>Switches to another root that find their tag given away, of all "
	      "switches: with one tag for all, each flushes.</figcaption></figure>\n", out);
	print_check(findings, out);
	fputs("</body>\n</html>\n", out);
}
