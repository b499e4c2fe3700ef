/* SPDX-License-Identifier: MIT */
/* The hypervisor's move to the top of RAM below 4 GiB. */
#ifndef HV_MEM_MOVE_H
#define HV_MEM_MOVE_H

#include <stdbool.h>
#include <stdint.h>

/* Where the hypervisor lives since the move; the guest's accesses there lead to a sink. */
struct own_memory { uint64_t base, bytes; };
extern struct own_memory own_memory;

/*
 * Chooses the place, takes it out of the guest's map, makes the lasting page tables there, copies
 * the image and runs on in the copy. 'more': bytes wanted beside the image and the page tables.
 */
void move_to_top(uint64_t more);

/*
 * Maps device memory directly, uncached: the guest may have its page tables there. False: there is
 * no memory for it, or it lies too high.
 */
bool move_map_device(uint64_t from, uint64_t to);

#endif
