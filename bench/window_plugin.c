/* SPDX-License-Identifier: MIT */
/*
 * A plugin for QEMU: instructions between marks that programs carry in them, and how many of them
 * a guest ran. bench/peers.py loads it. The counts know nothing of time, so neither of idle time.
 *
 * A mark is a NOP of eight bytes with a number in it (guests/initramfs/marks.h): no hypervisor sees
 * it, so that it costs the same at any depth. What runs from a VMRUN to the instruction behind it
 * is the guest of whoever runs first on this machine, nested guests included; all else is the
 * hypervisor, or a machine without one.
 *
 *   -plugin window.so,entry=HEX,…,out=FILE
 *
 * entry= is the first 16 bytes of a kernel's code: its first instruction is a mark with number 0.
 * FILE gets a line 'number instructions instructions-of-guests exits' for each mark.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qemu_plugin.h"

enum {
	MARK_BYTES = 8, MARK_NUMBER_AT = 4, MARK_PREFIX_AT = 6,
	ENTRY_BYTES = 16, ENTRIES_MAX = 4,
	VMRUN_BYTES = 3,
	EXITS_MAX = 16, /* instructions behind a VMRUN, in all worlds */
};

static const uint8_t mark_opcode[] = { 0x0f, 0x1f, 0x84, 0x00 }; /* NOP disp32(rax + rax) */
static const uint8_t mark_prefix[] = { 'H', 'R' };                /* the upper half of disp32 */
static const uint8_t vmrun_opcode[VMRUN_BYTES] = { 0x0f, 0x01, 0xd8 }; /* [APM3 VMRUN] */

static uint8_t entry[ENTRIES_MAX][ENTRY_BYTES];
static unsigned entries;
static const uint8_t *behind_vmrun[EXITS_MAX]; /* where the machine's memory is in QEMU */
static unsigned exits_known;

static uint64_t instructions; /* all, counted by the code that QEMU generates */
static uint64_t entered_at, of_guests, exits;
static const uint8_t *returns_to; /* null: no guest is running */
static FILE *out;

/* VMRUN is about to run. That of a guest is intercepted, and none of the machine's own. */
static void enter_guest(unsigned cpu, void *data)
{
	(void)cpu;
	if (returns_to)
		return;
	returns_to = data;
	entered_at = instructions;
}

static void leave_guest(unsigned cpu, void *data)
{
	(void)cpu;
	if (returns_to != data)
		return;
	returns_to = NULL;
	of_guests += instructions - entered_at;
	exits++;
}

static void pass_mark(unsigned cpu, void *data)
{
	const uint64_t running = returns_to ? instructions - entered_at : 0;

	(void)cpu;
	fprintf(out, "%u %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", (unsigned)(uintptr_t)data,
	        instructions, of_guests + running, exits);
	fflush(out); /* QEMU may be killed */
}

static void call(struct qemu_plugin_insn *insn, void (*what)(unsigned cpu, void *data),
                 const void *data)
{
	qemu_plugin_register_vcpu_insn_exec_cb(insn, what, PLUGIN_NO_REGS, (void *)data);
}

static bool is_known_exit(const uint8_t *at)
{
	for (unsigned i = 0; i < exits_known; i++) {
		if (behind_vmrun[i] == at)
			return true;
	}
	return false;
}

static void look_at_vmrun(struct qemu_plugin_insn *insn, const uint8_t *at)
{
	if (!is_known_exit(at + VMRUN_BYTES)) {
		if (exits_known == EXITS_MAX) {
			fprintf(stderr, "window: more than %d places with a VMRUN\n", EXITS_MAX);
			exit(1);
		}
		behind_vmrun[exits_known++] = at + VMRUN_BYTES;
	}
	call(insn, enter_guest, at + VMRUN_BYTES);
}

static bool is_entry(const uint8_t *at)
{
	for (unsigned i = 0; i < entries; i++) {
		if (!memcmp(at, entry[i], ENTRY_BYTES))
			return true;
	}
	return false;
}

static bool is_mark(const uint8_t *data, size_t bytes)
{
	return bytes == MARK_BYTES && !memcmp(data, mark_opcode, sizeof(mark_opcode)) &&
	       !memcmp(data + MARK_PREFIX_AT, mark_prefix, sizeof(mark_prefix));
}

static void translate(plugin_id id, struct qemu_plugin_tb *tb)
{
	const size_t insns = qemu_plugin_tb_n_insns(tb);

	(void)id;
	for (size_t i = 0; i < insns; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		const size_t bytes = qemu_plugin_insn_size(insn);
		const uint8_t *data = qemu_plugin_insn_data(insn);
		const uint8_t *at = qemu_plugin_insn_haddr(insn);

		/* QEMU makes an instruction's calls before it counts it. */
		if (at && is_known_exit(at))
			call(insn, leave_guest, at);
		if (at && is_entry(at))
			call(insn, pass_mark, NULL);
		qemu_plugin_register_vcpu_insn_exec_inline(insn, PLUGIN_INLINE_ADD_U64,
		                                           &instructions, 1);
		if (is_mark(data, bytes))
			call(insn, pass_mark, (const void *)(uintptr_t)
			     (data[MARK_NUMBER_AT] | data[MARK_NUMBER_AT + 1] << 8));
		if (at && bytes == VMRUN_BYTES && !memcmp(data, vmrun_opcode, VMRUN_BYTES))
			look_at_vmrun(insn, at);
	}
}

/* Pairs of digits; false where they are too few or none. */
static bool read_entry(const char *hex)
{
	if (entries == ENTRIES_MAX)
		return false;
	for (unsigned i = 0; i < ENTRY_BYTES; i++) {
		if (sscanf(hex + 2 * i, "%2hhx", &entry[entries][i]) != 1)
			return false;
	}
	entries++;
	return true;
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "entry=", 6) && !read_entry(argv[i] + 6)) {
			fprintf(stderr, "window: %s\n", argv[i]);
			return 1;
		}
		if (!strncmp(argv[i], "out=", 4))
			out = fopen(argv[i] + 4, "w");
	}
	if (!out) {
		fprintf(stderr, "window: out= lacks, or cannot be written\n");
		return 1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
	return 0;
}
