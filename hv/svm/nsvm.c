/* SPDX-License-Identifier: MIT */
/* VMRUN and #VMEXIT between L1 and L2. Which exits are L1's: nsvm_exits.c. */
#include "svm/nsvm.h"

#include "boot/info.h"
#include "cpu/end.h"
#include "cpu/features.h"
#include "cpu/x86.h"
#include "exit/event.h"
#include "exit/step.h"
#include "mem/frames.h"
#include "mem/guest.h"
#include "mem/layout.h"
#include "svm/assist.h"
#include "svm/gif.h"
#include "svm/permission.h"
#include "svm/registers.h"
#include "svm/screen.h"

/* What of V_INTR and its like L1 has: no virtual GIF, no AVIC. */
#define V_FIELDS (V_TPR | V_IRQ | V_PRIORITY | V_IGNORE_TPR | V_INTR_MASKING | V_VECTOR)

void nsvm_init(struct guest *g)
{
	struct nsvm *nsvm = frames_keep(sizeof(*nsvm));
	struct vmcb *l2 = frames_keep(PAGE_BYTES);

	if (!features.nested)
		return;
	if (!nsvm || !l2)
		end(END_REFUSED, "too little memory for nested SVM");
	g->nsvm = nsvm;
	g->vmcb_of[L2] = l2;
	g->vmcb_pa_of[L2] = direct_pa(l2);
	l2->clean = 0;
	permission_nested_init();
}

/* ---- entry ---- */

static enum rhz_guest_flush flush_asked(const struct vmcb *control)
{
	switch (control->tlb_control) {
	case TLB_FLUSH_NONE:
		return RHZ_GUEST_KEEP;
	case TLB_FLUSH_ASID:
	case TLB_FLUSH_ASID_LOCAL:
		return RHZ_GUEST_FLUSH_ASID;
	default:
		return RHZ_GUEST_FLUSH_ALL;
	}
}

/* Does a permission map of so many pages reach beyond the processor's addresses? */
static bool is_beyond(uint64_t map, unsigned pages)
{
	const uint64_t end = (map & -PAGE_BYTES) + pages * PAGE_BYTES;

	return end < map || end > 1ull << features.host.maxphyaddr;
}

/* [APM2 15.5.1, 15.20]: what VMRUN refuses and the processor, running our block, would not see. */
static bool control_is_legal(const struct vmcb *control)
{
	const uint64_t type = control->event & EVENT_TYPE, vector = control->event & EVENT_VECTOR;

	if (!(control->intercept2 & INTERCEPT2_VMRUN) || control->asid == 0)
		return false;
	if (control->nested_control & NESTED_PAGING && !features.nested_paging)
		return false;
	if ((control->intercept1 & INTERCEPT1_MSR && is_beyond(control->msrpm, 2)) ||
	    (control->intercept1 & INTERCEPT1_IOIO && is_beyond(control->iopm, 3)))
		return false;
	if (!(control->event & EVENT_VALID))
		return true;
	if (type == EVENT_EXCEPTION)
		return vector < VECTORS && vector != VECTOR_NMI;
	return type == EVENT_INTERRUPT || type == EVENT_NMI || type == EVENT_SOFTWARE;
}

static struct rhz_regs regs_of(const struct vmcb *block)
{
	struct rhz_regs regs = {
		.cr0 = block->cr0,
		.cr3 = block->cr3,
		.cr4 = block->cr4,
		.efer = block->efer & ~(EFER_SVME | EFER_LMA),
	};

	if ((regs.cr0 & CR0_PG) && (regs.efer & EFER_LME))
		regs.efer |= EFER_LMA;
	return regs;
}

struct rhz_regs nsvm_regs(const struct guest *g)
{
	return regs_of(g->vmcb);
}

