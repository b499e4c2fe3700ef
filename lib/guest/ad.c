/* SPDX-License-Identifier: MIT */
/*
 * Accessed and dirty bits, set in guest memory after a walk that found its translation. One
 * compare-and-exchange per entry that changes, so that a concurrent change of the entry is never
 * overwritten [SDM3 4.8, 8.1.2.1] [APM2 5.4.2].
 */
#include <rhizome/guest.h>

#include "format/format.h"

/*
 * Sets 'accessed' in the entries from top down to the leaf, and 'dirty' with it in the leaf. Stops
 * at the first entry that changed meanwhile; bits set above it by then are harmless.
 */
static enum rhz_ad_result set_bits(uint64_t *entry, const rhz_gpa *table, unsigned top,
                                   unsigned leaf, uint64_t accessed, uint64_t dirty,
                                   unsigned bytes, rhz_swap_entry swap, void *ctx)
{
	enum rhz_ad_result result = RHZ_AD_UNCHANGED;

	for (unsigned level = top; level >= leaf; level--) {
		uint64_t old = entry[level], new = old | accessed | (level == leaf ? dirty : 0);

		if (new == old)
			continue;
		if (!swap(ctx, table[level], bytes, old, new))
			return RHZ_AD_RETRY;
		entry[level] = new;
		result = RHZ_AD_SET;
	}
	return result;
}

enum rhz_ad_result rhz_guest_set_ad(const struct rhz_mode *mode, struct rhz_walk *walk,
                                    unsigned access, rhz_swap_entry swap, void *ctx)
{
	const struct rhz_format *format = mode->format;
	bool write = access & RHZ_ACCESS_WRITE;
	unsigned top = walk->top;

	if (!format)
		return RHZ_AD_UNCHANGED;
	if (mode->paging == RHZ_PAGING_PAE)
		top--; /* a PDPTE has neither bit [SDM3 table 4-8] */
	return set_bits(walk->entry, walk->table, top, walk->level, format->accessed,
	                write ? format->dirty : 0, format->entry_bytes, swap, ctx);
}

enum rhz_ad_result rhz_ept_set_ad(const struct rhz_ept_mode *mode, struct rhz_ept_walk *walk,
                                  unsigned access, rhz_swap_entry swap, void *ctx)
{
	/* With A/D enabled, the processor's own table accesses are writes [SDM3 28.3.5]. */
	bool write = access & (RHZ_ACCESS_WRITE | RHZ_ACCESS_TABLE);

	if (!mode->ad)
		return RHZ_AD_UNCHANGED;
	return set_bits(walk->entry, walk->table, walk->top, walk->level, EPT_A,
	                write ? EPT_D : 0, 8, swap, ctx);
}
