/* SPDX-License-Identifier: MIT */
/* Kicks, and giving pages back after them. */
#include "core/flush.h"

#include "core/page.h"

/* The vCPU's number is the library's own business: vm->vcpu[] says who is who. */
static uint64_t vcpus_but_self(const struct rhz_vm *vm)
{
	uint64_t set = vm->vcpus_made;

	for (unsigned i = 0; vm->self && i < RHZ_MAX_VCPUS; i++) {
		if (vm->vcpu[i] == vm->self)
			set &= ~(1ull << i);
	}
	return set;
}

void vm_kick(struct rhz_vm *vm)
{
	uint64_t set;

	vm->kick_wanted = false;
	if (!vm->host.kick)
		return;
	set = vcpus_but_self(vm);
	if (!set)
		return;
	vm->stats.remote_tlb_flush++;
	vm->host.kick(vm->host.ctx, set);
}

void vm_settle(struct rhz_vm *vm)
{
	if (__builtin_expect(!vm->kick_wanted && !vm->dead, 1))
		return;
	vm_kick(vm);
	pages_free_dead(vm);
}

void vm_unlock(struct rhz_vm *vm)
{
	vm_settle(vm);
	vm->self = NULL;
	if (vm->host.unlock)
		vm->host.unlock(vm->host.ctx);
}

void trace_emit(struct rhz_vm *vm, enum rhz_event_kind kind, unsigned level, uint64_t address,
                uint64_t value)
{
	struct rhz_event event = { kind, UINT32_MAX, level, address, value };

	for (unsigned i = 0; vm->self && i < RHZ_MAX_VCPUS; i++) {
		if (vm->vcpu[i] == vm->self)
			event.vcpu = i;
	}
	vm->host.trace(vm->host.ctx, &event);
}
