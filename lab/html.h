/* SPDX-License-Identifier: MIT */
/* The page's charts, as inline SVG whose colours are the page's. */
#ifndef LAB_HTML_H
#define LAB_HTML_H

#include "report.h"

void lab_html_escaped(const char *text, FILE *out);
void lab_html_hit_rates(const struct lab_findings *findings, const struct lab_wanted *wanted,
                        enum lab_contexts contexts, FILE *out);
void lab_html_distances(const struct lab_findings *findings, FILE *out);
void lab_html_timeline(const struct lab_vcpu *vcpu, FILE *out);
void lab_html_times(const struct lab_findings *findings, FILE *out);
void lab_html_savings(const struct lab_findings *findings, FILE *out);
void lab_html_tags(const struct lab_findings *findings, FILE *out);

#endif
