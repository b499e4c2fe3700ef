/* SPDX-License-Identifier: MIT */
/*
 * From registers to a paging mode: format, reserved bits of every level, and what each kind of
 * access needs. Worked out once per register change, so that the walk only masks and compares.
 * Whether a register may be loaded is checked in regs.c.
 */
#include "guest/regs.h"

#include "format/format.h"

#define VA_MASK_32 0xffffffffull

/*
 * 32-bit paging [SDM3 4.3] [APM2 5.2.2]. Nothing is reserved unless CR4.PSE = 1; with it, a 4 MiB
 * leaf has as many frame bits in 20:13 as the physical address has above 32, 40 being the most.
 */
static void reserved_32(struct rhz_mode *mode, const struct rhz_cpuid *cpuid)
{
	unsigned width = cpuid->maxphyaddr < 40 ? cpuid->maxphyaddr : 40;

	if (!mode->pse)
		return;
	mode->reserved[2][1] = format_bits(21, cpuid->pse36 ? width - 19 : 13);
	if (!cpuid->pat) {
		mode->reserved[2][1] |= PTE_PAT_LARGE;
		mode->reserved[1][1] |= PTE_PAT_4K;
	}
}

/*
 * PAE [SDM3 4.4.1, 4.4.2] [APM2 5.2.3]: bits 62:52 are reserved, which long mode ignores. A PDPTE
 * has no rights, no A bit, no NX.
 */
static void reserved_pae(struct rhz_mode *mode, const struct rhz_cpuid *cpuid)
{
	uint64_t high = format_bits(62, cpuid->maxphyaddr) | (mode->nxe ? 0 : PTE_NX);

	mode->reserved[3][0] = mode->reserved[3][1] =
		format_bits(63, cpuid->maxphyaddr) | format_bits(8, 5) | format_bits(2, 1);
	mode->reserved[2][0] = high;
	mode->reserved[2][1] = high | format_bits(20, 13) | (cpuid->pat ? 0 : PTE_PAT_LARGE);
	mode->reserved[1][0] = high;
	mode->reserved[1][1] = high | (cpuid->pat ? 0 : PTE_PAT_4K);
}

/*
 * 4-level and 5-level [SDM3 4.5.4] [APM2 5.3]. On AMD bit 8 of PML4E and PML5E is reserved as well:
 * its figures have MBZ there where Intel's tables have "ignored". (Early editions had MBZ in the
 * PDPE too.) All processors with long mode have PAT.
 */
static void reserved_long(struct rhz_mode *mode, const struct rhz_cpuid *cpuid)
{
	uint64_t high = format_bits(51, cpuid->maxphyaddr) | (mode->nxe ? 0 : PTE_NX);
	uint64_t global = cpuid->vendor == RHZ_VENDOR_AMD ? PTE_G : 0;

	for (unsigned level = 4; level <= RHZ_MAX_LEVELS; level++)
		mode->reserved[level][0] = mode->reserved[level][1] = high | global | PTE_PS;
	mode->reserved[3][0] = high;
	mode->reserved[3][1] = high | format_bits(29, 13) | (cpuid->gbpages ? 0 : PTE_PS);
	mode->reserved[2][0] = high;
	mode->reserved[2][1] = high | format_bits(20, 13);
	mode->reserved[1][0] = mode->reserved[1][1] = high;
}

/*
 * Above level 1 everything but a table turns the walk off its straight path: with P flipped, holes,
 * reserved bits and large leaves. A PS bit that 'reserved' has is a leaf's too, and refused as one.
 */
static void refused_init(struct rhz_mode *mode)
{
	mode->refused[1] = mode->reserved[1][1] | PTE_P;
	for (unsigned level = 2; level <= mode->levels; level++) {
		mode->refused[level] = mode->reserved[level][0] | PTE_P;
		if (mode->pse && format_may_be_leaf(mode->format, level))
			mode->refused[level] |= PTE_PS;
	}
}

/* Which features the registers turn on although this CPUID lacks them. */
static bool lacks_feature(const struct rhz_cpuid *cpuid, const struct rhz_regs *regs)
{
	return ((regs->cr4 & RHZ_CR4_PSE) && !cpuid->pse) ||
	       ((regs->cr4 & RHZ_CR4_PAE) && !cpuid->pae) ||
	       ((regs->cr4 & RHZ_CR4_PGE) && !cpuid->pge) ||
	       ((regs->cr4 & RHZ_CR4_LA57) && !cpuid->la57) ||
	       ((regs->cr4 & RHZ_CR4_PCIDE) && !cpuid->pcid) ||
	       ((regs->cr4 & RHZ_CR4_SMEP) && !cpuid->smep) ||
	       ((regs->cr4 & RHZ_CR4_SMAP) && !cpuid->smap) ||
	       ((regs->cr4 & RHZ_CR4_PKE) && !cpuid->pku) ||
	       ((regs->cr4 & RHZ_CR4_PKS) && !cpuid->pks) ||
	       ((regs->efer & RHZ_EFER_NXE) && !cpuid->nx);
}

