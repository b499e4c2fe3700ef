/* SPDX-License-Identifier: MIT */
/* SVM's instructions: the guest sees a processor whose SVM the firmware has disabled. */
#include "exit/event.h"
#include "exit/exit.h"

void exit_svm_instruction(struct guest *g)
{
	event_ud(g);
}
