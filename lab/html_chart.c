/* SPDX-License-Identifier: MIT */
/* Charts; see html.h. Every mark has a title, so that a pointer over it tells its figure. */
#include "html.h"

#include <math.h>
#include <string.h>

typedef unsigned long long ull;

/* Where the axes run, in the SVG's own units. */
enum { LEFT = 58, TOP = 12, WIDTH = 600, HEIGHT = 250, RIGHT_EDGE = LEFT + WIDTH,
       BOTTOM = TOP + HEIGHT, FULL_WIDTH = RIGHT_EDGE + 16, FULL_HEIGHT = BOTTOM + 44,
       TIMELINE_LEFT = LEFT + 40 };

void lab_html_escaped(const char *text, FILE *out)
{
	for (; *text; text++) {
		switch (*text) {
		case '<':
			fputs("&lt;", out);
			break;
		case '&':
			fputs("&amp;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		default:
			/* Names may hold anything; what is no UTF-8 the browser replaces. */
			fputc((unsigned char)*text < 0x20 ? '?' : *text, out);
		}
	}
}

static void begin(const char *label, unsigned height, FILE *out)
{
	fprintf(out, "<svg viewBox=\"0 0 %d %u\" role=\"img\" aria-label=\"%s\">\n", FULL_WIDTH,
	        height, label);
}

static void end(FILE *out)
{
	fputs("</svg>\n", out);
}

static void label(double x, double y, const char *anchor, const char *text, FILE *out)
{
	fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor,
	        text);
}

/* Horizontal lines at round shares of 'most', each with its value. */
static void y_axis(double most, const char *unit, FILE *out)
{
	for (int step = 0; step <= 4; step++) {
		double y = BOTTOM - HEIGHT * step / 4.0;
		double value = most * step / 4;
		char text[40];

		snprintf(text, sizeof(text), "%.*f%s", most < 8 ? 1 : 0, value, unit);
		fprintf(out, "<path class=\"grid\" d=\"M%d %.1fH%d\"/>\n", LEFT, y, RIGHT_EDGE);
		label(LEFT - 6, y + 4, "end", text, out);
	}
}

static void x_title(const char *text, FILE *out)
{
	label(LEFT + WIDTH / 2.0, BOTTOM + 38, "middle", text, out);
}

/* Capacities that matter are small: the scale is that of the logarithm. */
static double capacity_x(double capacity)
{
	return LEFT + WIDTH * log2(1 + capacity) / log2(1 + RHZ_MAX_CACHED_ROOTS);
}

static void capacity_axis(const char *title, FILE *out)
{
	static const unsigned at[] = { 0, 1, 2, 3, 4, 6, 8, 11, 16, 24, 32, 48, 64 };

	for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		char text[12];

		snprintf(text, sizeof(text), "%u", at[i]);
		label(capacity_x(at[i]), BOTTOM + 18, "middle", text, out);
	}
	x_title(title, out);
}

static void mark_capacity(unsigned capacity, const char *class, const char *text, double y,
                          FILE *out)
{
	double x = capacity_x(capacity);

	fprintf(out, "<path class=\"%s\" d=\"M%.1f %dV%d\"/>\n", class, x, TOP, BOTTOM);
	label(x + 5, y, "start", text, out);
}

/* The lines' styles are the page's: classes p0 to p5. */
static void legend(const struct lab_wanted *wanted, FILE *out)
{
	fputs("<p class=\"legend\">", out);
	for (unsigned p = 0; p < RHZ_ROOT_POLICIES; p++) {
		if (!wanted->policy[p])
			continue;
		fprintf(out, "<span><svg viewBox=\"0 0 30 8\" width=\"30\" height=\"8\">"
		        "<path class=\"line p%u\" d=\"M0 4H30\"/></svg> %s</span>\n", p,
		        rhz_root_policy_name((enum rhz_root_policy)p));
	}
	fputs("</p>\n", out);
}

void lab_html_hit_rates(const struct lab_findings *findings, const struct lab_wanted *wanted,
                        enum lab_contexts contexts, FILE *out)
{
	char text[40];

