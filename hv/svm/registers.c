/* SPDX-License-Identifier: MIT */
/* What the guest believes, and what the control block carries for it. */
#include "svm/registers.h"

#include "cpu/features.h"
#include "cpu/x86.h"
#include "svm/guest.h"
#include "svm/nsvm.h"
#include "svm/screen.h"

/* What acts on pages of the guest's alone, and must not act where it has no pages. */
#define CR4_PAGED (RHZ_CR4_SMEP | RHZ_CR4_SMAP | RHZ_CR4_PKE | RHZ_CR4_PGE)

/*
 * SVM has no shadow of CR0 and CR4 to be read in their place, so reads exit while the two differ.
 * Writes of CR0 exit always then: selective interception compares with the control block's.
 */
static void intercept(struct guest *g, const struct rhz_regs *regs)
{
	uint32_t cr = INTERCEPT_CR_READ(3) | INTERCEPT_CR_WRITE(3) | INTERCEPT_CR_WRITE(4);
	struct vmcb *vmcb = g->vmcb;

	if (g->in_l2)
		cr |= g->nsvm->control.intercept_cr;
	vmcb->intercept1 &= ~INTERCEPT1_CR0_SEL_WRITE;
	if (vmcb->cr0 != regs->cr0)
		cr |= INTERCEPT_CR_READ(0) | INTERCEPT_CR_WRITE(0);
	else
		vmcb->intercept1 |= INTERCEPT1_CR0_SEL_WRITE;
	if (vmcb->cr4 != regs->cr4)
		cr |= INTERCEPT_CR_READ(4);
	vmcb->intercept_cr = cr;
}

/*
 * The processor always pages, by tables of ours that have NX and need WP; in real mode too
 * [APM2 15.19]. Guests outside long mode run on PAE tables. PCIDE stays 0: a tag is an ASID.
 */
void registers_apply(struct guest *g)
{
	const struct rhz_regs *regs = rhz_vcpu_regs(g->mmu);
	struct vmcb *vmcb = g->vmcb;

	vmcb->cr0 = regs->cr0 | CR0_PG | RHZ_CR0_WP;
	vmcb->cr4 = regs->cr4 & ~RHZ_CR4_PCIDE;
	vmcb->efer = regs->efer | EFER_SVME | EFER_NXE;
	if (!(regs->cr0 & CR0_PG))
		vmcb->cr4 &= ~CR4_PAGED;
	if (!(regs->efer & EFER_LMA)) {
		vmcb->cr4 = (vmcb->cr4 | CR4_PAE) & ~CR4_LA57;
		vmcb->efer &= ~EFER_LME;
	}
	intercept(g, regs);
}

static bool loaded(struct guest *g, enum rhz_load_result result)
{
	if (result == RHZ_LOAD_NO_MEMORY)
		guest_died(g, "no memory for the guest's shadow page tables");
	return result == RHZ_LOAD_OK;
}

bool registers_load(struct guest *g, const struct rhz_regs *wanted)
{
	struct rhz_regs regs = *wanted;

	regs.efer &= ~(EFER_LMA | EFER_SVME);
	if ((regs.cr0 & CR0_PG) && (regs.efer & EFER_LME))
		regs.efer |= EFER_LMA; /* [APM2 14.6.1] */
	if (!loaded(g, rhz_vcpu_load_regs(g->mmu, &regs)))
		return false;
	registers_apply(g);
	return true;
}

bool registers_load_cr3(struct guest *g, uint64_t cr3)
{
	return loaded(g, rhz_vcpu_load_cr3(g->mmu, cr3));
}

void registers_init(struct guest *g)
{
	const struct rhz_regs regs = {
		.cr0 = g->vmcb->cr0,
		.cr3 = g->vmcb->cr3,
		.cr4 = g->vmcb->cr4,
		.efer = g->vmcb->efer & ~EFER_SVME,
	};

	if (g->shadow && !registers_load(g, &regs))
		guest_died(g, "the guest's first registers are impossible");
}
