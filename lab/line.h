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

#include "event.h"

#include <stddef.h>

enum lab_line {
	LAB_LINE_EVENT,  /* one of the kinds below */
	LAB_LINE_OTHER,  /* an event, but none that concerns roots */
	LAB_LINE_SILENT, /* a comment, a heading, an empty line, a stack trace */
	LAB_LINE_LOST,   /* the recorder says that it lost events: value of them */
	LAB_LINE_BROKEN, /* neither, or an event of ours that lacks what we need */
	LAB_LINE_END,    /* of the trace; from a source alone, as is the next */
	LAB_LINE_ERROR,
};

/* Reads one line. *event is set for EVENT, and its value for LOST. */
enum lab_line lab_line_read(const char *line, size_t length, struct lab_event *event);

/* For readers of other forms: the event of a name, and what its arguments as text tell. */
bool lab_line_kind(const char *name, enum lab_event_kind *kind);
enum lab_line lab_line_arguments(const char *arguments, size_t length, struct lab_event *event);

#endif
