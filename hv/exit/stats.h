/* SPDX-License-Identifier: MIT */
/* The run's statistics: exits by reason, and the library's. */
#ifndef HV_EXIT_STATS_H
#define HV_EXIT_STATS_H

#include <stdint.h>

struct guest;

void stats_count(struct guest *g, uint64_t exit_code);

/* Prints them as one line: "rhizome: stats " and a JSON object. */
void stats_print(const struct guest *g);

#endif
