/* SPDX-License-Identifier: MIT */
/*
 * A plugin for QEMU (its TCG plugin interface, version 1): counts how often each instruction of an
 * address range runs between two addresses of the guest, and all others together. scripts/profile
 * loads it and gives the counts names.
 *
 *   -plugin count.so,base=0x40100000,size=0x80000,begin=0x101000,end=0x101010,out=FILE
 *
 * FILE gets a line 'address count' for each instruction that ran; address 0 stands for all others.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qemu_plugin.h"

static uint64_t base, size, begin, end;
static const char *out;
/* By address; the place behind the last is for what lies outside the range. */
static uint64_t *count, *before, *counted;

static void begin_window(unsigned cpu, void *data)
{
	(void)cpu;
	(void)data;
	memcpy(before, count, (size + 1) * sizeof(count[0]));
}

static void end_window(unsigned cpu, void *data)
{
	(void)cpu;
	(void)data;
	for (uint64_t i = 0; i <= size; i++)
		counted[i] += count[i] - before[i];
}

static void translate(plugin_id id, struct qemu_plugin_tb *tb)
{
	const size_t insns = qemu_plugin_tb_n_insns(tb);

	(void)id;
	for (size_t i = 0; i < insns; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		const uint64_t address = qemu_plugin_insn_vaddr(insn);
		const uint64_t place = address - base < size ? address - base : size;

		if (address == begin)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, begin_window, PLUGIN_NO_REGS,
			                                       NULL);
		if (address == end)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, end_window, PLUGIN_NO_REGS,
			                                       NULL);
		qemu_plugin_register_vcpu_insn_exec_inline(insn, PLUGIN_INLINE_ADD_U64,
		                                           &count[place], 1);
	}
}

static void write_counts(plugin_id id, void *data)
{
	FILE *file = fopen(out, "w");

	(void)id;
	(void)data;
	if (!file) {
		perror(out);
		return;
	}
	for (uint64_t i = 0; i <= size; i++) {
		if (counted[i])
			fprintf(file, "%" PRIx64 " %" PRIu64 "\n", i < size ? base + i : 0,
			        counted[i]);
	}
	if (fclose(file))
		perror(out);
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
	const struct { const char *name; uint64_t *value; } numbers[] = {
		{ "base=", &base }, { "size=", &size }, { "begin=", &begin }, { "end=", &end },
	};

	(void)info;
	for (int i = 0; i < argc; i++) {
		for (size_t n = 0; n < sizeof(numbers) / sizeof(numbers[0]); n++) {
			const size_t length = strlen(numbers[n].name);

			if (!strncmp(argv[i], numbers[n].name, length))
				*numbers[n].value = strtoull(argv[i] + length, NULL, 0);
		}
		if (!strncmp(argv[i], "out=", 4))
			out = strdup(argv[i] + 4);
	}
	count = calloc(size + 1, sizeof(count[0]));
	before = calloc(size + 1, sizeof(before[0]));
	counted = calloc(size + 1, sizeof(counted[0]));
	if (!out || !count || !before || !counted) {
		fprintf(stderr, "count: out= lacks, or no memory\n");
		return 1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
	qemu_plugin_register_atexit_cb(id, write_counts, NULL);
	return 0;
}
