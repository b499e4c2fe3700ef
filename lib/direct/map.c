/* SPDX-License-Identifier: MIT */
/* The direct MMU. */
#include "direct/map.h"

#include "core/leaf.h"

struct page *direct_root(struct rhz_vcpu *vcpu, union role role, bool *built)
{
	struct rhz_vm *vm = vcpu->vm;
	struct page *page = page_find(vm, 0, role);

	*built = false;
	if (page) {
		page_touch(vm, page);
		return page;
	}
	if (!pages_reserve_root(vm, role))
		return NULL;
	*built = true;
	return page_make(vm, 0, role);
}

static unsigned index_of(const struct page *page, uint64_t gfn)
{
	return (gfn >> (9 * (page->role.level - 1))) & (role_is_pae_root(page->role) ? 3 : 511);
}

static struct page *child_get(struct rhz_vm *vm, struct page *page, uint64_t gfn)
{
	union role role = page->role;
	uint32_t run = (uint32_t)(gfn >> (9 * (role.level - 1)));
	struct page *child;

	role.level--;
	child = page_find(vm, run, role);
	return child ? child : page_make(vm, run, role);
}

/*
 * The page below entry 'index', got and linked if there is none. A leaf in its way is split: what
 * it mapped comes back by faults.
 */
static struct page *below(struct rhz_vm *vm, struct page *page, unsigned index, uint64_t gfn)
{
	uint64_t spte = page->table[index];
	struct page *child;

	if (spte_is_table(spte, page->role.level))
		return page_of_hpa(vm, spte & SPTE_FRAME);
	if (spte) {
		vm->stats.large_split += spte_is_leaf(spte, page->role.level);
		entry_clear(vm, page, index);
	}
	child = child_get(vm, page, gfn);
	entry_set_table(vm, page, index, child);
	return child;
}

/*
 * Down to the page whose entry is to be the leaf of this level. Smaller tables that map something
 * stay: see shadow/fault.c on why.
 */
static struct page *descend(struct rhz_vcpu *vcpu, uint64_t gfn, unsigned level, unsigned *index)
{
	struct page *page = root_page(vcpu);

	for (;;) {
		uint64_t spte;

		*index = index_of(page, gfn);
		spte = page->table[*index];
		if (page->role.level <= level) {
			struct page *child;

			if (!spte_is_table(spte, page->role.level))
				return page;
			child = page_of_hpa(vcpu->vm, spte & SPTE_FRAME);
			if (page_next_used(child, 0) == TABLE_ENTRIES) {
				page_zap(vcpu->vm, child);
				return page;
			}
		}
		page = below(vcpu->vm, page, *index, gfn);
	}
}

struct path {
	struct rhz_vcpu *vcpu;
	uint64_t gfn;
};

/* How many pages the path to gfn lacks; those that it has become the newest. */
static unsigned path_missing(const void *at)
{
	const struct path *path = at;
	struct rhz_vcpu *vcpu = path->vcpu;
	uint64_t gfn = path->gfn;
	struct page *page = root_page(vcpu);
	uint64_t spte = page->table[index_of(page, gfn)];

	while (spte_is_table(spte, page->role.level)) {
		page = page_of_hpa(vcpu->vm, spte & SPTE_FRAME);
		page_touch(vcpu->vm, page);
		spte = page->table[index_of(page, gfn)];
	}
	return page->role.level - 1;
}

static enum rhz_fault_result leaf_set(struct rhz_vcpu *vcpu, struct slot *slot, uint64_t gfn,
                                      unsigned access, struct page *page, unsigned index,
                                      struct rhz_fault *fault)
{
	struct rhz_vm *vm = vcpu->vm;
	struct leaf leaf = {
		.level = page->role.level,
		.rights = RHZ_RIGHT_ALL,
		.attributes = page->role.host == ROLE_HOST_EPT ? EPT_WRITE_BACK : 0,
	};
	uint64_t now = page->table[index];
	uint64_t spte;