	legend(wanted, out);
	begin("Hit rate against the number of cached roots, a line for each policy", FULL_HEIGHT,
	      out);
	y_axis(100, " %", out);
	capacity_axis("cached roots", out);
	mark_capacity(LAB_KVM_CAPACITY, "mark kvm", "KVM", BOTTOM - 22, out);
	snprintf(text, sizeof(text), "choice: %u", findings->chosen);
	if (findings->chosen != LAB_KVM_CAPACITY)
		mark_capacity(findings->chosen, "mark", text, BOTTOM - 6, out);
	for (unsigned p = 0; p < RHZ_ROOT_POLICIES; p++) {
		const struct lab_row *rows = findings->row[contexts][p];

		if (!wanted->policy[p])
			continue;
		fprintf(out, "<path class=\"line p%u\" d=\"", p);
		for (unsigned c = 0; c < LAB_CAPACITIES; c++)
			fprintf(out, "%c%.1f %.1f", c ? 'L' : 'M', capacity_x(c), BOTTOM - HEIGHT *
			        (1 - lab_percent(rows[c].missed, findings->requests) / 100));
		fputs("\"/>\n", out);
		for (unsigned c = 0; c < LAB_CAPACITIES; c++) {
			double missed = lab_percent(rows[c].missed, findings->requests);

			fprintf(out, "<circle class=\"dot p%u\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\">"
			        "<title>%s, %u: %.2f %% hits, %llu misses</title></circle>\n", p,
			        capacity_x(c), BOTTOM - HEIGHT * (1 - missed / 100),
			        c <= 16 ? "2.2" : "1.2",
			        rhz_root_policy_name((enum rhz_root_policy)p), c, 100 - missed,
			        (ull)rows[c].missed);
		}
	}
	end(out);
}

static void bar(double x, double width, double share, const char *class, const char *title,
                FILE *out)
{
	double height = HEIGHT * share;

	fprintf(out, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\">"
	        "<title>%s</title></rect>\n", class, x, BOTTOM - height, width, height, title);
}

void lab_html_distances(const struct lab_findings *findings, FILE *out)
{
	static const unsigned from[] = { 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
	                                 12, 14, 16, 20, 24, 32, 48, 64, 65 };
	enum { BARS = sizeof(from) / sizeof(from[0]) - 1 };
	double step = (double)WIDTH / BARS, most = 0;
	uint64_t sum[BARS] = { 0 };

	for (unsigned i = 0; i < BARS; i++) {
		for (unsigned at = from[i]; at < from[i + 1]; at++)
			sum[i] += findings->distance[at];
		if (lab_percent(sum[i], findings->requests) > most)
			most = lab_percent(sum[i], findings->requests);
	}
	most = most > 80 ? 100 : most > 60 ? 80 : most > 40 ? 60 : most > 20 ? 40 : 20;
	begin("How many different roots were asked for since the same one was", FULL_HEIGHT, out);
	y_axis(most, " %", out);
	for (unsigned i = 0; i < BARS; i++) {
		double share = lab_percent(sum[i], findings->requests);
		char name[24], title[80];

		snprintf(name, sizeof(name), from[i + 1] - from[i] == 1 ? "%u" : "%u-%u", from[i],
		         from[i + 1] - 1);
		if (i == BARS - 1)
			snprintf(name, sizeof(name), "64+");
		snprintf(title, sizeof(title), "%s: %llu requests, %.2f %%", name, (ull)sum[i],
		         share);
		bar(LEFT + step * i + 2, step - 4, share / most, "fill", title, out);
		name[strcspn(name, "-")] = '\0'; /* there is room for where it begins */
		label(LEFT + step * (i + 0.5), BOTTOM + 18, "middle", name, out);
	}
	x_title("different roots asked for since the same one was (64+: more, or the first time)",
	        out);
	end(out);
}

/* One root's row: a box for each run of bins in which it was asked for. */
static void timeline_row(const struct lab_timeline *timeline, unsigned root, unsigned bins,
                         double y, double height, FILE *out)
{
	double step = (double)(RIGHT_EDGE - TIMELINE_LEFT) / bins;

	for (unsigned i = 0, last; i < bins; i = last) {
		for (last = i; last < bins && timeline->bin[last].roots >> root & 1;)
			last++;
		if (last > i)
			fprintf(out, "<rect class=\"fill r%u\" x=\"%.1f\" y=\"%.1f\" "
			        "width=\"%.1f\" height=\"%.1f\"/>\n", root % 4,
			        TIMELINE_LEFT + step * i, y, step * (last - i) + 0.4, height);
		else
			last++;
	}
}

