/* SPDX-License-Identifier: MIT */
/* Re-reading guest tables: one entry, one table, the lists. */
#include "shadow/sync.h"

#include "core/flush.h"
#include "core/list.h"
#include "shadow/gpte.h"

/* ---- one entry ---- */

static bool table_still_right(struct rhz_vm *vm, struct page *page, unsigned index,
                              const struct gpte *gpte)
{
	struct page *below = page_of_hpa(vm, page->table[index] & SPTE_FRAME);
	struct child child;

	if (!gpte->leaf) {
		child = child_of_table(vm, page, index, gpte);
	} else {
		unsigned rights = gpte_leaf_rights(page->role, gpte->rights, gpte->dirty);

		/* promoted is right too: the next user access takes it down */
		if (below->role.rights == gpte_promoted_rights(page->role, rights, gpte->dirty))
			rights = below->role.rights;
		child = child_of_piece(page, gpte, rights);
	}
	return child.frame != FRAME_NONE && below->frame == child.frame &&
	       below->role.word == child.role.word;
}

/* The leaf that the guest entry allows now; false: none. Never promoted, logs nothing dirty. */
static bool leaf_allowed(struct rhz_vm *vm, const struct page *page, const struct gpte *gpte,
                         uint64_t *spte)
{
	union role role = page->role;
	struct slot *slot = slot_find(vm, role.space, gpte->gfn);
	struct leaf leaf = { .level = role.level, .attributes = gpte->attributes };

	if (!slot)
		return false;
	if (role.level > 1 &&
	    leaf_level(vm, slot, gpte->gfn, role.level, gpte->rights & RHZ_RIGHT_EXEC) < role.level)
		return false;
	leaf.hfn = gpte->gfn + (uint64_t)slot->to_hfn;
	leaf.rights = gpte_leaf_rights(role, gpte->rights, gpte->dirty);
	if (!slot_logged(slot, gpte->gfn) || !leaf_may_write(vm, slot, gpte->gfn, role.level))
		leaf.rights &= ~(unsigned)RHZ_RIGHT_WRITE;
	*spte = leaf_make(vm, role, &leaf);
	return true;
}

static bool mmio_still_right(struct rhz_vm *vm, const struct page *page, uint64_t spte,
                             const struct gpte *gpte)
{
	unsigned rights = gpte_leaf_rights(page->role, gpte->rights, gpte->dirty);

	return ((spte >> RHZ_PAGE_SHIFT) & (PTE_FRAME >> RHZ_PAGE_SHIFT)) == gpte->gfn &&
	       (spte >> MMIO_RIGHTS_SHIFT & RHZ_RIGHT_ALL) == rights &&
	       (spte >> MMIO_KEY_SHIFT & 15) == (gpte->attributes >> PTE_KEY_SHIFT & 15) &&
	       !slot_find(vm, page->role.space, gpte->gfn);
}

/* Bits in which a leaf that stays may fall behind what is allowed: rights it has not asked for. */
static bool leaf_is_within(uint64_t spte, uint64_t allowed)
{
	uint64_t lenient = PTE_W | PTE_D | PTE_A;

	return !((spte ^ allowed) & ~lenient) && !(spte & ~allowed & PTE_W);
}

bool sync_entry(struct rhz_vm *vm, struct page *page, unsigned index)
{
	uint64_t spte = page->table[index], allowed;
	struct gpte gpte;

	gpte_decode(vm, page, index, gpte_read(vm, page, index), &gpte);
	if (!gpte.usable) {
		entry_clear(vm, page, index);
		return true;
	}
	if (spte_is_table(spte, page->role.level)) {
		if (table_still_right(vm, page, index, &gpte))
			return false;
	} else if (spte_is_mmio(spte)) {
		if (gpte.leaf && mmio_still_right(vm, page, spte, &gpte))
			return false;
	} else if (gpte.leaf && leaf_allowed(vm, page, &gpte, &allowed)) {
		if (leaf_is_within(spte, allowed))
			return false;
		if (spte_hfn(spte, page->role.level) == spte_hfn(allowed, page->role.level)) {
			entry_change_leaf(vm, page, index, allowed);
			return true;
		}
		/* the guest remapped it, and will want it: better now than by a fault */
		entry_clear(vm, page, index);
		entry_set_leaf(vm, page, index, allowed);
		return true;
	}
	entry_clear(vm, page, index);
	return true;
}

/* ---- one table ---- */

/*
 * A leaf that the guest's entry still allows as it stands, told quickly: same frame (in the slot
 * of the entry before), same memory type and key, and no right that the guest's entry lacks. A
 * leaf whose rights were widened by CR0.WP = 0 is left to sync_entry.
 */
struct quick {
	uint64_t reserved; /* P, A and what must be clear, flipped against the entry */
	uint64_t first, pages, to_hpa; /* the slot */
	uint64_t exact;
	uint64_t rights; /* of U and NX, those that the levels above leave to this one */
};

#define QUICK_WANTED (PTE_P | PTE_A)

