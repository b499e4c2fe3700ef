/* SPDX-License-Identifier: MIT */
/* What `rhizome run` and `rhizome iso` are told: guest, machine, the hypervisor's options. */
#ifndef LAB_RUN_OPTIONS_H
#define LAB_RUN_OPTIONS_H

#include <stdbool.h>

#include "lab.h"

enum {
	RUN_MODULES_MAX = 15,
	RUN_TRICKS_MAX = 16,
	RUN_EXIT_PORT = 0xf4, /* of isa-debug-exit */
};

struct run_options {
	const char *kernel, *initrd, *append, *multiboot;
	const char *guest; /* one of kernel and multiboot */
	const char *module[RUN_MODULES_MAX];
	unsigned modules;

	const char *paging, *policy;
	const char *trick[RUN_TRICKS_MAX]; /* "no-prefetch" */
	unsigned tricks;
	unsigned long roots, live_s;
	bool roots_given, live_given;
	bool marks;
	bool profile; /* of exits: "rhizome profile" */

	const char *machine;
	bool bochs; /* the machine is that */
	unsigned long memory_mib, cpus, timeout_s;
	bool icount, bare, dry_run;
	const char *stats, *trace;
	const char *output, *console; /* of iso */
	char **qemu;                  /* more arguments for it, ended by null */
};

/*
 * Reads the arguments of "run", "profile" or "iso". False: *status says how to leave, having been
 * told to help, or having complained.
 */
bool run_options_read(struct run_options *options, int argc, char **argv, const char *usage,
                      enum lab_exit *status);

/*
 * The hypervisor's own command line: where its console is, how it ends, and what it was told.
 * Until the next call.
 */
const char *run_options_words(const struct run_options *options, const char *console,
                              const char *ending);

/* Where the hypervisor is: named by the environment, beside us in the build, or installed. Null
   with a complaint if it is nowhere. */
const char *run_find_hypervisor(void);

#endif
