/* SPDX-License-Identifier: MIT */
/* Random accesses to what a hypervisor filters. */
#ifndef GUESTS_PROBE_FUZZ_H
#define GUESTS_PROBE_FUZZ_H

#include <stdint.h>

/* Makes them, from a seed, and puts back what interrupts need. */
void fuzz(uint32_t seed);

#endif
