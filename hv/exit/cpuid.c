/* SPDX-License-Identifier: MIT */
/* CPUID under shadow paging: what we do for the guest that the processor may not do itself. */
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

static uint32_t set_if(uint32_t word, uint32_t bit, bool set)
{
	return set ? word | bit : word & ~bit;
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
	g->reg[REG_RAX] = r.a;
	g->reg[REG_RBX] = r.b;
	g->reg[REG_RCX] = r.c;
	g->reg[REG_RDX] = r.d;
	event_skip_to(g, rip);
}
