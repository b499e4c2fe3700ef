/* SPDX-License-Identifier: MIT */
/*
 * Links: the set of entries that map a frame (the reverse map) or point to a table (its parents).
 *
 *   empty       0
 *   one entry   entry
 *   more        CHAIN|node -> { entry, CHAIN|node } -> { entry, entry }
 *
 * n entries take n - 1 nodes of 8 bytes. Known weakness: removal walks the chain, so a frame that
 * thousands of entries map (a zero page) costs its length for each; adding is O(1).
 */
#ifndef RHZ_CORE_RMAP_H
#define RHZ_CORE_RMAP_H

#include "core/vm.h"

RHZ_INLINE struct node *node_at(const struct rhz_vm *vm, uint32_t number)
{
	return &vm->chunk[number / NODES_PER_CHUNK].node[number % NODES_PER_CHUNK];
}

/* The first entry of a link that is not empty, and what follows it (0: nothing). */
RHZ_INLINE uint32_t link_first(const struct rhz_vm *vm, uint32_t link, uint32_t *rest)
{
	if (!(link & LINK_CHAIN)) {
		*rest = 0;
		return link & LINK_ID;
	}
	const struct node *node = node_at(vm, link & LINK_ID);

	*rest = node->next;
	return node->entry;
}

RHZ_INLINE bool link_empty(uint32_t link)
{
	return !(link & ~LINK_TRACKED);
}

bool link_add_more(struct rhz_vm *vm, uint32_t *head, uint32_t entry);

/* Adds an entry; false if there is no node for it. */
RHZ_INLINE bool link_add(struct rhz_vm *vm, uint32_t *head, uint32_t entry)
{
	if (__builtin_expect(link_empty(*head), 1)) {
		*head |= entry;
		return true;
	}
	return link_add_more(vm, head, entry);
}

/* Removes an entry that is there. */
void link_remove(struct rhz_vm *vm, uint32_t *head, uint32_t entry);

/* Gives the nodes' memory back: the VM ends. */
void nodes_give_back(struct rhz_vm *vm);

/* Makes sure that 'nodes' are free; false if no page can be had for them. */
bool nodes_reserve(struct rhz_vm *vm, uint32_t nodes);

#endif
