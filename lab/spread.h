/* SPDX-License-Identifier: MIT */
/* How times are spread: a histogram with sixteen steps to each power of two, so that a quantile is
   within 6 % of the true one, in bounded memory. */
#ifndef LAB_SPREAD_H
#define LAB_SPREAD_H

#include <stdint.h>

enum { LAB_SPREAD_STEPS = 16, LAB_SPREAD_BUCKETS = 61 * LAB_SPREAD_STEPS };

struct lab_spread {
	uint64_t count, sum, least, most;
	uint64_t bucket[LAB_SPREAD_BUCKETS];
};

void lab_spread_add(struct lab_spread *spread, uint64_t value);
void lab_spread_merge(struct lab_spread *into, const struct lab_spread *from);
/* The value below which a share of them lies, 0 to 1; 0 if there are none. */
uint64_t lab_spread_quantile(const struct lab_spread *spread, double share);
/* The least value of a bucket. */
uint64_t lab_spread_from(unsigned bucket);

#endif