	leaf.hfn = (gfn & ~(level_frames(leaf.level) - 1)) + (uint64_t)slot->to_hfn;
	if (!leaf_may_write(vm, slot, gfn, leaf.level) ||
	    (!(access & RHZ_ACCESS_WRITE) && !slot_logged(slot, gfn)))
		leaf.rights &= ~(unsigned)RHZ_RIGHT_WRITE;
	if (leaf.level > 1 && option(vm, RHZ_NO_EXEC_LARGE))
		leaf.rights &= ~(unsigned)RHZ_RIGHT_EXEC;
	spte = leaf_make(vm, page->role, &leaf);
	if (spte & SPTE_W)
		slot_log_dirty(vm, slot, gfn);
	if (spte_present(now) && spte_hfn(now, leaf.level) == leaf.hfn) {
		if (!((now ^ spte) & ~(PTE_A | PTE_D | EPT_A | EPT_D))) {
			vcpu->stats.pf_spurious++;
			fault->flush = RHZ_FLUSH_ADDRESS;
			return RHZ_FAULT_RESUME;
		}
		entry_change_leaf(vm, page, index, spte);
	} else {
		entry_clear(vm, page, index);
		entry_set_leaf(vm, page, index, spte);
	}
	vcpu->stats.pf_fixed++;
	return RHZ_FAULT_RESUME;
}

/*
 * The usual fault, done quickly: a page near the last one mapped. The leaf table is that fault's,
 * unless any table was unlinked since; the entry is a hole, and a larger leaf cannot be.
 */
static bool fill_quickly(struct rhz_vcpu *vcpu, const struct slot *slot, uint64_t gfn,
                         unsigned level)
{
	const struct leaf_table *last = &vcpu->leaf_table;
	struct leaf leaf = { .level = 1, .rights = RHZ_RIGHT_ALL };
	struct rhz_vm *vm = vcpu->vm;
	union role role;
	uint32_t *head;

	if (last->run != gfn >> 9 || last->root != root_page(vcpu) || last->unlinks != vm->unlinks)
		return false;
	head = frame_head(vm, slot_frame(slot, gfn));
	if (level > 1 || last->page->table[gfn & 511] || !vm->nodes_free || slot->dirty ||
	    slot->read_only || *head & LINK_TRACKED || option(vm, RHZ_NO_QUICK_FILL))
		return false;
	leaf.hfn = gfn + (uint64_t)slot->to_hfn;
	role = last->page->role;
	role.level = 1; /* as it is: for the compiler */
	leaf.attributes = role.host == ROLE_HOST_EPT ? EPT_WRITE_BACK : 0;
	entry_fill(vm, last->page, gfn & 511, leaf_make(vm, role, &leaf), head);
	vcpu->stats.pf_fixed++;
	return true;
}

enum rhz_fault_result direct_fault(struct rhz_vcpu *vcpu, rhz_gpa gpa, unsigned access,
                                   struct rhz_fault *fault)
{
	struct rhz_vm *vm = vcpu->vm;
	uint64_t gfn = gpa.v >> RHZ_PAGE_SHIFT;
	struct slot *slot = slot_find(vm, vcpu->space, gfn);
	unsigned level, index, most = vcpu_context(vcpu)->levels > 3 ? 3 : 2;
	struct path path = { vcpu, gfn };
	struct page *page;

	fault->gpa = gpa;
	if (!slot || (slot->read_only && access & RHZ_ACCESS_WRITE)) {
		fault->read_only = slot;
		return RHZ_FAULT_MMIO;
	}
	level = leaf_level(vm, slot, gfn, most, access & RHZ_ACCESS_FETCH);
	if (fill_quickly(vcpu, slot, gfn, level)) {
		fault->level = 1;
		return RHZ_FAULT_RESUME;
	}
	if (!pages_reserve_path(vm, path_missing, &path))
		return RHZ_FAULT_NO_MEMORY;
	if (access & RHZ_ACCESS_WRITE && frame_is_tracked(vm, slot_frame(slot, gfn)))
		return RHZ_FAULT_TRACKED;
	page = descend(vcpu, gfn, level, &index);
	fault->level = (uint8_t)page->role.level;
	if (fault->level == 1)
		vcpu->leaf_table = (struct leaf_table){ page, root_page(vcpu), gfn >> 9,
		                                        vm->unlinks };
	return leaf_set(vcpu, slot, gfn, access, page, index, fault);
}