/* The root that L2 runs under; false: VMEXIT_INVALID. */
static bool switch_to_l2(struct guest *g, const struct vmcb *control, const struct vmcb *state)
{
	const enum rhz_guest_flush flush = flush_asked(control);
	enum rhz_load_result result;

	if (control->nested_control & NESTED_PAGING) {
		const struct rhz_nested tables = {
			.table = control->nested_cr3,
			.cr0 = registers_cr0(g),
			.cr4 = registers_cr4(g),
			.efer = registers_efer(g) & ~EFER_SVME,
		};

		result = rhz_vcpu_switch_nested(g->mmu, &tables, control->asid, flush);
	} else {
		struct rhz_regs regs = regs_of(state);

		regs.cr0 |= regs.cr0 & CR0_PG ? CR0_PE : 0; /* of no matter for paging */
		result = rhz_vcpu_switch_context(g->mmu, RHZ_CONTEXT_L2, &regs, control->asid,
		                                 flush);
	}
	if (result == RHZ_LOAD_NO_MEMORY)
		guest_died(g, "no memory for page tables of the guest's guest");
	return result == RHZ_LOAD_OK;
}

/* What L2 exits for: what L1 asks and what we need. */
static void merge_intercepts(struct guest *g, struct vmcb *l2, const struct vmcb *control)
{
	const struct intercepts *own = &g->own;

	l2->intercept_cr = control->intercept_cr;
	l2->intercept_dr = control->intercept_dr;
	l2->intercept_exceptions = control->intercept_exceptions;
	l2->intercept1 = control->intercept1 | own->word1;
	l2->intercept2 = control->intercept2 | own->word2;
	l2->intercept3 = control->intercept3 | own->word3;
	if (g->shadow) {
		l2->intercept1 |= own->shadow1;
		l2->intercept3 |= own->shadow3;
		l2->intercept_exceptions |= own->shadow_exceptions;
	}
	permission_nested(g, l2, control);
}

/*
 * Words of L1's block, each read once and never again: its devices may write it meanwhile, and what
 * was looked at must be what is used.
 */
static inline __attribute__((always_inline)) void read_words(void *to, const void *from,
                                                             unsigned words)
{
	uint64_t *at = to;
	const volatile uint64_t *word = from;

#pragma GCC unroll 8
	for (unsigned i = 0; i < words; i++)
		at[i] = word[i];
}

static void read_control(struct vmcb *to, const struct vmcb *from)
{
	read_words(&to->intercept_cr, &from->intercept_cr, INTERCEPT_WORDS / 2);
	read_words(&to->iopm, &from->iopm, 2);
	read_words(&to->asid, &from->asid, 2); /* tlb_control, interrupt_control */
	read_words(&to->nested_control, &from->nested_control, 1);
	read_words(&to->event, &from->event, 2); /* and nested_cr3 */
}

/* What is L2's as it is, whatever L1 says there, but for the event. */
static void read_plain_control(struct vmcb *to, const struct vmcb *from)
{
	read_words(&to->tsc_offset, &from->tsc_offset, 1);
	read_words(&to->interrupt_state, &from->interrupt_state, 1);
	read_words(&to->next_rip, &from->next_rip, 1);
	to->interrupt_state &= INTERRUPT_SHADOW;
}

static void read_state(struct vmcb *to, const struct vmcb *from)
{
	read_words(&to->es, &from->es, 8); /* es, cs, ss, ds */
	read_words(&to->gdtr, &from->gdtr, 2);
	read_words(&to->idtr, &from->idtr, 2);
	to->cpl = *(const volatile uint8_t *)&from->cpl;
	read_words(&to->efer, &from->efer, 1);
	read_words(&to->cr4, &from->cr4, 7); /* cr3, cr0, dr7, dr6, rflags, rip */
	read_words(&to->rsp, &from->rsp, 1);
	read_words(&to->rax, &from->rax, 1);
	read_words(&to->cr2, &from->cr2, 1);
}
_Static_assert(offsetof(struct vmcb, msrpm) == offsetof(struct vmcb, iopm) + 8 &&
               offsetof(struct vmcb, interrupt_control) == offsetof(struct vmcb, asid) + 8 &&
               offsetof(struct vmcb, rip) == offsetof(struct vmcb, cr4) + 6 * 8,
               "runs of words as they are read");

