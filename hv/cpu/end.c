/* SPDX-License-Identifier: MIT */
/* The ends of a run: reset or halt. What is printed before is the caller's. */
#include "cpu/end.h"

#include "cpu/console.h"
#include "cpu/x86.h"

/* Reset control register of the chipset: a full reset, power left on. */
#define PORT_RESET_CONTROL 0xcf9u
#define RESET_FULL 0x0eu

static bool resets_at_end;

void end_resets(bool resets)
{
	resets_at_end = resets;
}

void end(int code, const char *reason)
{
	print("rhizome: end %u %s\n", (unsigned)code, reason);
	console_drain();
	/* A guest that resets the machine gets that, whatever was said about our own ends. */
	if (resets_at_end || code == END_RESET) {
		out8(PORT_RESET_CONTROL, RESET_FULL & ~4u);
		out8(PORT_RESET_CONTROL, RESET_FULL);
	}
	halt_forever();
}
