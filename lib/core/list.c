/* SPDX-License-Identifier: MIT */
/* The lists of out-of-sync tables. */
#include "core/list.h"

#include "core/rmap.h"

static bool role_is_root(const struct rhz_vm *vm, union role role)
{
	if (role.nested)
		return role.level == vm->nested_levels;
	return role_is_pae_root(role) || (role.guest == ROLE_4LEVEL && role.level == 4) ||
	       (role.guest == ROLE_5LEVEL && role.level == 5);
}

/* The only page that points to this one, or null if there is none or more than one. */
static struct page *only_parent(const struct rhz_vm *vm, const struct page *page)
{
	if (!page->parents || page->parents & LINK_CHAIN)
		return NULL;
	return page_at(vm, page->parents >> 9);
}

uint32_t list_owner(const struct rhz_vm *vm, const struct page *page)
{
	uint32_t shared = list_shared(page->role);

	if (option(vm, RHZ_NO_LISTS))
		return shared;
	/* nothing points to a root, for there is no level above its own */
	while (page->parents) {
		if (page->parents & LINK_CHAIN)
			return shared;
		page = page_at(vm, page->parents >> 9);
	}
	return role_is_root(vm, page->role) ? page_number(vm, page) : shared;
}

static uint32_t *list_head(struct rhz_vm *vm, uint32_t list)
{
	return list_is_shared(list) ? &vm->shared_list[LIST_SHARED - list] :
	                              &page_at(vm, list)->own_list;
}

static void list_put(struct rhz_vm *vm, struct page *page, uint32_t list)
{
	uint32_t *head = list_head(vm, list);

	page->list = list;
	page->list_prev = PAGE_NIL;
	page->list_next = *head;
	if (*head)
		page_at(vm, *head)->list_prev = page_number(vm, page);
	__atomic_store_n(head, page_number(vm, page), __ATOMIC_RELEASE);
	__atomic_store_n(&vm->stats.mmu_unsync, vm->stats.mmu_unsync + 1, __ATOMIC_RELEASE);
}

void list_join(struct rhz_vm *vm, struct page *page)
{
	list_put(vm, page, list_owner(vm, page));
}

/* Takes out of a list what stood between these two. */
static void list_unlink(struct rhz_vm *vm, uint32_t list, uint32_t prev, uint32_t next)
{
	if (next)
		page_at(vm, next)->list_prev = prev;
	if (prev)
		page_at(vm, prev)->list_next = next;
	else
		__atomic_store_n(list_head(vm, list), next, __ATOMIC_RELEASE);
	__atomic_store_n(&vm->stats.mmu_unsync, vm->stats.mmu_unsync - 1, __ATOMIC_RELEASE);
}

void list_leave(struct rhz_vm *vm, struct page *page)
{
	list_unlink(vm, page->list, page->list_prev, page->list_next);
	page->list = LIST_NONE;
}

/*
 * Joins before it leaves: a load without the lock looks at the own list first, and so finds the
 * table on one of the two.
 */
static void list_share(struct rhz_vm *vm, struct page *page)
{
	uint32_t list = page->list, prev = page->list_prev, next = page->list_next;

	list_put(vm, page, list_shared(page->role));
	list_unlink(vm, list, prev, next);
}

static bool is_below(const struct rhz_vm *vm, const struct page *page, const struct page *top)
{
	while (page && page != top)
		page = only_parent(vm, page);
	return page;
}

void list_disown(struct rhz_vm *vm, struct page *page)
{
	uint32_t owner = list_owner(vm, page);
	uint32_t next;

	if (list_is_shared(owner))
		return;
	for (uint32_t i = page_at(vm, owner)->own_list; i; i = next) {
		struct page *listed = page_at(vm, i);

		next = listed->list_next;
		if (is_below(vm, listed, page))
			list_share(vm, listed);
	}
}
