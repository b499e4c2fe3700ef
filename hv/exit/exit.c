/* SPDX-License-Identifier: MIT */
/* From the exit code to its handler, and the exits that end the guest. */
#include "exit/exit.h"

#include "exit/stats.h"
#include "svm/guest.h"
#include "svm/screen.h"

static __attribute__((noreturn)) void exit_ends(struct guest *g)
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

void exit_handle(struct guest *g)
{
	switch (stats_count(g, g->vmcb->exit_code)) {
	case KIND_NPF:
		exit_npf(g);
		break;
	case KIND_MSR:
		exit_msr(g);
		break;
	case KIND_IO:
		exit_io(g);
		break;
	case KIND_SMI:
		exit_smi(g);
		break;
	case KIND_INVD:
		exit_invd(g);
		break;
	case KIND_SVM:
		exit_svm_instruction(g);
		break;
	case KIND_OTHER:
	case KINDS:
		exit_ends(g);
	}
}
