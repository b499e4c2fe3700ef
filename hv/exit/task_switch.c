/* SPDX-License-Identifier: MIT */
/*
 * Hardware task switches [APM2 12.2, 12.3] [SDM3 8.3], outside long mode. Under shadow paging they
 * are done here, since they load CR3 without an exit of its own. In three steps:
 *
 *   look      the new task's descriptor and segment, and all that will be written is translated:
 *             faults are the old task's, and nothing has happened
 *   switch    the old task's state saved, link and busy bits, the new state loaded: cannot fail
 *   settle    the new task's CR3, LDT, segments and error code: faults are the new task's
 */
#include "cpu/x86.h"
#include "exit/event.h"
#include "exit/exit.h"
#include "exit/gva.h"
#include "exit/insn.h"
#include "exit/step.h"
#include "exit/task.h"
#include "svm/guest.h"
#include "svm/registers.h"

/* EXITINFO2 [APM2 15.14.1]; its low half is the error code. */
#define BY_IRET (1ull << 36)
#define BY_JMP (1ull << 38)
#define HAS_ERROR_CODE (1ull << 44)
#define SAVED_RF (1ull << 48)

#define DR6_BT (1ull << 15)
#define DR7_LOCAL 0x155ull /* L0 to L3, LE: debug registers are per task [APM2 13.1.1] */
#define RFLAGS_NT (1ull << 14)
#define RFLAGS_RF (1ull << 16)
#define RFLAGS_KNOWN 0x3f7fd7u

enum { OP_CALL_FAR = 0x9a, OP_INT3 = 0xcc, OP_INT = 0xcd, OP_INTO = 0xce, OP_IRET = 0xcf,
       OP_JMP_FAR = 0xea, OP_GROUP5 = 0xff };
enum source { CALL, JMP, IRET, GATE };

struct task_switch {
	enum source source;
	uint16_t selector;              /* of the new TSS */
	struct descriptor descriptor;   /* and its descriptor */
	bool wide;                      /* it is one of 32 bits */
	struct task_memory old_tss, new_tss, old_busy, new_busy;
	struct task_state state;        /* the new task's */
	uint64_t next;                  /* where the old task goes on */
};

/* Where the instruction that switches ends: there its task goes on. */
static bool find_end(struct guest *g, uint64_t *rip)
{
	uint8_t bytes[INSN_BUFFER] = { 0 };
	const unsigned count = gva_fetch(g, bytes);
	const unsigned prefixes = insn_prefixes(bytes, count, insn_bits(g));
	bool wide = g->vmcb->cs.attributes & SEGMENT_DEFAULT32, turned = false;
	struct insn_operand operand;
	unsigned length = prefixes + 1;

	for (unsigned i = 0; i < prefixes; i++)
		turned |= bytes[i] == 0x66;
	wide ^= turned;
	switch (bytes[prefixes]) {
	case OP_INT3:
	case OP_INTO:
	case OP_IRET:
		break;
	case OP_INT:
		length++;
		break;
	case OP_CALL_FAR:
	case OP_JMP_FAR:
		length += wide ? 6 : 4;
		break;
	case OP_GROUP5:
		if (!insn_operand(g, 1, &operand))
			return false;
		*rip = operand.rip;
		return true;
	default:
		return false;
	}
	*rip = insn_advance(g, length);
	return length <= count;
}

static bool is_software(uint64_t event)
{
	const uint64_t vector = event & EVENT_VECTOR;

	return (event & EVENT_TYPE) == EVENT_SOFTWARE ||
	       ((event & EVENT_TYPE) == EVENT_EXCEPTION &&
	        (vector == VECTOR_BP || vector == VECTOR_OF));
}

/* INT n may use a gate of its own privilege or less [APM2 8.7.2]; what comes by itself, any. */
static bool gate_allows(struct guest *g, uint64_t event)
{
	const struct vmcb *v = g->vmcb;
	const unsigned vector = event & EVENT_VECTOR;
	struct task_memory memory;
	uint8_t gate[8];

	if (!is_software(event))
		return true;
	if (!task_open(g, v->idtr.base + vector * 8, sizeof(gate), 0, &memory))
		return false;
	task_get(&memory, gate, sizeof(gate));
	if ((gate[5] >> SEGMENT_DPL_SHIFT & 3) >= v->cpl)
		return true;
	event_exception(g, VECTOR_GP, vector * 8 + 2);
	return false;
}

