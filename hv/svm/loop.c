/* SPDX-License-Identifier: MIT */
/* The loop: root, tag and flush from the library, VMRUN, and the exit to its handler. */
#include "svm/svm.h"

#include "cpu/features.h"
#include "exit/event.h"
#include "exit/exit.h"
#include "exit/step.h"
#include "svm/guest.h"
#include "svm/screen.h"

void svm_enter(uint64_t reg[REGS], uint64_t vmcb_pa, uint64_t host_vmcb_pa);

/* TLB_CONTROL for what the library asks; without flush-by-ASID all tags must go. */
static uint8_t tlb_control(const struct guest *g, enum rhz_flush flush)
{
	/* No instruction flushes one guest-physical address. */
	if (flush == RHZ_FLUSH_NONE && !g->flush_address)
		return TLB_FLUSH_NONE;
	return flush != RHZ_FLUSH_ALL && features.flush_by_asid ? TLB_FLUSH_ASID : TLB_FLUSH_ALL;
}

/* Asks the library what to run under. There is one vCPU, so nobody need be told that it runs. */
static void prepare(struct guest *g)
{
	struct vmcb *vmcb = g->vmcb;
	const struct rhz_entry *entry = &g->entry;
	struct rhz_entry other;

	while (__builtin_expect(rhz_vcpu_enter(g->mmu, &g->cpu, &g->entry) != RHZ_ENTER_OK, 0)) {
		if (rhz_vcpu_prepare(g->mmu) != RHZ_LOAD_OK)
			guest_died(g, "no memory for the guest's page tables");
	}
	if (__builtin_expect(g->stepping, 0)) {
		other = g->entry;
		step_prepare(g, &other);
		entry = &other;
	}
	if (g->shadow)
		vmcb->cr3 = entry->root.v;
	else
		vmcb->nested_cr3 = entry->root.v;
	vmcb->asid = entry->tag;
	vmcb->tlb_control = tlb_control(g, entry->flush);
	g->flush_address = false;
	/* Nothing of the block is taken from the processor's cache of it [APM2 15.15]. */
	vmcb->clean = 0;
}

void svm_loop(struct guest *g)
{
	for (;;) {
		prepare(g);
		g->vmcb->rax = g->reg[REG_RAX];
		svm_enter(g->reg, g->vmcb_pa, g->host_vmcb_pa);
		g->reg[REG_RAX] = g->vmcb->rax;
		g->reg[REG_RSP] = g->vmcb->rsp;
		g->last[g->exits++ % LAST_EXITS] = (struct exit_record){
			g->vmcb->exit_code, g->vmcb->exit_info1, g->vmcb->exit_info2, g->vmcb->rip,
		};
		event_requeue(g);
		exit_handle(g);
	}
}
