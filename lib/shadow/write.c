/* SPDX-License-Identifier: MIT */
/* Writes to guest tables: which may go free, and what the others change. */
#include "core/list.h"
#include "core/rmap.h"
#include "shadow/gpte.h"
#include "shadow/sync.h"

/*
 * A page that can go at once: nobody's root and nobody's child, or a root that is current nowhere
 * and whose table is written again and again, as memory is that is no table any more. 'Never of a
 * table in use': else the store that is being made might need the very table it is made to.
 */
static bool page_is_idle(struct rhz_vm *vm, struct page *page)
{
	if (!link_empty(page->parents))
		return false;
	if (!page->refs)
		return true;
	/* a load elsewhere that sets it back meanwhile may be forgotten: it is a guess */
	if (__atomic_add_fetch(&page->writes, 1, __ATOMIC_RELAXED) < FLOOD_WRITES ||
	    root_is_current(vm, page))
		return false;
	vm->stats.mmu_flooded++;
	return true;
}

enum write_fate write_to_tracked(struct rhz_vcpu *vcpu, uint32_t frame)
{
	struct rhz_vm *vm = vcpu->vm;
	bool emulate = false;
	struct page *page, *next;

	for (page = page_of_frame(vm, frame, NULL); page; page = next) {
		next = page_of_frame(vm, frame, page);
		/* a page zapped here takes at most leaf tables of other frames with it, or orphans
		 * of this one that are out of sync: look from the start again */
		if (page_is_idle(vm, page)) {
			page_zap(vm, page);
			next = page_of_frame(vm, frame, NULL);
			emulate = false;
		} else if (page->role.level > 1 || option(vm, RHZ_NO_UNSYNC)) {
			emulate = true;
		}
	}
	if (emulate)
		return WRITE_EMULATE;
	for (page = page_of_frame(vm, frame, NULL); page; page = page_of_frame(vm, frame, page)) {
		if (page->list != LIST_NONE)
			continue;
		list_join(vm, page);
		trace(vm, RHZ_EVENT_UNSYNC_PAGE, 1, frame, page->role.word);
	}
	frame_set_tracked(vm, frame, false);
	return WRITE_FREE;
}

/* The entries of a page behind which guest bytes from .. to - 1 of its table stand. */
static void written_entries(const struct page *page, unsigned from, unsigned to, int *first,
                            int *last)
{
	union role role = page->role;

	if (role.guest != ROLE_32) {
		int before = role_is_pdpt(role) ? (int)role.quadrant * 4 : 0;

		*first = (int)from / 8 - before;
		*last = (int)(to - 1) / 8 - before;
		*first = *first < 0 ? 0 : *first;
		return;
	}
	*first = (int)from / 4;
	*last = (int)(to - 1) / 4;
	if (role.level == 1) {
		*first -= (int)role.quadrant * 512;
		*last -= (int)role.quadrant * 512;
	} else {
		*first = (*first - (int)role.quadrant * 256) * 2;
		*last = (*last - (int)role.quadrant * 256) * 2 + 1;
	}
	*first = *first < 0 ? 0 : *first;
	*last = *last >= TABLE_ENTRIES ? TABLE_ENTRIES - 1 : *last;
}

void frame_written(struct rhz_vm *vm, uint32_t frame, unsigned from, unsigned to)
{
	struct page *page = page_of_frame(vm, frame, NULL), *next;

	vm->stats.mmu_pte_write += page != NULL;
	for (; page; page = next) {
		int first, last;

		written_entries(page, from, to, &first, &last);
		for (int i = (int)page_next_used(page, (unsigned)first); first <= last && i <= last;
		     i = (int)page_next_used(page, (unsigned)i + 1))
			sync_entry(vm, page, (unsigned)i);
		/* read late: an entry that went may have taken an orphan of this frame with it */
		next = page_of_frame(vm, frame, page);
	}
}
