/* SPDX-License-Identifier: MIT */
/* The pool of shadow pages. */
#include "core/page.h"

#include "core/entry.h"
#include "core/flush.h"
#include "core/frame.h"
#include "core/list.h"
#include "core/mem.h"
#include "core/rmap.h"

struct page *page_of_frame(const struct rhz_vm *vm, uint32_t frame, const struct page *page)
{
	uint32_t number = page ? page->hash_next : vm->bucket[frame_hash(vm, frame)];

	for (; number; number = page_at(vm, number)->hash_next) {
		struct page *next = page_at(vm, number);

		if (next->frame == frame && role_has_table(next->role))
			return next;
	}
	return NULL;
}

void frame_retrack(struct rhz_vm *vm, uint32_t frame)
{
	bool tracked = false;

	if (frame == FRAME_NONE)
		return;
	for (struct page *page = page_of_frame(vm, frame, NULL); page && !tracked;
	     page = page_of_frame(vm, frame, page))
		tracked = page->list == LIST_NONE;
	frame_set_tracked(vm, frame, tracked);
}

/* ---- reclaim order: newest first ---- */

static void lru_unlink(struct rhz_vm *vm, struct page *page)
{
	uint32_t next = page->lru_next, prev = page->lru_prev;

	*(prev ? &page_at(vm, prev)->lru_next : &vm->lru_newest) = next;
	*(next ? &page_at(vm, next)->lru_prev : &vm->lru_oldest) = prev;
}

static void lru_link(struct rhz_vm *vm, struct page *page)
{
	uint32_t number = page_number(vm, page);

	page->lru_prev = PAGE_NIL;
	page->lru_next = vm->lru_newest;
	*(vm->lru_newest ? &page_at(vm, vm->lru_newest)->lru_prev : &vm->lru_oldest) = number;
	vm->lru_newest = number;
}

void page_touch(struct rhz_vm *vm, struct page *page)
{
	lru_unlink(vm, page);
	lru_link(vm, page);
}

/* ---- spares ---- */

static bool spare_add(struct rhz_vm *vm, enum rhz_page_zone zone)
{
	rhz_hpa hpa;
	void *at = vm->host.page_alloc(vm->host.ctx, zone, &hpa);

	if (!at)
		return false;
	memset(at, 0, RHZ_PAGE_SIZE);
	vm->spare[vm->spares].at = at;
	vm->spare[vm->spares++].hpa = hpa.v;
	return true;
}

/* Puts a spare from the zone that a PAE root needs on top, in place of another if they are many. */
static bool spare_below_4g(struct rhz_vm *vm)
{
	if (vm->spares == SPARES) {
		vm->spares--;
		vm->host.page_free(vm->host.ctx, vm->spare[vm->spares].at,
		                   (rhz_hpa){ vm->spare[vm->spares].hpa });
	}
	return spare_add(vm, RHZ_PAGE_BELOW_4G);
}

static bool pages_reclaim_one(struct rhz_vm *vm)
{
	bool gone = vm->pages_used && pages_reclaim(vm, vm->pages_used - 1);

	vm_settle(vm);
	return gone;
}

bool pages_reserve(struct rhz_vm *vm, uint32_t pages)
{
	if (pages_ready(vm, pages))
		return true;
	if (vm->pages_used + pages > vm->config.quota &&
	    !pages_reclaim(vm, vm->config.quota - pages))
		return false;
	vm_settle(vm);
	/* a link for each page and one for the leaf are needed; neighbours can do without */
	while (!nodes_reserve(vm, NODE_RESERVE) && vm->nodes_free < pages + 1) {
		if (!pages_reclaim_one(vm))
			return false;
	}
	while (vm->spares < pages) {
		if (spare_add(vm, RHZ_PAGE_ANYWHERE))
			continue;
		/* the host has none: one of ours must do */
		if (!pages_reclaim_one(vm))
			return false;
	}
	/* while it has, some more: then most faults need not look what they lack */
	while (vm->spares < SPARES && spare_add(vm, RHZ_PAGE_ANYWHERE))
		;
	return true;
}

bool pages_reserve_root(struct rhz_vm *vm, union role role)
{
	return pages_reserve(vm, 1) && (!role_is_pae_root(role) || spare_below_4g(vm));
}

bool pages_reserve_path(struct rhz_vm *vm, unsigned (*missing)(const void *path), const void *path)
{
	unsigned wanted, reserved = 0;

	if (__builtin_expect(pages_ready(vm, RHZ_MAX_LEVELS - 1), 1))
		return true;
	while ((wanted = missing(path)) > reserved) {
		if (!pages_reserve(vm, wanted))
			return false;
		reserved = wanted;
	}
	return pages_reserve(vm, wanted);
}

struct page *page_make(struct rhz_vm *vm, uint32_t frame, union role role)
{
	uint32_t number = vm->page_free;
	struct page *page;

