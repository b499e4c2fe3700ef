/* SPDX-License-Identifier: MIT */
/*
 * A fault under shadow tables, in three steps:
 *
 *   decide    walk the guest's tables: reflect, MMIO, emulate, or which leaf is wanted; pure
 *   reserve   pages and nodes that the path lacks; may reclaim, may fail, and nothing has happened
 *   commit    set A and D, get the tables, link them, set the leaf; cannot fail
 *
 *   guest   CR3 -> table -> table -> table -> page        walk.entry[4] [3] [2] [1]
 *                    |        |        |
 *   ours   root -> page ---> page ---> page ---> frame    by frame of the guest's table, and role
 */
#include "shadow/fault.h"

#include "core/rmap.h"
#include "root/walk.h"
#include "shadow/fill.h"
#include "shadow/prefetch.h"
#include "shadow/sync.h"
#include "shadow/tree.h"
#include "shadow/unprotect.h"

struct try {
	struct rhz_vcpu *vcpu;
	struct rhz_vm *vm;
	uint64_t addr;
	unsigned access;
	uint64_t kicks;   /* vm->kicks when 'walk' was last known to be true */
	struct slot *slot;
	uint64_t gfn;
	unsigned rights;  /* of the leaf: gpte_leaf_rights', or promoted */
	bool dirty;       /* D of the guest's leaf */
	struct rhz_walk walk;
};

/* ---- MMIO ---- */

/* Rights as simple as this need no second look at modes and keys. */
static bool mmio_allows(const struct context *context, uint64_t spte, unsigned access)
{
	unsigned rights = (unsigned)(spte >> MMIO_RIGHTS_SHIFT) & RHZ_RIGHT_ALL;
	bool user = access & RHZ_ACCESS_USER;

	if (context->mode.pke || context->mode.pks || access & RHZ_ACCESS_FETCH)
		return false;
	if (user != !!(rights & RHZ_RIGHT_USER))
		return false;
	return !(access & RHZ_ACCESS_WRITE) || rights & RHZ_RIGHT_WRITE;
}

bool shadow_mmio_cached(struct rhz_vcpu *vcpu, rhz_gva gva, unsigned access, rhz_gpa *gpa)
{
	const struct rhz_mode *mode = &vcpu_context(vcpu)->mode;
	struct rhz_vm *vm = vcpu->vm;
	unsigned index = 0;
	struct page *page;
	uint64_t spte;

	/* an illegal address has the indices of a legal one: that is the walk's to tell */
	if (!vm->stats.mmio_entries || ((gva.v & mode->va_mask) + mode->va_bias) >> mode->va_bits)
		return false;
	page = tree_find(vcpu, gva.v, &index);
	if (!page)
		return false;
	spte = page->table[index];
	if (!spte_is_mmio(spte))
		return false;
	if (spte >> MMIO_GENERATION_SHIFT != (vm->generation & MMIO_GENERATION_MASK)) {
		entry_clear(vm, page, index);
		return false;
	}
	if (!mmio_allows(vcpu_context(vcpu), spte, access))
		return false;
	gpa->v = (spte & SPTE_FRAME) | (gva.v & (RHZ_PAGE_SIZE - 1));
	vcpu->stats.pf_mmio_cached++;
	return true;
}

/* ---- the guest entry behind a level of ours ---- */

static void try_gpte(const struct try *try, const struct page *page, unsigned index,
                     struct gpte *gpte)
{
	gpte_decode(try->vm, page, index, try->walk.entry[page->role.level], gpte);
}

/* What was walked still stands in the guest's tables. */
static bool walk_still_true(const struct try *try)
{
	unsigned bytes = vcpu_context(try->vcpu)->mode.format->entry_bytes;
	unsigned top = try->walk.top;

	/* PDPTE registers do not change under us; those of nested tables are none */
	if (vcpu_context(try->vcpu)->mode.paging == RHZ_PAGING_PAE &&
	    !vcpu_context(try->vcpu)->mode.nested)
		top = 2;
	for (unsigned level = try->walk.level; level <= top; level++) {
		if (!vcpu_entry_still(try->vcpu, try->walk.table[level], bytes,
		                      try->walk.entry[level]))
			return false;
	}
	return true;
}

/*
 * Protect, flush, then read: a vCPU that was made to leave the guest may have stored into a table
 * until then. So after a kick nothing is linked or mapped before the walk is known to be true.
 */
