/* SPDX-License-Identifier: MIT */
/*
 * The audit: every invariant of docs/invariants.md that can be told from the data alone. Those
 * about what a processor's TLB still holds (9, and parts of 6, 7 and 11) are the property tests'.
 */
#include "api/audit.h"

#include "core/entry.h"
#include "core/flush.h"
#include "core/frame.h"
#include "core/list.h"
#include "core/page.h"
#include "core/rmap.h"
#include "root/roots.h"

bool audit_fails(struct audit *audit, unsigned invariant, const char *what,
                 const struct page *page, unsigned index, uint64_t expected)
{
	*audit->out = (struct rhz_audit){
		.invariant = invariant,
		.what = what,
		.table = { page ? (uint64_t)page->frame << RHZ_PAGE_SHIFT : 0 },
		.role = page ? page->role.word : 0,
		.index = index,
		.entry = page ? page->table[index % TABLE_ENTRIES] : 0,
		.expected = expected,
	};
	return false;
}

bool audit_linked(const struct rhz_vm *vm, uint32_t head, uint32_t entry)
{
	for (uint32_t link = head & ~LINK_TRACKED; link;) {
		if (link_first(vm, link, &link) == entry)
			return true;
	}
	return false;
}

/* The entries of a link are leaves of this host frame. */
static bool head_is_true(struct audit *audit, uint32_t head, uint64_t hfn)
{
	for (uint32_t link = head & ~LINK_TRACKED; link;) {
		uint32_t id = link_first(audit->vm, link, &link);
		struct page *page = page_at(audit->vm, id >> 9);
		uint64_t spte = page->table[id & 511];

		if (!(page->flags & PAGE_LIVE) || !spte_is_leaf(spte, page->role.level) ||
		    spte_hfn(spte, page->role.level) != hfn)
			return audit_fails(audit, 2, "reverse map names no leaf of its frame", page,
			                   id & 511, hfn);
	}
	return true;
}

static bool tracked_is_true(struct audit *audit, uint32_t frame, bool tracked)
{
	bool wanted = false;

	for (struct page *page = page_of_frame(audit->vm, frame, NULL); page;
	     page = page_of_frame(audit->vm, frame, page))
		wanted |= page->list == LIST_NONE;
	if (tracked != wanted)
		return audit_fails(audit, 7, "tracking disagrees with the shadow pages", NULL, 0,
		                   frame);
	return true;
}

static bool audit_ram(struct audit *audit, struct rhz_ram *ram)
{
	uint64_t tracked_2m = 0, tracked_1g = 0;

	for (uint32_t i = 0; i < ram->count; i++) {
		uint64_t hfn = ram->first_hfn + i;
		bool tracked = ram->head[i] & LINK_TRACKED;

		if (!head_is_true(audit, ram->head[i], hfn) ||
		    !tracked_is_true(audit, ram->first + i, tracked))
			return false;
		tracked_2m += tracked;
		tracked_1g += tracked;
		if ((hfn + 1) % 512 == 0 || i + 1 == ram->count) {
			if (tracked_2m != frame_region_count(ram, hfn, 2))
				return audit_fails(audit, 7, "count of tracked frames is wrong",
				                   NULL, 0, hfn);
			tracked_2m = 0;
		}
		if ((hfn + 1) % (512 * 512) == 0 || i + 1 == ram->count) {
			if (tracked_1g != frame_region_count(ram, hfn, 3))
				return audit_fails(audit, 7, "count of tracked frames is wrong",
				                   NULL, 0, hfn);
			tracked_1g = 0;
		}
	}
	return true;
}

static bool audit_parents(struct audit *audit, struct page *page)
{
	for (uint32_t link = page->parents; link;) {
		uint32_t id = link_first(audit->vm, link, &link);
		struct page *parent = page_at(audit->vm, id >> 9);
		uint64_t spte = parent->table[id & 511];

		if (!(parent->flags & PAGE_LIVE) || !spte_is_table(spte, parent->role.level) ||
		    (spte & SPTE_FRAME) != page->hpa)
			return audit_fails(audit, 3, "parent does not point here", page, 0, id);
		if (parent->role.nested != page->role.nested)
			return audit_fails(audit, 10, "parent of another context", page, 0, id);
	}
	return true;
}

static bool audit_list(struct audit *audit, uint32_t number, uint32_t owner, uint64_t *listed)
{
	uint32_t before = PAGE_NIL;

	for (; number; number = page_at(audit->vm, number)->list_next) {
		struct page *page = page_at(audit->vm, number);

		if (page->list != owner || page->list_prev != before || !(page->flags & PAGE_LIVE))
			return audit_fails(audit, 8, "list is broken", page, 0, owner);
		if (page->role.level != 1 || !role_has_table(page->role))
			return audit_fails(audit, 7, "on a list, and no leaf table", page, 0, 0);
		if (list_is_shared(owner) ? list_shared(page->role) != owner :
		                            list_owner(audit->vm, page) != owner)
			return audit_fails(audit, 4, "on another list than its only root's", page,
			                   0, owner);
		before = number;
		++*listed;
	}
	return true;
}

static uint32_t references(const struct rhz_vm *vm, uint32_t number)
{
	uint32_t count = 0;

	for (unsigned i = 0; i < RHZ_MAX_VCPUS; i++) {
		for (unsigned e = 0; vm->vcpu[i] && e < RHZ_ROOT_ENTRIES; e++) {
			if (rhz_root_cache_holds(&vm->vcpu[i]->roots, e) &&
			    vm->vcpu[i]->roots.entry[e].page == number)
				count++;
		}
	}
	return count;
}

