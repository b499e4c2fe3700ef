/* SPDX-License-Identifier: MIT */
/*
 * A store to a guest table that is shadowed. A plain one is done here, on the table, and told to
 * the library; any other is single-stepped (exit/step.c).
 */
#include "cpu/x86.h"
#include "exit/event.h"
#include "exit/exit.h"
#include "exit/gva.h"
#include "exit/insn.h"
#include "exit/step.h"
#include "insn/emulate.h"
#include "mem/guest.h"
#include "mem/layout.h"
#include "svm/guest.h"
#include "svm/screen.h"

#define DR7_BREAKPOINTS 0xffull
#define CR0_AM (1ull << 18)
#define RFLAGS_DF (1ull << 10)

/*
 * A table that is written again and again while no fault is fixed is no table any more, or will
 * change so much that it is cheaper to build its shadow anew. One count for each of so many tables.
 */
enum {
	FLOODS = 16,
	FLOOD_WRITES = 32,
	FLOOD_ODD = 8, /* a store that is no entry's weighs as so many: it takes four of them */
};

struct flood { uint64_t gfn, fixed, writes; };
static struct flood floods[FLOODS];

static void tell(struct guest *g, uint64_t gpa, uint64_t bytes, unsigned weight)
{
	const uint64_t gfn = gpa / PAGE_BYTES, fixed = rhz_vcpu_stats(g->mmu)->pf_fixed;
	struct flood *flood = &floods[gfn % FLOODS];

	rhz_vm_wrote(g->vm, 0, (rhz_gpa){ gpa }, bytes);
	if (flood->gfn != gfn || flood->fixed != fixed)
		*flood = (struct flood){ gfn, fixed, 0 };
	flood->writes += weight;
	if (flood->writes >= FLOOD_WRITES) {
		/* refused while it is in use: then the stores go on one by one */
		rhz_vm_unshadow(g->vm, 0, (rhz_gpa){ gpa });
		flood->writes = 0;
	}
}

/* How many elements of a string, from this address on, lie whole in its page. */
static uint64_t elements_in_page(uint64_t at, uint64_t bytes, bool down)
{
	const uint64_t offset = at % PAGE_BYTES;

	if (!down)
		return (PAGE_BYTES - offset) / bytes;
	return offset + bytes <= PAGE_BYTES ? offset / bytes + 1 : 0;
}

/* Elements behind the first pass the segment's limit, and wrap, where the first does. */
static bool is_flat(const struct vmcb_segment *segment)
{
	return segment->limit == ~0u && segment->base % PAGE_BYTES == 0;
}

static bool runs_free(const struct guest *g, const struct insn *insn)
{
	const struct vmcb *v = g->vmcb;

	if (v->rflags & RFLAGS_TF)
		return false;
	if (insn_bits(g) == 64)
		return true;
	/* any override of the source: one element at a time */
	return insn->address_bytes == 4 && is_flat(&v->es) &&
	       (insn->op == INSN_STOS || (insn->segment == INSN_DS && is_flat(&v->ds)));
}

/* Where MOVS reads: RAM that the guest may read now. Null: not plain. */
static const void *string_source(struct guest *g, const struct insn *insn, uint64_t *gva)
{
	const struct vmcb *v = g->vmcb;
	struct rhz_walk walk;
	unsigned access = 0;

	if (v->cpl == 3)
		access |= RHZ_ACCESS_USER;
	if (v->rflags & RFLAGS_AC)
		access |= RHZ_ACCESS_AC;
	*gva = insn_linear(g, insn->segment, g->reg[REG_RSI] & insn_address_mask(insn));
	if (!g->shadow)
		return NULL;
	/* a walk that has yet to set A bits is the processor's */
	if (rhz_vcpu_translate(g->mmu, (rhz_gva){ *gva }, access, &walk) != RHZ_WALK_OK ||
	    !walk.accessed)
		return NULL;
	return guest_memory_at(g, walk.gpa.v, 1);
}

/*
 * Half a table and more at once is no change of entries: a table that was given up is cleared, to
 * be anything. Then it is given up here too, and the instruction runs again without us. False: it
 * is in use, or this was tried at this very element.
 */
static bool give_up_table(struct guest *g, uint64_t gpa, uint64_t bytes)
{
	static struct { uint64_t gpa, rip, count; } last;

	if (bytes < PAGE_BYTES / 2 || (last.gpa == gpa && last.rip == g->vmcb->rip &&
	                               last.count == g->reg[REG_RCX]))
		return false;
	last.gpa = gpa;
	last.rip = g->vmcb->rip;
	last.count = g->reg[REG_RCX];
	return rhz_vm_unshadow(g->vm, 0, (rhz_gpa){ gpa });
}

