/* SPDX-License-Identifier: MIT */
/* What the loader handed over, copied out of memory that will be the guest's. */
#ifndef HV_BOOT_INFO_H
#define HV_BOOT_INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rhizome/root.h>

#include "cpu/console.h"

enum { MODULES_MAX = 16, TEXT_MAX = 2048 };

struct module {
	uint64_t at, bytes;
	const char *string; /* the loader's command line for it, the file's name first */
};

struct options {
	enum console console;
	bool reset_at_end;
	bool marks;         /* what the guest writes to the console's port asks for statistics */
	bool profile;       /* what exits cost is counted */
	bool no_nested;     /* the guest gets no SVM of its own */
	bool shadow;        /* paging=shadow */
	bool trace;         /* roots are traced to a port */
	uint16_t exit_port; /* of isa-debug-exit; 0: none */
	uint16_t stats_seconds; /* between lines of statistics; 0: only at the end */
	uint32_t tricks_off;    /* RHZ_NO_* */
	uint32_t roots;         /* cached roots beside the current ones */
	enum rhz_root_policy policy;
};

struct boot_info {
	struct options options;
	unsigned modules;
	struct module module[MODULES_MAX];
};

extern struct boot_info boot_info;

/*
 * Copies what the loader left at physical address 'at' and reads the options. Chooses the console.
 * Refuses what this hypervisor cannot do. Fills the memory map (mem/map.h).
 */
void boot_info_read(uint32_t at);

/* The part of a module's string after the file's name. */
const char *module_arguments(const struct module *module);

#endif
