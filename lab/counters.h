/* SPDX-License-Identifier: MIT */
/* The hypervisor's statistics as names with values, read from the JSON object that it prints. */
#ifndef LAB_COUNTERS_H
#define LAB_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { COUNTERS_MAX = 128, COUNTER_NAME_MAX = 32 };

struct counters {
	unsigned count;
	struct { char name[COUNTER_NAME_MAX]; uint64_t value; } counter[COUNTERS_MAX];
};

/* Reads every member that is a number; lists and strings are passed over. False: no object. */
bool counters_read(struct counters *counters, const char *json);

/* The value by that name, 0 if there is none. */
uint64_t counters_get(const struct counters *counters, const char *name);

#endif
