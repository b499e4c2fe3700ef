/* SPDX-License-Identifier: MIT */
/* Kicks, and giving pages back after them. */
#include "core/flush.h"

#include "core/page.h"

void vm_kick(struct rhz_vm *vm)
{
	uint64_t set = vm->vcpus_made;

	if (vm->self)
		set &= ~(1ull << vm->self_id);
	vm->kick_wanted = false;
	vm->kicked = vm->removals;
	if (!set || !vm->host.kick)
		return;
	vm->stats.remote_tlb_flush++;
	vm->host.kick(vm->host.ctx, set);
}

void vm_settle(struct rhz_vm *vm)
{
	if (__builtin_expect(!vm->kick_wanted && !vm->dead, 1))
		return;
	if (vm->dead || vm->kicked != vm->removals)
		vm_kick(vm);
	vm->kick_wanted = false;
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
	struct rhz_event event = { kind, vm->self_id, level, address, value };

	vm->host.trace(vm->host.ctx, &event);
}
