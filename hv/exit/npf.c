/* SPDX-License-Identifier: MIT */
/* Nested page faults: the library maps; what it cannot is APIC writes, windows and the sink. */
#include "cpu/apic.h"
#include "exit/exit.h"
#include "mem/guest.h"
#include "svm/nsvm.h"
#include "svm/screen.h"

/* Its slot is read-only for ever: there is nothing to ask the library. */
static bool is_apic_write(uint64_t gpa, uint64_t info)
{
	return gpa - apic_page() < APIC_BYTES && (info & (RHZ_PF_W | RHZ_NPF_TABLE)) == RHZ_PF_W;
}

void exit_npf(struct guest *g)
{
	const uint64_t gpa = g->vmcb->exit_info2, info = g->vmcb->exit_info1;
	struct rhz_fault fault;
	unsigned access = 0;

	if (g->in_l2 && g->nsvm->paging) {
		nsvm_fault(g);
		return;
	}
	if (is_apic_write(gpa, info)) {
		exit_mmio_write(g, gpa, gpa);
		return;
	}
	if (info & RHZ_PF_W)
		access |= RHZ_ACCESS_WRITE;
	if (info & RHZ_PF_I)
		access |= RHZ_ACCESS_FETCH;
	switch (rhz_vcpu_nested_fault(g->mmu, (rhz_gpa){ gpa }, access, &fault)) {
	case RHZ_FAULT_RESUME:
		g->flush_address = fault.flush != RHZ_FLUSH_NONE;
		return;
	case RHZ_FAULT_RETRY:
		return;
	case RHZ_FAULT_MMIO:
		if (fault.read_only && (info & RHZ_NPF_TABLE))
			guest_died(g, "an APIC's page was used as a page table");
		if (fault.read_only)
			exit_mmio_write(g, gpa, gpa);
		else
			guest_memory_fill(g, gpa);
		return;
	case RHZ_FAULT_NO_MEMORY:
		guest_died(g, "no memory for the guest's nested page tables");
	case RHZ_FAULT_TRACKED: /* L1 writes to its own nested tables */
		exit_nested_tracked(g, fault.gpa.v);
		return;
	case RHZ_FAULT_REFLECT:
		break;
	}
	guest_died(g, "a nested fault that the library cannot mean");
}
