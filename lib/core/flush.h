/* SPDX-License-Identifier: MIT */
/*
 * The removal counters, kicks, and the order 'take away, flush, free'.
 *
 * A vCPU flushes its tag at entry if something was taken away since the tag last ran. So a removal
 * is complete for a vCPU that is out of the guest once 'removed' has been raised, and for one that
 * may be in it after a kick. A page is given back only after that. No tag holds translations by
 * L1's nested tables and by others, so these two kinds of pages have a counter each.
 */
#ifndef RHZ_CORE_FLUSH_H
#define RHZ_CORE_FLUSH_H

#include "core/vm.h"

/* Something was weakened or taken away from a table that a processor may have read. */
RHZ_INLINE void vm_removed(struct rhz_vm *vm, union role role)
{
	uint64_t *removed = &vm->removed[role.nested];

	vm->stats.removals++;
	__atomic_store_n(removed, *removed + 1, __ATOMIC_RELEASE);
}

/* Makes every other vCPU leave the guest, and waits until it has. */
void vm_kick(struct rhz_vm *vm);

/*
 * The same if something was taken away since the last time: what is gone from our tables, by
 * whatever operation, may still be in the TLB of a vCPU that has not left the guest since.
 */
RHZ_INLINE void vm_kick_stale(struct rhz_vm *vm)
{
	if (vm->kicked == vm->stats.removals)
		return;
	if (vm->host.kick)
		vm_kick(vm);
	else
		vm->kicked = vm->stats.removals;
}

void vm_settle_now(struct rhz_vm *vm);

/* Kicks if that is wanted and due, or pages wait to be freed; frees them. Ends every operation. */
RHZ_INLINE void vm_settle(struct rhz_vm *vm)
{
	if (__builtin_expect(vm->kick_wanted || vm->dead, 0))
		vm_settle_now(vm);
}

/* Settles and gives the lock back. */
RHZ_INLINE void vm_unlock(struct rhz_vm *vm)
{
	vm_settle(vm);
	vm->self = NULL;
	if (vm->host.unlock)
		vm->host.unlock(vm->host.ctx);
}

#endif
