/* SPDX-License-Identifier: MIT */
/*
 * What a vCPU suffers and asks for in the guest: faults, invalidations, translations. What it does
 * so by L1's nested tables: nested.c.
 */
#include "api/vcpu.h"

#include "core/flush.h"
#include "core/frame.h"
#include "direct/map.h"
#include "root/tag.h"
#include "root/walk.h"
#include "shadow/fault.h"
#include "shadow/fill.h"
#include "shadow/sync.h"

static __attribute__((noinline)) void fault_count(struct rhz_vcpu *vcpu,
                                                  enum rhz_fault_result result)
{
	vcpu->stats.pf_emulate += result == RHZ_FAULT_TRACKED;
	vcpu->stats.pf_retry += result == RHZ_FAULT_RETRY;
	vcpu->stats.pf_no_memory += result == RHZ_FAULT_NO_MEMORY;
}

RHZ_INLINE enum rhz_fault_result fault_ends(struct rhz_vcpu *vcpu, uint64_t address,
                                            uint32_t error_code, enum rhz_fault_result result)
{
	if (__builtin_expect(result != RHZ_FAULT_RESUME, 0))
		fault_count(vcpu, result);
	trace(vcpu->vm, RHZ_EVENT_PAGE_FAULT, result, address, error_code);
	vm_unlock(vcpu->vm);
	return result;
}

enum rhz_fault_result fault_end(struct rhz_vcpu *vcpu, uint64_t address, uint32_t error_code,
                                enum rhz_fault_result result)
{
	return fault_ends(vcpu, address, error_code, result);
}

/* A direct map may have to give way to guest tables that are shadowed for other contexts. */
static enum rhz_fault_result direct_fault_tracked(struct rhz_vcpu *vcpu, rhz_gpa gpa,
                                                  unsigned access, struct rhz_fault *fault)
{
	enum rhz_fault_result result = direct_fault(vcpu, gpa, access, fault);
	uint32_t frame;

	if (result != RHZ_FAULT_TRACKED)
		return result;
	frame = frame_of_gfn(vcpu->vm, vcpu->space, gpa.v >> RHZ_PAGE_SHIFT);
	if (write_to_tracked(vcpu, frame) == WRITE_EMULATE)
		return RHZ_FAULT_TRACKED;
	return direct_fault(vcpu, gpa, access, fault);
}

/* A fault that no shadow of a guest table can mend. */
static __attribute__((noinline)) enum rhz_fault_result
fault_without_table(struct rhz_vcpu *vcpu, rhz_gva gva, uint32_t error_code,
                    struct rhz_fault *fault)
{
	unsigned access = (error_code & RHZ_PF_W ? RHZ_ACCESS_WRITE : 0u) |
	                  (error_code & RHZ_PF_I ? RHZ_ACCESS_FETCH : 0u);

	if (root_is_gone(vcpu))
		return RHZ_FAULT_RETRY;
	return direct_fault_tracked(vcpu, (rhz_gpa){ gva.v & UINT32_MAX }, access, fault);
}

enum rhz_fault_result rhz_vcpu_page_fault(struct rhz_vcpu *vcpu, rhz_gva gva, uint32_t error_code,
                                          unsigned access, struct rhz_fault *fault)
{
	enum rhz_fault_result result;

	*fault = (struct rhz_fault){ 0 };
	vcpu_lock(vcpu);
	vcpu->stats.pf_taken++;
	if (__builtin_expect(root_is_gone(vcpu) || vcpu->now->role.guest == ROLE_DIRECT, 0))
		result = fault_without_table(vcpu, gva, error_code, fault);
	else
		result = fill_fault(vcpu, gva, error_code, access, fault);
	return fault_ends(vcpu, gva.v, error_code, result);
}

enum rhz_fault_result rhz_vcpu_nested_fault(struct rhz_vcpu *vcpu, rhz_gpa gpa, unsigned access,
                                            struct rhz_fault *fault)
{
	enum rhz_fault_result result = RHZ_FAULT_RETRY;

	*fault = (struct rhz_fault){ 0 };
	vcpu_lock(vcpu);
	vcpu->stats.pf_taken++;
	if (!root_is_gone(vcpu) && vcpu->now->role.guest == ROLE_DIRECT)
		result = direct_fault_tracked(vcpu, gpa, access, fault);
	return fault_ends(vcpu, gpa.v, access, result);
}

