/* SPDX-License-Identifier: MIT */
/* SVM's instructions that L1 leaves to L2 [APM2 15.5.2, 15.16.2, 15.17]. */
#include "nested-torture/l2.h"
#include "nested-torture/steps.h"
#include "nested-torture/world.h"
#include "torture/machine.h"
#include "torture/random.h"

#define MSR_LSTAR 0xc0000082u

/* A page of LOW for VMLOAD and VMSAVE, and one for L1. */
#define STATE (LOW + 0x30000)

static uint8_t own_state[4096] __attribute__((aligned(4096)));

static void vmsave(void *page)
{
	__asm__ volatile("vmsave %0" : : "a"(page) : "memory");
}

static bool is_fetched(void)
{
	struct walk walk;

	walk_forget();
	walk_linear(&l2_paging, l2.rip, F_I, &walk);
	return walk.end == WALK_OK;
}

/* Is the VMLOAD's part of the block here the same as there? [APM3 VMLOAD] */
static bool same_state(const struct vmcb *a, const struct vmcb *b)
{
	return a->fs.base == b->fs.base && a->fs.selector == b->fs.selector &&
	       a->gs.base == b->gs.base && a->tr.base == b->tr.base &&
	       a->tr.limit == b->tr.limit && a->ldtr.base == b->ldtr.base &&
	       a->star == b->star && a->lstar == b->lstar && a->cstar == b->cstar &&
	       a->sfmask == b->sfmask && a->kernel_gs_base == b->kernel_gs_base &&
	       a->sysenter_esp == b->sysenter_esp && a->sysenter_eip == b->sysenter_eip;
}

/* The addresses are L1's physical ones, whatever L1's nested tables say. */
static void move_state(bool load)
{
	const uint8_t bytes[] = { 0x0f, 0x01, load ? 0xda : 0xdb };
	const struct vmcb *state = (const struct vmcb *)word_at(STATE);
	const uint64_t lstar = random64() & 0x7fffffffffff;
	struct expected expected;

	/* QEMU 7.2 intercepts both unless L2 is in long mode under nested paging */
	if (!processor.exact_nested && !(l2_paging.nested && l2_long)) {
		report.done++;
		return;
	}
	l2_code(bytes, sizeof(bytes));
	l2.rax = l2_reg[RAX] = STATE;
	expected = l2_expect(load ? "VMLOAD of L2's" : "VMSAVE of L2's", sizeof(bytes));
	expected.no_digest = true;
	write_msr(MSR_LSTAR, lstar);
	if (load) {
		vmsave(word_at(STATE));
		write_msr(MSR_LSTAR, 0);
	}
	l2_run(&expected);
	vmsave(own_state);
	if (!same_state(state, (const struct vmcb *)own_state))
		tell(expected.what, "state", ((const struct vmcb *)own_state)->lstar, state->lstar);
	for (uint64_t pa = STATE; pa < STATE + PAGE; pa += 8)
		world_expect(pa, word_at(pa), 8);
}

/* CLGI holds a virtual interrupt back, STGI lets it come. */
static void hold_virtual(void)
{
	static const uint8_t held[] = { 0x0f, 0x01, 0xdd, 0xfb, 0x90, 0x90 };
	static const uint8_t let[] = { 0x0f, 0x01, 0xdd, 0xfb, 0x90, 0x0f, 0x01, 0xdc, 0x90 };
	const bool lets = percent(50);
	struct expected expected = { 0 };
	unsigned bytes = lets ? sizeof(let) : sizeof(held);

	l2_code(lets ? let : held, bytes);
	l2.interrupt_control = V_IRQ | V_IGNORE_TPR | 0x40ull << 32 | 0xfull << 16 |
	                       (percent(50) ? V_INTR_MASKING : 0);
	l2_intercept(EXITS_VINTR, true);
	expected = l2_expect("CLGI and STGI of L2's", bytes);
	expected.rflags_open = 1u << 9;
	if (lets) {
		expected.code = EXITS_VINTR;
		expected.rip = l2.rip + 8; /* behind STGI */
	}
	l2_run(&expected);
	if (!(l2.interrupt_control & V_IRQ))
		tell(expected.what, "V_IRQ", V_IRQ, 0);
	if (!(l2.rflags >> 9 & 1))
		tell(expected.what, "IF", 1, 0);
}

static void invalidate(void)
{
	static const uint8_t bytes[] = { 0x0f, 0x01, 0xdf };
	struct expected expected;

	l2_code(bytes, sizeof(bytes));
	l2_reg[RCX] = below(4);
	expected = l2_expect("INVLPGA of L2's", sizeof(bytes));
	l2_run(&expected);
}

void step_own(void)
{
	const unsigned kind = below(4);

	l2_build();
	l2_paging.user = false;
	l2_rebuild();
	if (!is_fetched()) {
		report.open++;
		return;
	}
	if (kind < 2)
		move_state(kind);
	else if (kind == 2)
		hold_virtual();
	else
		invalidate();
}
