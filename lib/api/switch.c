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

static bool nothing_listed(const struct rhz_vm *vm, const struct page *root)
{
	return root->role.nested ? nested_lists_empty(vm, root) : lists_empty(vm, root);
}

static __attribute__((noinline)) enum rhz_load_result switch_synced(struct rhz_vcpu *vcpu)
{
	vcpu_lock(vcpu);
	sync_lists(vcpu, vcpu->now->root);
	vm_unlock(vcpu->vm);
	return RHZ_LOAD_OK;
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
                               uint32_t guest_asid, enum rhz_load_result *result)
{
	struct context *to = &vcpu->context[number];
	size_t index = vcpu->roots.current[number];
	struct rhz_root_key key = key_in(to, number, cr3, guest_asid);
	unsigned position;

	if (__builtin_expect(!vcpu->roots.plain || index == RHZ_ROOT_NO_ENTRY ||
	                     !roots_undisturbed(vcpu) || vcpu->vm->host.trace, 0))
		return false;
	if (__builtin_expect(root_key_same(&vcpu->roots.entry[index].key, &key), 1)) {
		vcpu->stats.root_current_reused++;
		__atomic_store_n(&vcpu->current, number, __ATOMIC_RELAXED);
		vcpu->now = to;
		to->root = vcpu->roots.entry[index].owned;
		if (__builtin_expect(!root_is_alone(vcpu, index), 0))
			root_alone(vcpu);
	} else {
		/* a PAE root has another key than this */
		if (role_is_pae_root(to->role) ||
		    rhz_root_cache_find_cached(&vcpu->roots, &key, &position) != RHZ_ROOT_CACHED)
			return false;
		vcpu->stats.root_cached_reused++;
		vcpu->stats.root_reused_at[position]++;
		to->regs.cr3 = cr3;
		to->guest_asid = guest_asid;
		__atomic_store_n(&vcpu->current, number, __ATOMIC_RELAXED);
		vcpu->now = to;
		root_bind(vcpu);
		root_alone(vcpu);
	}
	vcpu->stats.root_switches++;
	__atomic_store_n(&to->root->writes, 0, __ATOMIC_RELAXED);
	*result = __builtin_expect(nothing_listed(vcpu->vm, to->root), 1) ? RHZ_LOAD_OK :
	                                                                    switch_synced(vcpu);
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

enum rhz_load_result rhz_vcpu_switch_context(struct rhz_vcpu *vcpu, enum rhz_context number,
                                             const struct rhz_regs *regs, uint32_t guest_asid,
                                             enum rhz_guest_flush flush)
{
	struct context *to = &vcpu->context[number & 1];
	enum rhz_load_result result;
	uint64_t cr3;

	if (number != RHZ_CONTEXT_L1 && number != RHZ_CONTEXT_L2)
		return RHZ_LOAD_GP;
	vcpu->stats.nested_entries += number != RHZ_CONTEXT_L1;
	vcpu->stats.nested_exits += number == RHZ_CONTEXT_L1;
	cr3 = regs ? regs->cr3 & to->cr3_kept : to->regs.cr3;
	if (!flush && to->entered && (!regs || same_mode(regs, &to->regs)) &&
	    !(cr3 & to->cr3_reserved) && !(regs && to->mode.paging == RHZ_PAGING_PAE) &&
	    switch_quickly(vcpu, number, cr3, guest_asid, &result)) {
		if (regs) {
			to->regs.cr3 = cr3;
			to->regs.pkru = regs->pkru;
			to->regs.pkrs = regs->pkrs;
		}
		return result;
	}
	return switch_in_full(vcpu, number, regs, guest_asid, flush);
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

enum rhz_load_result rhz_vcpu_switch_nested(struct rhz_vcpu *vcpu, const struct rhz_nested *nested,
                                            uint32_t guest_asid, enum rhz_guest_flush flush)
{
	struct context *to = &vcpu->context[RHZ_CONTEXT_L2_NESTED];
	struct rhz_nested same;
	enum rhz_load_result result;

	vcpu->stats.nested_entries++;
	if (!nested) {
		same = (struct rhz_nested){ to->regs.cr3, to->regs.cr0, to->regs.cr4,
			                    to->regs.efer };
		nested = to->entered ? &same : NULL;
	}
	/* a table of another address is as good: its other bits are those that the role has */
	if (nested && !flush && to->entered &&
	    !((nested->table ^ to->regs.cr3) & ~to->cr3_mask) &&
	    !((nested->cr0 ^ to->regs.cr0) | (nested->cr4 ^ to->regs.cr4) |
	      (nested->efer ^ to->regs.efer)) &&
	    switch_quickly(vcpu, RHZ_CONTEXT_L2_NESTED, nested->table, guest_asid, &result)) {
		to->regs.cr3 = nested->table;
		return result;
	}
	return nested_in_full(vcpu, nested, guest_asid, flush);
}

enum rhz_context rhz_vcpu_context(const struct rhz_vcpu *vcpu)
{
	return (enum rhz_context)vcpu->current;
}
