/* SPDX-License-Identifier: MIT */
/*
 * MSRs that the guest may not have as they are. All others run without an exit; those outside the
 * permission map's ranges always exit and are passed on.
 */
#include "cpu/apic.h"
#include "cpu/features.h"
#include "cpu/x86.h"
#include "exit/event.h"
#include "exit/exit.h"
#include "exit/insn.h"
#include "mem/layout.h"
#include "svm/nsvm.h"
#include "svm/permission.h"
#include "svm/registers.h"

#define VM_CR_LOCK (1ull << 3)
#define VM_CR_SVMDIS (1ull << 4)
#define SYSCFG_SMEE (1ull << 23)
#define HWCR_SMMLOCK (1ull << 0)

/* EFER bits that the guest may set, if the processor has them [APM2 3.1.7]. */
#define EFER_FFXSR (1ull << 14)
#define EFER_TCE (1ull << 15)
#define EFER_GUEST (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_FFXSR | EFER_TCE)

/*
 * MTRRs: the machine keeps its own, which map its devices rightly; the guest's changes are kept
 * beside them so that it reads what it wrote. Its memory types are those of its tables and PAT.
 */
enum {
	MTRR_VARIABLES = MSR_MTRR_VARIABLE_END - MSR_MTRR_VARIABLE + 1,
	MTRRS = MTRR_VARIABLES + 12,
};
static uint64_t mtrr[MTRRS];

/* The place of an MTRR in mtrr[], or MTRRS. */
static unsigned mtrr_index(uint32_t msr)
{
	if (msr >= MSR_MTRR_VARIABLE && msr <= MSR_MTRR_VARIABLE_END)
		return msr - MSR_MTRR_VARIABLE;
	if (msr == MSR_MTRR_DEFAULT)
		return MTRR_VARIABLES;
	if (msr == MSR_MTRR_64K)
		return MTRR_VARIABLES + 1;
	if (msr == MSR_MTRR_16K || msr == MSR_MTRR_16K + 1)
		return MTRR_VARIABLES + 2 + msr - MSR_MTRR_16K;
	if (msr >= MSR_MTRR_4K && msr < MSR_MTRR_4K + 8)
		return MTRR_VARIABLES + 4 + msr - MSR_MTRR_4K;
	return MTRRS;
}

static bool load_efer(struct guest *g, uint64_t value)
{
	struct rhz_regs regs;

	if (g->shadow) {
		regs = *rhz_vcpu_regs(g->mmu);
		regs.cr0 = registers_cr0(g);
		regs.efer = value;
		return registers_load(g, &regs);
	}
	value &= ~EFER_SVME;
	if ((g->vmcb->cr0 & CR0_PG) && ((value ^ g->vmcb->efer) & EFER_LME))
		return false;
	g->vmcb->efer = value | (g->vmcb->efer & EFER_LMA) | EFER_SVME;
	return true;
}

static bool write_efer(struct guest *g, uint64_t value)
{
	uint64_t allowed = EFER_GUEST;

	value &= ~EFER_LMA; /* writes to it are ignored: the processor keeps it */
	if (!(cpuid(0x80000001, 0).d >> 25 & 1))
		allowed &= ~EFER_FFXSR;
	if (!(cpuid(0x80000001, 0).c >> 17 & 1))
		allowed &= ~EFER_TCE;
	if (g->nsvm)
		allowed |= EFER_SVME;
	if (value & ~allowed || !load_efer(g, value))
		return false;
	if (!g->in_l2)
		g->svme = value & EFER_SVME;
	return true;
}

/* Under L1's nested tables L2 has a PAT of its own [APM2 15.25.8]. */
static bool l2_has_pat(const struct guest *g)
{
	return g->in_l2 && g->nsvm->paging;
}

/* Types 2 and 3 are reserved, as are bits 7:3 of each byte [APM2 7.8.2]. */
static bool is_pat(uint64_t value)
{
	for (unsigned i = 0; i < 8; i++) {
		const uint8_t type = (uint8_t)(value >> 8 * i);

		if (type > 7 || type == 2 || type == 3)
			return false;
	}
	return true;
}

/* False: #GP. */
static bool read_msr(struct guest *g, uint32_t msr, uint64_t *value)
{
	const unsigned index = mtrr_index(msr);

	if (index < MTRRS) {
		*value = mtrr[index];
		return true;
	}
	switch (msr) {
	case MSR_EFER:
		*value = registers_efer(g);
		return true;
	case MSR_PAT: /* exits in L2 alone */
		if (!l2_has_pat(g))
			return rdmsr_safe(msr, value);
		*value = g->vmcb->pat;
		return true;
	case MSR_VM_CR:
		*value = g->nsvm ? VM_CR_LOCK : VM_CR_LOCK | VM_CR_SVMDIS;
		return true;
	case MSR_VM_HSAVE_PA:
		*value = g->hsave_pa;
		return true;
	case MSR_SEV_STATUS:
		*value = 0;
		return true;
	case MSR_SYSCFG:
		/* No encrypted memory for the guest. Bochs' ryzen claims it and lacks the MSRs. */
		if (!rdmsr_safe(msr, value))
			*value = 0;
		*value &= ~SYSCFG_SMEE;
		return true;
	default:
		return rdmsr_safe(msr, value);
	}
}

