/* SPDX-License-Identifier: MIT */
/* Orders of cached roots; see stack.h. */
#include "stack.h"

#include <string.h>

unsigned lab_stack_find(const struct lab_stack *stack, lab_root root)
{
	for (unsigned i = 0; i < stack->count; i++)
		if (stack->root[i] == root)
			return i;
	return LAB_STACK_NONE;
}

void lab_stack_move(struct lab_stack *stack, unsigned position, lab_root push)
{
	unsigned hole = stack->holes ? lab_stack_find(stack, 0) : LAB_STACK_NONE;
	unsigned stop = position;

	if (position != LAB_STACK_NONE && (!push || hole < position)) {
		stack->root[position] = 0;
		stack->holes++;
		stop = LAB_STACK_NONE;
	}
	if (!push)
		return;
	if (hole < stop) {
		stop = hole;
		stack->holes--;
	}
	if (stop == LAB_STACK_NONE)
		stop = stack->count < LAB_STACK_SIZE ? stack->count++ : LAB_STACK_SIZE - 1;
	memmove(stack->root + 1, stack->root, stop * sizeof(stack->root[0]));
	stack->root[0] = push;
}
