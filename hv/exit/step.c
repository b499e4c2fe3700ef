/* SPDX-License-Identifier: MIT */
/*
 * Single steps. The scratch tables are copies of the live tables on the way to each opened page,
 * made anew at each entry, so that they show what the library has mended meanwhile:
 *
 *   live      root -> table -> table -> table -> page (read-only)
 *               \ copy  \ copy  \ copy
 *   scratch   root -> table -> table -> table -> page (writable)
 *
 * An instruction ends by RFLAGS.TF. An event's delivery ends when the first instruction of its
 * handler is fetched: nothing is executable under its scratch root. Meanwhile no interrupt comes
 * (V_INTR_MASKING with our IF = 0), an NMI is held, and every exception comes to us, since the
 * flags that it would push are not the guest's.
 */
#include "exit/step.h"

#include "boot/exception.h"
#include "cpu/apic.h"
#include "cpu/features.h"
#include "cpu/x86.h"
#include "exit/event.h"
#include "exit/exit.h"
#include "exit/insn.h"
#include "mem/frames.h"
#include "mem/layout.h"
#include "mem/string.h"
#include "svm/gif.h"
#include "svm/screen.h"

#define P (1ull << 0)
#define W (1ull << 1)
#define U (1ull << 2)
#define PWT (1ull << 3)
#define PCD (1ull << 4)
#define A (1ull << 5)
#define D (1ull << 6)
#define PS (1ull << 7)
#define PAT_4K (1ull << 7)
#define PAT_LARGE (1ull << 12)
#define KEY (0xfull << 59)
#define NX (1ull << 63)
#define FRAME 0x000ffffffffff000ull

#define DR6_BREAKPOINTS 0xfull
#define DR6_BS (1ull << 14)

enum { OP_PUSHF = 0x9c, OP_POPF = 0x9d, OP_INT3 = 0xcc, OP_INT = 0xcd, OP_INTO = 0xce,
       OP_IRET = 0xcf };

enum kind { NONE, INSTRUCTION, DELIVERY };

struct opened { uint64_t gva, gpa, leaf; };

static struct step {
	enum kind kind;
	unsigned pages;
	struct opened page[STEP_PAGES];
	uint64_t rip;        /* of the instruction; DELIVERY of INT n wants rip behind it */
	uint64_t event;      /* DELIVERY: what is injected */
	bool software;       /* ... and it is INT n, INT3 or INTO */
	uint8_t opcode;      /* INSTRUCTION: its first byte behind the prefixes */
	uint64_t rflags, dr6; /* the guest's, before */
	uint32_t exceptions; /* intercepted otherwise */
	uint32_t word1;      /* ... of which NMI alone counts */
	uint64_t masking;    /* V_INTR_MASKING otherwise */
	bool nmi;            /* one came and is owed */
	bool ran;            /* its translations may be cached ... */
	uint32_t tag;        /* ... under this tag */
} step;

static uint64_t (*frames)[PAGE_BYTES / 8];
static unsigned frames_used;

/* ---- scratch tables ---- */

static bool is_scratch(uint64_t entry)
{
	const uint64_t first = direct_pa(frames);

	return (entry & FRAME) >= first && (entry & FRAME) < first + STEP_FRAMES * PAGE_BYTES;
}

/* A large leaf of 'level' in pieces of the level below. */
static void split(uint64_t *table, uint64_t leaf, unsigned level)
{
	const unsigned shift = 12 + 9 * (level - 2);
	uint64_t bits = leaf & ~(FRAME | PS);

	if (level > 2)
		bits |= PS | (leaf & PAT_LARGE);
	else if (leaf & PAT_LARGE)
		bits |= PAT_4K;
	leaf &= FRAME & ~PAT_LARGE;
	for (uint64_t i = 0; i < PAGE_BYTES / 8; i++)
		table[i] = (leaf + (i << shift)) | bits;
}

