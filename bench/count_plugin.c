/* SPDX-License-Identifier: MIT */
/*
 * A plugin for QEMU (its TCG plugin interface, version 1): counts how often each instruction of an
 * address range runs between two addresses of the guest, and all others together. scripts/profile
 * loads it and gives the counts names.
 *
 *   -plugin count.so,base=0x40100000,size=0x80000,begin=0x101000,end=0x101010,out=FILE
 *   -plugin count.so,base=0x40100000,size=0x80000,turn=0x40107000,part=0x40108000,out=FILE
 *
 * FILE gets a line 'address count' for each instruction that ran; address 0 stands for all others.
 * Without 'begin' the whole run is counted.
 *
 * The range's instructions come in turns: 'turn' is the address of the last one of each. They are
 * also summed by the last of the addresses 'part' (up to PARTS) that the turn came to: FILE gets
 * lines 'part address turns count', address 0 for turns that came to none.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qemu_plugin.h"

enum { PARTS = 64 };

static uint64_t base, size, begin, end, turn;
static struct part { uint64_t address, turns, sum; } parts[PARTS + 1], *part = parts;
static unsigned parts_known = 1;
static uint64_t in_range, in_range_before;
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

static void begin_part(unsigned cpu, void *data)
{
	(void)cpu;
	part = data;
}

static void end_turn(unsigned cpu, void *data)
{
	(void)cpu;
	(void)data;
	part->turns++;
	part->sum += in_range - in_range_before;
	in_range_before = in_range;
	part = parts;
}

static void call_at(struct qemu_plugin_insn *insn, uint64_t address)
{
	if (begin && address == begin)
		qemu_plugin_register_vcpu_insn_exec_cb(insn, begin_window, PLUGIN_NO_REGS, NULL);
	if (end && address == end)
		qemu_plugin_register_vcpu_insn_exec_cb(insn, end_window, PLUGIN_NO_REGS, NULL);
	if (turn && address == turn)
		qemu_plugin_register_vcpu_insn_exec_cb(insn, end_turn, PLUGIN_NO_REGS, NULL);
	for (unsigned i = 1; i < parts_known; i++) {
		if (address == parts[i].address)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, begin_part, PLUGIN_NO_REGS,
			                                       &parts[i]);
	}
}

static void translate(plugin_id id, struct qemu_plugin_tb *tb)
{
	const size_t insns = qemu_plugin_tb_n_insns(tb);

	(void)id;
	for (size_t i = 0; i < insns; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		const uint64_t address = qemu_plugin_insn_vaddr(insn);
		const uint64_t place = address - base < size ? address - base : size;

		call_at(insn, address);
		qemu_plugin_register_vcpu_insn_exec_inline(insn, PLUGIN_INLINE_ADD_U64,
		                                           &count[place], 1);
		if (turn && place < size)
			qemu_plugin_register_vcpu_insn_exec_inline(insn, PLUGIN_INLINE_ADD_U64,
			                                           &in_range, 1);
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
		const uint64_t n = begin ? counted[i] : count[i];

		if (n)
			fprintf(file, "%" PRIx64 " %" PRIu64 "\n", i < size ? base + i : 0, n);
	}
	for (unsigned i = 0; i < parts_known; i++) {
		if (parts[i].turns)
			fprintf(file, "part %" PRIx64 " %" PRIu64 " %" PRIu64 "\n",
			        parts[i].address, parts[i].turns, parts[i].sum);
	}
	if (fclose(file))
		perror(out);
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
	const struct { const char *name; uint64_t *value; } numbers[] = {
		{ "base=", &base }, { "size=", &size }, { "begin=", &begin }, { "end=", &end },
		{ "turn=", &turn },
	};

	(void)info;
	for (int i = 0; i < argc; i++) {
		for (size_t n = 0; n < sizeof(numbers) / sizeof(numbers[0]); n++) {
			const size_t length = strlen(numbers[n].name);

			if (!strncmp(argv[i], numbers[n].name, length))
				*numbers[n].value = strtoull(argv[i] + length, NULL, 0);
		}
		if (!strncmp(argv[i], "part=", 5) && parts_known <= PARTS)
			parts[parts_known++].address = strtoull(argv[i] + 5, NULL, 0);
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
