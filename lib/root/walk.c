/* SPDX-License-Identifier: MIT */
/* The guest walk with the slots as its table reader, inlined into one function per format. */
#include "root/walk.h"

#include "core/frame.h"
#include "guest/walk.h"

RHZ_INLINE struct space *vcpu_space(struct rhz_vcpu *vcpu)
{
	return vcpu->guest;
}

RHZ_INLINE uint64_t entry_load(const struct slot *slot, rhz_gpa at, unsigned bytes)
{
	const void *from = (const void *)(slot->base + at.v);

	return bytes == 8 ? __atomic_load_n((const uint64_t *)from, __ATOMIC_RELAXED) :
	                    __atomic_load_n((const uint32_t *)from, __ATOMIC_RELAXED);
}

/* Reads through any slot. ctx: the address space. */
RHZ_INLINE bool slots_read(void *ctx, rhz_gpa at, unsigned bytes, uint64_t *value)
{
	struct slot *slot = slot_at(ctx, at.v);

	*value = slot ? entry_load(slot, at, bytes) : 0;
	return true;
}

/* Reads through one slot; false: the table is not in it. */
RHZ_INLINE bool slot_read(void *ctx, rhz_gpa at, unsigned bytes, uint64_t *value)
{
	const struct slot *slot = ctx;

	if (__builtin_expect(at.v - slot->start >= slot->bytes, 0))
		return false;
	*value = entry_load(slot, at, bytes);
	return true;
}

bool vcpu_slots_swap(void *ctx, rhz_gpa at, unsigned bytes, uint64_t old, uint64_t new)
{
	struct rhz_vcpu *vcpu = ctx;
	struct slot *slot = slot_at(vcpu_space(vcpu), at.v);
	uint32_t old32 = (uint32_t)old;
	bool done;
	void *to;

	if (!slot || slot->read_only)
		return true;
	to = (void *)(slot->base + at.v);
	if (bytes == 8)
		done = __atomic_compare_exchange_n((uint64_t *)to, &old, new, false,
		                                   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	else
		done = __atomic_compare_exchange_n((uint32_t *)to, &old32, (uint32_t)new, false,
		                                   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	if (done)
		slot_log_dirty(vcpu->vm, slot, at.v >> RHZ_PAGE_SHIFT);
	return done;
}

/* Two walks for each format: one for tables that are all in the slot found last, one for any. */
#define WALK_INSTANCE(name)                                                                       \
	static enum rhz_walk_outcome slot_walk_##name(struct rhz_vcpu *vcpu, rhz_gva gva,          \
	                                              unsigned access, struct rhz_walk *walk)      \
	{                                                                                          \
		const struct context *now = vcpu->now;                                             \
                                                                                                   \
		return walk_tables(&format_##name, &now->mode, &now->regs, gva, access, slot_read, \
		                   vcpu_space(vcpu)->hint, walk);                                  \
	}                                                                                          \
                                                                                                   \
	static enum rhz_walk_outcome slots_walk_##name(struct rhz_vcpu *vcpu, rhz_gva gva,         \
	                                               unsigned access, struct rhz_walk *walk)     \
	{                                                                                          \
		const struct context *now = vcpu->now;                                             \
                                                                                                   \
		return walk_tables(&format_##name, &now->mode, &now->regs, gva, access,            \
		                   slots_read, vcpu_space(vcpu), walk);                            \
	}

WALK_INSTANCE(32)
WALK_INSTANCE(pae)
WALK_INSTANCE(4level)
WALK_INSTANCE(5level)

static enum rhz_walk_outcome slot_walk_none(struct rhz_vcpu *vcpu, rhz_gva gva, unsigned access,
                                            struct rhz_walk *walk)
{
	(void)vcpu;
	(void)access;
	*walk = (struct rhz_walk){
		.outcome = RHZ_WALK_OK,
		.level = 1,
		.top = 1,
		.rights = RHZ_RIGHT_ALL,
		.accessed = true,
		.page_shift = RHZ_PAGE_SHIFT,
		.gpa = { gva.v & UINT32_MAX },
		.entry = { [1] = PTE_A | PTE_D },
	};
	return RHZ_WALK_OK;
}

enum rhz_ad_result vcpu_set_ad_now(struct rhz_vcpu *vcpu, unsigned access, struct rhz_walk *walk)
{
	const struct context *context = vcpu_context(vcpu);

	return rhz_guest_set_ad(&context->mode, walk, access, vcpu_slots_swap, vcpu);
}

const struct vcpu_walks rhz_vcpu_walks[] = {
	[RHZ_PAGING_NONE] = { slot_walk_none, slot_walk_none, vcpu_set_ad_now },
	[RHZ_PAGING_32] = { slot_walk_32, slots_walk_32, vcpu_set_ad_now },
	[RHZ_PAGING_PAE] = { slot_walk_pae, slots_walk_pae, vcpu_set_ad_now },
	[RHZ_PAGING_4LEVEL] = { slot_walk_4level, slots_walk_4level, vcpu_set_ad_now },
	[RHZ_PAGING_5LEVEL] = { slot_walk_5level, slots_walk_5level, vcpu_set_ad_now },
};

bool vcpu_entry_still(struct rhz_vcpu *vcpu, rhz_gpa at, unsigned bytes, uint64_t value)
{
	struct slot *slot = slot_at(vcpu_space(vcpu), at.v);
	const struct rhz_format *format = vcpu->now->mode.format;
	uint64_t ignored = slot && slot->read_only ? format->accessed | format->dirty : 0;

	return !((vcpu_read_entry(vcpu, at, bytes) ^ value) & ~ignored);
}

uint64_t vcpu_read_entry(struct rhz_vcpu *vcpu, rhz_gpa at, unsigned bytes)
{
	uint64_t value;

	slots_read(vcpu_space(vcpu), at, bytes, &value);
	return value;
}

bool vcpu_slots_read(void *ctx, rhz_gpa at, unsigned bytes, uint64_t *value)
{
	return slots_read(vcpu_space(ctx), at, bytes, value);
}
