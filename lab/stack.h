/* SPDX-License-Identifier: MIT */
/*
 * What a pool of cached roots holds, for all capacities at once.
 *
 * A pool whose least recently cached root leaves when it is full holds, with capacity c, the first
 * c of this order, whatever c is. So a root at position p is a hit for every capacity above p.
 * A root that leaves from within leaves a hole: the next to come moves the order down as far as
 * the hole, and no further. Capacities that did not reach the hole lose their last, as they must.
 */
#ifndef LAB_STACK_H
#define LAB_STACK_H

#include <rhizome/types.h>

#include <stdint.h>

enum { LAB_STACK_SIZE = RHZ_MAX_CACHED_ROOTS, LAB_STACK_NONE = LAB_STACK_SIZE };

/* A root by a number of its own, whose lowest two bits are its context; 0 is none. */
typedef uint64_t lab_root;

static inline unsigned lab_root_context(lab_root root)
{
	return (unsigned)root & 3;
}

struct lab_stack {
	uint32_t count; /* positions in use, holes among them */
	uint32_t holes;
	lab_root root[LAB_STACK_SIZE];
};

/* The root's position, or LAB_STACK_NONE. */
unsigned lab_stack_find(const struct lab_stack *stack, lab_root root);
/* Takes out what is at a position (or LAB_STACK_NONE) and puts 'push', if not 0, on top. */
void lab_stack_move(struct lab_stack *stack, unsigned position, lab_root push);

#endif
