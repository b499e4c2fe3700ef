/* SPDX-License-Identifier: MIT */
/* Setting, weakening and clearing one entry, with all that hangs on it. */
#include "core/entry.h"

#include "core/list.h"
#include "core/page.h"

static uint64_t *leaf_counter(struct rhz_vm *vm, unsigned level)
{
	return level == 1 ? &vm->stats.pages_4k : level == 2 ? &vm->stats.pages_2m :
	                                                        &vm->stats.pages_1g;
}

static void entry_put(struct page *page, unsigned index, uint64_t spte)
{
	page->used[index / 64] |= 1ull << (index % 64);
	entry_store(page, index, spte);
}

bool entry_set_leaf(struct rhz_vm *vm, struct page *page, unsigned index, uint64_t spte)
{
	unsigned level = page->role.level;

	if (!link_add(vm, leaf_head(vm, spte, level), entry_id(vm, page, index)))
		return false;
	entry_put(page, index, spte);
	++*leaf_counter(vm, level);
	if (level > 1)
		frame_note_large(vm, spte_hfn(spte, level), level);
	trace(vm, RHZ_EVENT_SET_SPTE, level, spte & SPTE_FRAME, spte);
	return true;
}

/* Rights that 'before' gives and 'after' does not. X and U are judged by the host's format. */
static bool spte_is_weaker(union role role, uint64_t before, uint64_t after)
{
	if (role.host == ROLE_HOST_EPT)
		return before & ~after & (EPT_R | EPT_W | EPT_X | EPT_XU);
	/* U may go either way: U = 0 takes user access away, U = 1 brings SMEP and SMAP in */
	return (before & ~after & PTE_W) || ((before ^ after) & PTE_U) ||
	       (after & ~before & PTE_NX) || ((before ^ after) & PTE_KEY);
}

void entry_change_leaf(struct rhz_vm *vm, struct page *page, unsigned index, uint64_t spte)
{
	uint64_t before = page->table[index];

	entry_store(page, index, spte);
	if (spte_is_weaker(page->role, before, spte) ||
	    (before ^ spte) & spte_type_bits(page->role))
		vm_removed(vm, page->role);
	trace(vm, RHZ_EVENT_SET_SPTE, page->role.level, spte & SPTE_FRAME, spte);
}

bool entry_set_table(struct rhz_vm *vm, struct page *page, unsigned index, struct page *child)
{
	uint64_t bits = PTE_P | PTE_W | PTE_U | PTE_A;

	/* a PDPTE has neither rights nor A [SDM3 4.4.1, table 4-8] */
	if (role_is_pae_root(page->role))
		bits = PTE_P;
	if (page->role.host == ROLE_HOST_EPT)
		bits = EPT_R | EPT_W | EPT_X;
	if (!link_add(vm, &child->parents, entry_id(vm, page, index)))
		return false;
	entry_put(page, index, child->hpa | bits);
	return true;
}

void entry_set_mmio(struct rhz_vm *vm, struct page *page, unsigned index, uint64_t gfn,
                    unsigned rights, unsigned key)
{
	uint64_t generation = vm->generation & MMIO_GENERATION_MASK;

	entry_put(page, index, MMIO_MARK | (uint64_t)rights << MMIO_RIGHTS_SHIFT |
	                               (uint64_t)key << MMIO_KEY_SHIFT | gfn << RHZ_PAGE_SHIFT |
	                               generation << MMIO_GENERATION_SHIFT);
	vm->stats.mmio_entries++;
	page->flags |= PAGE_ODD;
}

static void child_unlink(struct rhz_vm *vm, struct page *child, uint32_t id)
{
	vm->unlinks++;
	if (child->role.level > 1)
		list_disown(vm, child);
	link_remove(vm, &child->parents, id);
	/* Out of sync and nobody's: the guest gave the table up. It has level 1, so that this
	 * clears leaves only and goes no deeper. */
	if (child->list != LIST_NONE && link_empty(child->parents))
		page_zap(vm, child);
}

void entry_clear(struct rhz_vm *vm, struct page *page, unsigned index)
{
	uint64_t spte = page->table[index];
	unsigned level = page->role.level;
	uint32_t id = entry_id(vm, page, index);

	if (!(page->used[index / 64] & 1ull << (index % 64)))
		return;
	page->used[index / 64] &= ~(1ull << (index % 64));
	entry_store(page, index, 0);
	if (spte_is_mmio(spte)) {
		vm->stats.mmio_entries--; /* not present: no TLB holds it */
		return;
	}
	vm_removed(vm, page->role);
	if (spte_is_leaf(spte, level)) {
		link_drop(vm, leaf_head(vm, spte, level), id);
		--*leaf_counter(vm, level);
	} else {
		child_unlink(vm, page_of_hpa(vm, spte & SPTE_FRAME), id);
	}
}

bool entry_age(struct rhz_vm *vm, struct page *page, unsigned index)
{
	uint64_t accessed = spte_accessed_bit(page->role);

	if (page->role.host == ROLE_HOST_EPT &&
	    (page->role.no_ad || !vm->config.host_cpu.ept_ad)) {
		entry_clear(vm, page, index);
		return true;
	}
	page->flags |= PAGE_ODD;
	return __atomic_fetch_and(&page->table[index], ~accessed, __ATOMIC_RELAXED) & accessed;
}
