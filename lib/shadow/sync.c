/* SPDX-License-Identifier: MIT */
/* Re-reading guest tables: one entry, one table, the lists. */
#include "shadow/sync.h"

#include "core/flush.h"
#include "core/list.h"
#include "core/page.h"
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
	/* the levels of an EPT may leave nothing: a leaf without rights is none */
	if (!(leaf.rights & (RHZ_RIGHT_READ | RHZ_RIGHT_EXEC)))
		return false;
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
RHZ_INLINE bool leaf_is_within(union role role, uint64_t spte, uint64_t allowed)
{
	uint64_t lenient = SPTE_W | spte_ad_bits(role);

	return !((spte ^ allowed) & ~lenient) && !(spte & ~allowed & SPTE_W);
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
		if (leaf_is_within(page->role, spte, allowed))
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
 * what the guest allows; then with less rights than that; what is neither is looked at in full.
 * In a uniform space a match says that the entry lies in the slot of the leaf, which stands: what
 * a slot takes away (read-only, dirty log) the leaf has not got, and so does not match.
 */
struct quick {
	struct rhz_vm *vm;
	struct page *page;
	const uint64_t *guest;
	uint64_t to_hpa;
	uint64_t plain;    /* what is compared: exact, W and D */
	uint64_t exact;    /* frame, type, key, P and A, U and NX as the levels above leave them */
	uint64_t reserved; /* must be clear in the guest's entry */
	struct space *space;
	const struct slot *slot; /* the one found last */
	unsigned differed;
};

/* False: its space is not uniform, and each entry is to be looked at for itself. */
RHZ_INLINE bool quick_init(struct rhz_vm *vm, struct page *page, struct quick *quick)
{
	union role role = page->role;
	struct space *space = &vm->space[role.space];
	const struct slot *slot = space->hint;

	quick->vm = vm;
	quick->page = page;
	quick->guest = frame_at(vm, page->frame);
	quick->space = space;
	quick->slot = slot;
	quick->to_hpa = (uint64_t)slot->to_hfn << RHZ_PAGE_SHIFT;
	quick->reserved = page_mode(vm, role)->reserved[1][1];
	/* no leaf of ours has these, but NX where the levels above say so: then it differs */
	quick->exact = leaf_taken(role) | quick->reserved;
	quick->plain = quick->exact | PTE_W | PTE_D;
	quick->differed = 0;
	return space->uniform && slot->bytes;
}

/* Does it lie in a slot at the same distance that takes no rights away? Mostly the last found. */
RHZ_INLINE bool quick_slotted(struct quick *quick, uint64_t gpte)
{
	const struct slot *slot = quick->slot;

	if (__builtin_expect((gpte & SPTE_FRAME) - slot->start >= slot->bytes, 0)) {
		slot = slot_at(quick->space, gpte & SPTE_FRAME);
		if (!slot || (uint64_t)slot->to_hfn << RHZ_PAGE_SHIFT != quick->to_hpa)
			return false;
		quick->slot = slot;
	}
	return !slot->dirty && !slot->read_only;
}

RHZ_INLINE bool quick_same(struct quick *quick, uint64_t gpte, uint64_t spte)
{
	if (((gpte + quick->to_hpa) ^ (spte | PTE_A)) & quick->exact)
		return false;
	if (spte & PTE_W && (gpte & (PTE_W | PTE_D)) != (PTE_W | PTE_D))
		return false;
	return quick_slotted(quick, gpte);
}

/*
 * The guest changed what was a leaf to another one: sync_entry in short, for what is usual. False:
 * it is not, and nothing was done.
 */
RHZ_INLINE bool quick_change(struct quick *quick, uint64_t gpte, unsigned index)
{
	struct rhz_vm *vm = quick->vm;
	struct page *page = quick->page;
	union role role = page->role;
	uint64_t now = page->table[index], spte;
	uint32_t *head;

	if (gpte & quick->reserved || !role.wp || !spte_present(now) || !quick_slotted(quick, gpte))
		return false;
	head = frame_head(vm, slot_frame(quick->slot, (gpte & SPTE_FRAME) >> RHZ_PAGE_SHIFT));
	spte = leaf_take(vm, role, (gpte + quick->to_hpa) & quick->plain, !(*head & LINK_TRACKED));
	if (!((now ^ spte) & SPTE_FRAME)) {
		if (leaf_is_within(role, now, spte))
			return false;
		entry_change_leaf(vm, page, index, spte);
		return true;
	}
	if (!link_empty(*head) && !vm->nodes_free)
		return false;
	entry_replace_leaf(vm, page, index, spte, head);
	return true;
}

RHZ_INLINE uint64_t gpte_load(const uint64_t *guest)
{
	return __atomic_load_n(guest, __ATOMIC_RELAXED);
}

/*
 * The guest's entry must have these whatever ours has: a leaf that nobody used yet has A clear, and
 * an MMIO entry is not present.
 */
#define GPTE_WANTED (PTE_P | PTE_A)

/* One entry that is not plainly the same. */
static __attribute__((noinline)) void entry_rescan(struct quick *quick, unsigned index)
{
	uint64_t gpte = gpte_load(quick->guest + index);

	if (~gpte & GPTE_WANTED) {
		entry_clear(quick->vm, quick->page, index);
		quick->differed++;
		return;
	}
	if (quick_same(quick, gpte, quick->page->table[index]))
		return;
	quick->differed += quick_change(quick, gpte, index) ||
	                   sync_entry(quick->vm, quick->page, index);
}

void sync_leaf(struct rhz_vm *vm, struct page *page, unsigned index)
{
	struct quick quick;

	if (page->role.guest == ROLE_32 || page->role.rom) {
		sync_entry(vm, page, index);
		return;
	}
	quick_init(vm, page, &quick);
	entry_rescan(&quick, index);
}

/* Where the guest's entry, moved, and ours differ. */
RHZ_INLINE uint64_t difference(uint64_t to_hpa, const uint64_t *guest, const uint64_t *table)
{
	return (gpte_load(guest) + to_hpa) ^ *table;
}

/* Four entries, all of which are used. odd: ours may lack P or A. */
RHZ_INLINE void four_rescan(struct quick *quick, const uint64_t *guest, const uint64_t *table,
                            uint64_t to_hpa, uint64_t plain, bool odd)
{
	unsigned index = (uintptr_t)guest % RHZ_PAGE_SIZE / 8;
	uint64_t x0 = difference(to_hpa, guest, table) & plain;
	uint64_t x1 = difference(to_hpa, guest + 1, table + 1) & plain;
	uint64_t x2 = difference(to_hpa, guest + 2, table + 2) & plain;
	uint64_t x3 = difference(to_hpa, guest + 3, table + 3) & plain;
	uint64_t all = odd ? table[0] & table[1] & table[2] & table[3] : GPTE_WANTED;

	if (__builtin_expect(!(x0 | x1 | x2 | x3) && !(~all & GPTE_WANTED), 1))
		return;
	if (x0 || odd)
		entry_rescan(quick, index);
	if (x1 || odd)
		entry_rescan(quick, index + 1);
	if (x2 || odd)
		entry_rescan(quick, index + 2);
	if (x3 || odd)
		entry_rescan(quick, index + 3);
}

/* 64 entries from 'first' on, all of which are used. */
RHZ_INLINE void full_rescan(struct quick *quick, unsigned first, bool odd)
{
	const uint64_t *guest = quick->guest + first, *table = quick->page->table + first;
	uint64_t to_hpa = quick->to_hpa, plain = quick->plain;
	const uint64_t *end = guest + 64;

	for (; guest != end; guest += 16, table += 16) {
		RHZ_UNROLL
		for (unsigned i = 0; i < 16; i += 4)
			four_rescan(quick, guest + i, table + i, to_hpa, plain, odd);
	}
}

static __attribute__((noinline)) void full_rescan_even(struct quick *quick, unsigned first)
{
	full_rescan(quick, first, false);
}

static __attribute__((noinline)) void full_rescan_odd(struct quick *quick, unsigned first)
{
	full_rescan(quick, first, true);
}

/* The same, of which some are. */
static __attribute__((noinline)) void some_rescan(struct quick *quick, unsigned first,
                                                  uint64_t used)
{
	const uint64_t *guest = quick->guest + first, *table = quick->page->table + first;
	uint64_t to_hpa = quick->to_hpa, plain = quick->plain;

	for (; used; used &= used - 1) {
		size_t i = (size_t)__builtin_ctzll(used);

		if (difference(to_hpa, guest + i, table + i) & plain || ~table[i] & GPTE_WANTED)
			entry_rescan(quick, first + (unsigned)i);
	}
}

/* Another format, a read-only table: without what is quick about others. */
static __attribute__((noinline)) unsigned table_rescan_slowly(struct rhz_vm *vm, struct page *page)
{
	unsigned differed = 0;

	for (unsigned i = page_next_used(page, 0); i < TABLE_ENTRIES;
	     i = page_next_used(page, i + 1))
		differed += sync_entry(vm, page, i);
	return differed;
}

/* Several slots at several distances: each entry is looked at for itself. */
static __attribute__((noinline)) unsigned table_rescan_one_by_one(struct quick *quick)
{
	struct page *page = quick->page;

	for (unsigned i = page_next_used(page, 0); i < TABLE_ENTRIES;
	     i = page_next_used(page, i + 1))
		entry_rescan(quick, i);
	return quick->differed;
}

/* Re-reads the entries of a leaf table that ours have; returns how many differed. */
static unsigned table_rescan(struct rhz_vm *vm, struct page *page)
{
	struct quick quick;

	if (!role_is_quick(page->role))
		return table_rescan_slowly(vm, page);
	if (!quick_init(vm, page, &quick))
		return table_rescan_one_by_one(&quick);
	RHZ_UNROLL
	for (unsigned first = 0; first < TABLE_ENTRIES; first += 64) {
		uint64_t used = page->used[first / 64];

		if (!used)
			continue;
		if (used != ~0ull)
			some_rescan(&quick, first, used);
		else if (page->flags & PAGE_ODD)
			full_rescan_odd(&quick, first);
		else
			full_rescan_even(&quick, first);
	}
	return quick.differed;
}

/* ---- lists ---- */

/*
 * The order matters: write-protect, flush with other vCPUs out of the guest, and only then read.
 * The other way round a store between the reading and the protecting is lost for ever. Frames are
 * marked tracked with the protecting, or the reading could map one writable again. (frame_protect)
 */

/* Re-reads the pages of this frame that are on a list. */
static void frame_rescan(struct rhz_vcpu *vcpu, uint32_t frame)
{
	struct rhz_vm *vm = vcpu->vm;
	uint32_t number = vm->bucket[frame_hash(vm, frame)], next;

	for (; number; number = next) {
		struct page *page = page_at(vm, number);
		unsigned differed;

		next = page->hash_next; /* re-reading a leaf table makes and zaps no page */
		if (page->frame != frame || page->list == LIST_NONE)
			continue;
		differed = table_rescan(vm, page);
		/* only now: a load that finds the list empty runs without the lock */
		list_leave(vm, page);
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

RHZ_INLINE void lists_empty_out(struct rhz_vcpu *vcpu, struct page *root, const uint32_t *shared)
{
	struct rhz_vm *vm = vcpu->vm;

	vcpu->stats.syncs_asked++;
	if (!(root->own_list | *shared))
		return;
	vcpu->stats.syncs_done++;
	list_protect(vm, root->own_list);
	list_protect(vm, *shared);
	vm_kick_stale(vm);
	while (root->own_list)
		frame_rescan(vcpu, page_at(vm, root->own_list)->frame);
	while (*shared)
		frame_rescan(vcpu, page_at(vm, *shared)->frame);
}

void sync_below(struct rhz_vcpu *vcpu, struct page *page)
{
	struct rhz_vm *vm = vcpu->vm;
	uint32_t owner = list_owner(vm, page);

	/* without an owner, what is out of sync below is on the shared list; page 0 has none */
	lists_empty_out(vcpu, page_at(vm, list_is_shared(owner) ? PAGE_NIL : owner),
	                &vm->shared_list[page->role.nested]);
}

void sync_lists(struct rhz_vcpu *vcpu, struct page *root)
{
	lists_empty_out(vcpu, root, &vcpu->vm->shared_list[root->role.nested]);
}