	if (number)
		vm->page_free = page_at(vm, number)->hash_next;
	else
		number = ++vm->pages_fresh;
	page = page_at(vm, number);
	memset(page, 0, sizeof(*page));
	vm->spares--;
	page->table = vm->spare[vm->spares].at;
	page->hpa = vm->spare[vm->spares].hpa;
	page->frame = frame;
	page->role = role;
	page->flags = PAGE_LIVE;
	page->hash_next = vm->bucket[frame_hash(vm, frame)];
	vm->bucket[frame_hash(vm, frame)] = number;
	page->hpa_next = vm->hpa_bucket[hpa_hash(vm, page->hpa)];
	vm->hpa_bucket[hpa_hash(vm, page->hpa)] = number;
	lru_link(vm, page);
	vm->pages_used++;
	vm->stats.mmu_shadow_pages++;
	trace(vm, RHZ_EVENT_GET_PAGE, role.level, frame, role.word);
	return page;
}

/* ---- the end of a page ---- */

static void hash_remove(struct rhz_vm *vm, struct page *page)
{
	uint32_t number = page_number(vm, page);
	uint32_t *at = &vm->bucket[frame_hash(vm, page->frame)];

	while (*at != number)
		at = &page_at(vm, *at)->hash_next;
	*at = page->hash_next;
}

static void hpa_remove(struct rhz_vm *vm, struct page *page)
{
	uint32_t number = page_number(vm, page);
	uint32_t *at = &vm->hpa_bucket[hpa_hash(vm, page->hpa)];

	while (*at != number)
		at = &page_at(vm, *at)->hpa_next;
	*at = page->hpa_next;
}

static void page_bury(struct rhz_vm *vm, struct page *page)
{
	page->hash_next = vm->dead;
	vm->dead = page_number(vm, page);
	vm->dead_count++;
}

void page_zap(struct rhz_vm *vm, struct page *page)
{
	if (!(page->flags & PAGE_LIVE))
		return;
	page->flags &= (uint8_t)~PAGE_LIVE;
	trace(vm, RHZ_EVENT_ZAP_PAGE, page->role.level, page->frame, page->role.word);
	if (page->list != LIST_NONE)
		list_leave(vm, page);
	while (page->parents) {
		uint32_t rest;
		uint32_t id = link_first(vm, page->parents, &rest);

		entry_clear(vm, page_at(vm, id >> 9), id & 511);
	}
	for (unsigned i = page_next_used(page, 0); i < TABLE_ENTRIES;
	     i = page_next_used(page, i + 1))
		entry_clear(vm, page, i);
	hash_remove(vm, page);
	lru_unlink(vm, page);
	if (role_has_table(page->role))
		frame_retrack(vm, page->frame);
	vm->stats.mmu_shadow_pages--;
	vm->stats.mmu_shadow_zapped++;
	/* a processor may still walk it as a root, even an empty one */
	vm_removed(vm, page->role);
	if (page->refs) {
		page->flags |= PAGE_DOOMED;
		__atomic_store_n(&vm->dooms, vm->dooms + 1, __ATOMIC_RELEASE);
	} else {
		page_bury(vm, page);
	}
}

void page_hold(struct rhz_vm *vm, struct page *page)
{
	vm->roots_held += !page->refs++;
}

void page_release(struct rhz_vm *vm, struct page *page)
{
	page->refs--;
	vm->roots_held -= !page->refs;
	if (!page->refs && page->flags & PAGE_DOOMED)
		page_bury(vm, page);
}

void pages_free_dead(struct rhz_vm *vm)
{
	while (vm->dead) {
		uint32_t number = vm->dead;
		struct page *page = page_at(vm, number);

		vm->dead = page->hash_next;
		hpa_remove(vm, page);
		if (vm->spares < SPARES) {
			memset(page->table, 0, RHZ_PAGE_SIZE);
			vm->spare[vm->spares].at = page->table;
			vm->spare[vm->spares++].hpa = page->hpa;
		} else {
			vm->host.page_free(vm->host.ctx, page->table, (rhz_hpa){ page->hpa });
		}
		page->flags = 0;
		page->hash_next = vm->page_free;
		vm->page_free = number;
		vm->stats.pages_freed_after_flush++;
		vm->pages_used--;
	}
	vm->dead_count = 0;
}

void pages_give_back(struct rhz_vm *vm)
{
	while (vm->spares) {
		vm->spares--;
		vm->host.page_free(vm->host.ctx, vm->spare[vm->spares].at,
		                   (rhz_hpa){ vm->spare[vm->spares].hpa });
	}
	nodes_give_back(vm);
}

/* The oldest page that is nobody's root. */
static struct page *reclaim_candidate(struct rhz_vm *vm)
{
	uint32_t number = vm->lru_oldest;

	while (number && page_at(vm, number)->refs)
		number = page_at(vm, number)->lru_prev;
	return number ? page_at(vm, number) : NULL;
}

bool pages_reclaim(struct rhz_vm *vm, uint32_t pages)
{
	while (vm->pages_used - vm->dead_count > pages) {
		struct page *page = reclaim_candidate(vm);

		if (!page) {
			/* only roots are left: the vCPU at hand can spare one it does not use */
			if (!vm->give_up_root || !vm->give_up_root(vm))
				return false;
			continue;
		}
		page_zap(vm, page);
		vm->stats.mmu_recycled++;
	}
	return true;
}
