/* SPDX-License-Identifier: MIT */
/*
 * Ticks from an exit's first instructions in C to the last ones before its entry. Under -icount
 * these are instructions. Not in them: the switch of registers and VMCBs in svm/run.S, which is the
 * same for all.
 */
#include "exit/profile.h"

#include "boot/info.h"
#include "cpu/x86.h"
#include "svm/guest.h"

static bool on;
static uint64_t begun, ticks_of[KINDS];
static uint64_t exits_before[KINDS];

void profile_init(void)
{
	on = boot_info.options.profile;
	if (on)
		guest.watched = true;
}

void profile_exit(void)
{
	if (!on)
		return;
	for (unsigned kind = 0; kind < KINDS; kind++)
		exits_before[kind] = guest.exits_of[kind];
	begun = rdtsc();
}

void profile_entry(void)
{
	const uint64_t end = rdtsc();

	/* The counter that has moved tells the reason; before the first exit none has. */
	for (unsigned kind = 0; on && kind < KINDS; kind++) {
		if (guest.exits_of[kind] != exits_before[kind])
			ticks_of[kind] += end - begun;
	}
}

bool profile_on(void)
{
	return on;
}

uint64_t profile_ticks(enum exit_kind kind)
{
	return ticks_of[kind];
}
