/* SPDX-License-Identifier: MIT */
/* Which register loads the manuals forbid, and which ones load the PDPTEs. */
#include "mmu.h"

enum {
	CR4_PSE = 1 << 4, CR4_PAE = 1 << 5, CR4_PGE = 1 << 7, CR4_LA57 = 1 << 12,
	CR4_PCIDE = 1 << 17, CR4_SMEP = 1 << 20, CR4_SMAP = 1 << 21, CR4_PKE = 1 << 22,
	CR4_PKS = 1 << 24,
	LME = 1 << 8, LMA = 1 << 10, NXE = 1 << 11,
};
static const uint64_t PE = 1, NW = 1ull << 29, CD = 1ull << 30, PG = 1ull << 31;

/* A feature that CPUID does not show has a reserved bit [SDM3 2.5] [APM2 3.1.3, 3.1.7]. */
static bool lacks_feature(const struct model_cpuid *cpuid, const struct model_regs *regs)
{
	uint64_t cr4 = regs->cr4;

	return (cr4 & CR4_PSE && !cpuid->pse) || (cr4 & CR4_PAE && !cpuid->pae) ||
	       (cr4 & CR4_PGE && !cpuid->pge) || (cr4 & CR4_LA57 && !cpuid->la57) ||
	       (cr4 & CR4_PCIDE && !cpuid->pcid) || (cr4 & CR4_SMEP && !cpuid->smep) ||
	       (cr4 & CR4_SMAP && !cpuid->smap) || (cr4 & CR4_PKE && !cpuid->pku) ||
	       (cr4 & CR4_PKS && !cpuid->pks) || (regs->efer & NXE && !cpuid->nx);
}

bool model_load_faults(const struct model_cpuid *cpuid, const struct model_regs *now,
                       const struct model_regs *next)
{
	bool pg = next->cr0 & PG, was_long = now->efer & LMA;
	uint64_t flipped = now->cr4 ^ next->cr4;

	if (lacks_feature(cpuid, next))
		return true;
	/* [SDM3 2.5, CR0]: PG needs PE; NW needs CD */
	if ((pg && !(next->cr0 & PE)) || (next->cr0 & NW && !(next->cr0 & CD)))
		return true;
	/* [SDM3 4.1.1]: LMA follows from LME and PG, and long mode needs PAE */
	if (((next->efer & LMA) != 0) != (pg && next->efer & LME))
		return true;
	if (next->efer & LMA && !(next->cr4 & CR4_PAE))
		return true;
	/* LME changes only while paging is off */
	if ((now->efer ^ next->efer) & LME && now->cr0 & PG && pg)
		return true;
	if (was_long && flipped & CR4_LA57)
		return true;
	/* [SDM3 4.10.1]: PCIDE is set only in long mode, with PCID 0; PG stays while it is */
	if (next->cr4 & CR4_PCIDE && !(next->efer & LMA))
		return true;
	if (flipped & next->cr4 & CR4_PCIDE && (!was_long || now->cr3 & 0xfff))
		return true;
	return model_cr3_faults(cpuid, next, next->cr3);
}

bool model_cr3_faults(const struct model_cpuid *cpuid, const struct model_regs *now, uint64_t cr3)
{
	if (now->cr4 & CR4_PCIDE)
		cr3 &= ~(1ull << 63); /* asks for no flush */
	if (now->efer & LMA) /* [SDM3 4.5, table 4-12] */
		return cr3 >> cpuid->maxphyaddr != 0;
	return false;
}

/* nCR3 [APM2 15.25.3, 15.25.4]; EPTP [SDM3 26.2.1.1]. */
bool model_nested_faults(const struct model_cpuid *cpuid, const struct model_regs *next)
{
	unsigned type = next->cr3 & 7, levels = (next->cr3 >> 3 & 7) + 1;
	struct model_mode mode;

	if (!cpuid->nested_levels || next->cr3 >> cpuid->maxphyaddr)
		return true;
	if (next->kind == MODEL_EPT)
		return (type != 0 && type != 6) || levels < 4 || levels > cpuid->nested_levels ||
		       next->cr3 & 0xf80 || (next->cr3 & 1 << 6 && !cpuid->ept_ad);
	model_mode_of(&mode, cpuid, next);
	return mode.paging == MODEL_NONE || mode.levels > cpuid->nested_levels;
}

/* [SDM3 4.4.1]: bits 2:1, 8:5 and 63:MAXPHYADDR of a present one. */
bool model_pdptes_fault(const struct model_cpuid *cpuid, const uint64_t pdpte[4])
{
	for (unsigned i = 0; i < 4; i++)
		if (pdpte[i] & 1 && (pdpte[i] & 0x1e6 || pdpte[i] >> cpuid->maxphyaddr))
			return true;
	return false;
}

bool model_loads_pdptes(const struct model_cpuid *cpuid, const struct model_regs *now,
                        const struct model_regs *next)
{
	struct model_mode mode;

	model_mode_of(&mode, cpuid, next);
	if (mode.paging != MODEL_PAE)
		return false;
	return now->cr3 != next->cr3 || (now->cr0 ^ next->cr0) & (CD | NW | PG) ||
	       (now->cr4 ^ next->cr4) & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP) ||
	       (now->efer ^ next->efer) & LMA;
}