void lab_html_timeline(const struct lab_vcpu *vcpu, FILE *out)
{
	enum { ROWS = 24 };
	static const char *const contexts[] = { "L1", "L2", "L2 nested" };
	const struct lab_timeline *timeline = &vcpu->view->timeline;
	uint64_t known = vcpu->view->known.count;
	unsigned roots = known < ROWS ? (unsigned)known : ROWS, bins = 1, height;
	double row = roots > 12 ? 9 : 14;
	char text[80];

	for (unsigned i = 0; i < LAB_BINS; i++)
		if (timeline->bin[i].requests)
			bins = i + 1;
	height = (unsigned)(TOP + row * (roots + 1) + 40);
	begin("When which root was asked for", height, out);
	for (unsigned root = 0; root < roots; root++) {
		double y = TOP + row * root;

		snprintf(text, sizeof(text), "%llx %s", (ull)timeline->table[root],
		         contexts[timeline->context[root]]);
		label(TIMELINE_LEFT - 6, y + row - 3, "end", text, out);
		timeline_row(timeline, root, bins, y + 1, row - 2, out);
	}
	if (known > roots) {
		snprintf(text, sizeof(text), "%llu more", (ull)(known - roots));
		label(TIMELINE_LEFT - 6, TOP + row * (roots + 1) - 3, "end", text, out);
		for (unsigned root = roots; root <= LAB_TIMELINE_ROOTS; root++)
			timeline_row(timeline, root, bins, TOP + row * roots + 1, row - 2, out);
	}
	for (unsigned i = 0; i <= 4; i++) {
		snprintf(text, sizeof(text), "%.3g s",
		         (double)timeline->bin_ns * bins * i / 4 / 1e9);
		label(TIMELINE_LEFT + (RIGHT_EDGE - TIMELINE_LEFT) * i / 4.0, height - 14,
		      "middle", text, out);
	}
	end(out);
}

/* Where on a logarithmic axis a time lies. */
static double time_x(double ns, double least, double most)
{
	return LEFT + WIDTH * (log(ns) - log(least)) / (log(most) - log(least));
}

enum { TIME_BINS = 60 };

/* How many of a spread lie in each of the axis's pieces, as shares of the highest piece. */
static void time_shares(const struct lab_spread *spread, double least, double most,
                        double share[TIME_BINS])
{
	double highest = 0;

	memset(share, 0, TIME_BINS * sizeof(*share));
	for (unsigned i = 0; i < LAB_SPREAD_BUCKETS; i++) {
		double middle = (double)(lab_spread_from(i) + lab_spread_from(i + 1)) / 2;
		int bin = (int)((time_x(middle, least, most) - LEFT) / WIDTH * TIME_BINS);

		if (spread->bucket[i])
			share[bin < 0 ? 0 : bin < TIME_BINS ? bin : TIME_BINS - 1] +=
				(double)spread->bucket[i] / (double)spread->count;
	}
	for (unsigned i = 0; i < TIME_BINS; i++)
		highest = share[i] > highest ? share[i] : highest;
	for (unsigned i = 0; i < TIME_BINS; i++)
		share[i] /= highest > 0 ? highest : 1;
}

static void time_axis(double least, double most, FILE *out)
{
	for (int power = (int)floor(log10(least)); pow(10, power) <= most * 1.001; power++) {
		double ns = pow(10, power);

		for (int times = 1; times <= 5; times += times == 1 ? 1 : 3) {
			double x = time_x(ns * times, least, most);
			char text[24];

			if (x < LEFT - 1 || x > RIGHT_EDGE + 1)
				continue;
			snprintf(text, sizeof(text), "%g us", ns * times / 1e3);
			fprintf(out, "<path class=\"grid\" d=\"M%.1f %dV%d\"/>\n", x, TOP, BOTTOM);
			label(x, BOTTOM + 18, "middle", text, out);
		}
	}
	x_title("from the request to the entry into the guest; each at its own height", out);
}

