/* SPDX-License-Identifier: MIT */
/*
 * What is asked of a KVM host's kernel: tracepoints and kprobe events, in a tracefs instance of our
 * own (instances/rhizome-PID; kprobe events in the group rhizome_PID). A child process takes all of
 * it away again however its parent ended; what a child that was killed as well has left, the next
 * recording removes.
 */
#ifndef LAB_PROBES_H
#define LAB_PROBES_H

#include "event.h"
#include "lab.h"

#include <sys/types.h>

struct tracefs_instance;
struct probe_source;

/* Where a field is in an event's binary record; size 0: the event has no such field. */
struct probe_field {
	uint16_t offset, size;
};

/* One event that is recorded. */
struct probe {
	const struct probe_source *source;
	uint16_t id; /* common_type */
	struct probe_field vcpu, value, more, flag;
};

enum { PROBES_MAX = 24, PROBES_MISSING_SIZE = 200 };

struct probes {
	struct tracefs_instance *instance;
	char group[32];
	struct probe probe[PROBES_MAX];
	unsigned count;
	bool kprobes;  /* this kernel has kprobe events */
	bool requests; /* kvm_mmu_new_pgd is probed: every request is seen */
	char missing[PROBES_MISSING_SIZE]; /* what could not be had, and why; or empty */
	pid_t cleaner;
	int alive; /* our end of the pipe whose end tells the cleaner that we have gone */
};

/* Whether anything can be recorded here: root, tracefs, KVM. Complains in one line if not. */
enum lab_exit probes_allowed(void);
/* Removes what recorders that no longer live have left. Complains of what stays. */
void probes_remove_stale(void);
/*
 * Makes instance and events, all switched on but nothing recorded yet. tasks: the threads to be
 * recorded, none: all. probes_close must follow, also after a failure.
 */
enum lab_exit probes_open(struct probes *probes, const pid_t *tasks, size_t tasks_count,
                          unsigned buffer_kib);
/* Starts recording, or stops it. */
enum lab_exit probes_switch(const struct probes *probes, bool on);
/* Takes all of it away; nothing of the instance may be open. Fails if something stays. */
enum lab_exit probes_close(struct probes *probes);

/* Reads a binary record. False: it is not one that concerns roots. task, vcpu and time are set if
   the record has them (vcpu else LAB_NO_VCPU), vm is not. */
bool probes_decode(const struct probes *probes, const void *record, unsigned size,
                   struct lab_event *event);

#endif
