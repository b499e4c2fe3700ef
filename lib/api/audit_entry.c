/* SPDX-License-Identifier: MIT */
/* The audit of one page's entries: each is worked out anew from guest, slots and role. */
#include "api/audit.h"

#include "core/page.h"
#include "core/rmap.h"
#include "shadow/gpte.h"

/* What the leaf maps and may do, from the leaf's own bits. */
static unsigned leaf_rights(const struct page *page, uint64_t spte)
{
	unsigned rights = spte & SPTE_W ? RHZ_RIGHT_WRITE : 0u;

	if (page->role.host == ROLE_HOST_EPT)
		return rights | (spte & EPT_R ? RHZ_RIGHT_READ : 0u) |
		       (spte & EPT_X ? RHZ_RIGHT_EXEC : 0u);
	return rights | RHZ_RIGHT_READ | (spte & PTE_U ? RHZ_RIGHT_USER : 0u) |
	       (spte & PTE_NX ? 0u : RHZ_RIGHT_EXEC);
}

/* A leaf lies where its slot says, and does no more than slot, tracking and log allow. */
static bool leaf_placed(struct audit *audit, struct page *page, unsigned index, uint64_t gfn)
{
	struct rhz_vm *vm = audit->vm;
	uint64_t spte = page->table[index];
	unsigned level = page->role.level;
	uint64_t pages = level_frames(level);
	struct slot *slot = slot_find(vm, page->role.space, gfn);

	gfn &= ~(pages - 1);
	if (!slot || gfn < slot->gfn || gfn + pages > slot->gfn + slot->pages)
		return audit_fails(audit, 1, "leaf outside a slot", page, index, gfn);
	if (spte_hfn(spte, level) != gfn + (uint64_t)slot->to_hfn)
		return audit_fails(audit, 1, "leaf maps another frame", page, index,
		                   gfn + (uint64_t)slot->to_hfn);
	if (!(spte & SPTE_W))
		return true;
	if (slot->read_only)
		return audit_fails(audit, 1, "writable in a read-only slot", page, index, gfn);
	for (uint64_t i = 0; i < pages; i++) {
		if (!slot_logged(slot, gfn + i))
			return audit_fails(audit, 12, "writable and not logged", page, index, gfn);
	}
	return true;
}

/* Of every leaf, whatever it shadows: it covers no tracked frame if it is writable. */
static bool leaf_untracked(struct audit *audit, struct page *page, unsigned index)
{
	struct rhz_vm *vm = audit->vm;
	uint64_t spte = page->table[index], hfn = spte_hfn(spte, page->role.level);
	struct rhz_ram *ram = vm->ram;

	while (ram < vm->ram + vm->rams && hfn - ram->first_hfn >= ram->count)
		ram++;
	if (ram == vm->ram + vm->rams)
		return audit_fails(audit, 1, "leaf maps no RAM", page, index, 0);
	if (!audit_linked(vm, ram->head[hfn - ram->first_hfn], entry_id(vm, page, index)))
		return audit_fails(audit, 2, "leaf is not in the reverse map", page, index, hfn);
	if (!(spte & SPTE_W))
		return true;
	for (uint64_t i = 0; i < level_frames(page->role.level); i++) {
		if (ram->head[hfn - ram->first_hfn + i] & LINK_TRACKED)
			return audit_fails(audit, 7, "guest table is writable", page, index,
			                   hfn + i);
	}
	return true;
}

static bool direct_leaf(struct audit *audit, struct page *page, unsigned index)
{
	unsigned level = page->role.level;
	uint64_t gfn = ((uint64_t)page->frame << 9 | index) * level_frames(level);
	unsigned rights = leaf_rights(page, page->table[index]);

	if (rights & ~(unsigned)page->role.rights)
		return audit_fails(audit, 1, "direct leaf with more rights than its role", page,
		                   index, page->role.rights);
	return leaf_placed(audit, page, index, gfn);
}

/* The two shapes a shadow leaf may have: the guest's rights, or promoted for CR0.WP = 0. */
static bool rights_allowed(const struct page *page, const struct gpte *gpte, unsigned rights)
{
	unsigned plain = gpte_leaf_rights(page->role, gpte->rights, gpte->dirty);
	unsigned promoted = gpte_promoted_rights(page->role, plain, gpte->dirty);
	unsigned exact = RHZ_RIGHT_USER;

	if (!((rights ^ plain) & exact) && !(rights & ~plain))
		return true;
	return promoted && !((rights ^ promoted) & exact) && !(rights & ~promoted);
}

