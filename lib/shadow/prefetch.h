/* SPDX-License-Identifier: MIT */
/* Filling the neighbours of a leaf that a fault has set: what is touched is touched in runs. */
#ifndef RHZ_SHADOW_PREFETCH_H
#define RHZ_SHADOW_PREFETCH_H

#include "core/vm.h"

/* Fills holes around 'index' in a leaf table; returns how many. Never takes anything away. */
unsigned prefetch_around(struct rhz_vm *vm, struct page *page, unsigned index);

#endif
