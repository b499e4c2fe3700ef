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
 * Telling quickly that a leaf stands: the guest's entry, moved to where the slot lies in host
 * memory, and ours are the same in all that counts. First 'plainly', where nothing was taken from
 * what the guest allows; then with less rights than that; what is neither is left to sync_entry.
 * In a uniform space a match says that the entry lies in the slot of the leaf, which stands.
 */
struct quick {
	uint64_t to_hpa;
	uint64_t first, bytes; /* the slot found last; where rights depend on slots: nothing */
	bool uniform;
	uint64_t exact;    /* frame, type, key, P and A, U and NX as the levels above leave them */
	uint64_t reserved; /* must be clear in the guest's entry */
};

static void quick_init(struct rhz_vm *vm, const struct page *page, struct quick *quick)
{
	const struct space *space = &vm->space[page->role.space];
	const struct slot *slot = space->hint;
	uint64_t rights = (page->role.rights & RHZ_RIGHT_USER ? PTE_U : 0) |
	                  (page->role.rights & RHZ_RIGHT_EXEC ? PTE_NX : 0);

	quick->to_hpa = (uint64_t)slot->to_hfn << RHZ_PAGE_SHIFT;
	quick->first = slot->start;
	quick->bytes = slot->dirty || slot->read_only ? 0 : slot->bytes;
	quick->uniform = space->uniform && slot->bytes;
	quick->exact = SPTE_FRAME | PTE_PWT | PTE_PCD | PTE_PAT_4K | PTE_P | PTE_A | rights |
	               (page->role.host == ROLE_HOST_LONG ? PTE_KEY : 0);
	quick->reserved = page_mode(vm, page->role)->reserved[1][1];
	/* no leaf of ours has any of these, but NX where the levels above say so: then it differs */
	quick->exact |= quick->reserved;
}

/*
 * The guest's entry must have these whatever ours has: a leaf that nobody used yet has A clear, and
 * an MMIO entry is not present.
 */
#define GPTE_WANTED (PTE_P | PTE_A)

RHZ_INLINE bool plainly_same(const struct quick *quick, uint64_t gpte, uint64_t spte)
{
	return !(((gpte + quick->to_hpa) ^ (spte | GPTE_WANTED)) & (quick->exact | PTE_W | PTE_D));
}

static bool quick_same(const struct quick *quick, uint64_t gpte, uint64_t spte)
{
	if (((gpte + quick->to_hpa) ^ (spte | GPTE_WANTED)) & quick->exact ||
	    (gpte & SPTE_FRAME) - quick->first >= quick->bytes)
		return false;
	return !(spte & PTE_W) || (gpte & (PTE_W | PTE_D)) == (PTE_W | PTE_D);
}

static __attribute__((noinline)) unsigned entry_rescan(struct rhz_vm *vm, struct page *page,
                                                       const struct quick *quick, uint64_t gpte,
                                                       unsigned index)
{
	return !quick_same(quick, gpte, page->table[index]) && sync_entry(vm, page, index);
}

#define GPTE(guest, i) __atomic_load_n(&(guest)[i], __ATOMIC_RELAXED)

/* Re-reads 64 entries from 'first' on, all of which are used, four at a time. */
RHZ_INLINE unsigned run_rescan(struct rhz_vm *vm, struct page *page, const struct quick *quick,
                               const uint64_t *guest, unsigned first)
{
	uint64_t to_hpa = quick->to_hpa, plain = quick->exact | PTE_W | PTE_D;
	const uint64_t *table = page->table;
	unsigned differed = 0;

	for (unsigned i = first; i < first + 64; i += 4) {
		uint64_t x0 = (GPTE(guest, i) + to_hpa) ^ (table[i] | GPTE_WANTED);
		uint64_t x1 = (GPTE(guest, i + 1) + to_hpa) ^ (table[i + 1] | GPTE_WANTED);
		uint64_t x2 = (GPTE(guest, i + 2) + to_hpa) ^ (table[i + 2] | GPTE_WANTED);
		uint64_t x3 = (GPTE(guest, i + 3) + to_hpa) ^ (table[i + 3] | GPTE_WANTED);

		if (__builtin_expect(!((x0 | x1 | x2 | x3) & plain), 1))
			continue;
		for (unsigned k = i; k < i + 4; k++) {
			uint64_t gpte = GPTE(guest, k);

			if (!plainly_same(quick, gpte, table[k]))
				differed += entry_rescan(vm, page, quick, gpte, k);
		}
	}
	return differed;
}

static unsigned table_rescan_slowly(struct rhz_vm *vm, struct page *page)
{
	unsigned differed = 0;

	for (unsigned i = page_next_used(page, 0); i < TABLE_ENTRIES;
	     i = page_next_used(page, i + 1))
		differed += sync_entry(vm, page, i);
	return differed;
}

/* Re-reads the entries of a leaf table that ours have; returns how many differed. */
static unsigned table_rescan(struct rhz_vm *vm, struct page *page)
{
	unsigned differed = 0;
	const uint64_t *guest;
	struct quick quick;

	if (page->role.guest == ROLE_32 || page->role.rom)
		return table_rescan_slowly(vm, page);
	guest = frame_at(vm, page->frame);
	quick_init(vm, page, &quick);
	for (unsigned word = 0; word < TABLE_ENTRIES / 64; word++) {
		uint64_t bits = page->used[word];

		if (quick.uniform && bits == ~0ull) {
			differed += run_rescan(vm, page, &quick, guest, word * 64);
			continue;
		}
		for (; bits; bits &= bits - 1) {
			unsigned i = word * 64 + (unsigned)__builtin_ctzll(bits);
			uint64_t gpte = GPTE(guest, i);

			if (!quick.uniform || !plainly_same(&quick, gpte, page->table[i]))
				differed += entry_rescan(vm, page, &quick, gpte, i);
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