static bool shadow_leaf(struct audit *audit, struct page *page, unsigned index)
{
	uint64_t spte = page->table[index];
	struct gpte gpte;

	/* on a list: what the guest's table says now is not what it said */
	if (page->list != LIST_NONE)
		return true;
	gpte_decode(audit->vm, page, index, gpte_read(audit->vm, page, index), &gpte);
	if (!gpte.usable)
		return audit_fails(audit, 13, "present without the guest's P and A", page, index,
		                   0);
	if (!gpte.leaf)
		return audit_fails(audit, 1, "leaf for a guest table", page, index, 0);
	if (!rights_allowed(page, &gpte, leaf_rights(page, spte)))
		return audit_fails(audit, 1, "more rights than the guest gives", page, index,
		                   gpte_leaf_rights(page->role, gpte.rights, gpte.dirty));
	return leaf_placed(audit, page, index, gpte.gfn);
}

static bool child_demanded(struct audit *audit, struct page *page, unsigned index,
                           const struct page *below)
{
	struct rhz_vm *vm = audit->vm;
	struct child child;
	struct gpte gpte;

	if (page->role.guest == ROLE_DIRECT) {
		child.frame = page->frame << 9 | index;
		child.role = page->role;
		child.role.level--;
	} else if (role_is_made_up(page->role)) {
		if (!child_of_made_up(vm, page, index, &child))
			return audit_fails(audit, 4, "child where none can be", page, index, 0);
	} else {
		gpte_decode(vm, page, index, gpte_read(vm, page, index), &gpte);
		if (!gpte.usable)
			return audit_fails(audit, 13, "table without the guest's P and A", page,
			                   index, 0);
		if (gpte.leaf)
			child = child_of_piece(page, &gpte, below->role.rights);
		else
			child = child_of_table(vm, page, index, &gpte);
		if (gpte.leaf && !rights_allowed(page, &gpte, below->role.rights))
			return audit_fails(audit, 4, "piece with too many rights", page, index, 0);
	}
	if (child.frame != below->frame || child.role.word != below->role.word)
		return audit_fails(audit, 4, "child of another frame or role", page, index,
		                   child.role.word);
	return true;
}

static bool table_entry(struct audit *audit, struct page *page, unsigned index)
{
	struct rhz_vm *vm = audit->vm;
	uint64_t hpa = page->table[index] & SPTE_FRAME;
	uint32_t number = vm->hpa_bucket[hpa_hash(vm, hpa)];

	while (number && page_at(vm, number)->hpa != hpa)
		number = page_at(vm, number)->hpa_next;
	if (!number || !(page_at(vm, number)->flags & PAGE_LIVE))
		return audit_fails(audit, 6, "entry leads to a freed page", page, index, 0);
	if (!audit_linked(vm, page_at(vm, number)->parents, entry_id(vm, page, index)))
		return audit_fails(audit, 3, "entry is no parent of its child", page, index, 0);
	return child_demanded(audit, page, index, page_at(vm, number));
}

static bool mmio_entry(struct audit *audit, struct page *page, unsigned index)
{
	struct rhz_vm *vm = audit->vm;
	uint64_t spte = page->table[index];

	audit->mmio++;
	if (spte >> MMIO_GENERATION_SHIFT != (vm->generation & MMIO_GENERATION_MASK))
		return true;
	if (slot_find(vm, page->role.space, (spte & SPTE_FRAME) >> RHZ_PAGE_SHIFT))
		return audit_fails(audit, 14, "MMIO entry where a slot is", page, index, 0);
	return true;
}

static bool leaf_entry(struct audit *audit, struct page *page, unsigned index)
{
	audit->leaves[page->role.level]++;
	if (!leaf_untracked(audit, page, index))
		return false;
	if (page->role.guest == ROLE_DIRECT)
		return direct_leaf(audit, page, index);
	return shadow_leaf(audit, page, index);
}

bool audit_entries(struct audit *audit, struct page *page)
{
	unsigned level = page->role.level;

	for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
		uint64_t spte = page->table[i];
		bool used = page->used[i / 64] >> (i % 64) & 1, good = true;

		/* a PAE root keeps its PDPTE registers behind its entries */
		if (role_is_pae_root(page->role) && i >= 4)
			break;
		if (used != !!spte)
			return audit_fails(audit, 8, "the map of used entries is wrong", page, i,
			                   used);
		if (spte_is_leaf(spte, level))
			good = leaf_entry(audit, page, i);
		else if (spte_is_table(spte, level))
			good = table_entry(audit, page, i);
		else if (spte)
			good = mmio_entry(audit, page, i);
		if (!good)
			return false;
	}
	return true;
}