/* The scratch table behind a scratch table's entry. */
static uint64_t *scratch_below(uint64_t *entry, unsigned level, unsigned levels)
{
	uint64_t *below = direct(*entry & FRAME);

	if (*entry & P && is_scratch(*entry))
		return below;
	below = frames[frames_used++];
	if (!(*entry & P))
		memset(below, 0, PAGE_BYTES);
	else if (level <= 3 && levels > level && *entry & PS)
		split(below, *entry, level);
	else
		memcpy(below, direct(*entry & FRAME), PAGE_BYTES);
	/* A PDPTE of PAE has no rights [APM2 5.2.3]; leaves of ours carry all of theirs. */
	*entry = direct_pa(below) | P | (levels == 3 && level == 3 ? 0 : W | U | A);
	return below;
}

static void open_in_scratch(uint64_t *table, const struct opened *page, unsigned levels)
{
	for (unsigned level = levels; level > 1; level--) {
		const unsigned entries = levels == 3 && level == 3 ? 4 : 512;
		const uint64_t index = page->gva >> (12 + 9 * (level - 1));

		table = scratch_below(&table[index % entries], level, levels);
	}
	table[page->gva >> 12 & 511] = page->leaf;
}

/* Nothing can be fetched: no top entry is executable, under PAE no entry of a directory. */
static void forbid_fetches(uint64_t *root, unsigned levels)
{
	for (unsigned i = 0; i < (levels == 3 ? 4 : 512); i++) {
		uint64_t *below;

		if (!(root[i] & P))
			continue;
		if (levels > 3) {
			root[i] |= NX;
			continue;
		}
		below = scratch_below(&root[i], 3, levels);
		for (unsigned j = 0; j < 512; j++)
			below[j] |= below[j] & P ? NX : 0;
	}
}

static void make_scratch(struct rhz_entry *entry)
{
	uint64_t *root = frames[0];

	memcpy(root, direct(entry->root.v), PAGE_BYTES);
	frames_used = 1;
	for (unsigned i = 0; i < step.pages; i++)
		open_in_scratch(root, &step.page[i], entry->levels);
	if (step.kind == DELIVERY)
		forbid_fetches(root, entry->levels);
	entry->root.v = direct_pa(root);
}

/* ---- beginning ---- */

/*
 * The page's leaf. A supervisor's access finds a supervisor's page, which neither SMAP nor the
 * keys' write-disable bits stop: under CR0.WP = 0, which the processor does not know of, they do
 * not stop it either.
 */
static uint64_t leaf_of(struct guest *g, uint64_t gva, uint64_t gpa)
{
	uint64_t leaf = direct_pa(rhz_vm_at(g->vm, 0, (rhz_gpa){ gpa }, NULL)) | P | W | A | D;
	struct rhz_walk walk;
	uint64_t entry;

	rhz_vcpu_translate(g->mmu, (rhz_gva){ gva }, 0, &walk);
	if (!(walk.rights & RHZ_RIGHT_EXEC) && features.host.nx)
		leaf |= NX;
	if (g->vmcb->exit_info1 & RHZ_PF_U)
		leaf |= U;
	if (walk.level == 0)
		return leaf;
	entry = walk.entry[walk.level];
	/* keys have their say in a user's access, and none in a supervisor's page */
	if (leaf & U)
		leaf |= entry & KEY;
	return leaf | (entry & (PWT | PCD)) |
	       (entry & (walk.level == 1 ? PAT_4K : PAT_LARGE) ? PAT_4K : 0);
}

/* INT n runs again at an exit, and cannot under tables without code: so it is injected. */
static void begin_software(struct guest *g)
{
	unsigned length;
	const uint8_t opcode = insn_opcode(g, &length);

	if (opcode == OP_INT)
		length++;
	else if (opcode != OP_INT3 && opcode != OP_INTO)
		guest_died(g, "a software interrupt without its instruction");
	step.software = true;
	step.event = g->vmcb->exit_interrupt;
	g->vmcb->rip = insn_advance(g, length);
}

