/* SPDX-License-Identifier: MIT */
/* Nested page faults: the library maps; what it cannot is APIC writes, windows and the sink. */
#include "cpu/apic.h"
#include "cpu/ioapic.h"
#include "exit/event.h"
#include "exit/exit.h"
#include "exit/insn.h"
#include "mem/guest.h"
#include "mem/layout.h"
#include "svm/guest.h"
#include "svm/screen.h"

/* A write to a local or I/O APIC's page, which the guest may read without us. */
static void write_apic(struct guest *g, uint64_t gpa)
{
	const bool local = gpa >= apic_page() && gpa < apic_page() + APIC_BYTES;
	struct insn_store store;

	/* Stacks, descriptors and page tables there: the instruction at rip is not what writes. */
	if ((g->vmcb->exit_interrupt & EVENT_VALID) || (g->vmcb->exit_info1 & RHZ_NPF_TABLE))
		guest_died(g, "an APIC's page was used as a stack, descriptor or page table");

	switch (insn_decode_store(g, &store)) {
	case INSN_NO_FETCH:
		return;
	case INSN_UNKNOWN:
		guest_died(g, "a write to an APIC by an instruction that is not decoded");
	case INSN_OK:
		break;
	}
	if (store.kind == INSN_XCHG)
		g->reg[store.reg] = *(volatile uint32_t *)direct(gpa);
	if (local)
		apic_write((uint32_t)(gpa - apic_page()), store.value);
	else
		ioapic_write(gpa, store.value);
	event_skip_to(g, store.rip);
}

void exit_npf(struct guest *g)
{
	const uint64_t gpa = g->vmcb->exit_info2, info = g->vmcb->exit_info1;
	struct rhz_fault fault;
	unsigned access = 0;

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
		if (fault.read_only)
			write_apic(g, gpa);
		else
			guest_memory_fill(g, gpa);
		return;
	case RHZ_FAULT_NO_MEMORY:
		guest_died(g, "no memory for the guest's nested page tables");
	case RHZ_FAULT_REFLECT:
	case RHZ_FAULT_TRACKED:
		break;
	}
	guest_died(g, "a nested fault that the library cannot mean");
}
