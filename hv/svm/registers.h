/* SPDX-License-Identifier: MIT */
/*
 * The guest's control registers, as it believes them to be. Under nested paging they are the
 * control block's; under shadow paging the library has them, and the control block carries what the
 * processor must run our tables with.
 */
#ifndef HV_SVM_REGISTERS_H
#define HV_SVM_REGISTERS_H

#include <rhizome/rhizome.h>

#include "cpu/x86.h"
#include "svm/guest.h"

/*
 * Bits of CR0 that the control block has as they are: the guest changes TS and MP without an exit
 * [APM2 15.9, CR0_SEL_WRITE], and L2 may page in real mode, which the library does not know of.
 */
#define CR0_TRUE (CR0_TS | CR0_MP | CR0_PE)

/* CR0 as the guest reads it under shadow paging, 'regs' being the library's. */
HV_INLINE uint64_t registers_read_cr0(const struct rhz_regs *regs, const struct vmcb *vmcb)
{
	return (regs->cr0 & ~CR0_TRUE) | (vmcb->cr0 & CR0_TRUE);
}

/* Hands the control block's registers to the library: once, before the first entry. */
void registers_init(struct guest *g);

/* CR0, CR4 and EFER as the guest reads them. */
HV_INLINE uint64_t registers_cr0(const struct guest *g)
{
	if (!g->shadow)
		return g->vmcb->cr0;
	return registers_read_cr0(rhz_vcpu_regs(g->mmu), g->vmcb);
}

HV_INLINE uint64_t registers_cr4(const struct guest *g)
{
	return g->shadow ? rhz_vcpu_regs(g->mmu)->cr4 : g->vmcb->cr4;
}

HV_INLINE uint64_t registers_efer(const struct guest *g)
{
	const uint64_t efer = g->shadow ? rhz_vcpu_regs(g->mmu)->efer : g->vmcb->efer & ~EFER_SVME;

	return efer | (g->svme ? EFER_SVME : 0);
}

/*
 * Loads CR0, CR3, CR4 and EFER as the guest wants them under shadow paging; LMA follows from the
 * others. False: #GP, nothing changed.
 */
bool registers_load(struct guest *g, const struct rhz_regs *wanted);

/* What the library has goes to the control block in use, which L2's VMRUN has changed. */
void registers_apply(struct guest *g);

/* MOV to CR3 under shadow paging; false: #GP. */
bool registers_load_cr3(struct guest *g, uint64_t cr3);

#endif