static void begin(struct guest *g)
{
	struct vmcb *v = g->vmcb;
	unsigned length;

	if (!frames)
		frames = frames_keep(STEP_FRAMES * PAGE_BYTES);
	if (!frames)
		guest_died(g, "no memory for a single step");
	step.pages = 0;
	step.rip = v->rip;
	step.rflags = v->rflags;
	step.dr6 = v->dr6;
	step.exceptions = v->intercept_exceptions;
	step.word1 = v->intercept1;
	step.masking = v->interrupt_control & V_INTR_MASKING;
	step.software = false;
	if (v->exit_interrupt & EVENT_VALID) {
		if (!features.host.nx)
			guest_died(g, "an event's delivery writes to a table, and there is no NX");
		step.kind = DELIVERY;
		step.event = v->event;
		if (!(v->event & EVENT_VALID))
			begin_software(g);
	} else {
		step.kind = INSTRUCTION;
		step.opcode = insn_opcode(g, &length);
		v->rflags |= RFLAGS_TF | RFLAGS_RF;
	}
	/* A fault in an injected INT n's delivery belongs to the instruction, not behind it. */
	if (step.kind == INSTRUCTION || step.software)
		v->intercept_exceptions = ~(1u << VECTOR_NMI);
	v->intercept1 |= INTERCEPT1_NMI;
	v->interrupt_control |= V_INTR_MASKING;
	g->stepping = true;
}

void step_open(struct guest *g, uint64_t gva, uint64_t gpa)
{
	const bool delivery = g->vmcb->exit_interrupt & EVENT_VALID;
	const struct opened page = { gva & -PAGE_BYTES, gpa & -PAGE_BYTES,
	                             leaf_of(g, gva, gpa & -PAGE_BYTES) };
	unsigned i;

	if (step.kind != NONE && (step.kind == DELIVERY) != delivery)
		step_end(g);
	if (step.kind == NONE)
		begin(g);
	for (i = 0; i < step.pages && step.page[i].gva != page.gva; i++)
		;
	if (i < step.pages && step.page[i].leaf == page.leaf)
		guest_died(g, "a store to a table that can be neither emulated nor stepped");
	if (i == STEP_PAGES)
		guest_died(g, "an instruction writes to more tables than a step can open");
	step.page[i] = page;
	if (i == step.pages)
		step.pages++;
	g->stores_stepped++;
}

/* ---- the end ---- */

/* The same whether the instruction came to its end or not. */
static void close(struct guest *g)
{
	struct vmcb *v = g->vmcb;

	v->intercept_exceptions = step.exceptions;
	v->intercept1 &= ~INTERCEPT1_NMI | (step.word1 & INTERCEPT1_NMI);
	v->interrupt_control &= ~V_INTR_MASKING | step.masking;
	for (unsigned i = 0; i < step.pages; i++)
		rhz_vm_wrote(g->vm, 0, (rhz_gpa){ step.page[i].gpa }, PAGE_BYTES);
	step.kind = NONE;
	if (step.nmi)
		apic_send_nmi();
	step.nmi = false;
}

void step_end(struct guest *g)
{
	const uint64_t ours = RFLAGS_TF | RFLAGS_RF;
	struct vmcb *v = g->vmcb;

	if (step.kind == INSTRUCTION)
		v->rflags = (v->rflags & ~ours) | (step.rflags & ours);
	if (step.kind == DELIVERY && step.software)
		v->rip = step.rip;
	if (step.kind != NONE)
		close(g);
}

/* PUSHF has stored a TF that is not the guest's. */
static void mend_pushed_flags(struct guest *g)
{
	const struct vmcb *v = g->vmcb;
	const bool wide = insn_bits(g) == 64;
	const uint64_t mask = wide ? ~0ull : v->ss.attributes & 1u << 10 ? 0xffffffff : 0xffff;
	const uint64_t at = insn_linear(g, INSN_SS, v->rsp & mask) + 1; /* TF is bit 8 */
	struct rhz_walk walk;
	uint8_t *byte = NULL;

	rhz_vcpu_translate(g->mmu, (rhz_gva){ at }, 0, &walk);
	if (walk.gpa.v)
		byte = rhz_vm_at(g->vm, 0, walk.gpa, NULL);
	if (!byte)
		return;
	*byte &= (uint8_t)~(RFLAGS_TF >> 8);
	rhz_vm_wrote(g->vm, 0, walk.gpa, 1);
}