void lab_html_times(const struct lab_findings *findings, FILE *out)
{
	static const char *const names[LAB_ANSWERS] = { "current", "cached", "missed" };
	double least = 1e18, most = 1, share[TIME_BINS], step = (double)WIDTH / TIME_BINS;

	for (unsigned k = 0; k < LAB_ANSWERS; k++) {
		const struct lab_spread *spread = &findings->times[k];

		if (!spread->count)
			continue;
		least = fmin(least, fmax(1, (double)lab_spread_quantile(spread, 0.01) * 0.8));
		most = fmax(most, (double)lab_spread_quantile(spread, 0.99) * 1.25);
	}
	most = fmax(most, least * 2);
	fputs("<p class=\"legend\">", out);
	for (unsigned k = 0; k < LAB_ANSWERS; k++)
		if (findings->times[k].count)
			fprintf(out, "<span><i class=\"swatch a%u\"></i> %s (%llu)</span>\n", k,
			        names[k], (ull)findings->times[k].count);
	fputs("</p>\n", out);
	begin("How long requests took that found a root, and that missed", FULL_HEIGHT, out);
	time_axis(least, most, out);
	for (unsigned k = 0; k < LAB_ANSWERS; k++) {
		if (!findings->times[k].count)
			continue;
		time_shares(&findings->times[k], least, most, share);
		fprintf(out, "<path class=\"area a%u\" d=\"M%d %d", k, LEFT, BOTTOM);
		for (unsigned i = 0; i < TIME_BINS; i++)
			fprintf(out, "L%.1f %.1fL%.1f %.1f", LEFT + step * i,
			        BOTTOM - HEIGHT * share[i], LEFT + step * (i + 1),
			        BOTTOM - HEIGHT * share[i]);
		fprintf(out, "V%dZ\"/>\n", BOTTOM);
	}
	end(out);
}

void lab_html_savings(const struct lab_findings *findings, FILE *out)
{
	const struct lab_row *rows = findings->row[LAB_SHARED][findings->advised];
	double most = lab_findings_saved(findings, &rows[findings->best]) * 1e3, top = 1;

	while (top < most)
		top *= 2;
	while (top / 2 >= most && most > 0)
		top /= 2;
	begin("Time saved by each capacity against KVM's", FULL_HEIGHT, out);
	y_axis(top, " ms", out);
	capacity_axis("cached roots", out);
	for (unsigned c = 0; c < LAB_CAPACITIES; c++) {
		double saved = lab_findings_saved(findings, &rows[c]) * 1e3;
		double width = fmin(12, 0.7 * (capacity_x(c + 1) - capacity_x(c)));
		char title[80];

		snprintf(title, sizeof(title), "%u cached roots: %.3f ms of every second", c,
		         saved);
		if (saved > 0)
			bar(capacity_x(c) - width / 2, width, saved / top,
			    c == findings->chosen ? "fill chosen" : "fill", title, out);
	}
	end(out);
}

void lab_html_tags(const struct lab_findings *findings, FILE *out)
{
	begin("Flushes against the number of tags", FULL_HEIGHT, out);
	y_axis(100, " %", out);
	capacity_axis("tags", out);
	fputs("<path class=\"line p2\" d=\"", out);
	for (unsigned tags = 1; tags < LAB_CAPACITIES; tags++)
		fprintf(out, "%c%.1f %.1f", tags > 1 ? 'L' : 'M', capacity_x(tags), BOTTOM -
		        HEIGHT * lab_percent(findings->switches - findings->kept[tags],
		                             findings->switches) / 100);
	fputs("\"/>\n", out);
	for (unsigned tags = 1; tags < LAB_CAPACITIES; tags++) {
		uint64_t flushes = findings->switches - findings->kept[tags];

		fprintf(out, "<circle class=\"dot p2\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.2\"><title>"
		        "%u tags: %llu flushes</title></circle>\n", capacity_x(tags),
		        BOTTOM - HEIGHT * lab_percent(flushes, findings->switches) / 100, tags,
		        (ull)flushes);
	}
	end(out);
}
