/* SPDX-License-Identifier: MIT */
/* From the exit code to its handler, and the exits that end the guest. */
#include "exit/exit.h"

#include "cpu/x86.h"
#include "exit/stats.h"
#include "svm/guest.h"
#include "svm/screen.h"

static void exit_ends(struct guest *g)
{
	switch ((uint32_t)g->vmcb->exit_code) {
	case EXIT_SHUTDOWN:
		guest_died(g, "triple fault");
	case EXIT_INIT:
		guest_died(g, "an INIT reached the processor");
	case EXIT_INVALID:
		guest_died(g, "VMRUN refused the guest's state (VMEXIT_INVALID)");
	default:
		guest_died(g, "an exit that was not asked for");
	}
}

struct reaction {
	void (*handle)(struct guest *g); /* never null once exit_init has run */
	enum exit_kind kind;
};

static struct reaction reactions[EXIT_CODES] = {
	[EXIT_CR_READ + 0] = { exit_cr_read, KIND_CR_READ },
	[EXIT_CR_READ + 3] = { exit_cr_read, KIND_CR_READ },
	[EXIT_CR_READ + 4] = { exit_cr_read, KIND_CR_READ },
	[EXIT_CR_WRITE + 0] = { exit_cr_write, KIND_CR_WRITE },
	[EXIT_CR_WRITE + 3] = { exit_cr3_write, KIND_CR3_WRITE },
	[EXIT_CR_WRITE + 4] = { exit_cr_write, KIND_CR_WRITE },
	[EXIT_CR0_SEL_WRITE] = { exit_cr_write, KIND_CR_WRITE },
	[EXIT_EXCEPTION + VECTOR_DB] = { exit_debug, KIND_STEP },
	[EXIT_EXCEPTION + VECTOR_UD] = { exit_ud, KIND_UD },
	[EXIT_EXCEPTION + VECTOR_GP] = { exit_gp, KIND_GP },
	[EXIT_EXCEPTION + VECTOR_PF] = { exit_pf, KIND_PF },
	[EXIT_NMI] = { exit_nmi, KIND_STEP },
	[EXIT_SMI] = { exit_smi, KIND_SMI },
	[EXIT_CPUID] = { exit_cpuid, KIND_CPUID },
	[EXIT_INVD] = { exit_invd, KIND_INVD },
	[EXIT_INVLPG] = { exit_invlpg, KIND_INVLPG },
	[EXIT_INVPCID] = { exit_invpcid, KIND_INVPCID },
	[EXIT_IOIO] = { exit_io, KIND_IO },
	[EXIT_MSR] = { exit_msr, KIND_MSR },
	[EXIT_TASK_SWITCH] = { exit_task_switch, KIND_TASK_SWITCH },
	[EXIT_INVLPGA] = { exit_invlpga, KIND_SVM },
	[EXIT_VMRUN] = { exit_vmrun, KIND_SVM },
	[EXIT_VMMCALL] = { exit_svm_undefined, KIND_SVM },
	[EXIT_VMLOAD] = { exit_vmload, KIND_SVM },
	[EXIT_VMSAVE] = { exit_vmsave, KIND_SVM },
	[EXIT_STGI] = { exit_stgi, KIND_SVM },
	[EXIT_CLGI] = { exit_clgi, KIND_SVM },
	[EXIT_SKINIT] = { exit_svm_undefined, KIND_SVM },
	[EXIT_INVLPGB] = { exit_svm_undefined, KIND_SVM },
	[EXIT_TLBSYNC] = { exit_svm_undefined, KIND_SVM },
};

void exit_init(void)
{
	/* Exceptions that are intercepted during a single step alone. */
	const struct reaction exception = { exit_exception, KIND_STEP };
	const struct reaction end_of_guest = { exit_ends, KIND_OTHER };

	for (unsigned code = 0; code < EXIT_CODES; code++) {
		if (!reactions[code].handle)
			reactions[code] = code - EXIT_EXCEPTION < VECTORS ? exception :
			                                                    end_of_guest;
	}
}

static inline void react(struct guest *g, enum exit_kind kind, void (*handle)(struct guest *g))
{
	g->exits_of[kind]++;
	handle(g);
}

static __attribute__((noinline)) void react_otherwise(struct guest *g)
{
	if (g->vmcb->exit_code == EXIT_NPF)
		react(g, KIND_NPF, exit_npf);
	else
		react(g, KIND_OTHER, exit_ends);
}

void exit_handle(struct guest *g)
{
	const uint64_t code = g->vmcb->exit_code;

	if (__builtin_expect(code < EXIT_CODES, 1))
		react(g, reactions[code].kind, reactions[code].handle);
	else
		react_otherwise(g);
}