RHZ_INLINE bool walk_outdated(struct try *try)
{
	if (__builtin_expect(try->kicks == try->vm->kicks, 1))
		return false;
	try->kicks = try->vm->kicks;
	return !walk_still_true(try);
}

/* ---- the descent ---- */

/* What is to stand below entry 'index'; false: no table is there after all. */
static bool child_wanted(const struct try *try, const struct page *page, unsigned index,
                         struct child *child)
{
	struct gpte gpte;

	if (page->role.guest == ROLE_DIRECT) {
		*child = (struct child){ 0, page->role };
		child->role.level--;
		child->frame = (uint32_t)(try->gfn >> (9 * child->role.level));
		return true;
	}
	if (role_is_made_up(page->role))
		return child_of_made_up(try->vm, page, index, child);
	try_gpte(try, page, index, &gpte);
	if (gpte.leaf) {
		gpte.gfn = try->gfn;
		*child = child_of_piece(page, &gpte, try->rights);
		return true;
	}
	*child = child_of_table(try->vm, page, index, &gpte);
	return child->frame != FRAME_NONE;
}

static unsigned index_in(const struct page *page, uint64_t addr)
{
	/* a PAE root has four entries */
	return tree_index(page->role.level, addr) & (role_is_pae_root(page->role) ? 3 : 511);
}

/* What is to stand below entry 'index', got and linked if need be. Null: the guest changed it. */
static struct page *descend_one(struct try *try, struct page *page, unsigned index)
{
	struct page *below;
	struct child child;

	if (!child_wanted(try, page, index, &child))
		return NULL;
	below = tree_below(try->vcpu, page, index, &child);
	if (below)
		return below;
	below = tree_get(try->vcpu, child);
	if (walk_outdated(try))
		return NULL;
	tree_link(try->vcpu, page, index, below);
	return below;
}

/*
 * May the smaller table that stands where a leaf could be stay there? If it is right and in use,
 * so that two accesses of one instruction cannot take each other's leaf away for ever.
 */
static bool smaller_stays(const struct try *try, struct page *page, unsigned index)
{
	struct page *below = page_of_hpa(try->vm, page->table[index] & SPTE_FRAME);
	struct child child;

	return child_wanted(try, page, index, &child) && below->frame == child.frame &&
	       below->role.word == child.role.word && page_next_used(below, 0) < TABLE_ENTRIES;
}

/*
 * Goes down from the root to the page whose entry is to be the leaf, getting and linking what is
 * missing. A link is not trusted to be what the walk went by: the embedder may have written the
 * guest's table and be about to tell us (CVE-2026-46113 had a child reused in such a case).
 */
static struct page *descend(struct try *try, unsigned level, unsigned *index)
{
	struct page *page = root_page(try->vcpu);
	unsigned at = index_in(page, try->addr);

	while (page->role.level > level) {
		page = descend_one(try, page, at);
		if (!page)
			return NULL;
		at = index_in(page, try->addr);
	}
	while (spte_is_table(page->table[at], page->role.level)) {
		if (!smaller_stays(try, page, at)) {
			entry_clear(try->vm, page, at);
			break;
		}
		page = page_of_hpa(try->vm, page->table[at] & SPTE_FRAME);
		at = index_in(page, try->addr);
	}
	*index = at;
	return page;
}

/* How many pages the path to the address lacks; those that it has become the newest. */
static unsigned path_missing(const void *path)
{
	const struct try *try = path;
	struct page *page = root_page(try->vcpu);

	while (page->role.level > 1) {
		unsigned index = index_in(page, try->addr);
		struct page *below;
		struct child child;

		if (!spte_is_table(page->table[index], page->role.level) ||
		    !child_wanted(try, page, index, &child))
			break;
		below = page_of_hpa(try->vm, page->table[index] & SPTE_FRAME);
		if (below->frame != child.frame || below->role.word != child.role.word)
			break;
		page_touch(try->vm, below);
		page = below;
	}
	return page->role.level - 1;
}

/* ---- the leaf ---- */

static struct leaf leaf_wanted(const struct try *try, const struct page *page)
{
	union role role = page->role;
	struct leaf leaf = { .level = role.level, .rights = try->rights };
	bool write = try->access & RHZ_ACCESS_WRITE;

