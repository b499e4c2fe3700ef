/* SPDX-License-Identifier: MIT */
/*
 * One line of a trace as text: what tracefs' "trace", "trace-cmd report" and "perf script" print.
 *
 *    qemu-117     [001] .....    44.620048: new_pgd: (kvm_mmu_new_pgd+0x0/0x260) pgd=0x2a10000
 *    qemu-117   [001]    44.620048: new_pgd:              (ffffffffc05a2f40) pgd=0x2a10000
 *    qemu   117 [001]    44.620048: kmmu:new_pgd: (ffffffffc05a2f40) pgd=0x2a10000
 */
#ifndef LAB_LINE_H
#define LAB_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum lab_line {
	LAB_LINE_EVENT,  /* one of the kinds below */
	LAB_LINE_OTHER,  /* an event, but none that concerns roots */
	LAB_LINE_SILENT, /* a comment, a heading, an empty line, a stack trace */
	LAB_LINE_LOST,   /* the recorder says that it lost events: value of them */
	LAB_LINE_BROKEN, /* neither, or an event of ours that lacks what we need */
};

enum lab_event_kind {
	LAB_EVENT_NEW_PGD,      /* kvm_mmu_new_pgd: a request for a root; value: its address */
	LAB_EVENT_NESTED_ENTER, /* L1 enters L2; value: nested_cr3, or what stands for it */
	LAB_EVENT_NESTED_EXIT,  /* L2 exits to L1 */
	LAB_EVENT_CR3_WRITE,    /* the tracepoint kvm_cr; value: what is written to CR3 */
	LAB_EVENT_MMU_LOAD,     /* KVM's own doing, for comparison */
	LAB_EVENT_SYNC_ROOTS,
	LAB_EVENT_FREE_ROOTS,      /* value: which, a bit for each root, 0 if not recorded */
	LAB_EVENT_TWO_DIMENSIONAL, /* an exit that only nested or extended page tables cause */
};

struct lab_event {
	enum lab_event_kind kind;
	uint32_t task; /* thread number: a vCPU is a thread */
	bool nested_paging; /* NESTED_ENTER: L1 uses nested page tables for L2 */
	uint64_t time_ns;
	uint64_t value;
};

/* Reads one line. *event is set for EVENT, and its value for LOST. */
enum lab_line lab_line_read(const char *line, size_t length, struct lab_event *event);

#endif
