/* SPDX-License-Identifier: MIT */
/* The loop: root, tag and flush from the library, VMRUN, and the exit to its handler. */
#include "svm/svm.h"

#include "cpu/features.h"
#include "exit/event.h"
#include "exit/exit.h"
#include "svm/guest.h"
#include "svm/screen.h"

void svm_enter(uint64_t reg[REGS], uint64_t vmcb_pa, uint64_t host_vmcb_pa);

/* Asks the library what to run under. There is one vCPU, so nobody need be told that it runs. */
static void prepare(struct guest *g)
{
	struct vmcb *vmcb = g->vmcb;
	struct rhz_entry entry;

	while (rhz_vcpu_enter(g->mmu, &g->cpu, &entry) == RHZ_ENTER_PREPARE) {
		if (rhz_vcpu_prepare(g->mmu) != RHZ_LOAD_OK)
			guest_died(g, "no memory for the guest's nested page tables");
	}
	vmcb->nested_cr3 = entry.root.v;
	vmcb->asid = entry.tag;
	if (g->flush_address && entry.flush == RHZ_FLUSH_NONE)
		entry.flush = RHZ_FLUSH_TAG; /* no instruction flushes one guest-physical address */
	g->flush_address = false;
	if (entry.flush == RHZ_FLUSH_NONE)
		vmcb->tlb_control = TLB_FLUSH_NONE;
	else if (entry.flush == RHZ_FLUSH_TAG && features.flush_by_asid)
		vmcb->tlb_control = TLB_FLUSH_ASID;
	else
		vmcb->tlb_control = TLB_FLUSH_ALL;
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
