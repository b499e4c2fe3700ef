/* SPDX-License-Identifier: MIT */
/* Runs recorded requests through the library's own root cache: one policy, one capacity. */
#ifndef LAB_SIMULATE_H
#define LAB_SIMULATE_H

#include "requests.h"

struct lab_row {
	enum rhz_root_policy policy;
	unsigned capacity;
	uint64_t current, cached, missed; /* together: all requests */
	uint64_t duplicates; /* misses that built a second copy of a root still held */
	uint64_t positions;  /* sum of the positions of all cached roots found */
};

struct lab_row lab_simulate(const struct lab_requests *requests, enum rhz_root_policy policy,
                            unsigned capacity, uint64_t seed);

#endif