/* ---- look ---- */

static bool refuse(struct guest *g, unsigned vector, uint16_t selector)
{
	event_exception(g, vector, selector & ~3u);
	return false;
}

static bool look_at_descriptor(struct guest *g, struct task_switch *s)
{
	const unsigned wrong = s->source == IRET ? VECTOR_TS : VECTOR_GP;
	const unsigned busy = s->source == IRET ? TSS_BUSY : 0;
	enum descriptor_result result = DESCRIPTOR_OUTSIDE;

	if (!(s->selector & 4) && s->selector & ~3)
		result = descriptor_read(g, s->selector, &s->descriptor);
	if (result == DESCRIPTOR_FAULTED)
		return false;
	if (result == DESCRIPTOR_OUTSIDE ||
	    (s->descriptor.attributes & (SEGMENT_S | SEGMENT_TYPE) & ~TSS_WIDE) !=
	            (TSS_TYPE | busy))
		return refuse(g, wrong, s->selector);
	if (!(s->descriptor.attributes & SEGMENT_PRESENT))
		return refuse(g, VECTOR_NP, s->selector);
	s->wide = s->descriptor.attributes & TSS_WIDE;
	if (s->descriptor.limit < (s->wide ? TASK_BYTES : TASK16_BYTES) - 1u)
		return refuse(g, VECTOR_TS, s->selector);
	return true;
}

static bool old_is_wide(const struct guest *g)
{
	return g->vmcb->tr.attributes & TSS_WIDE;
}

/* Everything that will be read and written, so that no fault can come later. */
static bool look_at_memory(struct guest *g, struct task_switch *s)
{
	const struct vmcb *v = g->vmcb;
	const unsigned link = s->source == CALL || s->source == GATE ? RHZ_ACCESS_WRITE : 0;
	const uint64_t old_descriptor = v->gdtr.base + (v->tr.selector & ~7u) + 5;
	uint8_t tss[TASK_BYTES];
	const unsigned bytes = s->wide ? TASK_BYTES : TASK16_BYTES;

	if (!task_open(g, v->tr.base, old_is_wide(g) ? TASK_BYTES : TASK16_BYTES,
	               RHZ_ACCESS_WRITE, &s->old_tss) ||
	    !task_open(g, old_descriptor, 1, RHZ_ACCESS_WRITE, &s->old_busy) ||
	    !task_open(g, s->descriptor.gva + 5, 1, RHZ_ACCESS_WRITE, &s->new_busy) ||
	    !task_open(g, s->descriptor.base, bytes, link, &s->new_tss))
		return false;
	task_get(&s->new_tss, tss, bytes);
	task_state_read(&s->state, tss, s->wide);
	return true;
}

/* ---- switch ---- */

static void set_busy(struct guest *g, const struct task_memory *descriptor, bool busy)
{
	uint8_t byte;

	task_get(descriptor, &byte, 1);
	byte = (uint8_t)(busy ? byte | TSS_BUSY : byte & ~TSS_BUSY);
	task_put(g, descriptor, &byte, 1);
}

static void save_old(struct guest *g, const struct task_switch *s)
{
	const struct vmcb *v = g->vmcb;
	const unsigned bytes = old_is_wide(g) ? TASK_BYTES : TASK16_BYTES;
	const uint64_t rf = v->exit_info2 & SAVED_RF ? RFLAGS_RF : 0;
	struct task_state state = {
		.eip = (uint32_t)s->next,
		.flags = (uint32_t)((v->rflags & ~RFLAGS_RF) | rf),
	};
	uint8_t tss[TASK_BYTES];

	if (s->source == IRET)
		state.flags &= (uint32_t)~RFLAGS_NT;
	for (unsigned i = 0; i < 8; i++)
		state.reg[i] = (uint32_t)g->reg[i];
	for (unsigned i = 0; i < 6; i++)
		state.segment[i] = (&v->es)[i].selector;
	task_get(&s->old_tss, tss, bytes);
	task_state_write(&state, tss, old_is_wide(g));
	task_put(g, &s->old_tss, tss, bytes);
}

