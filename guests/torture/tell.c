/* SPDX-License-Identifier: MIT */
/* Mismatches, and with "verbose" every step, on the serial line. */
#include "torture/tell.h"

#include "torture/arena.h"
#include "torture/machine.h"

static void field(const char *name, uint64_t value)
{
	say(" ");
	say(name);
	say(" ");
	say_hex(value);
}

static void head(const struct report *report, const char *what)
{
	say(what);
	say("mode ");
	say(report->mode);
	say(" seed ");
	say_number(report->seed);
	say(" step ");
	say_number(report->step);
	say(":");
}

void tell_event(const struct report *report, const char *what, uint64_t value)
{
	head(report, "");
	field(what, value);
	say("\n");
}

static void tell_outcome(const char *what, const struct outcome *outcome)
{
	say(what);
	field("vector", outcome->vector);
	if (outcome->vector == VECTOR_DONE) {
		field("value", outcome->value);
	} else {
		field("error", outcome->error);
		field("cr2", outcome->cr2);
	}
	field("left", outcome->left);
	if (outcome->error_loose || outcome->value_loose)
		field("not looked at", outcome->error_loose | outcome->value_loose);
	say("\n");
}

void tell_operation(const struct report *report, const struct operation *op,
                    const struct outcome *expected)
{
	head(report, "");
	say(op->user ? " user " : " kernel ");
	say(operation_names[op->kind]);
	field("size", op->size);
	field("at", op->gva);
	if (op->kind == OP_MOVS)
		field("from", op->source);
	if (op->kind == OP_STOS)
		field("count", op->count);
	field("value", op->value);
	field("other", op->other);
	say(op->ac ? " AC" : "");
	tell_outcome(" must end", expected);
}

static void tell_registers(void)
{
	field("root", cpu.root);
	field("at", cpu.root_pa[cpu.root]);
	field("pcid", cpu.pcid);
	field("cr0", read_cr0());
	field("cr3", read_cr3());
	field("cr4", read_cr4());
	field("pkru", cpu.pke ? cpu.pkru : 0);
	say(cpu.nxe ? " NXE\n" : "\n");
}

/* The entries of a walk: as believed, and as they are in memory. */
static void tell_walk(uint64_t gva)
{
	struct walk walk;

	paging_walk(gva, &walk);
	field("walk of", gva);
	for (unsigned i = 0; i < walk.steps; i++) {
		const uint64_t pa = walk.entry_pa[i];

		field("entry at", pa);
		field("=", arena_entry(pa));
		field("memory", cpu.format->entry_bytes == 8
		                        ? *(const volatile uint64_t *)(uintptr_t)pa
		                        : *(const volatile uint32_t *)(uintptr_t)pa);
	}
	if (walk.leaf_level)
		field("page", walk.pa);
	say("\n");
}

void tell_mismatch(const struct report *report, const struct operation *op,
                   const struct outcome *expected, const struct outcome *seen)
{
	head(report, "torture: FAILED ");
	say("\n");
	tell_operation(report, op, expected);
	tell_outcome(" was seen", seen);
	tell_registers();
	tell_walk(op->gva);
	if ((op->gva ^ (op->gva + 15)) & PAGE)
		tell_walk((op->gva + 15) & -(uint64_t)PAGE);
	if (op->kind == OP_MOVS)
		tell_walk(op->source);
	leave(1);
}

void tell_memory(const struct report *report, uint64_t pa)
{
	uint8_t loose[8];
	uint64_t value = 0;

	arena_read(pa, &value, cpu.format->entry_bytes, loose);
	head(report, "torture: FAILED ");
	say(" memory");
	field("at", pa);
	field("must be", value);
	field("not looked at", loose[0]);
	field("is", cpu.format->entry_bytes == 8 ? *(const volatile uint64_t *)(uintptr_t)pa
	                                         : *(const volatile uint32_t *)(uintptr_t)pa);
	say("\n");
	tell_registers();
	leave(1);
}