static void use(struct guest *g, unsigned level)
{
	g->in_l2 = level == L2;
	g->vmcb = g->vmcb_of[level];
	g->vmcb_pa = g->vmcb_pa_of[level];
}

/* The block at gpa, and the last one again without a look at slots, which never change for RAM. */
static struct vmcb *block_at(struct guest *g, uint64_t gpa)
{
	struct nsvm *nsvm = g->nsvm;

	if (nsvm->block && nsvm->block_gpa == gpa)
		return nsvm->block;
	if (gpa % PAGE_BYTES)
		return NULL;
	nsvm->block = guest_memory_at(g, gpa, PAGE_BYTES);
	nsvm->block_gpa = gpa;
	return nsvm->block;
}

/*
 * INT n, INT3 and INTO push nRIP [APM2 15.20]; a processor without NRIPS pushes rip, which is nRIP
 * until the delivery is over. A fault in it that does not come to us has it in its frame.
 */
static bool is_software(uint64_t event)
{
	const uint64_t type = event & EVENT_TYPE, vector = event & EVENT_VECTOR;

	return type == EVENT_SOFTWARE ||
	       (type == EVENT_EXCEPTION && (vector == VECTOR_BP || vector == VECTOR_OF));
}

static void inject_behind(struct nsvm *nsvm, struct vmcb *l2)
{
	nsvm->rip = l2->rip;
	if (!features.next_rip && is_software(nsvm->control.event))
		l2->rip = l2->next_rip;
}

void nsvm_interrupted(struct guest *g)
{
	struct nsvm *nsvm = g->nsvm;

	if (nsvm->injecting && !features.next_rip && is_software(nsvm->control.event))
		g->vmcb->rip = nsvm->rip;
}

void nsvm_enter(struct guest *g, uint64_t gpa, uint64_t next)
{
	struct nsvm *nsvm = g->nsvm;
	struct vmcb *l2 = g->vmcb_of[L2], *control = &nsvm->control;
	const struct vmcb *block = block_at(g, gpa);

	if (!block) {
		event_gp(g); /* [APM3 VMRUN] */
		return;
	}
	event_skip_to(g, next);
	nsvm->rax = g->reg[REG_RAX];
	if (g->shadow && !(g->vmcb->efer & EFER_LMA))
		nsvm->l1 = *rhz_vcpu_regs(g->mmu);
	read_control(control, block);
	read_state(l2, block);
	l2->exit_interrupt = 0;
	if (!control_is_legal(control) || !(l2->efer & EFER_SVME) || l2->cr4 & ~features.cr4 ||
	    !switch_to_l2(g, control, l2)) {
		use(g, L2);
		nsvm->regs_are_ours = false;
		nsvm_exit(g, EXIT_INVALID_64, 0, 0);
		return;
	}
	use(g, L2);
	nsvm->paging = control->nested_control & NESTED_PAGING;
	g->shadow = boot_info.options.shadow && !nsvm->paging;
	nsvm->regs_are_ours = g->shadow;
	merge_intercepts(g, l2, control);
	if (g->shadow) {
		const uint64_t cr0 = l2->cr0;

		registers_apply(g);
		l2->cr0 &= ~CR0_PE | cr0; /* paged real mode [APM2 15.19] */
	}
	l2->nested_control = g->shadow ? 0 : NESTED_PAGING;
	l2->pat = nsvm->paging ? block->pat : g->vmcb_of[L1]->pat;
	read_plain_control(l2, block);
	l2->interrupt_control = control->interrupt_control & V_FIELDS;
	l2->event = control->event;
	nsvm->injecting = control->event & EVENT_VALID;
	if (nsvm->injecting)
		inject_behind(nsvm, l2);
	g->reg[REG_RAX] = l2->rax;
	g->reg[REG_RSP] = l2->rsp;
	gif_enter(g);
}

/* ---- exit ---- */