static void quick_init(struct rhz_vm *vm, const struct page *page, struct quick *quick)
{
	const struct slot *slot = vm->space[page->role.space].hint;

	*quick = (struct quick){
		.reserved = page_mode(vm, page->role)->reserved[1][1] | QUICK_WANTED,
		.exact = SPTE_FRAME | PTE_PWT | PTE_PCD | PTE_PAT_4K | PTE_P |
		         (page->role.host == ROLE_HOST_LONG ? PTE_KEY : 0),
		.rights = (page->role.rights & RHZ_RIGHT_USER ? PTE_U : 0) |
		          (page->role.rights & RHZ_RIGHT_EXEC ? PTE_NX : 0),
	};
	quick->first = slot->start;
	/* where a mapping's rights depend on the slot too, sync_entry looks */
	quick->pages = slot->dirty || slot->read_only ? 0 : slot->bytes;
	quick->to_hpa = (uint64_t)slot->to_hfn << RHZ_PAGE_SHIFT;
}

RHZ_INLINE bool quick_same(const struct quick *quick, uint64_t gpte, uint64_t spte)
{
	uint64_t moved = gpte + quick->to_hpa;

	if (((gpte ^ QUICK_WANTED) & quick->reserved) ||
	    (gpte & SPTE_FRAME) - quick->first >= quick->pages ||
	    ((moved ^ spte) & quick->exact))
		return false;
	/* U and NX must be the guest's own; W needs W and D */
	return !((gpte ^ spte) & quick->rights) &&
	       (!(spte & PTE_W) || (gpte & (PTE_W | PTE_D)) == (PTE_W | PTE_D));
}

/* Re-reads the entries of a leaf table that ours have; returns how many differed. */
static unsigned table_rescan(struct rhz_vm *vm, struct page *page)
{
	unsigned differed = 0;
	const uint64_t *guest;
	struct quick quick;

	if (page->role.guest == ROLE_32 || page->role.rom) {
		for (unsigned i = page_next_used(page, 0); i < TABLE_ENTRIES;
		     i = page_next_used(page, i + 1))
			differed += sync_entry(vm, page, i);
		return differed;
	}
	guest = frame_at(vm, page->frame);
	quick_init(vm, page, &quick);
	for (unsigned word = 0; word < TABLE_ENTRIES / 64; word++) {
		for (uint64_t bits = page->used[word]; bits; bits &= bits - 1) {
			unsigned i = word * 64 + (unsigned)__builtin_ctzll(bits);
			uint64_t gpte = __atomic_load_n(&guest[i], __ATOMIC_RELAXED);

			if (__builtin_expect(!quick_same(&quick, gpte, page->table[i]), 0))
				differed += sync_entry(vm, page, i);
		}
	}
	return differed;
}

/* ---- lists ---- */

/*
 * The order matters: write-protect, flush with other vCPUs out of the guest, and only then read.
 * The other way round a store between the reading and the protecting is lost for ever. Frames are
 * marked tracked with the protecting, or the reading could map one writable again.
 */
static void frame_protect(struct rhz_vm *vm, uint32_t frame)
{
	frame_set_tracked(vm, frame, true);
	frame_write_protect(vm, frame);
}

static void frame_rescan(struct rhz_vcpu *vcpu, uint32_t frame)
{
	struct rhz_vm *vm = vcpu->vm;

	for (struct page *page = page_of_frame(vm, frame, NULL); page;
	     page = page_of_frame(vm, frame, page)) {
		unsigned differed;

		if (page->list == LIST_NONE)
			continue;
		list_leave(vm, page);
		differed = table_rescan(vm, page);
		vcpu->stats.tables_synced++;
		vcpu->stats.entries_synced += differed;
		trace(vm, RHZ_EVENT_SYNC_PAGE, 1, frame, differed);
	}
}

void sync_frame(struct rhz_vcpu *vcpu, uint32_t frame)
{
	frame_protect(vcpu->vm, frame);
	vm_kick_stale(vcpu->vm);
	frame_rescan(vcpu, frame);
}

static void list_protect(struct rhz_vm *vm, uint32_t number)
{
	for (; number; number = page_at(vm, number)->list_next)
		frame_protect(vm, page_at(vm, number)->frame);
}

void sync_below(struct rhz_vcpu *vcpu, struct page *page)
{
	struct rhz_vm *vm = vcpu->vm;
	uint32_t owner = list_owner(vm, page);

	/* without an owner, what is out of sync below is on the shared list; page 0 has no own one */
	sync_lists(vcpu, page_at(vm, owner == LIST_SHARED ? PAGE_NIL : owner));
}

void sync_lists(struct rhz_vcpu *vcpu, struct page *root)
{
	struct rhz_vm *vm = vcpu->vm;

	vcpu->stats.syncs_asked++;
	if (lists_empty(vm, root))
		return;
	vcpu->stats.syncs_done++;
	list_protect(vm, root->own_list);
	list_protect(vm, vm->shared_list);
	vm_kick_stale(vm);
	while (root->own_list)
		frame_rescan(vcpu, page_at(vm, root->own_list)->frame);
	while (vm->shared_list)
		frame_rescan(vcpu, page_at(vm, vm->shared_list)->frame);
}
