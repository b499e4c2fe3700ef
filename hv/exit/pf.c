/* SPDX-License-Identifier: MIT */
/* Page faults under shadow paging: the library mends them, or the guest or the emulation does. */
#include "cpu/x86.h"
#include "exit/event.h"
#include "exit/exit.h"
#include "exit/step.h"
#include "exit/trail.h"
#include "mem/guest.h"
#include "mem/layout.h"
#include "svm/guest.h"
#include "svm/screen.h"

#define PTE_D (1ull << 6)

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

/*
 * The way to the APIC's page, which only supervisors may write: what such a store's fault came to,
 * it comes to again as long as this stands.
 */
static struct trail apic_trail;

static struct trail_regs trail_regs(const struct guest *g)
{
	const struct rhz_regs *regs = rhz_vcpu_regs(g->mmu);

	return (struct trail_regs){ regs->cr0, regs->cr3, regs->cr4, regs->efer };
}

static bool is_known_apic_write(const struct guest *g, uint64_t gva, uint32_t error_code)
{
	return (error_code & ~RHZ_PF_P) == RHZ_PF_W && g->vmcb->cpl < 3 && !g->special &&
	       trail_stands(&apic_trail, gva & -PAGE_BYTES, trail_regs(g));
}

/* The library has just told of one. */
static __attribute__((noinline)) void note_apic_write(struct guest *g, uint64_t gva)
{
	struct rhz_walk walk;

	if (!g->special &&
	    rhz_vcpu_translate(g->mmu, (rhz_gva){ gva }, RHZ_ACCESS_WRITE, &walk) == RHZ_WALK_OK &&
	    walk.accessed && walk.entry[walk.level] & PTE_D && !(walk.rights & RHZ_RIGHT_USER))
		trail_note(g, &apic_trail, gva & -PAGE_BYTES, trail_regs(g), &walk);
}

static __attribute__((noinline)) void not_mended(struct guest *g, uint64_t gva,
                                                 enum rhz_fault_result result,
                                                 const struct rhz_fault *fault)
{
	switch (result) {
	case RHZ_FAULT_RESUME:
	case RHZ_FAULT_RETRY:
		return;
	case RHZ_FAULT_REFLECT:
		event_reflect(g, gva, fault);
		return;
	case RHZ_FAULT_TRACKED:
		exit_tracked(g, gva, fault->gpa.v);
		return;
	case RHZ_FAULT_MMIO:
		if (!fault->read_only) {
			guest_memory_fill(g, fault->gpa.v);
			return;
		}
		note_apic_write(g, gva);
		exit_mmio_write(g, gva, fault->gpa.v);
		return;
	case RHZ_FAULT_NO_MEMORY:
		break;
	}
	guest_died(g, "no memory for the guest's shadow page tables");
}

HV_INLINE void ask_library(struct guest *g, uint64_t gva, uint32_t error_code)
{
	enum rhz_fault_result result;
	struct rhz_fault fault;

	if (g->vmcb->cr4 & CR4_PKE)
		rhz_vcpu_set_keys(g->mmu, rdpkru(), 0);
	result = rhz_vcpu_page_fault(g->mmu, (rhz_gva){ gva }, error_code,
	                             access_of(g->vmcb, error_code), &fault);
	if (__builtin_expect(result != RHZ_FAULT_RESUME, 0))
		not_mended(g, gva, result, &fault);
	else if (__builtin_expect(fault.flush != RHZ_FLUSH_NONE, 0))
		invlpga(gva, g->entry.tag);
}

/* Another fault in the page of the last one on an APIC. */
static __attribute__((noinline)) void fault_in_apic_page(struct guest *g, uint64_t gva,
                                                         uint32_t error_code)
{
	if (is_known_apic_write(g, gva, error_code))
		exit_mmio_write(g, gva, apic_trail.gpa | gva % PAGE_BYTES);
	else
		ask_library(g, gva, error_code);
}

void exit_pf(struct guest *g)
{
	const uint64_t gva = g->vmcb->exit_info2;
	const uint32_t error_code = (uint32_t)g->vmcb->exit_info1;

	if (__builtin_expect(g->stepping, 0) && step_fault(g, error_code))
		return;
	/* QEMU 7.2 does not intercept task switches: the guest would run on tables of its own. */
	if (__builtin_expect(g->vmcb->cr3 != g->entry.root.v && !g->stepping, 0))
		guest_died(g, "a task switch that this processor cannot intercept");
	if (__builtin_expect((gva & -PAGE_BYTES) == apic_trail.page, 0))
		fault_in_apic_page(g, gva, error_code);
	else
		ask_library(g, gva, error_code);
}
