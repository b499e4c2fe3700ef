/* SPDX-License-Identifier: MIT */
/* Kicks, and giving pages back after them. */
#include "core/flush.h"

#include "core/page.h"

/* The number of the vCPU at hand, UINT32_MAX if there is none. */
static uint32_t self_number(const struct rhz_vm *vm)
{
	for (uint32_t i = 0; vm->self && i < RHZ_MAX_VCPUS; i++) {
		if (vm->vcpu[i] == vm->self)
			return i;
	}
	return UINT32_MAX;
}

void vm_kick(struct rhz_vm *vm)
{
	uint64_t set = vm->vcpus_made;
	uint32_t self = self_number(vm); /* none, too, when a vCPU is being destroyed */

	if (self < RHZ_MAX_VCPUS)
		set &= ~(1ull << self);
	vm->kick_wanted = false;
	vm->kicked = vm->stats.removals;
	if (!set || !vm->host.kick)
		return;
	vm->stats.remote_tlb_flush++;
	vm->kicks++;
	/* what was raised is seen before announcements are looked at: the other half of entering */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	vm->host.kick(vm->host.ctx, set);
}

void vm_settle_now(struct rhz_vm *vm)
{
	if (vm->dead || vm->kicked != vm->stats.removals)
		vm_kick(vm);
	vm->kick_wanted = false;
	pages_free_dead(vm);
}

void trace_emit(struct rhz_vm *vm, enum rhz_event_kind kind, unsigned level, uint64_t address,
                uint64_t value)
{
	struct rhz_event event = { .kind = kind, .vcpu = self_number(vm), .level = level,
	                           .address = address, .value = value };

	vm->host.trace(vm->host.ctx, &event);
}
