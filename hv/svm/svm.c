/* SPDX-License-Identifier: MIT */
/* Turning SVM on, and the guest's control block at its first entry. */
#include "svm/svm.h"

#include "boot/info.h"
#include "cpu/console.h"
#include "cpu/end.h"
#include "cpu/features.h"
#include "cpu/x86.h"
#include "mem/frames.h"
#include "mem/layout.h"
#include "svm/guest.h"
#include "svm/permission.h"

#define VM_CR_LOCK (1ull << 3)
#define VM_CR_SVMDIS (1ull << 4)

struct guest guest;

void svm_check(void)
{
	uint64_t vm_cr;

	if (!features.svm)
		end(END_DEAD, "this processor has no SVM");
	/* Where VM_CR cannot be read there is nothing that disables. */
	if (rdmsr_safe(MSR_VM_CR, &vm_cr) && (vm_cr & VM_CR_SVMDIS))
		end(END_DEAD, vm_cr & VM_CR_LOCK ? "SVM is disabled and locked by the firmware"
		                                 : "SVM is disabled in VM_CR");
	if (!boot_info.options.shadow && !features.nested_paging)
		end(END_DEAD, "this processor has no nested paging");
	if (features.asids < 2)
		end(END_DEAD, "this processor has no ASID for a guest");
}

static void set_segment(struct vmcb_segment *segment, uint16_t selector, uint16_t attributes)
{
	*segment = (struct vmcb_segment){ selector, attributes, 0xffffffff, 0 };
}

/*
 * What must never be the guest's (docs/hypervisor.md says why), and CPUID, which tells it what it
 * has; the rest runs without an exit.
 *
 * Shadow paging needs more: control registers are svm/registers.c's. A task switch would load CR3
 * without an exit. PCID and INVPCID may be ours alone: then the processor knows the instruction as
 * #UD, and may refuse CR3's bit 63 and CR4.PCIDE before it looks at intercepts.
 */
static void choose_intercepts(struct intercepts *own)
{
	own->word1 = INTERCEPT1_SMI | INTERCEPT1_INIT | INTERCEPT1_CPUID | INTERCEPT1_INVD |
	             INTERCEPT1_INVLPGA | INTERCEPT1_IOIO | INTERCEPT1_MSR | INTERCEPT1_SHUTDOWN;
	own->word2 = INTERCEPT2_VMRUN | INTERCEPT2_VMMCALL | INTERCEPT2_VMLOAD |
	             INTERCEPT2_VMSAVE | INTERCEPT2_STGI | INTERCEPT2_CLGI | INTERCEPT2_SKINIT;
	if (features.invlpgb)
		own->word3 = INTERCEPT3_INVLPGB | INTERCEPT3_TLBSYNC;

	own->shadow1 = INTERCEPT1_INVLPG | INTERCEPT1_TASK_SWITCH;
	own->shadow_exceptions = INTERCEPT_EXCEPTION(VECTOR_PF);
	if (features.invpcid)
		own->shadow3 = INTERCEPT3_INVPCID;
	else if (features.guest.invpcid)
		own->shadow_exceptions |= INTERCEPT_EXCEPTION(VECTOR_UD);
	if (features.guest.pcid && !features.pcid)
		own->shadow_exceptions |= INTERCEPT_EXCEPTION(VECTOR_GP);
}

static void set_intercepts(const struct guest *g, struct vmcb *vmcb)
{
	vmcb->intercept1 = g->own.word1;
	vmcb->intercept2 = g->own.word2;
	vmcb->intercept3 = g->own.word3;
	if (g->shadow) {
		vmcb->intercept1 |= g->own.shadow1;
		vmcb->intercept3 |= g->own.shadow3;
		vmcb->intercept_exceptions = g->own.shadow_exceptions;
	}
}

void svm_init(struct guest *g)
{
	struct vmcb *vmcb = frames_keep(PAGE_BYTES), *host = frames_keep(PAGE_BYTES);
	void *save = frames_keep(PAGE_BYTES);

	if (!vmcb || !host || !save)
		end(END_REFUSED, "too little memory for the control blocks");
	g->vmcb = vmcb;
	g->vmcb_pa = g->state_pa = direct_pa(vmcb);
	g->vmcb_of[L1] = vmcb;
	g->vmcb_pa_of[L1] = g->vmcb_pa;
	g->gif = true;
	g->host_vmcb_pa = direct_pa(host);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, direct_pa(save));
	/* From here on nothing but exceptions interrupts us [APM2 15.17]. */
	__asm__ volatile("clgi\n\tvmsave %0" : : "a"(g->host_vmcb_pa) : "memory");

	/* Nothing of the block is taken from the processor's cache of it [APM2 15.15]. */
	vmcb->clean = 0;
	g->shadow = boot_info.options.shadow;
	choose_intercepts(&g->own);
	set_intercepts(g, vmcb);
	permission_init(vmcb);
	vmcb->nested_control = g->shadow ? 0 : NESTED_PAGING;
	/* So that we can read the guest's protection keys. */
	if (features.guest.pku)
		write_cr4(read_cr4() | CR4_PKE);
	vmcb->pat = rdmsr(MSR_PAT);
	vmcb->efer = EFER_SVME; /* VMRUN demands it [APM2 15.5.1] */
	vmcb->cr0 = CR0_ET;
	vmcb->dr6 = 0xffff0ff0;
	vmcb->dr7 = 0x400;
	vmcb->rflags = RFLAGS_FIXED;
	vmcb->gdtr.limit = 0xffff;
	vmcb->idtr.limit = 0xffff;
	vmcb->tr = (struct vmcb_segment){ 0, 0x08b, 0xffff, 0 };
	vmcb->ldtr = (struct vmcb_segment){ 0, 0x082, 0xffff, 0 };
}

static void set_data(struct vmcb *vmcb, uint16_t selector)
{
	set_segment(&vmcb->ds, selector, 0xc93);
	set_segment(&vmcb->es, selector, 0xc93);
	set_segment(&vmcb->ss, selector, 0xc93);
	set_segment(&vmcb->fs, selector, 0xc93);
	set_segment(&vmcb->gs, selector, 0xc93);
}

void svm_set_flat32(struct guest *g, uint16_t cs, uint16_t ds)
{
	set_segment(&g->vmcb->cs, cs, 0xc9b);
	set_data(g->vmcb, ds);
	g->vmcb->cr0 = CR0_ET | CR0_PE;
}

void svm_set_flat64(struct guest *g, uint16_t cs, uint16_t ds, uint64_t cr3)
{
	set_segment(&g->vmcb->cs, cs, 0xa9b);
	set_data(g->vmcb, ds);
	g->vmcb->cr0 = CR0_ET | CR0_PE | CR0_PG;
	g->vmcb->cr4 = CR4_PAE;
	g->vmcb->cr3 = cr3;
	g->vmcb->efer = EFER_SVME | EFER_LME | EFER_LMA;
}
