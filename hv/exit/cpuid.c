/* SPDX-License-Identifier: MIT */
/* CPUID: what we do for the guest that the processor does not, and what it does and we do not. */
#include "cpu/features.h"
#include "cpu/x86.h"
#include "exit/event.h"
#include "exit/exit.h"
#include "exit/insn.h"
#include "svm/guest.h"
#include "svm/registers.h"

/* [APM3 appendix E] */
#define LEAF1_C_PCID (1u << 17)
#define LEAF1_C_OSXSAVE (1u << 27)
#define LEAF7_B_INVPCID (1u << 10)
#define LEAF7_C_OSPKE (1u << 4)
#define LEAF7_C_CET_SS (1u << 7)
#define LEAF7_C_PKS (1u << 31)
#define LEAF7_D_CET_IBT (1u << 20)

#define EXTENDED_C_SVM (1u << 2)
#define EXTENDED_C_SKINIT (1u << 12)
#define SVM_D_NESTED_PAGING (1u << 0)
#define SVM_D_NEXT_RIP (1u << 3)
#define SVM_D_FLUSH_BY_ASID (1u << 6)
#define SVM_D_DECODE_ASSISTS (1u << 7)

static uint32_t set_if(uint32_t word, uint32_t bit, bool set)
{
	return set ? word | bit : word & ~bit;
}

enum { NESTED_ASIDS = 0x8000 }; /* any number would do: the tags behind them are ours */

/*
 * SVM as L1 has it. Flush by ASID is ours to give: without it a KVM takes a new ASID for each
 * flush, and each is a miss. NRIPS and decode assists are our decoder's work where the processor
 * lacks them (svm/assist.c). What runs by itself in the processor, as virtual GIF, L1 does not get.
 */
static struct cpuid_regs svm_leaf(const struct guest *g)
{
	uint32_t given = SVM_D_FLUSH_BY_ASID | SVM_D_NEXT_RIP | SVM_D_DECODE_ASSISTS;

	if (!g->nsvm)
		return (struct cpuid_regs){ 0 };
	given = set_if(given, SVM_D_NESTED_PAGING, features.nested_paging);
	return (struct cpuid_regs){ .a = 1, .b = NESTED_ASIDS, .d = given };
}

void exit_cpuid(struct guest *g)
{
	const uint32_t leaf = (uint32_t)g->reg[REG_RAX], subleaf = (uint32_t)g->reg[REG_RCX];
	struct cpuid_regs r;
	uint64_t rip;

	if (!insn_end(g, 2, &rip))
		return;
	r = cpuid(leaf, subleaf);
	if (leaf == 1) {
		r.c = set_if(r.c, LEAF1_C_PCID, features.guest.pcid);
		r.c = set_if(r.c, LEAF1_C_OSXSAVE, registers_cr4(g) & CR4_OSXSAVE);
	} else if (leaf == 7 && subleaf == 0) {
		r.b = set_if(r.b, LEAF7_B_INVPCID, features.guest.invpcid);
		r.c = set_if(r.c, LEAF7_C_OSPKE, registers_cr4(g) & CR4_PKE) &
		      ~(LEAF7_C_CET_SS | LEAF7_C_PKS);
		r.d &= ~LEAF7_D_CET_IBT;
	}
	if (leaf == 0x80000001)
		r.c = set_if(r.c, EXTENDED_C_SVM, g->nsvm) & ~EXTENDED_C_SKINIT;
	else if (leaf == 0x8000000a)
		r = svm_leaf(g);
	g->reg[REG_RAX] = r.a;
	g->reg[REG_RBX] = r.b;
	g->reg[REG_RCX] = r.c;
	g->reg[REG_RDX] = r.d;
	event_skip_to(g, rip);
}
