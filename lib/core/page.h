/* SPDX-License-Identifier: MIT */
/*
 * The pool of shadow pages: finding by (frame, role) or by hpa, making, zapping, reclaiming.
 * What stands in them is not known here, only that entry_clear takes it down.
 */
#ifndef RHZ_CORE_PAGE_H
#define RHZ_CORE_PAGE_H

#include "core/vm.h"

RHZ_INLINE uint32_t frame_hash(const struct rhz_vm *vm, uint32_t frame)
{
	return (frame * 0x9e3779b1u) >> vm->hash_shift;
}

RHZ_INLINE uint32_t hpa_hash(const struct rhz_vm *vm, uint64_t hpa)
{
	return ((uint32_t)(hpa >> RHZ_PAGE_SHIFT) * 0x9e3779b1u) >> vm->hash_shift;
}

/* The page of this frame and role, or null. */
RHZ_INLINE struct page *page_find(const struct rhz_vm *vm, uint32_t frame, union role role)
{
	uint32_t number = vm->bucket[frame_hash(vm, frame)];

	while (number) {
		struct page *page = page_at(vm, number);

		if (page->frame == frame && page->role.word == role.word)
			return page;
		number = page->hash_next;
	}
	return NULL;
}

/* The next page after 'page' (null: the first) that shadows the guest table in this frame. */
struct page *page_of_frame(const struct rhz_vm *vm, uint32_t frame, const struct page *page);

/* The page whose table lies at hpa; it exists. */
RHZ_INLINE struct page *page_of_hpa(const struct rhz_vm *vm, uint64_t hpa)
{
	struct page *page = page_at(vm, vm->hpa_bucket[hpa_hash(vm, hpa)]);

	while (page->hpa != hpa)
		page = page_at(vm, page->hpa_next);
	return page;
}

/*
 * Makes sure that 'pages' pages can be made and linked, and one leaf set; may reclaim, and so zap
 * any page that is nobody's root, the oldest first: the caller holds no other. False: it cannot be.
 */
bool pages_reserve(struct rhz_vm *vm, uint32_t pages);

/* The same of one page, to be a root of this role: the next that is made. */
bool pages_reserve_root(struct rhz_vm *vm, union role role);

/*
 * The same for a path of tables: 'missing' tells how many it lacks and makes those that it has the
 * newest. So reclaim takes them last; if it had to, more are missing than before, and so on until
 * all of them are.
 */
bool pages_reserve_path(struct rhz_vm *vm, unsigned (*missing)(const void *path),
                        const void *path);

RHZ_INLINE bool pages_ready(const struct rhz_vm *vm, uint32_t pages)
{
	return vm->spares >= pages && vm->nodes_free >= NODE_RESERVE &&
	       vm->pages_used + pages <= vm->config.quota;
}

/* Makes a page, empty, of what was reserved; cannot fail. */
struct page *page_make(struct rhz_vm *vm, uint32_t frame, union role role);

/*
 * Gives a page up: it is found no more, nothing points to it, its entries go. It is freed after
 * the next flush, or, while it is somebody's root, when that reference goes.
 */
void page_zap(struct rhz_vm *vm, struct page *page);

void page_hold(struct rhz_vm *vm, struct page *page);
/* Drops a root's reference; a doomed page goes with the last. */
void page_release(struct rhz_vm *vm, struct page *page);

/* The page was used just now: last in line for reclaim. */
void page_touch(struct rhz_vm *vm, struct page *page);

/* Zaps until at most 'pages' are in use or nothing can go; true if it got there. */
bool pages_reclaim(struct rhz_vm *vm, uint32_t pages);

/* Gives spares and nodes back: the VM ends. */
void pages_give_back(struct rhz_vm *vm);

/* Gives dead pages back. The flush is done. */
void pages_free_dead(struct rhz_vm *vm);

/* Marks the frame tracked if and only if a page that is in sync shadows it. */
void frame_retrack(struct rhz_vm *vm, uint32_t frame);

#endif