static bool audit_page(struct audit *audit, struct page *page, uint64_t *counted)
{
	struct rhz_vm *vm = audit->vm;
	uint32_t number = page_number(vm, page);

	if (!(page->flags & (PAGE_LIVE | PAGE_DOOMED)))
		return true;
	++*counted;
	if (references(vm, number) != page->refs)
		return audit_fails(audit, 5, "references do not add up", page, 0, page->refs);
	if (page->flags & PAGE_DOOMED)
		return true;
	if (vm->config.kind == RHZ_SHADOW && role_is_pae_root(page->role) && page->hpa >> 32)
		return audit_fails(audit, 16, "PAE root above 4 GiB", page, 0, page->hpa);
	if (role_has_table(page->role) && page_find(vm, page->frame, page->role) != page)
		return audit_fails(audit, 4, "two pages of one frame and role", page, 0, 0);
	return audit_parents(audit, page) && audit_entries(audit, page);
}

static bool audit_pool(struct audit *audit, uint64_t counted)
{
	const struct rhz_vm *vm = audit->vm;
	const struct rhz_vm_stats *stats = &vm->stats;

	if (counted + vm->dead_count != vm->pages_used || vm->pages_used > vm->config.quota)
		return audit_fails(audit, 8, "pages do not add up", NULL, 0, counted);
	if (audit->leaves[1] != stats->pages_4k || audit->leaves[2] != stats->pages_2m ||
	    audit->leaves[3] != stats->pages_1g || audit->mmio != stats->mmio_entries)
		return audit_fails(audit, 8, "leaves do not add up", NULL, 0, audit->leaves[1]);
	if (vm->nodes_free + stats->rmap_nodes != (uint64_t)vm->chunks * NODES_PER_CHUNK)
		return audit_fails(audit, 8, "nodes do not add up", NULL, 0, vm->nodes_free);
	return true;
}

static bool same_tag(const struct rhz_tag_lease *a, const struct rhz_tag_lease *b)
{
	return a->generation && a->generation == b->generation && a->cpu == b->cpu &&
	       a->tag == b->tag;
}

/* A context runs by tables of its own kind only: what L1 has L2 must not have. */
static bool audit_roots(struct audit *audit, struct rhz_vcpu *vcpu)
{
	for (unsigned e = 0; e < RHZ_ROOT_ENTRIES; e++) {
		const struct rhz_root_entry *entry = &vcpu->roots.entry[e];
		const struct page *page = page_at(audit->vm, entry->page);

		if (rhz_root_cache_holds(&vcpu->roots, e) &&
		    page->role.nested != (entry->key.context == RHZ_CONTEXT_L2_NESTED))
			return audit_fails(audit, 10, "root of another context", page, 0,
			                   entry->key.context);
	}
	for (unsigned c = 0; c < RHZ_CONTEXTS; c++) {
		if (vcpu->context[c].entry != root_cache_current(&vcpu->roots, c))
			return audit_fails(audit, 10, "a context's root is not its current one",
			                   NULL, c, vcpu->roots.current[c]);
	}
	return true;
}

static bool audit_tags(struct audit *audit, struct rhz_vcpu *vcpu)
{
	struct rhz_vm *vm = audit->vm;

	for (unsigned e = 0; e < RHZ_ROOT_ENTRIES; e++) {
		const struct rhz_tag_lease *lease = &vcpu->roots.entry[e].lease;

		if (!rhz_root_cache_holds(&vcpu->roots, e))
			continue;
		if (lease->stamp > vm->removed[vcpu->roots.entry[e].key.context ==
		                               RHZ_CONTEXT_L2_NESTED])
			return audit_fails(audit, 11, "a tag's stamp lies ahead", NULL, e,
			                   lease->stamp);
		for (unsigned i = vcpu->id; i < RHZ_MAX_VCPUS; i++) {
			struct rhz_root_cache *other = vm->vcpu[i] ? &vm->vcpu[i]->roots : NULL;
			unsigned o = i == vcpu->id ? e + 1 : 0;

			for (; other && o < RHZ_ROOT_ENTRIES; o++) {
				if (rhz_root_cache_holds(other, o) &&
				    same_tag(lease, &other->entry[o].lease))
					return audit_fails(audit, 11, "a tag has two owners", NULL,
					                   e, lease->tag);
			}
		}
	}
	return true;
}

static bool audit_all(struct audit *audit)
{
	struct rhz_vm *vm = audit->vm;
	uint64_t counted = 0, listed = 0;

	for (uint32_t number = 1; number <= vm->pages_fresh; number++) {
		struct page *page = page_at(vm, number);

		if (!audit_page(audit, page, &counted) ||
		    (page->flags & PAGE_LIVE && page->role.level > 1 &&
		     !audit_list(audit, page->own_list, number, &listed)))
			return false;
	}
	if (!audit_list(audit, vm->shared_list[0], LIST_SHARED, &listed) ||
	    !audit_list(audit, vm->shared_list[1], LIST_NESTED, &listed) ||
	    !audit_pool(audit, counted))
		return false;
	if (listed != vm->stats.mmu_unsync)
		return audit_fails(audit, 8, "listed tables do not add up", NULL, 0, listed);
	for (unsigned i = 0; i < vm->rams; i++) {
		if (!audit_ram(audit, &vm->ram[i]))
			return false;
	}
	for (unsigned i = 0; i < RHZ_MAX_VCPUS; i++) {
		if (vm->vcpu[i] && (!audit_tags(audit, vm->vcpu[i]) ||
		                    !audit_roots(audit, vm->vcpu[i])))
			return false;
	}
	return true;
}

unsigned rhz_vm_audit(struct rhz_vm *vm, struct rhz_audit *out)
{
	struct audit audit = { .vm = vm, .out = out };

	*out = (struct rhz_audit){ 0 };
	vm_lock(vm);
	audit_all(&audit);
	vm_unlock(vm);
	return out->invariant;
}
