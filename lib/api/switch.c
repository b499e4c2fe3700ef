/* SPDX-License-Identifier: MIT */
/*
 * From one context of a vCPU to another: a nested entry or exit is a root switch like any other.
 * Where the root is known and nothing was asked of us, it takes no lock: see vcpu.c on why that is
 * sound.
 */
#include "api/vcpu.h"
#include "core/flush.h"
#include "core/list.h"
#include "nested/nested.h"
#include "root/registers.h"
#include "shadow/sync.h"

/* The root is current: what is left to do where something is listed or invalidated. */
static __attribute__((noinline)) enum rhz_load_result switch_ends(struct rhz_vcpu *vcpu,
                                                                  enum rhz_guest_flush flush)
{
	const struct page *root = vcpu->now->root;

	if (!lists_empty_of(vcpu->vm, root, root->role.nested))
		load_synced(vcpu);
	if (flush == RHZ_GUEST_FLUSH_ALL)
		roots_stale_all(vcpu);
	else if (flush == RHZ_GUEST_FLUSH_ASID)
		roots_stale(vcpu, vcpu->now->guest_asid);
	return RHZ_LOAD_OK;
}

/*
 * To the root that the context was left with, if that fits and nothing is to be done for it but to
 * be counted and told of flushes. False: nothing was done.
 */
RHZ_INLINE bool switch_back(struct rhz_vcpu *vcpu, unsigned number, uint64_t cr3,
                            uint32_t guest_asid)
{
	struct context *to = &vcpu->context[number];
	struct rhz_root_entry *entry = to->entry;

	if (__builtin_expect(!entry || !vcpu->swift, 0))
		return false;
	if (__builtin_expect(entry->key.table != (cr3 & to->cr3_mask), 0) ||
	    __builtin_expect(entry->key.guest_asid != guest_asid, 0) ||
	    __builtin_expect(entry->key.role != to->role.word, 0) ||
	    __builtin_expect(!roots_undisturbed(vcpu), 0) ||
	    __builtin_expect(!root_is_alone(vcpu, to), 0))
		return false;
	if (__builtin_expect(root_lags(vcpu, entry), 0))
		root_catch_up(vcpu, to, entry);
	vcpu->stats.root_switches++;
	vcpu->stats.root_current_reused++;
	__atomic_store_n(&vcpu->current, number, __ATOMIC_RELAXED);
	vcpu->now = to;
	to->root = entry->owned;
	__atomic_store_n(&to->root->writes, 0, __ATOMIC_RELAXED);
	return true;
}

/* The key of the context's root with another table and guest ASID. */
RHZ_INLINE struct rhz_root_key key_in(const struct context *to, unsigned number, uint64_t cr3,
                                      uint32_t guest_asid)
{
	return (struct rhz_root_key){
		.table = cr3 & to->cr3_mask,
		.role = to->role.word,
		.guest_asid = guest_asid,
		.context = number,
	};
}

/*
 * To a context in which only the table and the guest ASID are other than it was left with, if the
 * vCPU has a root for these. False: nothing was done.
 */
RHZ_INLINE bool switch_quickly(struct rhz_vcpu *vcpu, unsigned number, uint64_t cr3,
                               uint32_t guest_asid)
{
	struct context *to = &vcpu->context[number];
	struct rhz_root_key key = key_in(to, number, cr3, guest_asid);
	unsigned position;

	if (__builtin_expect(!to->entry || !vcpu->swift || !roots_undisturbed(vcpu), 0))
		return false;
	if (root_cache_current_fits(&vcpu->roots, &key)) {
		vcpu->stats.root_current_reused++;
	} else {
		/* a PAE root has another key than this */
		if (role_is_pae_root(to->role) ||
		    rhz_root_cache_find_cached(&vcpu->roots, &key, &position) != RHZ_ROOT_CACHED)
			return false;
		vcpu->stats.root_cached_reused++;
		vcpu->stats.root_reused_at[position]++;
	}
	vcpu->stats.root_switches++;
	to->regs.cr3 = cr3;
	to->guest_asid = guest_asid;
	__atomic_store_n(&vcpu->current, number, __ATOMIC_RELAXED);
	vcpu->now = to;
	root_bind(vcpu);
	root_alone(vcpu);
	__atomic_store_n(&to->root->writes, 0, __ATOMIC_RELAXED);
	return true;
}

/* Nothing but CR3, the keys and the PDPTEs differs. */
RHZ_INLINE bool same_mode(const struct rhz_regs *a, const struct rhz_regs *b)
{
	return !((a->cr0 ^ b->cr0) | (a->cr4 ^ b->cr4) | (a->efer ^ b->efer));
}

static __attribute__((noinline)) enum rhz_load_result
switch_in_full(struct rhz_vcpu *vcpu, unsigned number, const struct rhz_regs *regs,
               uint32_t guest_asid, enum rhz_guest_flush flush)
{
	struct context next = vcpu->context[number];

	if (!regs && !next.entered)
		return RHZ_LOAD_GP;
	if (regs) {
		struct rhz_regs wanted = *regs;

		/* a nested entry loads all at once: nothing depends on what was there before */
		if (rhz_regs_check(&vcpu->vm->config.cpuid, &wanted, &wanted) != RHZ_LOAD_FINE)
			return RHZ_LOAD_GP;
		wanted.cr3 &= ~RHZ_CR3_NOFLUSH;
		if (context_init(&next, vcpu->vm, vcpu->space, &wanted) != RHZ_OK)
			return RHZ_LOAD_GP;
	}
	next.guest_asid = guest_asid;
	return context_switch(vcpu, number, &next, regs && next.mode.paging == RHZ_PAGING_PAE,
	                      flush);
}

