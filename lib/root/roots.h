/* SPDX-License-Identifier: MIT */
/*
 * A vCPU's roots as shadow pages: finding, adopting, letting go, with their references.
 *
 * A root is referenced once for each entry of a cache that holds it, current or cached. What it is
 * built from is not known here.
 */
#ifndef RHZ_ROOT_ROOTS_H
#define RHZ_ROOT_ROOTS_H

#include "root/tag.h"
#include "root/vcpu.h"

/* The entry of the current context's root; null before the first load and after a drop. */
RHZ_INLINE struct rhz_root_entry *root_entry(struct rhz_vcpu *vcpu)
{
	return vcpu->now->entry;
}

/* The current context's root, or null. */
RHZ_INLINE struct page *root_page(struct rhz_vcpu *vcpu)
{
	return vcpu->now->root;
}

/* Nothing was asked of the vCPU and no root of anybody's was zapped since it last looked. */
RHZ_INLINE bool roots_undisturbed(const struct rhz_vcpu *vcpu)
{
	return vcpu->dooms_seen == __atomic_load_n(&vcpu->vm->dooms, __ATOMIC_ACQUIRE);
}

/* The current root may have changed: notes it where the load path looks first. */
void root_bind(struct rhz_vcpu *vcpu);

/* The same where no more of it has than the root: the entry is now the context's. */
RHZ_INLINE void root_bind_quick(struct context *now, struct rhz_root_entry *entry)
{
	now->entry = entry;
	now->root = entry->owned;
}

/* What a search for a root came to, for trace events. */
struct root_answer { enum rhz_root_found found; unsigned position; };

/* Looks for the root, makes it current, counts. Takes no lock, allocates nothing. */
RHZ_INLINE bool root_find(struct rhz_vcpu *vcpu, const struct rhz_root_key *key,
                          struct root_answer *answer)
{
	*answer = (struct root_answer){ RHZ_ROOT_CURRENT, 0 };
	vcpu->stats.root_switches++;
	if (__builtin_expect(root_cache_current_fits(&vcpu->roots, key), 1)) {
		vcpu->stats.root_current_reused++;
		return true;
	}
	answer->found = rhz_root_cache_find_cached(&vcpu->roots, key, &answer->position);
	switch (answer->found) {
	case RHZ_ROOT_CURRENT:
		vcpu->stats.root_current_reused++;
		return true;
	case RHZ_ROOT_CACHED:
		vcpu->stats.root_cached_reused++;
		vcpu->stats.root_reused_at[answer->position]++;
		return true;
	case RHZ_ROOT_MISSED:
		break;
	}
	vcpu->stats.root_missed++;
	return false;
}

/* Tells of a load, if anybody listens. */
void root_trace_switch(const struct rhz_vcpu *vcpu, const struct rhz_root_key *key,
                       const struct root_answer *answer);

/* After a miss: the page is the root from now on; root_bind is to follow. With the lock. */
struct rhz_root_entry *root_adopt(struct rhz_vcpu *vcpu, const struct rhz_root_key *key,
                                  struct page *page);

/* Lets go of roots that were zapped, and honours requests. With the lock. */
void roots_prune(struct rhz_vcpu *vcpu);

/* Lets go of all roots. With the lock. */
void roots_drop(struct rhz_vcpu *vcpu);

/* Is the page the current root of some context of some vCPU? With the lock. */
bool root_is_current(const struct rhz_vm *vm, const struct page *page);

/* ... of the context that a vCPU is in? With the lock. */
bool root_is_running(const struct rhz_vm *vm, const struct page *page);

/* For vm->give_up_root: the vCPU at hand lets its oldest cached root go; others are asked to. */
bool roots_give_up_one(struct rhz_vm *vm);

/*
 * The current root is another one of its guest ASID than was current last: what L2 invalidates by
 * itself reaches the tag of the root that it runs on, so that no other may keep what it holds.
 */
void root_alone(struct rhz_vcpu *vcpu);

/* It is known to be so of a context's current root. */
RHZ_INLINE bool root_is_alone(const struct rhz_vcpu *vcpu, const struct context *of)
{
	uint32_t guest_asid = of->guest_asid;

	return !guest_asid || !of->unseen ||
	       vcpu->last_of_asid[guest_asid % LAST_OF_ASID] == of->entry;
}

/*
 * All tags of which 'unseen' is true go stale by a count; each is marked when its root is current
 * again, which it must be before it can be entered.
 */
RHZ_INLINE bool root_lags(const struct rhz_vcpu *vcpu, const struct rhz_root_entry *entry)
{
	return entry->flushes != vcpu->flushes;
}

RHZ_INLINE void root_catch_up(const struct rhz_vcpu *vcpu, const struct context *of,
                              struct rhz_root_entry *entry)
{
	entry->flushes = vcpu->flushes;
	if (of->unseen)
		tag_stale(entry);
}

/* The count begins anew: what has lagged for so long must not seem to be up to date. */
void roots_catch_up(struct rhz_vcpu *vcpu);

/*
 * Tags that may hold translations by tables that the processor walks itself are flushed before
 * they run again: those of a guest ASID (0: L1's), whatever its context; all; all of L2's; those
 * under a table of L1's nested ones. Others hold nothing that our tables do not.
 */
void roots_stale(struct rhz_vcpu *vcpu, uint32_t guest_asid);
RHZ_INLINE void roots_stale_all(struct rhz_vcpu *vcpu)
{
	struct context *now = vcpu->now;

	if (__builtin_expect(!++vcpu->flushes, 0))
		roots_catch_up(vcpu);
	if (now->entry)
		root_catch_up(vcpu, now, now->entry);
}
void roots_stale_l2(struct rhz_vcpu *vcpu);
void roots_stale_table(struct rhz_vcpu *vcpu, uint64_t table);

#endif
