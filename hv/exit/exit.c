/* SPDX-License-Identifier: MIT */
/* From the exit code to its handler, and the exits that end the guest. */
#include "exit/exit.h"

#include "exit/stats.h"
#include "svm/guest.h"
#include "svm/screen.h"

void exit_handle(struct guest *g)
{
	stats_count(g, g->vmcb->exit_code);
	switch ((uint32_t)g->vmcb->exit_code) {
	case EXIT_NPF:
		exit_npf(g);
		break;
	case EXIT_MSR:
		exit_msr(g);
		break;
	case EXIT_IOIO:
		exit_io(g);
		break;
	case EXIT_SMI:
		exit_smi(g);
		break;
	case EXIT_INVD:
		exit_invd(g);
		break;
	case EXIT_INVLPGA:
	case EXIT_VMRUN:
	case EXIT_VMMCALL:
	case EXIT_VMLOAD:
	case EXIT_VMSAVE:
	case EXIT_STGI:
	case EXIT_CLGI:
	case EXIT_SKINIT:
	case EXIT_INVLPGB:
	case EXIT_TLBSYNC:
		exit_svm_instruction(g);
		break;
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