/* False: #GP. What is neither done nor refused is ignored, as locked registers ignore writes. */
static bool write_msr(struct guest *g, uint32_t msr, uint64_t value)
{
	const unsigned index = mtrr_index(msr);
	uint64_t old;

	if (index < MTRRS) {
		mtrr[index] = value;
		return true;
	}
	if (msr >= MSR_X2APIC && msr < MSR_X2APIC + 0x100)
		return apic_write_msr(msr, value);
	switch (msr) {
	case MSR_EFER:
		return write_efer(g, value);
	case MSR_PAT:
		if (!l2_has_pat(g))
			return wrmsr_safe(msr, value);
		if (!is_pat(value))
			return false;
		g->vmcb->pat = value;
		return true;
	case MSR_APIC_BASE:
		return apic_write_base(value);
	case MSR_HWCR:
		return rdmsr_safe(msr, &old) &&
		       wrmsr_safe(msr, (value & ~HWCR_SMMLOCK) | (old & HWCR_SMMLOCK));
	case MSR_VM_HSAVE_PA:
		if (!g->nsvm || value % PAGE_BYTES || value >> features.host.maxphyaddr)
			return false;
		g->hsave_pa = value;
		return true;
	case MSR_SVM_LOCK_KEY:
		return false; /* as without SVM enabled [APM2 15.30] */
	case MSR_VM_CR:
	case MSR_SYSCFG:
	case MSR_IORR:
	case MSR_IORR + 1:
	case MSR_IORR + 2:
	case MSR_IORR + 3:
	case MSR_TOP_MEM:
	case MSR_TOP_MEM2:
	case MSR_PATCH_LOADER:
	case MSR_SMM_BASE:
	case MSR_SMM_ADDR:
	case MSR_SMM_MASK:
	case MSR_SMM_CTL:
	case MSR_IGNNE:
		return true;
	default:
		return wrmsr_safe(msr, value);
	}
}

void exit_msr(struct guest *g)
{
	const uint32_t msr = (uint32_t)g->reg[REG_RCX];
	uint64_t value, rip;

	if (!insn_end(g, 2, &rip))
		return;
	if (g->vmcb->exit_info1) {
		value = g->reg[REG_RDX] << 32 | (uint32_t)g->reg[REG_RAX];
		if (!write_msr(g, msr, value)) {
			event_gp(g);
			return;
		}
	} else {
		if (!read_msr(g, msr, &value)) {
			event_gp(g);
			return;
		}
		g->reg[REG_RAX] = (uint32_t)value;
		g->reg[REG_RDX] = value >> 32;
	}
	event_skip_to(g, rip);
}

static void init_mtrrs(void)
{
	static const uint32_t fixed[] = { MSR_MTRR_DEFAULT, MSR_MTRR_64K, MSR_MTRR_16K,
	                                  MSR_MTRR_16K + 1 };

	for (uint32_t msr = MSR_MTRR_VARIABLE; msr <= MSR_MTRR_VARIABLE_END; msr++)
		rdmsr_safe(msr, &mtrr[mtrr_index(msr)]);
	for (unsigned i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		rdmsr_safe(fixed[i], &mtrr[mtrr_index(fixed[i])]);
	for (uint32_t msr = MSR_MTRR_4K; msr < MSR_MTRR_4K + 8; msr++)
		rdmsr_safe(msr, &mtrr[mtrr_index(msr)]);
	for (uint32_t msr = MSR_MTRR_VARIABLE; msr <= MSR_MTRR_DEFAULT; msr++) {
		if (mtrr_index(msr) < MTRRS) {
			permission_msr_read(msr);
			permission_msr_write(msr);
		}
	}
}

void exit_msr_init(void)
{
	static const uint32_t both[] = { MSR_EFER, MSR_VM_CR, MSR_VM_HSAVE_PA };
	static const uint32_t writes[] = {
		MSR_APIC_BASE, MSR_SYSCFG, MSR_HWCR, MSR_IORR, MSR_IORR + 1, MSR_IORR + 2,
		MSR_IORR + 3, MSR_TOP_MEM, MSR_TOP_MEM2, MSR_PATCH_LOADER, MSR_SMM_BASE,
		MSR_SMM_ADDR, MSR_SMM_MASK, MSR_SMM_CTL, MSR_IGNNE, MSR_SVM_LOCK_KEY,
		MSR_X2APIC + 0x2f, MSR_X2APIC + 0x30, MSR_X2APIC + 0x32, MSR_X2APIC + 0x33,
		MSR_X2APIC + 0x34, MSR_X2APIC + 0x35, MSR_X2APIC + 0x36, MSR_X2APIC + 0x37,
		MSR_X2APIC + 0x50, MSR_X2APIC + 0x51, MSR_X2APIC + 0x52, MSR_X2APIC + 0x53,
	};

	for (unsigned i = 0; i < sizeof(both) / sizeof(both[0]); i++) {
		permission_msr_read(both[i]);
		permission_msr_write(both[i]);
	}
	for (unsigned i = 0; i < sizeof(writes) / sizeof(writes[0]); i++)
		permission_msr_write(writes[i]);
	permission_msr_read(MSR_SEV_STATUS);
	permission_msr_read(MSR_SYSCFG);
	init_mtrrs();
}
