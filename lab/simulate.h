/* SPDX-License-Identifier: MIT */
/* Runs recorded requests through the library's own root cache: one policy, one capacity. */
#ifndef LAB_SIMULATE_H
#define LAB_SIMULATE_H

#include "requests.h"
#include "whatif.h"

struct lab_row lab_simulate(const struct lab_requests *requests, enum rhz_root_policy policy,
                            unsigned capacity, uint64_t seed);

#endif
