/* SPDX-License-Identifier: MIT */
/* Getting, linking and finding shadow tables. */
#include "shadow/tree.h"

#include "core/mem.h"
#include "shadow/sync.h"

struct page *tree_get(struct rhz_vcpu *vcpu, struct child child)
{
	struct rhz_vm *vm = vcpu->vm;
	struct page *page = page_find(vm, child.frame, child.role);

	/* sync before link: from not present to present the guest need not flush */
	if (page) {
		if (page->role.level > 1)
			sync_below(vcpu, page);
		else if (page->list != LIST_NONE)
			sync_frame(vcpu, child.frame);
		page_touch(vm, page);
		return page;
	}
	if (!role_has_table(child.role) || child.frame == FRAME_NONE)
		return page_make(vm, child.frame, child.role);
	vm->formats |= (uint8_t)role_format(child.role);
	vm->formats_differ = vm->formats & (vm->formats - 1);
	/* if the frame was out of sync for other pages of it, it is in sync for all now */
	sync_frame(vcpu, child.frame);
	return page_make(vm, child.frame, child.role);
}

struct page *tree_below(struct rhz_vcpu *vcpu, struct page *page, unsigned index,
                        const struct child *child)
{
	struct rhz_vm *vm = vcpu->vm;
	uint64_t spte = page->table[index];

	if (spte_is_table(spte, page->role.level)) {
		struct page *below = page_of_hpa(vm, spte & SPTE_FRAME);

		if (__builtin_expect(below->frame == child->frame &&
		                     below->role.word == child->role.word, 1))
			return below;
	}
	if (spte) {
		vm->stats.large_split += spte_is_leaf(spte, page->role.level);
		entry_clear(vm, page, index);
	}
	return NULL;
}

void tree_link(struct rhz_vcpu *vcpu, struct page *page, unsigned index, struct page *child)
{
	entry_set_table(vcpu->vm, page, index, child);
}

struct page *tree_find(struct rhz_vcpu *vcpu, uint64_t addr, unsigned *index)
{
	struct page *page = root_page(vcpu);

	while (page) {
		unsigned level = page->role.level;

		*index = tree_index(level, addr);
		if (role_is_pae_root(page->role))
			*index &= 3;
		if (!spte_is_table(page->table[*index], level))
			break;
		page = page_of_hpa(vcpu->vm, page->table[*index] & SPTE_FRAME);
	}
	return page;
}

struct page *tree_find_pae_root(struct rhz_vm *vm, uint32_t frame, union role role,
                                const uint64_t pdpte[4])
{
	uint32_t number = vm->bucket[frame_hash(vm, frame)];

	for (; number; number = page_at(vm, number)->hash_next) {
		struct page *page = page_at(vm, number);

		if (page->frame == frame && page->role.word == role.word &&
		    !memcmp(page->table + PDPTE_AT, pdpte, 4 * sizeof(*pdpte)))
			return page;
	}
	return NULL;
}

struct page *tree_root(struct rhz_vcpu *vcpu, struct child top, const uint64_t pdpte[4],
                       bool *built)
{
	uint32_t frame = top.frame;
	union role role = top.role;
	struct rhz_vm *vm = vcpu->vm;
	bool registers = role_is_pae_root(role) && role.guest == ROLE_PAE;
	struct page *page = registers ? tree_find_pae_root(vm, frame, role, pdpte) :
	                                page_find(vm, frame, role);

	*built = false;
	if (page) {
		page_touch(vm, page);
		return page;
	}
	if (!pages_reserve_root(vm, role))
		return NULL;
	*built = true;
	if (!role_is_pae_root(role))
		return tree_get(vcpu, top);
	page = page_make(vm, frame, role);
	if (registers)
		memcpy(page->table + PDPTE_AT, pdpte, 4 * sizeof(*pdpte));
	return page;
}