/* Only CR3 and the keys are other than the context was left with, and no PDPTEs are to be read. */
RHZ_INLINE bool only_cr3_differs(const struct context *to, const struct rhz_regs *regs)
{
	return same_mode(regs, &to->regs) && to->mode.paging != RHZ_PAGING_PAE;
}

RHZ_INLINE void take_keys(struct context *to, const struct rhz_regs *regs)
{
	to->regs.pkru = regs->pkru;
	to->regs.pkrs = regs->pkrs;
}

static __attribute__((noinline)) enum rhz_load_result
switch_elsewhere(struct rhz_vcpu *vcpu, unsigned number, const struct rhz_regs *regs,
                 uint32_t guest_asid, enum rhz_guest_flush flush)
{
	struct context *to = &vcpu->context[number];
	uint64_t cr3 = regs ? regs->cr3 & to->cr3_kept : to->regs.cr3;

	if (!to->entered || cr3 & to->cr3_reserved || (regs && !only_cr3_differs(to, regs)) ||
	    !switch_quickly(vcpu, number, cr3, guest_asid))
		return switch_in_full(vcpu, number, regs, guest_asid, flush);
	if (regs)
		take_keys(to, regs);
	return switch_ends(vcpu, flush);
}

enum rhz_load_result rhz_vcpu_switch_context(struct rhz_vcpu *vcpu, enum rhz_context number,
                                             const struct rhz_regs *regs, uint32_t guest_asid,
                                             enum rhz_guest_flush flush)
{
	struct context *to = &vcpu->context[RHZ_CONTEXT_L1];

	if (number == RHZ_CONTEXT_L1) {
		vcpu->stats.nested_exits++;
		if (__builtin_expect(regs || !switch_back(vcpu, RHZ_CONTEXT_L1, to->regs.cr3,
		                                          guest_asid), 0))
			return switch_elsewhere(vcpu, number, regs, guest_asid, flush);
	} else if (number == RHZ_CONTEXT_L2) {
		uint64_t cr3;

		to = &vcpu->context[RHZ_CONTEXT_L2];
		cr3 = (regs ? regs : &to->regs)->cr3 & to->cr3_kept;
		vcpu->stats.nested_entries++;
		if (__builtin_expect((regs && !only_cr3_differs(to, regs)) ||
		                     cr3 & to->cr3_reserved ||
		                     !switch_back(vcpu, RHZ_CONTEXT_L2, cr3, guest_asid), 0))
			return switch_elsewhere(vcpu, number, regs, guest_asid, flush);
		to->regs.cr3 = cr3;
		if (regs)
			take_keys(to, regs);
	} else {
		return RHZ_LOAD_GP;
	}
	if (__builtin_expect(flush || !lists_empty(vcpu->vm, to->root), 0))
		return switch_ends(vcpu, flush);
	return RHZ_LOAD_OK;
}

static __attribute__((noinline)) enum rhz_load_result
nested_in_full(struct rhz_vcpu *vcpu, const struct rhz_nested *nested, uint32_t guest_asid,
               enum rhz_guest_flush flush)
{
	struct context next = vcpu->context[RHZ_CONTEXT_L2_NESTED];

	if (!nested && !next.entered)
		return RHZ_LOAD_GP;
	if (nested && nested_context_init(&next, vcpu->vm, vcpu->space, nested) != RHZ_OK)
		return RHZ_LOAD_GP;
	next.guest_asid = guest_asid;
	return context_switch(vcpu, RHZ_CONTEXT_L2_NESTED, &next, false, flush);
}

/* A table of another address is as good: its other bits are those that the role has. */
RHZ_INLINE bool only_table_differs(const struct context *to, const struct rhz_nested *nested)
{
	return !(((nested->table ^ to->regs.cr3) & ~to->cr3_mask) | (nested->cr0 ^ to->regs.cr0) |
	         (nested->cr4 ^ to->regs.cr4) | (nested->efer ^ to->regs.efer));
}

static __attribute__((noinline)) enum rhz_load_result
nested_elsewhere(struct rhz_vcpu *vcpu, const struct rhz_nested *nested, uint32_t guest_asid,
                 enum rhz_guest_flush flush)
{
	const struct context *to = &vcpu->context[RHZ_CONTEXT_L2_NESTED];
	const struct rhz_nested same = {
		to->regs.cr3, to->regs.cr0, to->regs.cr4, to->regs.efer,
	};

	if (!nested && to->entered)
		nested = &same;
	if (!to->entered || !only_table_differs(to, nested) ||
	    !switch_quickly(vcpu, RHZ_CONTEXT_L2_NESTED, nested->table, guest_asid))
		return nested_in_full(vcpu, nested, guest_asid, flush);
	return switch_ends(vcpu, flush);
}

enum rhz_load_result rhz_vcpu_switch_nested(struct rhz_vcpu *vcpu, const struct rhz_nested *nested,
                                            uint32_t guest_asid, enum rhz_guest_flush flush)
{
	struct context *to = &vcpu->context[RHZ_CONTEXT_L2_NESTED];

	vcpu->stats.nested_entries++;
	if (__builtin_expect(!nested || !only_table_differs(to, nested) ||
	                     !switch_back(vcpu, RHZ_CONTEXT_L2_NESTED, nested->table, guest_asid),
	                     0))
		return nested_elsewhere(vcpu, nested, guest_asid, flush);
	if (__builtin_expect(flush || !nested_lists_empty(vcpu->vm, to->root), 0))
		return switch_ends(vcpu, flush);
	return RHZ_LOAD_OK;
}

enum rhz_context rhz_vcpu_context(const struct rhz_vcpu *vcpu)
{
	return (enum rhz_context)vcpu->current;
}
