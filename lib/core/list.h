/* SPDX-License-Identifier: MIT */
/*
 * The lists of out-of-sync tables: who is on which. A table whose parent chain leads to one root
 * is on that root's own list, any other on a shared one, of which L1's nested tables have their
 * own. Loading a root empties its own list and the shared one of its kind (shadow/sync.c), so that
 * a load pays for what concerns it and nothing else.
 */
#ifndef RHZ_CORE_LIST_H
#define RHZ_CORE_LIST_H

#include "core/vm.h"

/* The table joins the list that its parent chain says. */
void list_join(struct rhz_vm *vm, struct page *page);
void list_leave(struct rhz_vm *vm, struct page *page);

/*
 * The page, of level 2 or more, loses a parent: tables below it that are on its only root's own
 * list go to the shared one. (Before it gets another parent they are synced: shadow/sync.h.)
 */
void list_disown(struct rhz_vm *vm, struct page *page);

/* The list that the parent chain says: a root's number, or the shared one of its kind. */
uint32_t list_owner(const struct rhz_vm *vm, const struct page *page);

/* The shared list for pages of this role. */
RHZ_INLINE uint32_t list_shared(union role role)
{
	return LIST_SHARED - role.nested;
}

RHZ_INLINE bool list_is_shared(uint32_t list)
{
	return list >= LIST_NESTED;
}

/*
 * Nothing to sync for this root, of L1's nested tables or of others? Two loads and a test, for the
 * hit path. In this order: see list_share. What took a table off its list has been done with it:
 * see sync.c.
 */
RHZ_INLINE bool lists_empty_of(const struct rhz_vm *vm, const struct page *root, bool nested)
{
	uint32_t own = __atomic_load_n(&root->own_list, __ATOMIC_ACQUIRE);

	return !(own | __atomic_load_n(&vm->shared_list[nested], __ATOMIC_ACQUIRE));
}

RHZ_INLINE bool lists_empty(const struct rhz_vm *vm, const struct page *root)
{
	return lists_empty_of(vm, root, false);
}

RHZ_INLINE bool nested_lists_empty(const struct rhz_vm *vm, const struct page *root)
{
	return lists_empty_of(vm, root, true);
}

#endif
