/* SPDX-License-Identifier: MIT */
/* INVD: dropping dirty lines would drop ours too, so they are written back instead. */
#include "exit/event.h"
#include "exit/exit.h"
#include "exit/insn.h"
#include "svm/guest.h"

void exit_invd(struct guest *g)
{
	uint64_t rip;

	if (!insn_end(g, 2, &rip))
		return;
	__asm__ volatile("wbinvd" : : : "memory");
	event_skip_to(g, rip);
}
