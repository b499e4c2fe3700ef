/* SPDX-License-Identifier: MIT */
/* The guest's physical memory: the machine's, identity-mapped, without ours. */
#ifndef HV_MEM_GUEST_H
#define HV_MEM_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "mem/layout.h"
#include "mem/move.h"

struct guest;

/* Bytes that the library and the slots will take from the hypervisor's memory. */
uint64_t guest_memory_needs(void);

/* Makes the VM, its RAM and slots, and its vCPU. */
void guest_memory_init(struct guest *g);

/*
 * The guest touched an address without a slot: its own device memory above the map (a window onto
 * it is opened), or the hypervisor's memory (a sink frame is put there). Cannot fail.
 */
void guest_memory_fill(struct guest *g, uint64_t gpa);

/* Where guest-physical memory lies for us; null if not all of it is RAM or ROM of the guest's. */
void *guest_memory_at(struct guest *g, uint64_t gpa, uint64_t bytes);

/* Quick, and may say no: is it memory that lies for us at the same address? */
static inline bool guest_memory_is_plain(uint64_t gpa)
{
	return gpa < FOUR_GIB && gpa - own_memory.base >= own_memory.bytes;
}

/* Reads guest-physical memory; false if it is not RAM of the guest's. */
bool guest_memory_read(struct guest *g, uint64_t gpa, void *to, uint64_t bytes);

#endif
