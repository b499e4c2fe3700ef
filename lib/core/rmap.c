/* SPDX-License-Identifier: MIT */
/* Links and the pool of their nodes. */
#include "core/rmap.h"

static uint32_t node_take(struct rhz_vm *vm)
{
	uint32_t number = vm->node_free;

	vm->node_free = node_at(vm, number)->next;
	vm->nodes_free--;
	vm->stats.rmap_nodes++;
	return number;
}

static void node_give(struct rhz_vm *vm, uint32_t number)
{
	*node_at(vm, number) = (struct node){ 0, vm->node_free };
	vm->node_free = number;
	vm->nodes_free++;
	vm->stats.rmap_nodes--;
}

bool nodes_reserve(struct rhz_vm *vm, uint32_t nodes)
{
	while (vm->nodes_free < nodes) {
		rhz_hpa hpa;
		struct node *chunk;

		if (vm->chunks == vm->chunks_most)
			return false;
		chunk = vm->host.page_alloc(vm->host.ctx, RHZ_PAGE_ANYWHERE, &hpa);
		if (!chunk)
			return false;
		vm->chunk[vm->chunks] = (struct chunk){ chunk, hpa.v };
		for (uint32_t i = 0; i < NODES_PER_CHUNK; i++) {
			chunk[i] = (struct node){ 0, vm->node_free };
			vm->node_free = vm->chunks * NODES_PER_CHUNK + i;
		}
		vm->chunks++;
		vm->nodes_free += NODES_PER_CHUNK;
	}
	return true;
}

void nodes_give_back(struct rhz_vm *vm)
{
	while (vm->chunks) {
		struct chunk *chunk = &vm->chunk[--vm->chunks];

		vm->host.page_free(vm->host.ctx, chunk->node, (rhz_hpa){ chunk->hpa });
	}
	vm->nodes_free = vm->node_free = 0;
}

bool link_add_more(struct rhz_vm *vm, uint32_t *head, uint32_t entry)
{
	uint32_t number;

	if (!vm->nodes_free)
		return false;
	number = node_take(vm);
	*node_at(vm, number) = (struct node){ entry, *head & ~LINK_TRACKED };
	*head = (*head & LINK_TRACKED) | LINK_CHAIN | number;
	return true;
}

void link_remove(struct rhz_vm *vm, uint32_t *head, uint32_t entry)
{
	uint32_t tracked = *head & LINK_TRACKED;
	uint32_t *at = head;

	*head &= ~LINK_TRACKED;
	while (*at != entry) {
		uint32_t number = *at & LINK_ID;
		struct node *node = node_at(vm, number);

		if (node->entry == entry || node->next == entry) {
			*at = node->entry == entry ? node->next : node->entry;
			node_give(vm, number);
			*head |= tracked;
			return;
		}
		at = &node->next;
	}
	/* only a head can be the entry itself: a tail is found by the node before it */
	*head = tracked;
}
