/* SPDX-License-Identifier: MIT */
/* What one vCPU's requests for roots look like, on one reading of the trace. */
#ifndef LAB_VIEW_H
#define LAB_VIEW_H

#include "event.h"
#include "whatif.h"

enum {
	LAB_BINS = 256,
	LAB_POSITIONS = LAB_CURRENT + 1, /* as lab_whatif_request returns them */
	LAB_TIMELINE_ROOTS = 63,         /* the others are one, the 64th */
};

/* A piece of the time: which roots were asked for, a bit each in the order of their first time. */
struct lab_bin {
	uint64_t roots;
	uint32_t requests, missed; /* missed: under current-first with KVM's capacity */
};

struct lab_timeline {
	uint64_t start_ns, bin_ns; /* bin_ns doubles whenever the bins are used up */
	struct lab_bin bin[LAB_BINS];
	uint64_t table[LAB_TIMELINE_ROOTS]; /* the roots' tables */
	uint8_t context[LAB_TIMELINE_ROOTS];
};

/* Roots that were ever asked for; bounded. */
struct lab_known {
	uint64_t *place; /* open addressing; each a root, 0 none */
	uint32_t *number;
	uint64_t count, size;
	bool full; /* there were more than are kept */
};

/* Page-table isolation: two roots a process, a page apart in guest-physical memory. */
struct lab_isolation {
	uint64_t flips;           /* requests for the other half of the current root's pair */
	uint64_t flips_at[LAB_POSITIONS];
	struct lab_stack joined;  /* as current-first, were each pair one root */
	lab_root current[RHZ_CONTEXTS];
	uint64_t joined_at[LAB_POSITIONS];
	uint64_t last[RHZ_CONTEXTS];
};

struct lab_view {
	uint64_t requests;
	uint64_t at[LAB_CAUSES][LAB_POSITIONS]; /* requests by cause and by shared position */
	struct lab_whatif whatif;
	struct lab_known known;
	struct lab_isolation isolation;
	struct lab_timeline timeline;
};

struct lab_root_name {
	uint64_t table, role;
	uint32_t guest_asid;
	enum rhz_context context;
};

void lab_view_init(struct lab_view *view, bool random, uint64_t seed);
/* A request; its position, as lab_whatif_request has it. */
unsigned lab_view_request(struct lab_view *view, const struct lab_root_name *name,
                          enum lab_cause cause, uint64_t time_ns);
void lab_view_gone(struct lab_view *view, const struct lab_root_name *name);
void lab_view_free(struct lab_view *view);

#endif