	/* the key always: whether it means anything is for the processor's CR4 to say */
	if (role.guest == ROLE_DIRECT)
		leaf.attributes = attributes_of_piece(role);
	else if (role_guest_is_ept(role))
		leaf.attributes = attributes_of_ept(try->walk.entry[try->walk.level]);
	else
		leaf.attributes = attributes_of(role, try->walk.entry[try->walk.level]);
	leaf.hfn = (try->gfn & ~0ull << (9 * (leaf.level - 1))) + (uint64_t)try->slot->to_hfn;
	if (!leaf_may_write(try->vm, try->slot, try->gfn, leaf.level) ||
	    (!write && !slot_logged(try->slot, try->gfn)))
		leaf.rights &= ~(unsigned)RHZ_RIGHT_WRITE;
	return leaf;
}

static enum rhz_fault_result leaf_set(struct try *try, struct page *page, unsigned index,
                                      struct rhz_fault *fault)
{
	struct leaf leaf = leaf_wanted(try, page);
	uint64_t now = page->table[index];
	uint64_t spte = leaf_make(try->vm, page->role, &leaf);

	if (spte & SPTE_W)
		slot_log_dirty(try->vm, try->slot, try->gfn);
	if (__builtin_expect(!now, 1)) {
		entry_set_leaf(try->vm, page, index, spte);
	} else if (spte_present(now) && spte_hfn(now, leaf.level) == leaf.hfn) {
		if (!((now ^ spte) & ~spte_ad_bits(page->role))) {
			/* good already: the processor has a stale translation */
			try->vcpu->stats.pf_spurious++;
			fault->flush = RHZ_FLUSH_ADDRESS;
			return RHZ_FAULT_RESUME;
		}
		entry_change_leaf(try->vm, page, index, spte);
	} else {
		entry_clear(try->vm, page, index);
		entry_set_leaf(try->vm, page, index, spte);
	}
	try->vcpu->stats.pf_fixed++;
	if (leaf.level == 1 && !option(try->vm, RHZ_NO_PREFETCH) &&
	    page->role.guest != ROLE_DIRECT)
		try->vcpu->stats.prefetched += prefetch_around(try->vm, page, index);
	return RHZ_FAULT_RESUME;
}

/* ---- the parts of a fault ---- */

static void try_rights(struct try *try)
{
	union role role = root_page(try->vcpu)->role;

	/* a write sets D before anything is mapped */
	try->dirty = vcpu_walk_dirty(try->vcpu, &try->walk) || try->access & RHZ_ACCESS_WRITE;
	/* the root's role allows all and knows the modes: so these are the whole path's rights */
	try->rights = gpte_leaf_rights(role, try->walk.rights, try->dirty);
	if ((try->access & (RHZ_ACCESS_WRITE | RHZ_ACCESS_USER)) == RHZ_ACCESS_WRITE) {
		unsigned promoted = gpte_promoted_rights(role, try->rights, try->dirty);

		if (promoted)
			try->rights = promoted;
	}
}

static enum rhz_fault_result try_mmio(struct try *try, bool reserved, struct rhz_fault *fault)
{
	struct rhz_vm *vm = try->vm;
	struct page *page;
	unsigned index;

	fault->gpa = try->walk.gpa;
	fault->read_only = try->slot;
	/* an EPT's rights are more than such an entry can tell */
	if (!reserved || try->slot || try->walk.level > 1 || option(vm, RHZ_NO_MMIO_CACHE) ||
	    role_guest_is_ept(root_page(try->vcpu)->role))
		return RHZ_FAULT_MMIO;
	page = descend(try, 1, &index);
	if (!page || walk_outdated(try))
		return RHZ_FAULT_RETRY;
	/* present to MMIO drops the old entry first */
	entry_clear(vm, page, index);
	entry_set_mmio(vm, page, index, try->gfn, try->rights,
	               attributes_of(page->role, try->walk.entry[1]) >> PTE_KEY_SHIFT & 15);
	try->vcpu->stats.pf_mmio_spte_created++;
	return RHZ_FAULT_MMIO;
}

/*
 * A write that no mapping can let through in the way that the guest's registers ask for. The
 * processor runs with CR0.WP = 1, and so heeds the write-disable bits of keys too.
 */
static bool needs_emulation(const struct try *try, uint32_t error_code)
{
	if (!(try->access & RHZ_ACCESS_WRITE))
		return false;
	return !(try->rights & RHZ_RIGHT_WRITE) ||
	       (error_code & RHZ_PF_PK && !vcpu_context(try->vcpu)->mode.wp);
}