static void switch_tasks(struct guest *g, struct task_switch *s)
{
	struct vmcb *v = g->vmcb;

	if (s->source == JMP || s->source == IRET)
		set_busy(g, &s->old_busy, false);
	save_old(g, s);
	if (s->source == CALL || s->source == GATE) {
		task_put(g, &s->new_tss, &v->tr.selector, sizeof(v->tr.selector));
		s->state.flags |= RFLAGS_NT;
	}
	if (s->source != IRET)
		set_busy(g, &s->new_busy, true);
	v->cr0 |= CR0_TS;
	v->dr7 &= ~DR7_LOCAL;
	v->tr = (struct vmcb_segment){ s->selector, s->descriptor.attributes | TSS_BUSY,
	                               s->descriptor.limit, s->descriptor.base };
	v->rip = s->state.eip;
	v->rflags = (s->state.flags & RFLAGS_KNOWN) | RFLAGS_FIXED;
	for (unsigned i = 0; i < 8; i++)
		g->reg[i] = s->state.reg[i];
	v->rsp = s->state.reg[REG_RSP];
	/* selectors first: a fault in the new task shows them all [SDM3 8.3] */
	for (unsigned i = 0; i < 6; i++)
		(&v->es)[i] = (struct vmcb_segment){ s->state.segment[i], 0, 0, 0 };
	v->ldtr = (struct vmcb_segment){ s->state.ldt, 0, 0, 0 };
	v->cpl = s->state.segment[INSN_CS] & 3;
	v->interrupt_state &= ~INTERRUPT_SHADOW;
}

/* ---- settle ---- */

static bool load_ldt(struct guest *g)
{
	struct vmcb_segment *ldtr = &g->vmcb->ldtr;
	struct descriptor d;

	if (!(ldtr->selector & ~3))
		return true;
	if (ldtr->selector & 4)
		return refuse(g, VECTOR_TS, ldtr->selector);
	switch (descriptor_read(g, ldtr->selector, &d)) {
	case DESCRIPTOR_FAULTED:
		return false;
	case DESCRIPTOR_OUTSIDE:
		return refuse(g, VECTOR_TS, ldtr->selector);
	case DESCRIPTOR_OK:
		break;
	}
	if ((d.attributes & (SEGMENT_S | SEGMENT_TYPE | SEGMENT_PRESENT)) !=
	    (LDT_TYPE | SEGMENT_PRESENT))
		return refuse(g, VECTOR_TS, ldtr->selector);
	*ldtr = (struct vmcb_segment){ ldtr->selector, d.attributes, d.limit, d.base };
	return true;
}

/* Type and privilege of a segment for the register that it goes to [SDM3 table 8-1]. */
static bool segment_fits(unsigned segment, uint16_t selector, unsigned attributes, unsigned cpl)
{
	const unsigned rpl = selector & 3, dpl = attributes >> SEGMENT_DPL_SHIFT & 3;
	const bool code = attributes & SEGMENT_CODE, writable = attributes & SEGMENT_WRITABLE;
	const bool conforming = code && attributes & SEGMENT_CONFORMING;

	if (!(attributes & SEGMENT_S))
		return false;
	switch (segment) {
	case INSN_CS:
		return code && (conforming ? dpl <= rpl : dpl == rpl);
	case INSN_SS:
		return !code && writable && rpl == cpl && dpl == cpl;
	default:
		if (code && !writable)
			return false; /* execute-only */
		return conforming || (dpl >= cpl && dpl >= rpl);
	}
}