/* Has one of the guest's data breakpoints been met by the step? */
static bool met_breakpoint(const struct vmcb *v)
{
	const uint64_t met = v->dr6 & ~step.dr6 & DR6_BREAKPOINTS;

	for (unsigned i = 0; i < 4; i++) {
		if (met >> i & 1 && v->dr7 >> (2 * i) & 3)
			return true;
	}
	return false;
}

/* The instruction is done: the traps that follow are the guest's own. */
static void complete(struct guest *g)
{
	struct vmcb *v = g->vmcb;
	const bool trap = step.rflags & RFLAGS_TF;

	if (step.opcode == OP_PUSHF && !trap)
		mend_pushed_flags(g);
	/* these two have loaded TF */
	if (step.opcode != OP_POPF && step.opcode != OP_IRET && !trap)
		v->rflags &= ~RFLAGS_TF;
	close(g);
	if (trap)
		v->dr6 |= DR6_BS;
	else if (!(step.dr6 & DR6_BS))
		v->dr6 &= ~DR6_BS;
	if (trap || met_breakpoint(v))
		v->event = EVENT_VALID | EVENT_EXCEPTION | VECTOR_DB;
}

/* ---- exits meanwhile ---- */

void exit_debug(struct guest *g)
{
	struct vmcb *v = g->vmcb;

	if (step.kind == INSTRUCTION && (v->dr6 & DR6_BS || v->rip != step.rip)) {
		complete(g);
		return;
	}
	/* A breakpoint on the instruction itself: the guest's fault. */
	exit_exception(g);
}

void exit_exception(struct guest *g)
{
	const struct vmcb *v = g->vmcb;

	if (step.kind == NONE)
		guest_died(g, "an exit that was not asked for");
	event_exception(g, (unsigned)(v->exit_code - EXIT_EXCEPTION) % VECTORS,
	                (uint32_t)v->exit_info1);
}

void exit_nmi(struct guest *g)
{
	if (step.kind != NONE)
		step.nmi |= exception_window();
	else if (!gif_holds_nmi(g))
		guest_died(g, "an exit that was not asked for");
}

bool step_fault(struct guest *g, uint32_t error_code)
{
	if (step.kind != DELIVERY || g->vmcb->exit_interrupt & EVENT_VALID)
		return false;
	close(g);
	return error_code & RHZ_PF_I;
}

/* Is the step still to be made? */
static bool goes_on(struct guest *g)
{
	struct vmcb *v = g->vmcb;

	switch (step.kind) {
	case INSTRUCTION:
		if (!(v->event & EVENT_VALID) && v->rip == step.rip)
			return true;
		/* a fault is injected; or another exit came in before the trap */
		if (v->event & EVENT_VALID)
			step_end(g);
		else
			complete(g);
		return false;
	case DELIVERY:
		if (!(v->exit_interrupt & EVENT_VALID)) {
			close(g);
			return false;
		}
		if (v->event & EVENT_VALID && v->event != step.event) {
			step_end(g); /* a fault has taken its place */
			return false;
		}
		v->event = step.event;
		v->next_rip = v->rip;
		return true;
	case NONE:
		break;
	}
	return false;
}

void step_prepare(struct guest *g, struct rhz_entry *entry)
{
	const bool on = goes_on(g);

	if (on)
		make_scratch(entry);
	/* Translations of other steps, and of the live tables, go; afterwards, those of this. */
	if (step.ran && entry->tag != step.tag)
		entry->flush = RHZ_FLUSH_ALL;
	else if (entry->flush == RHZ_FLUSH_NONE && (on || step.ran))
		entry->flush = RHZ_FLUSH_TAG;
	step.tag = entry->tag;
	step.ran = on;
	g->stepping = on;
}