/* ---- invalidation ---- */

/* With the lock. */
static enum rhz_flush invalidate_address(struct rhz_vcpu *vcpu, rhz_gva gva)
{
	struct rhz_vm *vm = vcpu->vm;
	uint64_t before = vm->removed[0];

	trace(vm, RHZ_EVENT_INVALIDATE, 0, gva.v, 0);
	if (!shadow_invalidate(vcpu, gva) || vm->removed[0] == before ||
	    !tag_flushed_address(vcpu, root_entry(vcpu), before))
		return RHZ_FLUSH_NONE;
	vcpu->stats.flush_address++;
	return RHZ_FLUSH_ADDRESS;
}

enum rhz_flush rhz_vcpu_invlpg(struct rhz_vcpu *vcpu, rhz_gva gva)
{
	enum rhz_flush flush;

	vcpu->stats.invlpg++;
	/* where the processor walks the guest's tables, it has translations unknown to us */
	if (vcpu->now->unseen)
		return RHZ_FLUSH_ADDRESS;
	if (!__atomic_load_n(&vcpu->vm->stats.mmu_unsync, __ATOMIC_ACQUIRE))
		return RHZ_FLUSH_NONE;
	vcpu_lock(vcpu);
	flush = root_is_gone(vcpu) ? RHZ_FLUSH_NONE : invalidate_address(vcpu, gva);
	vm_unlock(vcpu->vm);
	return flush;
}

/* Everything the current context may have cached goes. With the lock. */
static void invalidate_all(struct rhz_vcpu *vcpu)
{
	vcpu->stats.guest_flushes++;
	trace(vcpu->vm, RHZ_EVENT_INVALIDATE, 0, ~0ull, 0);
	roots_stale(vcpu, vcpu->now->guest_asid);
	if (!root_is_gone(vcpu))
		sync_lists(vcpu, root_page(vcpu));
}

void rhz_vcpu_flush_guest(struct rhz_vcpu *vcpu)
{
	vcpu_lock(vcpu);
	invalidate_all(vcpu);
	vm_unlock(vcpu->vm);
}

/* [SDM2 INVPCID, table 3-57]: what raises #GP. Defined with paging off too. */
static bool invpcid_faults(const struct rhz_vcpu *vcpu, uint64_t type, uint64_t pcid, rhz_gva gva)
{
	const struct context *context = vcpu->now;
	unsigned bits = context->mode.va_bits;

	if (type > RHZ_INVPCID_ALL || pcid >> 12)
		return true;
	if (type > RHZ_INVPCID_SINGLE)
		return false;
	if (!context->mode.pcide && pcid)
		return true;
	return type == RHZ_INVPCID_ADDRESS && bits > 32 &&
	       (uint64_t)((int64_t)(gva.v << (64 - bits)) >> (64 - bits)) != gva.v;
}

enum rhz_load_result rhz_vcpu_invpcid(struct rhz_vcpu *vcpu, uint64_t type, uint64_t pcid,
                                      rhz_gva gva, enum rhz_flush *flush)
{
	struct context *context = vcpu_context(vcpu);
	uint64_t current = context->mode.pcide ? context->regs.cr3 & 0xfff : 0;

	*flush = RHZ_FLUSH_NONE;
	if (invpcid_faults(vcpu, type, pcid, gva))
		return RHZ_LOAD_GP;
	/* roots that are not current owe nothing: they sync when they are loaded */
	if (type <= RHZ_INVPCID_SINGLE && pcid != current)
		return RHZ_LOAD_OK;
	if (type == RHZ_INVPCID_ADDRESS) {
		*flush = rhz_vcpu_invlpg(vcpu, gva);
		return RHZ_LOAD_OK;
	}
	vcpu_lock(vcpu);
	invalidate_all(vcpu);
	vm_unlock(vcpu->vm);
	return RHZ_LOAD_OK;
}

enum rhz_walk_outcome rhz_vcpu_translate(struct rhz_vcpu *vcpu, rhz_gva gva, unsigned access,
                                         struct rhz_walk *walk)
{
	enum rhz_walk_outcome outcome;

	vcpu_lock(vcpu);
	outcome = vcpu_walk(vcpu, gva, access, walk);
	vm_unlock(vcpu->vm);
	return outcome;
}