static enum rhz_fault_result try_map(struct try *try, struct rhz_fault *fault)
{
	uint32_t frame = slot_frame(try->slot, try->gfn);
	unsigned index, level;
	struct page *page;

	fault->gpa = try->walk.gpa;
	if (try->access & RHZ_ACCESS_WRITE && frame_is_tracked(try->vm, frame) &&
	    write_to_tracked(try->vcpu, frame) == WRITE_EMULATE)
		return RHZ_FAULT_TRACKED;
	level = leaf_level(try->vm, try->slot, try->gfn, (try->walk.page_shift - 3u) / 9,
	                   try->rights & RHZ_RIGHT_EXEC);
	page = descend(try, level, &index);
	if (!page || walk_outdated(try))
		return RHZ_FAULT_RETRY;
	return leaf_set(try, page, index, fault);
}

static enum rhz_fault_result reflect(struct rhz_vcpu *vcpu, const struct rhz_walk *walk,
                                     struct rhz_fault *fault)
{
	fault->vector = walk->outcome == RHZ_WALK_NON_CANONICAL ? 13 : 14;
	fault->error_code = fault->vector == 14 ? walk->error_code : 0;
	vcpu->stats.pf_guest++;
	return RHZ_FAULT_REFLECT;
}

/*
 * [SDM3 4.6.1]: with AC = 1 only implicit accesses fault by SMAP, and no error code tells them
 * apart. A stale translation may be the reason too, or a path that was mended to a leaf that was
 * there, so it is one only if the same fault, with the same error code, comes again at once.
 */
static bool was_implicit(const struct try *try, uint32_t error_code, bool spurious)
{
	struct rhz_vcpu *vcpu = try->vcpu;
	const bool again = vcpu->last_spurious == try->addr + 1 && vcpu->last_code == error_code;

	vcpu->last_spurious = spurious ? try->addr + 1 : 0;
	vcpu->last_code = error_code;
	return spurious && again && vcpu_context(vcpu)->mode.smap &&
	       error_code & RHZ_PF_P && try->access & RHZ_ACCESS_AC &&
	       !(try->access & RHZ_ACCESS_USER) && try->rights & RHZ_RIGHT_USER;
}

/*
 * Where a table is shadowed in a format of another kind too, A and D mean something else there: a
 * write like any other. After it nothing that was reserved is sure, so the fault is taken again.
 */
static enum rhz_ad_result set_ad_among_formats(struct try *try)
{
	unsigned format = role_format(vcpu_context(try->vcpu)->role);
	unsigned bytes = vcpu_context(try->vcpu)->mode.format->entry_bytes;
	enum rhz_ad_result result;
	struct rhz_walk before = try->walk;

	result = vcpu_set_ad(try->vcpu, try->access, &try->walk);
	for (unsigned level = before.level; level <= before.top; level++) {
		uint64_t at = before.table[level].v;
		struct page *page;
		uint32_t frame;
		bool rom;

		/* nothing is set in read-only memory; a register has no address */
		if (before.entry[level] == try->walk.entry[level])
			continue;
		frame = frame_of_table(try->vm, try->vcpu->space, at >> RHZ_PAGE_SHIFT, &rom);
		page = rom || frame == FRAME_NONE ? NULL : page_of_frame(try->vm, frame, NULL);
		while (page && role_format(page->role) == format)
			page = page_of_frame(try->vm, frame, page);
		if (!page)
			continue;
		at %= RHZ_PAGE_SIZE;
		frame_written(try->vm, frame, (unsigned)at, (unsigned)at + bytes);
		result = RHZ_AD_RETRY;
	}
	return result;
}

/* Sets A and D after a walk that came through. */
RHZ_INLINE enum rhz_ad_result try_set_ad(struct try *try)
{
	if (__builtin_expect(try->vm->formats & ~role_format(root_page(try->vcpu)->role), 0))
		return set_ad_among_formats(try);
	return vcpu_set_ad(try->vcpu, try->access, &try->walk);
}

/* After a walk that came through. */
static enum rhz_fault_result try_fault(struct try *try, uint32_t error_code,
                                       struct rhz_fault *fault)
{
	/* cppcheck-suppress ctuuninitvar; shadow_fault writes what is read, and no more */
	struct rhz_vcpu *vcpu = try->vcpu;
	enum rhz_fault_result result;
	bool mmio, reserved;

