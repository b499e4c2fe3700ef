/* SPDX-License-Identifier: MIT */
/* What L2 suffers under L1's nested tables, and what L1 invalidates of its guests. */
#include "nested/nested.h"

#include "api/vcpu.h"
#include "core/flush.h"
#include "root/tag.h"
#include "root/walk.h"
#include "shadow/fill.h"
#include "shadow/sync.h"

/* ---- faults ---- */

/*
 * The processor has a stale translation. Nobody knows by which linear address of L2's, so all that
 * its tag holds goes.
 */
static void tag_doubted(struct rhz_vcpu *vcpu, struct rhz_fault *fault)
{
	if (fault->flush == RHZ_FLUSH_NONE)
		return;
	fault->flush = RHZ_FLUSH_NONE;
	tag_stale(root_entry(vcpu));
}

/* As fill_fault, for an access that no error code describes. */
static enum rhz_fault_result l2_fault(struct rhz_vcpu *vcpu, rhz_ngpa ngpa, uint64_t info,
                                      struct rhz_fault *fault)
{
	bool ept = role_guest_is_ept(vcpu->now->role);
	unsigned access = nested_access(vcpu, info);
	rhz_gva addr = { ngpa.v };
	struct rhz_walk walk;

	if (!ept && vcpu->vm->stats.mmio_entries &&
	    shadow_mmio_cached(vcpu, addr, access, &fault->gpa))
		return RHZ_FAULT_MMIO;
	if (vcpu_walk(vcpu, addr, access, &walk) == RHZ_WALK_OK && !ept &&
	    fill_quickly(vcpu, addr, access, &walk)) {
		fault->level = 1;
		return RHZ_FAULT_RESUME;
	}
	return shadow_fault(vcpu, addr, 0, access, &walk, fault);
}

enum rhz_fault_result rhz_vcpu_l2_fault(struct rhz_vcpu *vcpu, rhz_ngpa ngpa, uint64_t info,
                                        struct rhz_fault *fault, struct rhz_l1_exit *exit)
{
	enum rhz_fault_result result = RHZ_FAULT_RETRY;
	rhz_gpa gpa;

	*fault = (struct rhz_fault){ 0 };
	vcpu_lock(vcpu);
	vcpu->stats.pf_taken++;
	if (!root_is_gone(vcpu) && vcpu->now->role.nested)
		result = l2_fault(vcpu, ngpa, info, fault);
	tag_doubted(vcpu, fault);
	/* changed this very moment? Then L2 tries again */
	if (result == RHZ_FAULT_REFLECT && nested_walk(vcpu, ngpa, info, &gpa, exit))
		result = RHZ_FAULT_RETRY;
	return fault_end(vcpu, ngpa.v, (uint32_t)info, result);
}

/* ---- invalidation by L1 ---- */

/* The one entry that may hold translations of a guest ASID's that the processor made by itself. */
static struct rhz_root_entry *live_of_asid(struct rhz_vcpu *vcpu, uint32_t guest_asid)
{
	for (unsigned i = 0; i < RHZ_ROOT_ENTRIES; i++) {
		struct rhz_root_entry *entry = &vcpu->roots.entry[i];

		if (rhz_root_cache_holds(&vcpu->roots, i) && entry->key.guest_asid == guest_asid &&
		    vcpu->context[entry->key.context].unseen && entry->lease.stamp &&
		    !root_lags(vcpu, entry))
			return entry;
	}
	return NULL;
}

/* On this processor the address is flushed under its tag, on another the tag before it runs. */
static enum rhz_flush flush_linear(struct rhz_vcpu *vcpu, const struct rhz_cpu *cpu,
                                   uint32_t guest_asid, uint32_t *tag)
{
	struct rhz_root_entry *live = live_of_asid(vcpu, guest_asid);

	if (!live)
		return RHZ_FLUSH_NONE;
	if (!tag_is_on(&live->lease, cpu) || !cpu->tags) {
		tag_stale(live);
		return RHZ_FLUSH_NONE;
	}
	*tag = live->lease.tag;
	vcpu->stats.flush_address++;
	return RHZ_FLUSH_ADDRESS;
}

enum rhz_flush rhz_vcpu_invlpga(struct rhz_vcpu *vcpu, const struct rhz_cpu *cpu, rhz_gva gva,
                                uint32_t guest_asid, uint32_t *tag)
{
	enum rhz_flush flush;

	*tag = 0;
	if (!guest_asid) {
		const struct rhz_root_entry *entry = root_entry(vcpu);

		flush = rhz_vcpu_invlpg(vcpu, gva);
		if (flush != RHZ_FLUSH_NONE && entry)
			*tag = entry->lease.tag;
		return flush;
	}
	vcpu->stats.invlpg++;
	/* shadow tables of L2's are synced when they are entered: nothing else is owed there */
	return flush_linear(vcpu, cpu, guest_asid, tag);
}

/* Other roots are synced when they are loaded; the current one is L2's only if L1 did not ask. */
static void flush_ends(struct rhz_vcpu *vcpu)
{
	vcpu->stats.guest_flushes++;
	trace(vcpu->vm, RHZ_EVENT_INVALIDATE, 0, ~0ull, 0);
	if (vcpu->current != RHZ_CONTEXT_L1 && !root_is_gone(vcpu))
		sync_lists(vcpu, root_page(vcpu));
	vm_unlock(vcpu->vm);
}

void rhz_vcpu_flush_asid(struct rhz_vcpu *vcpu, uint32_t guest_asid)
{
	vcpu_lock(vcpu);
	roots_stale(vcpu, guest_asid);
	flush_ends(vcpu);
}

void rhz_vcpu_flush_l2(struct rhz_vcpu *vcpu)
{
	vcpu_lock(vcpu);
	roots_stale_l2(vcpu);
	flush_ends(vcpu);
}

void rhz_vcpu_flush_table(struct rhz_vcpu *vcpu, uint64_t table)
{
	vcpu_lock(vcpu);
	roots_stale_table(vcpu, table);
	flush_ends(vcpu);
}

/* ---- translation for the embedder's own needs ---- */

enum rhz_status rhz_vcpu_translate_l2(struct rhz_vcpu *vcpu, const struct rhz_regs *regs,
                                      rhz_gva gva, unsigned access, struct rhz_l2_walk *walk)
{
	enum rhz_status status;
	struct rhz_mode mode;

	if (!vcpu->now->role.nested)
		return RHZ_ERR_ARGUMENT;
	status = rhz_mode_init(&mode, &vcpu->vm->config.cpuid, regs);
	if (status != RHZ_OK)
		return status;
	vcpu_lock(vcpu);
	nested_translate(vcpu, &mode, regs, gva, access, walk);
	vm_unlock(vcpu->vm);
	return RHZ_OK;
}
