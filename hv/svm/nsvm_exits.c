/* SPDX-License-Identifier: MIT */
/* Which exits of L2 are L1's [APM2 15.9]. The others are handled as L1's own are. */
#include "cpu/x86.h"
#include "exit/event.h"
#include "exit/exit.h"
#include "mem/guest.h"
#include "svm/nsvm.h"
#include "svm/permission.h"
#include "svm/registers.h"
#include "svm/screen.h"

/* The intercept bit of each exit code, in the order of the codes. */
static bool asks_for(const struct vmcb *control, uint32_t code)
{
	const uint32_t *words = &control->intercept_cr;

	return code < 32 * INTERCEPT_WORDS && words[code / 32] >> code % 32 & 1;
}

/* The exits that are looked at by us first, whatever L1 asks for. */
static bool is_ours(const struct guest *g, const struct vmcb *control, uint32_t code)
{
	switch (code) {
	case EXIT_NPF:
	case EXIT_SMI:
	case EXIT_INIT:
		return true;
	case EXIT_NMI:
		return !g->gif;
	case EXIT_EXCEPTION + VECTOR_PF:
		return g->shadow; /* it may be our tables that lack something */
	case EXIT_EXCEPTION + VECTOR_UD:
	case EXIT_EXCEPTION + VECTOR_GP:
		/* an instruction of ours may be behind it; else it is raised again, and L1's */
		return g->vmcb->intercept_exceptions & ~control->intercept_exceptions ||
		       (g->own.shadow_exceptions & INTERCEPT_EXCEPTION(code - EXIT_EXCEPTION) &&
		        g->shadow);
	default:
		return false;
	}
}

/*
 * Where we intercept all writes of CR0 and L1 those alone that change more than TS and MP, the
 * instruction is decoded first.
 */
bool nsvm_takes_cr0(struct guest *g, uint64_t cr0)
{
	if (!((registers_cr0(g) ^ cr0) & ~(CR0_TS | CR0_MP)) ||
	    !(g->nsvm->control.intercept1 & INTERCEPT1_CR0_SEL_WRITE))
		return false;
	nsvm_exit(g, EXIT_CR0_SEL_WRITE, 0, 0);
	return true;
}

/* Has the exit interrupted the delivery of what L1 injected, and not that of a later event? */
static bool is_still_injected(uint64_t event, const struct vmcb *l2)
{
	const uint64_t differs = event ^ event_interrupted(l2);

	if ((event & EVENT_TYPE) == EVENT_NMI)
		return !(differs & (EVENT_VALID | EVENT_TYPE)); /* its vector is of no matter */
	return !(differs & (EVENT_VALID | EVENT_TYPE | EVENT_VECTOR));
}

bool nsvm_takes_exit(struct guest *g)
{
	const struct vmcb *l2 = g->vmcb, *control = &g->nsvm->control;
	const uint32_t code = (uint32_t)l2->exit_code;
	const uint64_t info1 = l2->exit_info1;

	g->nsvm->injecting = g->nsvm->injecting && is_still_injected(control->event, l2);
	if (code == EXIT_INVALID) {
		nsvm_exit(g, EXIT_INVALID_64, 0, 0);
		return true;
	}
	if (is_ours(g, control, code) || g->stepping)
		return false;
	if (!asks_for(control, code))
		return false;
	if (code == EXIT_IOIO && !permission_nested_port(g, info1))
		return false;
	if (code == EXIT_MSR && !permission_nested_msr(g, (uint32_t)g->reg[REG_RCX], info1 & 1))
		return false;
	nsvm_exit(g, code, info1, l2->exit_info2);
	return true;
}

bool nsvm_takes_exception(struct guest *g, unsigned vector, uint32_t error_code, uint64_t gva)
{
	if (!(g->nsvm->control.intercept_exceptions & INTERCEPT_EXCEPTION(vector)))
		return false;
	nsvm_exit(g, EXIT_EXCEPTION + vector, error_code, gva);
	return true;
}

void nsvm_fault(struct guest *g)
{
	struct rhz_l1_exit exit;
	struct rhz_fault fault;

	switch (rhz_vcpu_l2_fault(g->mmu, (rhz_ngpa){ g->vmcb->exit_info2 }, g->vmcb->exit_info1,
	                          &fault, &exit)) {
	case RHZ_FAULT_RESUME:
	case RHZ_FAULT_RETRY:
		return;
	case RHZ_FAULT_REFLECT:
		nsvm_exit(g, EXIT_NPF, exit.info, exit.ngpa.v);
		return;
	case RHZ_FAULT_MMIO:
		if (!fault.read_only) {
			guest_memory_fill(g, fault.gpa.v);
			return;
		}
		if (g->vmcb->exit_info1 & RHZ_NPF_TABLE)
			guest_died(g, "an APIC's page was used as a page table");
		exit_mmio_write(g, fault.gpa.v, fault.gpa.v);
		return;
	case RHZ_FAULT_TRACKED:
		exit_nested_tracked(g, fault.gpa.v);
		return;
	case RHZ_FAULT_NO_MEMORY:
		guest_died(g, "no memory for page tables of the guest's guest");
	}
}