/* STOS and MOVS: at most to the end of the page, so that interrupts are not kept waiting. */
static bool emulate_string(struct guest *g, const struct insn *insn, uint64_t gpa, void *at,
                           uint64_t next)
{
	struct vmcb *v = g->vmcb;
	const uint64_t repetitions = insn_repetitions(insn, g->reg), bytes = insn->bytes;
	const bool down = v->rflags & RFLAGS_DF;
	uint64_t count = elements_in_page(gpa, bytes, down), most, source;
	const void *from = NULL;

	if (insn->op == INSN_MOVS) {
		from = string_source(g, insn, &source);
		most = from ? elements_in_page(source, bytes, down) : 0;
		count = count < most ? count : most;
	}
	count = count < repetitions ? count : repetitions;
	if (!count)
		return false;
	if (give_up_table(g, gpa, count * bytes))
		return true;
	if (!runs_free(g, insn))
		count = 1;
	g->stores_emulated++;
	insn_perform_string(insn, at, from, count, g->reg, v->rflags);
	tell(g, down ? gpa - (count - 1) * bytes : gpa, count * bytes,
	     bytes < 4 ? FLOOD_ODD : 1);
	event_skip_to(g, count == repetitions ? next : v->rip);
	return true;
}

/* False: not by what is decoded, or not plainly. */
static bool emulate(struct guest *g, const struct insn *insn, uint64_t gva, uint64_t gpa)
{
	struct vmcb *v = g->vmcb;
	const uint64_t next = insn_advance(g, insn->length);
	const uint64_t offset = insn_offset(insn, g->reg, next);
	const bool aligned = !(gpa & (insn->bytes - 1u));
	const bool string = insn->op >= INSN_STOS;
	uint64_t differs;
	void *at;

	/* Another operand faulted, or the code has changed since. */
	differs = insn_linear(g, string ? INSN_ES : insn->segment, offset) ^ gva;
	if (g->shadow ? differs : differs % PAGE_BYTES)
		return false;
	if (!aligned && (gpa % PAGE_BYTES + insn->bytes > PAGE_BYTES || insn->bytes == 16 ||
	                 (v->cpl == 3 && v->cr0 & CR0_AM && v->rflags & RFLAGS_AC)))
		return false;
	at = rhz_vm_at(g->vm, 0, (rhz_gpa){ gpa }, NULL);
	if (!at)
		return false;
	if (string)
		return emulate_string(g, insn, gpa, at, next);
	insn_perform(insn, at, g->reg, &v->rflags);
	v->rsp = g->reg[REG_RSP];
	g->stores_emulated++;
	tell(g, gpa, insn->bytes, aligned && insn->bytes >= 4 ? 1 : FLOOD_ODD);
	event_skip_to(g, next);
	return true;
}

/*
 * MOV of a 64-bit register to (reg) or disp8(reg), which is how kernels write entries: 'code' is
 * REX.W 89h, ModRM and displacement [APM3 1.4]. A quarter of what the general way costs.
 */
static inline bool emulate_quick(struct guest *g, uint64_t gva, uint64_t gpa, uint32_t code)
{
	const unsigned modrm = code >> 16 & 0xff, mode = modrm >> 6, rm = modrm & 7;
	const unsigned base = rm | (code & 1) << 3, reg = (modrm >> 3 & 7) | (code & 4) << 1;
	const uint64_t at = g->reg[base] + (uint64_t)(mode ? (int64_t)(int8_t)(code >> 24) : 0);

	if ((code & 0xfffa) != 0x8948 || mode > 1 || rm == REG_RSP ||
	    (mode == 0 && rm == REG_RBP))
		return false;
	if (at != gva || gpa % 8 || !guest_memory_is_plain(gpa))
		return false;
	*(volatile uint64_t *)direct(gpa) = g->reg[reg];
	g->stores_emulated++;
	tell(g, gpa, 8, 1);
	event_skip_to(g, g->vmcb->rip + 3 + mode);
	return true;
}

static __attribute__((noinline)) void emulate_any(struct guest *g, uint64_t gva, uint64_t gpa)
{
	struct insn insn;

	switch (insn_at_rip(g, &insn)) {
	case INSN_OK:
		if (emulate(g, &insn, gva, gpa))
			return;
		break;
	case INSN_UD:
		event_ud(g);
		return;
	case INSN_CUT:
	case INSN_UNKNOWN:
		break;
	}
	step_open(g, gva, gpa);
}

void exit_tracked(struct guest *g, uint64_t gva, uint64_t gpa)
{
	uint32_t code;

	/* A debugger's breakpoints are the processor's to find. */
	if ((g->vmcb->exit_interrupt & EVENT_VALID) || g->stepping ||
	    (g->vmcb->dr7 & DR7_BREAKPOINTS))
		step_open(g, gva, gpa);
	else if (!gva_code_quick(g, &code) || !emulate_quick(g, gva, gpa, code))
		emulate_any(g, gva, gpa);
}

void exit_nested_tracked(struct guest *g, uint64_t gpa)
{
	struct insn insn;

	/*
	 * The fault tells a physical address: of the linear one, where in its page. If it was the
	 * processor that went to a table of the guest's, the instruction has nothing to do with it.
	 */
	if (!(g->vmcb->exit_interrupt & EVENT_VALID) && !(g->vmcb->exit_info1 & RHZ_NPF_TABLE) &&
	    insn_at_rip(g, &insn) == INSN_OK && emulate(g, &insn, gpa, gpa))
		return;
	/* The tables that the processor walks are the guest's own: there is no stepping over it. */
	if (!rhz_vm_unshadow(g->vm, 0, (rhz_gpa){ gpa }))
		guest_died(g, "a store to nested tables in use by an instruction not decoded");
}
