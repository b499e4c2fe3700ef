/* SPDX-License-Identifier: MIT */
/* Stores to guest tables that are shadowed, and to pages of APICs: done here for the guest. */
#include "cpu/apic.h"
#include "cpu/ioapic.h"
#include "exit/event.h"
#include "exit/exit.h"
#include "exit/gva.h"
#include "insn/emulate.h"
#include "mem/guest.h"
#include "mem/layout.h"
#include "svm/guest.h"
#include "svm/screen.h"

static bool decode(struct guest *g, struct insn *insn)
{
	const uint16_t attributes = g->vmcb->cs.attributes;
	const unsigned bits = gva_is_64bit(g) ? 64 : attributes & SEGMENT_DEFAULT32 ? 32 : 16;
	uint8_t bytes[INSN_BUFFER] = { 0 };
	const unsigned count = gva_fetch(g, bytes);

	if (!count)
		return false;
	if (insn_decode(insn, bytes, count, bits) != INSN_OK)
		guest_died(g, "a store to a page table by an instruction that is not decoded");
	return true;
}

void exit_mmio_write(struct guest *g, uint64_t gva, uint64_t gpa)
{
	struct insn insn;
	uint32_t value;

	(void)gva;
	if (!decode(g, &insn))
		return;
	value = insn.reg == INSN_NO_REG ? (uint32_t)insn.immediate : (uint32_t)g->reg[insn.reg];
	if (insn.op == INSN_XCHG)
		g->reg[insn.reg] = *(volatile uint32_t *)direct(gpa);
	if (gpa >= apic_page() && gpa < apic_page() + APIC_BYTES)
		apic_write((uint32_t)(gpa - apic_page()), value);
	else
		ioapic_write(gpa, value);
	event_skip_to(g, g->vmcb->rip + insn.length);
}

/* An element at a time from memory; to the page's end from a register. True: all are done. */
static bool store_string(struct guest *g, const struct insn *insn, uint8_t *at, uint64_t *bytes)
{
	const uint64_t room = (PAGE_BYTES - (uint64_t)at % PAGE_BYTES) / insn->bytes;
	const uint64_t wanted = insn_repetitions(insn, g->reg);
	uint64_t count = wanted < room ? wanted : room, from;

	*bytes = 0;
	if (insn->op == INSN_MOVS) {
		if (gva_translate(g, g->reg[REG_RSI], 0, &from) != GVA_OK)
			return false;
		count = wanted ? 1 : 0;
		insn_perform_string(insn, at, direct(from), count, g->reg, g->vmcb->rflags);
	} else {
		insn_perform_string(insn, at, at, count, g->reg, g->vmcb->rflags);
	}
	*bytes = count * insn->bytes;
	return count == wanted;
}

void exit_tracked(struct guest *g, uint64_t gva, uint64_t gpa)
{
	uint8_t *at = guest_memory_at(g, gpa, 1);
	struct insn insn;
	uint64_t bytes;
	bool done = true;

	(void)gva;
	if ((g->vmcb->exit_interrupt & EVENT_VALID) || !at)
		guest_died(g, "a page table was used as a stack");
	if (!decode(g, &insn))
		return;
	bytes = insn.bytes;
	if (insn.op == INSN_MOVS || insn.op == INSN_STOS)
		done = store_string(g, &insn, at, &bytes);
	else
		insn_perform(&insn, at, g->reg, &g->vmcb->rflags);
	rhz_vm_wrote(g->vm, 0, (rhz_gpa){ gpa }, bytes);
	if (done)
		event_skip_to(g, g->vmcb->rip + insn.length);
}