static bool load_segment(struct guest *g, unsigned segment)
{
	struct vmcb_segment *into = &(&g->vmcb->es)[segment];
	const uint16_t selector = into->selector;
	struct task_memory type;
	struct descriptor d;
	uint8_t byte;

	if (!(selector & ~3)) /* null: not for code and stack */
		return segment != INSN_CS && segment != INSN_SS ? true :
		                                                  refuse(g, VECTOR_TS, selector);
	switch (descriptor_read(g, selector, &d)) {
	case DESCRIPTOR_FAULTED:
		return false;
	case DESCRIPTOR_OUTSIDE:
		return refuse(g, VECTOR_TS, selector);
	case DESCRIPTOR_OK:
		break;
	}
	if (!segment_fits(segment, selector, d.attributes, g->vmcb->cpl))
		return refuse(g, VECTOR_TS, selector);
	if (!(d.attributes & SEGMENT_PRESENT))
		return refuse(g, segment == INSN_SS ? VECTOR_SS : VECTOR_NP, selector);
	if (!(d.attributes & SEGMENT_ACCESSED)) {
		if (!task_open(g, d.gva + 5, 1, RHZ_ACCESS_WRITE, &type))
			return false;
		task_get(&type, &byte, 1);
		byte |= SEGMENT_ACCESSED;
		task_put(g, &type, &byte, 1);
		d.attributes |= SEGMENT_ACCESSED;
	}
	*into = (struct vmcb_segment){ selector, d.attributes, d.limit, d.base };
	return true;
}

static bool load_segments(struct guest *g)
{
	static const uint8_t order[] = { INSN_CS, INSN_SS, INSN_ES, INSN_DS, INSN_FS, INSN_GS };
	struct vmcb *v = g->vmcb;

	if (v->rflags & RFLAGS_VM) { /* [APM2 2.4] */
		v->cpl = 3;
		for (unsigned i = 0; i < 6; i++) {
			struct vmcb_segment *s = &(&v->es)[i];

			*s = (struct vmcb_segment){ s->selector, 0xf3, 0xffff,
			                            (uint64_t)s->selector << 4 };
		}
		return true;
	}
	for (unsigned i = 0; i < 6; i++) {
		if (!load_segment(g, order[i]))
			return false;
	}
	return true;
}

static bool push_error_code(struct guest *g, uint32_t error_code, bool wide)
{
	struct vmcb *v = g->vmcb;
	const uint32_t mask = v->ss.attributes & SEGMENT_DEFAULT32 ? 0xffffffff : 0xffff;
	const unsigned bytes = wide ? 4 : 2;
	const uint32_t rsp = (uint32_t)((v->rsp & ~(uint64_t)mask) | ((v->rsp - bytes) & mask));
	struct task_memory memory;

	if (!task_open(g, v->ss.base + (rsp & mask), bytes, RHZ_ACCESS_WRITE, &memory))
		return false;
	task_put(g, &memory, &error_code, bytes);
	v->rsp = rsp;
	g->reg[REG_RSP] = rsp;
	return true;
}

static void settle(struct guest *g, const struct task_switch *s, uint64_t info)
{
	struct vmcb *v = g->vmcb;

	if (s->wide && registers_cr0(g) & CR0_PG && !registers_load_cr3(g, s->state.cr3)) {
		event_gp(g);
		return;
	}
	if (!load_ldt(g) || !load_segments(g) ||
	    (info & HAS_ERROR_CODE && !push_error_code(g, (uint32_t)info, s->wide)))
		return;
	if (v->rip > v->cs.limit) {
		event_gp(g);
		return;
	}
	if (s->state.trap) {
		v->dr6 |= DR6_BT;
		event_exception(g, VECTOR_DB, 0);
	}
}

void exit_task_switch(struct guest *g)
{
	struct vmcb *v = g->vmcb;
	const uint64_t info = v->exit_info2, event = v->exit_interrupt;
	const bool gate = event & EVENT_VALID;
	struct task_switch s = {
		.source = info & BY_IRET ? IRET : info & BY_JMP ? JMP : gate ? GATE : CALL,
		.selector = (uint16_t)v->exit_info1,
		.next = v->rip,
	};

	if (g->stepping)
		step_end(g);
	v->event = 0; /* the new task is its delivery */
	if ((s.source != GATE || is_software(event)) && !find_end(g, &s.next))
		return; /* the code has changed: run on */
	if (s.source == GATE && !gate_allows(g, event))
		return;
	if (!look_at_descriptor(g, &s) || !look_at_memory(g, &s))
		return;
	switch_tasks(g, &s);
	settle(g, &s, info);
}