static void save_state(struct guest *g, struct vmcb *block)
{
	const struct vmcb *l2 = g->vmcb_of[L2];

	__builtin_memcpy(&block->es, &l2->es, 4 * sizeof(l2->es));
	block->gdtr = l2->gdtr;
	block->idtr = l2->idtr;
	block->cpl = l2->cpl;
	block->dr7 = l2->dr7;
	block->dr6 = l2->dr6;
	block->rflags = l2->rflags;
	block->rip = l2->rip;
	block->rsp = l2->rsp;
	block->rax = g->reg[REG_RAX];
	block->cr2 = l2->cr2;
	if (g->nsvm->regs_are_ours) {
		const struct rhz_regs *regs = rhz_vcpu_regs(g->mmu);

		block->cr0 = registers_read_cr0(regs, l2);
		block->cr3 = regs->cr3;
		block->cr4 = regs->cr4;
		block->efer = regs->efer | EFER_SVME;
	} else {
		block->cr0 = l2->cr0;
		block->cr3 = l2->cr3;
		block->cr4 = l2->cr4;
		block->efer = l2->efer;
	}
	if (g->nsvm->paging)
		block->pat = l2->pat;
}

static void save_control(const struct guest *g, struct vmcb *block)
{
	const uint64_t changes = V_TPR | V_IRQ;
	const struct vmcb *l2 = g->vmcb_of[L2], *control = &g->nsvm->control;

	block->interrupt_control = (control->interrupt_control & ~changes) |
	                           (l2->interrupt_control & changes);
	block->interrupt_state = l2->interrupt_state;
	block->exit_interrupt = l2->exit_interrupt & EVENT_VALID ? event_interrupted(l2) : 0;
	block->event = control->event & ~EVENT_VALID;
}

/*
 * [APM2 15.6]: what L1 finds; its own registers are where VMRUN left them. ran: L2 was entered, and
 * has left its debug status and fault address.
 */
static void switch_to_l1(struct guest *g, bool ran)
{
	struct vmcb *l1 = g->vmcb_of[L1];
	const struct vmcb *l2 = g->vmcb_of[L2];
	const enum rhz_guest_flush flush = g->nsvm->l1_flush;
	const struct rhz_regs *regs = NULL;

	g->nsvm->l1_flush = RHZ_GUEST_KEEP;
	use(g, L1);
	g->shadow = boot_info.options.shadow;
	/* PDPTEs are read again [APM2 15.6]. */
	if (g->shadow && !(l1->efer & EFER_LMA) && (g->nsvm->l1.cr4 & CR4_PAE))
		regs = &g->nsvm->l1;
	switch (rhz_vcpu_switch_context(g->mmu, RHZ_CONTEXT_L1, regs, 0, flush)) {
	case RHZ_LOAD_OK:
		break;
	case RHZ_LOAD_GP:
		guest_died(g, "its PDPTEs were gone after its guest had run");
	case RHZ_LOAD_NO_MEMORY:
		guest_died(g, "no memory for the guest's page tables");
	}
	if (ran) {
		l1->dr6 = l2->dr6;
		l1->cr2 = l2->cr2;
	}
	l1->dr7 = 0x400;
	l1->event = 0;
	l1->exit_interrupt = 0;
	g->reg[REG_RAX] = g->nsvm->rax;
	g->reg[REG_RSP] = l1->rsp;
	gif_clear(g);
}

void nsvm_exit(struct guest *g, uint64_t code, uint64_t info1, uint64_t info2)
{
	struct nsvm *nsvm = g->nsvm;
	struct vmcb *block = nsvm->block;

	if (g->stepping)
		step_end(g);
	if (!g->gif && code != EXIT_INVALID_64)
		gif_restore_l2(g);
	block->exit_code = code;
	block->exit_info1 = info1;
	block->exit_info2 = info2;
	if (code != EXIT_INVALID_64) {
		if (__builtin_expect(nsvm->injecting, 0))
			nsvm_interrupted(g);
		assist(g, block);
		save_state(g, block);
	}
	save_control(g, block);
	rhz_vm_wrote(g->vm, 0, (rhz_gpa){ nsvm->block_gpa }, PAGE_BYTES);
	switch_to_l1(g, code != EXIT_INVALID_64);
}
