/* SPDX-License-Identifier: MIT */
/* What slot.c and dirty.c share. Slots themselves are in vm.h, finding them in frame.h. */
#ifndef RHZ_CORE_SLOT_H
#define RHZ_CORE_SLOT_H

#include "core/vm.h"

/* Takes write access from the slot's pages first .. first + pages - 1. */
void slot_write_protect(struct rhz_vm *vm, struct slot *slot, uint64_t first, uint64_t pages);

/* Drops 4 KiB leaves where a larger one could stand. */
void slot_collapse(struct rhz_vm *vm, struct slot *slot);

#endif
