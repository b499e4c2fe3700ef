/* SPDX-License-Identifier: MIT */
/*
 * Hardware TLB tags: which one a root runs under on a processor, and what to flush first.
 *
 * A tag belongs to (processor and its generation, vCPU, context, guest ASID, root): a lease is part
 * of the cache entry, which is just that. PCID is not in it: our tables never hold what a load of
 * their root would have had to drop, and the tag never holds what our tables do not, so two PCIDs
 * of one table may share it. Its stamp is the VM's removal count that its TLB entries reflect.
 * Where the processor walks guest tables itself, stamps are also cleared by roots_stale.
 *
 * A processor's tags are given out upwards. When they run out, all are flushed and a new
 * generation begins, so that every lease of an older one is void.
 */
#ifndef RHZ_ROOT_TAG_H
#define RHZ_ROOT_TAG_H

#include "root/vcpu.h"

/* What the tag holds is not to be used again: it is flushed before it runs. */
RHZ_INLINE void tag_stale(struct rhz_root_entry *entry)
{
	entry->lease.stamp = 0;
}

/* Is the tag one that the processor has lent us, and not taken back? */
RHZ_INLINE bool tag_is_on(const struct rhz_tag_lease *lease, const struct rhz_cpu *cpu)
{
	return lease->generation == cpu->generation && lease->cpu == cpu->id;
}

/* ... and its TLB holds nothing that the tables do not. In the current context. */
RHZ_INLINE bool tag_is_good(const struct rhz_vcpu *vcpu, const struct rhz_cpu *cpu,
                            const struct rhz_tag_lease *lease)
{
	return lease->stamp == __atomic_load_n(vcpu->now->removed, __ATOMIC_ACQUIRE) &&
	       tag_is_on(lease, cpu);
}

enum rhz_flush tag_renew_slowly(struct rhz_vcpu *vcpu, struct rhz_cpu *cpu,
                                struct rhz_root_entry *entry, uint32_t *tag);

/*
 * If it is not: leases a tag, or brings it up to date. *tag: 0 if the processor has none. In short
 * where the next tag is taken: there are more roots than tags, or something was taken away and the
 * processor cannot flush one tag alone.
 */
RHZ_INLINE enum rhz_flush tag_renew(struct rhz_vcpu *vcpu, struct rhz_cpu *cpu,
                                    struct rhz_root_entry *entry, uint32_t *tag)
{
	struct rhz_tag_lease *lease = &entry->lease;
	uint32_t next = cpu->next_tag;

	if (next >= cpu->first_tag + cpu->tags || cpu->flush_by_tag ||
	    option(vcpu->vm, RHZ_NO_TAGS))
		return tag_renew_slowly(vcpu, cpu, entry, tag);
	if (tag_is_on(lease, cpu)) {
		vcpu->stats.stale_asked += !lease->stamp;
		vcpu->stats.stale_removed += lease->stamp != 0;
	}
	lease->generation = cpu->generation;
	lease->stamp = __atomic_load_n(vcpu->now->removed, __ATOMIC_ACQUIRE);
	lease->cpu = cpu->id;
	lease->tag = *tag = next;
	cpu->next_tag = next + 1;
	vcpu->stats.fresh_tags++;
	return RHZ_FLUSH_NONE;
}

/*
 * Not in the context of L1's nested tables.
 * The guest invalidated one address and its entry has changed: the embedder flushes that address
 * under the tag of the last entry. 'before': the removal count before that change. If that tag was
 * up to date then, it is so again; the tag of a root that was loaded since is not flushed. False:
 * the next entry flushes the whole tag, and nothing else is needed.
 */
RHZ_INLINE bool tag_flushed_address(struct rhz_vcpu *vcpu, struct rhz_root_entry *entry,
                                    uint64_t before)
{
	if (entry != vcpu->entered || entry->lease.stamp != before)
		return false;
	entry->lease.stamp = vcpu->vm->removed[0];
	return true;
}

#endif
