/* SPDX-License-Identifier: MIT */
/* What a replay found, as a table for people, as CSV, as JSON and as a page. */
#ifndef LAB_REPORT_H
#define LAB_REPORT_H

#include "findings.h"

#include <stdio.h>

/* wanted says which rows are shown. columns: of the terminal. */
void lab_report_table(const struct lab_findings *findings, const struct lab_wanted *wanted,
                      unsigned columns, FILE *out);
void lab_report_csv(const struct lab_findings *findings, const struct lab_wanted *wanted,
                    FILE *out);
void lab_report_json(const struct lab_findings *findings, const struct lab_wanted *wanted,
                     FILE *out);
void lab_report_html(const struct lab_findings *findings, const struct lab_wanted *wanted,
                     FILE *out);

/* A path as people know it: "standard input" for "-". */
const char *lab_shown_path(const char *path);
/* A vCPU's name: "vcpu 0 (117)", "thread 117". */
enum { LAB_NAME_SIZE = 64 };
const char *lab_vcpu_name(const struct lab_vcpu *vcpu, char text[LAB_NAME_SIZE]);
double lab_percent(uint64_t part, uint64_t whole);
double lab_mean_position(const struct lab_row *row);
/* A string in quotes; bytes that are no UTF-8 become U+FFFD. */
void lab_json_string(const char *string, FILE *out);

#endif
