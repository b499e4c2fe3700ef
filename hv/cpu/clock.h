/* SPDX-License-Identifier: MIT */
/* How fast the TSC counts, measured against the timer chip. Time itself is the guest's. */
#ifndef HV_CPU_CLOCK_H
#define HV_CPU_CLOCK_H

#include <stdint.h>

/* Measures for 10 ms, before the guest owns the timer. Returns ticks of the TSC a second. */
uint64_t clock_measure(void);

/* What was measured; 0: nothing was. */
uint64_t clock_hz(void);

#endif
