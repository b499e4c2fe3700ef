/* SPDX-License-Identifier: MIT */
/* The TSC against channel 2 of the 8254, the one that interrupts nobody. */
#include "cpu/clock.h"

#include "cpu/x86.h"

enum { PORT_CHANNEL_2 = 0x42, PORT_MODE = 0x43, PORT_GATE = 0x61 };

#define TIMER_HZ 1193182u
#define MEASURE_COUNTS (TIMER_HZ / 100)
#define MODE_CHANNEL_2_ONE_SHOT 0xb0u /* low byte then high byte, mode 0, binary */
#define GATE_ON 1u
#define GATE_SPEAKER 2u
#define GATE_OUTPUT 0x20u /* reads as 1 when the count is done */

static uint64_t hz;

uint64_t clock_measure(void)
{
	const uint8_t gate = in8(PORT_GATE);
	uint64_t begin;

	out8(PORT_GATE, (uint8_t)((gate & ~GATE_SPEAKER) | GATE_ON));
	out8(PORT_MODE, MODE_CHANNEL_2_ONE_SHOT);
	out8(PORT_CHANNEL_2, MEASURE_COUNTS & 0xff);
	out8(PORT_CHANNEL_2, MEASURE_COUNTS >> 8);
	begin = rdtsc();
	/* Bounded: a machine without the chip must not hang us. */
	for (unsigned i = 0; i < 10000000 && !(in8(PORT_GATE) & GATE_OUTPUT); i++)
		;
	hz = (rdtsc() - begin) * 100;
	out8(PORT_GATE, gate);
	return hz;
}

uint64_t clock_hz(void)
{
	return hz;
}
