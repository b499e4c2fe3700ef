/* SPDX-License-Identifier: MIT */
/* What this processor offers. Read from CPUID, never assumed. */
#ifndef HV_CPU_FEATURES_H
#define HV_CPU_FEATURES_H

#include <rhizome/rhizome.h>

struct features {
	bool svm, nested_paging, next_rip, flush_by_asid, decode_assists, invlpgb;
	bool pcid, invpcid; /* the processor's; the guest may have ours */
	bool x2apic;
	uint32_t asids;
	struct rhz_host_cpu host;
	bool nested;   /* the guest may have SVM of its own */
	uint64_t cr4;           /* bits that the guest may set */
	struct rhz_cpuid guest; /* what the guest's CPUID says of paging */
};

extern struct features features;

void features_read(void);

/*
 * Under shadow paging the guest gets PCID and INVPCID, which we do for it, and not PKS. One that
 * has SVM gets them from the processor or not at all: guests of its own have what it has, and under
 * its nested tables we have no say in theirs.
 */
void features_shadow(void);

#endif