/* [SDM3 4.1.1, 4.1.2, 4.10.1] [APM2 3.1, 14.6]: what holds of the registers at any moment. */
bool rhz_regs_possible(const struct rhz_cpuid *cpuid, const struct rhz_regs *regs)
{
	bool paging = regs->cr0 & RHZ_CR0_PG, pae = regs->cr4 & RHZ_CR4_PAE;
	bool long_enabled = regs->efer & RHZ_EFER_LME, long_active = regs->efer & RHZ_EFER_LMA;

	if (paging && !(regs->cr0 & RHZ_CR0_PE))
		return false;
	if (long_active != (paging && long_enabled) || (long_active && !pae))
		return false;
	if ((regs->cr4 & RHZ_CR4_PCIDE) && !long_active)
		return false;
	return !lacks_feature(cpuid, regs);
}

static void mode_set_format(struct rhz_mode *mode, const struct rhz_cpuid *cpuid,
                            const struct rhz_regs *regs)
{
	mode->va_mask = ~0ull;
	if (!(regs->efer & RHZ_EFER_LMA)) {
		mode->va_bits = 32;
		mode->va_mask = VA_MASK_32;
		if (regs->cr4 & RHZ_CR4_PAE) {
			mode->paging = RHZ_PAGING_PAE;
			mode->format = &rhz_format_pae;
			mode->cr3_table = format_bits(31, 5);
			reserved_pae(mode, cpuid);
		} else {
			mode->paging = RHZ_PAGING_32;
			mode->format = &rhz_format_32;
			mode->cr3_table = format_bits(31, 12);
			reserved_32(mode, cpuid);
		}
	} else {
		bool la57 = regs->cr4 & RHZ_CR4_LA57;

		mode->paging = la57 ? RHZ_PAGING_5LEVEL : RHZ_PAGING_4LEVEL;
		mode->format = la57 ? &rhz_format_5level : &rhz_format_4level;
		mode->va_bits = la57 ? 57 : 48;
		mode->va_bias = 1ull << (mode->va_bits - 1); /* canonical [SDM1 3.3.7.1] */
		mode->cr3_table = format_bits(cpuid->maxphyaddr - 1u, 12);
		reserved_long(mode, cpuid);
	}
	mode->levels = mode->format->levels;
}

enum rhz_status rhz_mode_init(struct rhz_mode *mode, const struct rhz_cpuid *cpuid,
                              const struct rhz_regs *regs)
{
	bool pae = regs->cr4 & RHZ_CR4_PAE, long_mode = regs->efer & RHZ_EFER_LMA;

	*mode = (struct rhz_mode){
		.vendor = cpuid->vendor,
		.maxphyaddr = cpuid->maxphyaddr,
		.va_bits = 32,
		.va_mask = VA_MASK_32,
	};
	if (cpuid->maxphyaddr < 32 || cpuid->maxphyaddr > 52 || !rhz_regs_possible(cpuid, regs))
		return RHZ_ERR_FEATURE;
	if (!(regs->cr0 & RHZ_CR0_PG))
		return RHZ_OK;
	mode->wp = regs->cr0 & RHZ_CR0_WP;
	mode->nxe = pae && (regs->efer & RHZ_EFER_NXE);
	mode->smep = regs->cr4 & RHZ_CR4_SMEP;
	mode->smap = regs->cr4 & RHZ_CR4_SMAP;
	mode->pke = long_mode && (regs->cr4 & RHZ_CR4_PKE);
	mode->pks = long_mode && (regs->cr4 & RHZ_CR4_PKS);
	mode->pse = pae || (regs->cr4 & RHZ_CR4_PSE);
	mode->pge = regs->cr4 & RHZ_CR4_PGE;
	mode->global = mode->pge ? PTE_G : 0;
	mode->pcide = regs->cr4 & RHZ_CR4_PCIDE;
	mode_set_format(mode, cpuid, regs);
	refused_init(mode);
	rhz_rules_init(mode);
	return RHZ_OK;
}

enum rhz_status rhz_npt_mode_init(struct rhz_mode *mode, const struct rhz_cpuid *cpuid,
                                  const struct rhz_regs *regs)
{
	enum rhz_status status = rhz_mode_init(mode, cpuid, regs);

	if (status != RHZ_OK)
		return status;
	if (mode->paging == RHZ_PAGING_NONE)
		return RHZ_ERR_FEATURE;
	mode->nested = true;
	mode->smep = mode->smap = mode->pke = mode->pks = mode->pge = mode->pcide = false;
	mode->va_mask = ~0ull;
	mode->va_bias = mode->global = 0;
	rhz_rules_init(mode);
	return RHZ_OK;
}
