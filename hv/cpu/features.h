/* SPDX-License-Identifier: MIT */
/* What this processor offers. Read from CPUID, never assumed. */
#ifndef HV_CPU_FEATURES_H
#define HV_CPU_FEATURES_H

#include <rhizome/rhizome.h>

struct features {
	bool svm, nested_paging, next_rip, flush_by_asid, invlpgb;
	bool x2apic;
	uint32_t asids;
	struct rhz_host_cpu host;
	struct rhz_cpuid guest; /* the guest sees the processor's own CPUID */
};

extern struct features features;

void features_read(void);

#endif
