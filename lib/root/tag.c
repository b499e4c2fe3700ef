/* SPDX-License-Identifier: MIT */
/* Leases of hardware TLB tags. */
#include "root/tag.h"

void rhz_cpu_init(struct rhz_cpu *cpu, uint32_t id, uint32_t first_tag, uint32_t tags,
                  bool flush_by_tag)
{
	/* out of tags from the start: the first lease flushes all that was there before us */
	*cpu = (struct rhz_cpu){
		.id = id,
		.first_tag = first_tag ? first_tag : 1,
		.tags = tags,
		.flush_by_tag = flush_by_tag,
		.generation = 1, /* a lease of generation 0 is none */
		.next_tag = (first_tag ? first_tag : 1) + (tags ? tags : 1),
	};
}

/*
 * A processor without tags is one with a single tag of which nobody knows: a switch of roots takes
 * it from one lease to another, and that flushes.
 */
static enum rhz_flush tag_fresh(struct rhz_vcpu *vcpu, struct rhz_cpu *cpu,
                                struct rhz_tag_lease *lease, uint64_t removals)
{
	enum rhz_flush flush = RHZ_FLUSH_NONE;
	bool single = option(vcpu->vm, RHZ_NO_TAGS);

	if (single || cpu->next_tag == cpu->first_tag + (cpu->tags ? cpu->tags : 1)) {
		cpu->generation++;
		cpu->next_tag = cpu->first_tag;
		flush = RHZ_FLUSH_ALL;
		vcpu->stats.flush_all++;
	}
	*lease = (struct rhz_tag_lease){
		.generation = cpu->generation,
		.stamp = removals,
		.cpu = cpu->id,
		.tag = cpu->tags ? cpu->next_tag : 0,
	};
	cpu->next_tag++;
	vcpu->stats.fresh_tags++;
	return flush;
}

/* Entries take no lock: this is the one event that is told without it. */
static void flush_note(struct rhz_vcpu *vcpu, uint32_t tag, enum rhz_flush flush)
{
	struct rhz_event event = { .kind = RHZ_EVENT_FLUSH, .vcpu = vcpu->id, .address = tag,
	                           .value = flush };

	vcpu->stats.tlb_flush++;
	if (vcpu->vm->host.trace)
		vcpu->vm->host.trace(vcpu->vm->host.ctx, &event);
}

enum rhz_flush tag_renew_slowly(struct rhz_vcpu *vcpu, struct rhz_cpu *cpu,
                                struct rhz_root_entry *entry, uint32_t *tag)
{
	struct rhz_tag_lease *lease = &entry->lease;
	uint64_t removals = __atomic_load_n(vcpu->now->removed, __ATOMIC_ACQUIRE);
	bool ours = tag_is_on(lease, cpu);
	uint64_t stamp = lease->stamp;
	enum rhz_flush flush;

	vcpu->stats.stale_asked += ours && !stamp;
	vcpu->stats.stale_removed += ours && stamp && stamp != removals;
	if (ours && cpu->flush_by_tag && cpu->tags && !option(vcpu->vm, RHZ_NO_TAGS)) {
		lease->stamp = removals;
		flush = RHZ_FLUSH_TAG;
		vcpu->stats.flush_tag++;
	} else {
		/* to flush all would take every other root's translations too */
		flush = tag_fresh(vcpu, cpu, lease, removals);
	}
	if (flush != RHZ_FLUSH_NONE) {
		vcpu->stats.nested_flush_unneeded += vcpu->current && ours && stamp == removals;
		flush_note(vcpu, lease->tag, flush);
	}
	*tag = lease->tag;
	return flush;
}
