/* SPDX-License-Identifier: MIT */
/* Spreads of times; see spread.h. */
#include "spread.h"

static unsigned bucket_of(uint64_t value)
{
	unsigned power;

	if (value < LAB_SPREAD_STEPS)
		return (unsigned)value;
	power = 63 - (unsigned)__builtin_clzll(value); /* 4 or more */
	return (power - 3) * LAB_SPREAD_STEPS + (unsigned)(value >> (power - 4) & 15);
}

uint64_t lab_spread_from(unsigned bucket)
{
	if (bucket < LAB_SPREAD_STEPS)
		return bucket;
	return (uint64_t)(LAB_SPREAD_STEPS + bucket % LAB_SPREAD_STEPS)
	       << (bucket / LAB_SPREAD_STEPS - 1);
}

void lab_spread_add(struct lab_spread *spread, uint64_t value)
{
	if (!spread->count || value < spread->least)
		spread->least = value;
	if (value > spread->most)
		spread->most = value;
	spread->count++;
	spread->sum += value;
	spread->bucket[bucket_of(value)]++;
}

void lab_spread_merge(struct lab_spread *into, const struct lab_spread *from)
{
	if (!from->count)
		return;
	if (!into->count || from->least < into->least)
		into->least = from->least;
	if (from->most > into->most)
		into->most = from->most;
	into->count += from->count;
	into->sum += from->sum;
	for (unsigned i = 0; i < LAB_SPREAD_BUCKETS; i++)
		into->bucket[i] += from->bucket[i];
}

uint64_t lab_spread_quantile(const struct lab_spread *spread, double share)
{
	uint64_t rank = (uint64_t)(share * (double)spread->count);
	uint64_t seen = 0, value = 0;

	if (!spread->count)
		return 0;
	if (rank >= spread->count)
		rank = spread->count - 1;
	for (unsigned i = 0; i < LAB_SPREAD_BUCKETS && seen <= rank; i++) {
		seen += spread->bucket[i];
		value = (lab_spread_from(i) + lab_spread_from(i + 1)) / 2;
	}
	if (value < spread->least)
		value = spread->least;
	return value > spread->most ? spread->most : value;
}
