/* SPDX-License-Identifier: MIT */
/* Writes to the local and I/O APIC's pages, which the guest may read without us. */
#include "cpu/apic.h"
#include "cpu/ioapic.h"
#include "exit/event.h"
#include "exit/exit.h"
#include "exit/insn.h"
#include "insn/emulate.h"
#include "mem/layout.h"
#include "svm/guest.h"
#include "svm/screen.h"

static void write_register(uint64_t gpa, uint32_t value)
{
	if (gpa >= apic_page() && gpa < apic_page() + APIC_BYTES)
		apic_write((uint32_t)(gpa - apic_page()), value);
	else
		ioapic_write(gpa, value);
}

void exit_mmio_write(struct guest *g, uint64_t gva, uint64_t gpa)
{
	struct insn insn;
	uint32_t value;
	uint64_t next;

	/* A stack or a descriptor there: the instruction at rip is not what writes. */
	if (g->vmcb->exit_interrupt & EVENT_VALID)
		guest_died(g, "an APIC's page was used as a stack or descriptor");

	switch (insn_at_rip(g, &insn)) {
	case INSN_CUT:
		return; /* not mapped (any more): run on, it will fault */
	case INSN_UD:
		event_ud(g);
		return;
	case INSN_UNKNOWN:
		guest_died(g, "a write to an APIC by an instruction that is not decoded");
	case INSN_OK:
		break;
	}
	next = insn_advance(g, insn.length);
	if (insn.bytes != 4 || insn.op >= INSN_STOS ||
	    (insn_linear(g, insn.segment, insn_offset(&insn, g->reg, next)) ^ gva) % PAGE_BYTES)
		guest_died(g, "a write to an APIC other than of one register");
	value = insn.op == INSN_MOV ? 0 : *(volatile uint32_t *)direct(gpa);
	insn_perform(&insn, &value, g->reg, &g->vmcb->rflags);
	write_register(gpa, value);
	event_skip_to(g, next);
}
