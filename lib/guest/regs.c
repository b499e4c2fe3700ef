/* SPDX-License-Identifier: MIT */
/*
 * Which values of CR0, CR3, CR4, EFER and the PDPTE registers a load accepts, and which raise
 * #GP(0). What the values mean is worked out in mode.c.
 */
#include "guest/regs.h"

#include "format/format.h"

#define CR3_LOW 0xfffull

/* [SDM3 2.5, MOV to CR0 in volume 2] [APM2 3.1.1]: NW without CD, and bits 63:32. */
static bool cr0_faults(const struct rhz_regs *next)
{
	return (next->cr0 >> 32) || ((next->cr0 & RHZ_CR0_NW) && !(next->cr0 & RHZ_CR0_CD));
}

/*
 * [SDM3 4.5.2, table 4-12; 4.10.4.1] [APM2 3.1.2, 5.5.1]: address bits from MAXPHYADDR up; bit 63
 * is the no-flush flag with PCIDE and reserved without. CR3 holds what was loaded without the flag.
 */
static bool cr3_faults(const struct rhz_cpuid *cpuid, const struct rhz_regs *next)
{
	uint64_t reserved = format_bits(63, cpuid->maxphyaddr);

	if (next->cr4 & RHZ_CR4_PCIDE)
		reserved &= ~RHZ_CR3_NOFLUSH;
	return next->cr3 & reserved;
}

/*
 * What depends on the value before: LA57 is fixed in long mode [SDM3 4.1.2], PCIDE is set only with
 * CR3[11:0] = 0 [SDM3 4.10.1], LME changes only with paging off [SDM3 2.2.1] [APM2 3.1.7].
 */
static bool change_faults(const struct rhz_regs *now, const struct rhz_regs *next)
{
	uint64_t cr4_flips = now->cr4 ^ next->cr4, efer_flips = now->efer ^ next->efer;

	if ((now->efer & RHZ_EFER_LMA) && (next->efer & RHZ_EFER_LMA) && (cr4_flips & RHZ_CR4_LA57))
		return true;
	if ((cr4_flips & next->cr4 & RHZ_CR4_PCIDE) && (now->cr3 & CR3_LOW))
		return true;
	return (efer_flips & RHZ_EFER_LME) && (now->cr0 & RHZ_CR0_PG);
}

enum rhz_load_check rhz_regs_check(const struct rhz_cpuid *cpuid, const struct rhz_regs *now,
                                   const struct rhz_regs *next)
{
	if (cr0_faults(next) || cr3_faults(cpuid, next) || !rhz_regs_possible(cpuid, next) ||
	    change_faults(now, next))
		return RHZ_LOAD_FAULTS;
	return RHZ_LOAD_FINE;
}

enum rhz_load_check rhz_pdptes_check(const struct rhz_mode *mode, const uint64_t pdpte[4])
{
	for (unsigned i = 0; i < 4; i++)
		if ((pdpte[i] & PTE_P) && (pdpte[i] & mode->reserved[3][0]))
			return RHZ_LOAD_FAULTS;
	return RHZ_LOAD_FINE;
}
