/* SPDX-License-Identifier: MIT */
/* What a replay found, as a table for people, as CSV and as JSON. */
#ifndef LAB_REPORT_H
#define LAB_REPORT_H

#include "kvm.h"
#include "simulate.h"

#include <stdio.h>

struct lab_report {
	const struct lab_requests *requests;
	char **paths;
	size_t paths_count;
	const struct lab_row *rows; /* by policy, then by rising capacity */
	size_t rows_count;
	enum rhz_root_policy advised; /* the policy that the closing sentence speaks of */
	struct lab_row kvm;           /* that policy with KVM's capacity */
};

void lab_report_table(const struct lab_report *report, FILE *out);
void lab_report_csv(const struct lab_report *report, FILE *out);
void lab_report_json(const struct lab_report *report, FILE *out);

#endif