	fault->level = try->walk.level;
	try->gfn = try->walk.gpa.v >> RHZ_PAGE_SHIFT;
	try->slot = slot_find(try->vm, vcpu->space, try->gfn);
	try_rights(try);
	mmio = !try->slot || (try->slot->read_only && try->access & RHZ_ACCESS_WRITE);
	reserved = pages_reserve_path(try->vm, path_missing, try);
	if (!reserved && !mmio)
		return RHZ_FAULT_NO_MEMORY;
	if (walk_outdated(try) || try_set_ad(try) == RHZ_AD_RETRY)
		return RHZ_FAULT_RETRY;
	if (mmio)
		return try_mmio(try, reserved, fault);
	if (needs_emulation(try, error_code)) {
		fault->gpa = try->walk.gpa;
		return RHZ_FAULT_TRACKED;
	}
	result = try_map(try, fault);
	if (__builtin_expect(was_implicit(try, error_code, fault->flush != RHZ_FLUSH_NONE), 0)) {
		try->access |= RHZ_ACCESS_IMPLICIT;
		if (vcpu_walk(vcpu, (rhz_gva){ try->addr }, try->access, &try->walk) != RHZ_WALK_OK)
			return reflect(vcpu, &try->walk, fault);
	}
	return result;
}

/* What is usual of a write to a present page; RHZ_FAULT_REFLECT: it is not. */
static enum rhz_fault_result fault_unprotect(struct rhz_vcpu *vcpu, rhz_gva gva,
                                             const struct rhz_walk *walk, struct rhz_fault *fault)
{
	switch (shadow_unprotect(vcpu, gva, walk)) {
	case UNPROTECT_DONE:
		fault->level = 1;
		return RHZ_FAULT_RESUME;
	case UNPROTECT_EMULATE:
		fault->level = walk->level;
		fault->gpa = walk->gpa;
		return RHZ_FAULT_TRACKED;
	case UNPROTECT_RETRY:
		return RHZ_FAULT_RETRY;
	case UNPROTECT_UNUSUAL:
		break;
	}
	return RHZ_FAULT_REFLECT;
}

enum rhz_fault_result shadow_fault(struct rhz_vcpu *vcpu, rhz_gva gva, uint32_t error_code,
                                   unsigned access, const struct rhz_walk *walk,
                                   struct rhz_fault *fault)
{
	struct try try; /* the walk in it is large, and written before it is read */

	if (walk->outcome != RHZ_WALK_OK)
		return reflect(vcpu, walk, fault);
	if (error_code & RHZ_PF_P && access & RHZ_ACCESS_WRITE) {
		enum rhz_fault_result result = fault_unprotect(vcpu, gva, walk, fault);

		if (result != RHZ_FAULT_REFLECT)
			return result;
	}
	try.vcpu = vcpu;
	try.vm = vcpu->vm;
	try.addr = gva.v;
	try.access = access;
	try.kicks = vcpu->vm->kicks;
	try.walk = *walk;
	return try_fault(&try, error_code, fault);
}

/*
 * Does only one way lead from the root to the page? Then no other address of this root has
 * translations of its entries. More parents are looked at only where roots share a table.
 */
static bool only_way(const struct rhz_vm *vm, const struct page *page, const struct page *root)
{
	enum { PARENTS = 64 };

	while (page != root) {
		unsigned ways = 0, parents = 0;
		uint32_t link = page->parents;

		if (!(link & LINK_CHAIN)) {
			page = page_at(vm, link >> 9);
			continue;
		}
		while (link && ++parents < PARENTS) {
			struct page *parent = page_at(vm, link_first(vm, link, &link) >> 9);

			if (parent->role.level != root->role.level)
				return false;
			ways += parent == root;
		}
		return !link && ways == 1;
	}
	return true;
}

bool shadow_invalidate(struct rhz_vcpu *vcpu, rhz_gva gva)
{
	unsigned index = (gva.v >> RHZ_PAGE_SHIFT) & 511;
	struct page *page = leaf_table(vcpu, gva.v);

	/* only leaf tables on a list can be out of date; the table stays there */
	if (!page || page->list == LIST_NONE || !page->table[index])
		return false;
	sync_leaf(vcpu->vm, page, index);
	return only_way(vcpu->vm, page, root_page(vcpu));
}
