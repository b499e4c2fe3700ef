/* SPDX-License-Identifier: MIT */
/* Page faults under shadow paging: the library mends them, or the guest or the emulation does. */
#include "cpu/x86.h"
#include "exit/event.h"
#include "exit/exit.h"
#include "exit/step.h"
#include "mem/guest.h"
#include "svm/guest.h"
#include "svm/screen.h"

/*
 * What the error code does not tell of the access. A supervisor's access at CPL 3, or in an event's
 * delivery, is one to a system structure [APM2 8.4.2, SMAP in 5.6.6].
 */
static unsigned access_of(const struct vmcb *vmcb, uint32_t error_code)
{
	unsigned access = vmcb->rflags & RFLAGS_AC ? RHZ_ACCESS_AC : 0u;

	if (!(error_code & RHZ_PF_U) && (vmcb->cpl == 3 || (vmcb->exit_interrupt & EVENT_VALID)))
		access |= RHZ_ACCESS_IMPLICIT;
	return access;
}

void exit_pf(struct guest *g)
{
	const uint64_t gva = g->vmcb->exit_info2;
	const uint32_t error_code = (uint32_t)g->vmcb->exit_info1;
	struct rhz_fault fault;

	if (__builtin_expect(g->stepping, 0) && step_fault(g, error_code))
		return;
	/* QEMU 7.2 does not intercept task switches: the guest would run on tables of its own. */
	if (__builtin_expect(g->vmcb->cr3 != g->entry.root.v && !g->stepping, 0))
		guest_died(g, "a task switch that this processor cannot intercept");
	if (g->vmcb->cr4 & CR4_PKE)
		rhz_vcpu_set_keys(g->mmu, rdpkru(), 0);
	switch (rhz_vcpu_page_fault(g->mmu, (rhz_gva){ gva }, error_code,
	                            access_of(g->vmcb, error_code), &fault)) {
	case RHZ_FAULT_RESUME:
		if (fault.flush != RHZ_FLUSH_NONE)
			invlpga(gva, g->entry.tag);
		return;
	case RHZ_FAULT_RETRY:
		return;
	case RHZ_FAULT_REFLECT:
		event_reflect(g, gva, &fault);
		return;
	case RHZ_FAULT_TRACKED:
		exit_tracked(g, gva, fault.gpa.v);
		return;
	case RHZ_FAULT_MMIO:
		if (fault.read_only)
			exit_mmio_write(g, gva, fault.gpa.v);
		else
			guest_memory_fill(g, fault.gpa.v);
		return;
	case RHZ_FAULT_NO_MEMORY:
		break;
	}
	guest_died(g, "no memory for the guest's shadow page tables");
}
