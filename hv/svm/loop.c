/* SPDX-License-Identifier: MIT */
/* A turn of the loop: the exit to its handler, then root, tag and flush from the library. */
#include "svm/svm.h"

#include "cpu/features.h"
#include "exit/event.h"
#include "exit/exit.h"
#include "exit/profile.h"
#include "exit/stats.h"
#include "exit/step.h"
#include "exit/trace.h"
#include "svm/gif.h"
#include "svm/nsvm.h"
#include "svm/screen.h"

/* run.S: enters the guest, calls svm_turn at its exit, and so for ever. */
__attribute__((noreturn)) void svm_run(void);
void svm_turn(void);

/* TLB_CONTROL for what the library asks; without flush-by-ASID all tags must go. */
static uint8_t tlb_control(enum rhz_flush flush)
{
	if (flush == RHZ_FLUSH_NONE)
		return TLB_FLUSH_NONE;
	return flush != RHZ_FLUSH_ALL && features.flush_by_asid ? TLB_FLUSH_ASID : TLB_FLUSH_ALL;
}

/* Under nested paging no instruction flushes one guest-physical address: the tag goes. */
static void flush_address(struct guest *g)
{
	g->flush_address = false;
	if (g->entry.flush == RHZ_FLUSH_NONE)
		g->entry.flush = RHZ_FLUSH_TAG;
}

static __attribute__((noinline)) void prepare_root(struct guest *g)
{
	do {
		if (rhz_vcpu_prepare(g->mmu) != RHZ_LOAD_OK)
			guest_died(g, "no memory for the guest's page tables");
	} while (rhz_vcpu_enter(g->mmu, &g->cpu, &g->entry) != RHZ_ENTER_OK);
}

static __attribute__((noinline)) void prepare_step(struct guest *g)
{
	struct rhz_entry entry = g->entry;

	step_prepare(g, &entry);
	g->vmcb->cr3 = entry.root.v;
	g->vmcb->asid = entry.tag;
	g->vmcb->tlb_control = tlb_control(entry.flush);
	if (g->in_l2 && g->gif)
		gif_enter(g); /* a step masks interrupts by our IF = 0, L2 wants L1's */
}

static __attribute__((noinline)) void prepare_specially(struct guest *g)
{
	if (g->stepping)
		prepare_step(g);
	if (g->watched) {
		trace_entry();
		profile_entry();
	}
}

/* Asks the library what to run under. There is one vCPU, so nobody need be told that it runs. */
static inline void prepare(struct guest *g)
{
	struct vmcb *vmcb = g->vmcb;

	if (__builtin_expect(rhz_vcpu_enter(g->mmu, &g->cpu, &g->entry) != RHZ_ENTER_OK, 0))
		prepare_root(g);
	if (g->shadow) {
		vmcb->cr3 = g->entry.root.v;
	} else {
		vmcb->nested_cr3 = g->entry.root.v;
		if (g->flush_address)
			flush_address(g);
	}
	vmcb->asid = g->entry.tag;
	vmcb->tlb_control = TLB_FLUSH_NONE;
	if (__builtin_expect(g->entry.flush != RHZ_FLUSH_NONE, 0))
		vmcb->tlb_control = tlb_control(g->entry.flush);
	vmcb->rax = g->reg[REG_RAX];
	if (__builtin_expect(g->entry_is_special, 0))
		prepare_specially(g);
}

static __attribute__((noinline)) void turn_specially(struct guest *g)
{
	if (g->watched) {
		trace_exit();
		profile_exit();
	}
	if (g->in_l2 && nsvm_takes_exit(g)) {
		g->exits_of[KIND_L1]++;
	} else {
		if (g->vmcb->exit_interrupt & EVENT_VALID)
			event_requeue(g);
		exit_handle(g);
	}
	if (g->watched)
		stats_tick(g);
}

void svm_turn(void)
{
	struct guest *g = &guest;
	struct vmcb *vmcb = g->vmcb;
	struct exit_record *record;

	g->reg[REG_RAX] = vmcb->rax;
	g->reg[REG_RSP] = vmcb->rsp;
	record = (struct exit_record *)((char *)g->last + g->last_at);
	*record = (struct exit_record){
		vmcb->exit_code, vmcb->exit_info1, vmcb->exit_info2, vmcb->rip,
	};
	g->last_at += sizeof(*record);
	vmcb->event = 0;
	if (__builtin_expect(g->special, 0)) {
		turn_specially(g);
	} else {
		if (__builtin_expect(vmcb->exit_interrupt & EVENT_VALID, 0))
			event_requeue(g);
		exit_handle(g);
	}
	prepare(g);
}

void svm_loop(struct guest *g)
{
	prepare(g);
	svm_run();
}
