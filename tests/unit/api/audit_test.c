/* SPDX-License-Identifier: MIT */
/*
 * Who watches the watcher: one thing after another is broken in the library's own data, or in the
 * guest's tables behind its back, and the audit says which invariant that is. Mended, it is silent.
 */
#include "api/audit.h"
#include "core/rmap.h"
#include "fixture.h"
#include "root/vcpu.h"

enum { DATA = 0x1000, DATA2 = 0x2000, AT = 0x5000, AT2 = 0x6000, READ_ONLY = 0x7000,
       MMIO = 0x8000, LARGE = 0x50000000, PIECES = 0x80000000, UNMAPPED = 0x600 };

struct scene {
	struct world *world;
	struct rhz_vm *vm;
	uint64_t root, other; /* guest tables; 'other' shares those below with 'root' */
	struct page *root_page, *other_page, *directory, *leaf; /* on the way to AT */
	struct { void *at; uint64_t bytes, before; } change[8];
	unsigned changes;
};

/* Changes a word and remembers how it was. */
static void change(struct scene *s, void *at, unsigned bytes, uint64_t value)
{
	s->change[s->changes].at = at;
	s->change[s->changes].bytes = bytes;
	memcpy(&s->change[s->changes++].before, at, bytes);
	memcpy(at, &value, bytes);
}
#define SET(s, field, value) change(s, &(field), sizeof(field), (uint64_t)(value))

static void mend(struct scene *s)
{
	while (s->changes) {
		s->changes--;
		memcpy(s->change[s->changes].at, &s->change[s->changes].before,
		       s->change[s->changes].bytes);
	}
}

static void set_guest(struct scene *s, uint64_t gva, unsigned level, uint64_t flip)
{
	uint64_t *entry = guest_at(s->world, entry_at(s->world, s->root, gva, level));

	change(s, entry, 8, *entry ^ flip);
}

/* The page of a guest table at a level. */
static struct page *page_at_level(struct scene *s, uint64_t table, unsigned level)
{
	for (uint32_t number = 1; number <= s->vm->pages_fresh; number++) {
		struct page *page = page_at(s->vm, number);

		if (page->flags & PAGE_LIVE && page->role.level == level &&
		    page->frame == s->vm->ram[0].first + (table >> 12))
			return page;
	}
	fail_msg("no page of level %u for table %#llx", level, (unsigned long long)table);
	return NULL;
}

static unsigned index_of(uint64_t gva, unsigned level)
{
	return gva >> (12 + 9 * (level - 1)) & 511;
}

static struct rhz_root_entry *root_of(struct scene *s, unsigned vcpu)
{
	struct rhz_root_cache *roots = &s->vm->vcpu[vcpu]->roots;

	return &roots->entry[roots->current[RHZ_CONTEXT_L1]];
}

/* ---- tracking, the reverse map, parents, lists ---- */

static void break_reverse_map(struct scene *s)
{
	SET(s, s->vm->ram[0].head[UNMAPPED], s->vm->ram[0].head[DATA >> 12]);
}

static void break_leaf_unlinked(struct scene *s)
{
	SET(s, s->vm->ram[0].head[DATA >> 12], 0);
}

static void break_tracking(struct scene *s)
{
	SET(s, s->vm->ram[0].head[UNMAPPED], LINK_TRACKED);
}

static void break_count_2m(struct scene *s)
{
	SET(s, s->vm->ram[0].tracked_2m[0], s->vm->ram[0].tracked_2m[0] + 1);
}

static void break_count_1g(struct scene *s)
{
	SET(s, s->vm->ram[0].tracked_1g[0], s->vm->ram[0].tracked_1g[0] + 1);
}

static void break_parent(struct scene *s)
{
	SET(s, s->root_page->parents, entry_id(s->vm, s->leaf, index_of(AT, 1)));
}

static void break_parents_context(struct scene *s)
{
	union role role = s->other_page->role;

	role.nested = 1;
	assert_true(s->other_page > s->directory);
	SET(s, s->other_page->role, role.word);
}

static void break_child_unlinked(struct scene *s)
{
	SET(s, s->leaf->parents, 0);
}

static void break_list(struct scene *s)
{
	SET(s, s->vm->shared_list[0], page_number(s->vm, s->leaf));
}

static void break_list_level(struct scene *s)
{
	uint32_t rest, parent = link_first(s->vm, s->leaf->parents, &rest);
	struct page *middle = page_at(s->vm, parent >> 9);

	SET(s, middle->list, LIST_SHARED);
	SET(s, s->vm->shared_list[0], page_number(s->vm, middle));
}

static void break_list_nested(struct scene *s)
{
	SET(s, s->leaf->list, LIST_NESTED);
	SET(s, s->vm->shared_list[1], page_number(s->vm, s->leaf));
}

static void break_list_owner(struct scene *s)
{
	SET(s, s->leaf->list, page_number(s->vm, s->root_page));
	SET(s, s->root_page->own_list, page_number(s->vm, s->leaf));
}

static void break_freed(struct scene *s)
{
	unsigned index = index_of(AT, 4);

	SET(s, s->root_page->table[index], s->root_page->table[index] ^ 0x100000000000);
}

/* ---- pool, references, tags ---- */

static void break_references(struct scene *s)
{
	SET(s, s->root_page->refs, s->root_page->refs + 1);
}

static void break_pae_root(struct scene *s)
{
	SET(s, page_at(s->vm, root_of(s, 0)->page)->hpa, 1ull << 32);
}

static void break_twice(struct scene *s)
{
	assert_true(s->other_page > s->root_page);
	SET(s, s->other_page->frame, s->root_page->frame);
}

static void break_pages(struct scene *s)
{
	SET(s, s->vm->pages_used, s->vm->pages_used + 1);
}

static void break_leaves(struct scene *s)
{
	SET(s, s->vm->stats.pages_4k, s->vm->stats.pages_4k + 1);
}

static void break_nodes(struct scene *s)
{
	SET(s, s->vm->nodes_free, s->vm->nodes_free + 1);
}

static void break_unsync(struct scene *s)
{
	SET(s, s->vm->stats.mmu_unsync, 1);
}

static void break_used(struct scene *s)
{
	SET(s, s->leaf->used[3], 1);
}

static void break_context(struct scene *s)
{
	SET(s, root_of(s, 0)->key.context, RHZ_CONTEXT_L2_NESTED);
	SET(s, root_of(s, 0)->lease.stamp, 0);
}

static void break_entry(struct scene *s)
{
	SET(s, s->vm->vcpu[0]->now->entry, (uintptr_t)root_of(s, 1));
}

static void break_stamp(struct scene *s)
{
	SET(s, root_of(s, 0)->lease.stamp, s->vm->removed[0] + 1);
}

static void break_owner(struct scene *s)
{
	struct rhz_tag_lease *mine = &root_of(s, 0)->lease, *theirs = &root_of(s, 1)->lease;

	SET(s, theirs->generation, mine->generation);
	SET(s, theirs->cpu, mine->cpu);
	SET(s, theirs->tag, mine->tag);
}

/* ---- entries against slots ---- */

static void break_slot_end(struct scene *s)
{
	SET(s, s->vm->slot[0].pages, 1);
}

static void break_slot_place(struct scene *s)
{
	SET(s, s->vm->slot[0].to_hfn, s->vm->slot[0].to_hfn + 1);
}

static void break_read_only(struct scene *s)
{
	SET(s, s->vm->slot[0].read_only, true);
}

static void break_log(struct scene *s)
{
	static uint64_t nothing[RAM / 4096 / 64];

	SET(s, s->vm->slot[0].dirty, (uintptr_t)nothing);
}

static void break_no_ram(struct scene *s)
{
	SET(s, s->vm->rams, 0);
}

static void break_tracked_write(struct scene *s)
{
	unsigned index = index_of(WINDOW + s->root, 1);
	uint64_t table = entry_at(s->world, s->root, WINDOW + s->root, 1) & ~0xfffull;
	struct page *page = page_at_level(s, table, 1);

	SET(s, page->table[index], page->table[index] | W);
}

static void break_mmio(struct scene *s)
{
	unsigned index = index_of(MMIO, 1);

	SET(s, s->leaf->table[index], s->leaf->table[index] & ~FRAME);
}

static void break_direct_rights(struct scene *s)
{
	for (uint32_t number = 1; number <= s->vm->pages_fresh; number++) {
		union role role = page_at(s->vm, number)->role;

		role.rights &= ~(unsigned)RHZ_RIGHT_WRITE;
		SET(s, page_at(s->vm, number)->role, role.word);
	}
}

/* ---- entries against the guest's tables ---- */

static void break_accessed(struct scene *s)
{
	set_guest(s, AT, 1, A);
}

static void break_table_accessed(struct scene *s)
{
	set_guest(s, AT, 2, A);
}

static void break_large(struct scene *s)
{
	set_guest(s, LARGE, 2, PS);
}

static void break_rights(struct scene *s)
{
	set_guest(s, AT, 1, W);
}

static void break_rights_user(struct scene *s)
{
	set_guest(s, AT, 1, U);
}

static void break_piece(struct scene *s)
{
	set_guest(s, PIECES, 2, W);
}

static void break_child(struct scene *s)
{
	set_guest(s, AT, 3, 0x8000);
}

/* A PAE root keeps its PDPTEs behind its entries: one that is not present has no child. */
static void break_pdpte(struct scene *s)
{
	struct page *root = page_at(s->vm, root_of(s, 0)->page);

	SET(s, root->table[4], root->table[4] & ~1ull);
}

/* ---- all of them ---- */

static const struct setup four = { .mode = RHZ_PAGING_4LEVEL, .vcpus = 2 };
static const struct setup pae = { .mode = RHZ_PAGING_PAE, .vcpus = 2 };
static const struct setup npt = { .mode = RHZ_PAGING_4LEVEL, .kind = RHZ_NPT_4LEVEL, .vcpus = 2 };

static const struct {
	const struct setup *setup;
	void (*how)(struct scene *s);
	unsigned invariant;
	const char *what;
} breaks[] = {
	{ &four, break_slot_end, 1, "leaf outside a slot" },
	{ &four, break_slot_place, 1, "leaf maps another frame" },
	{ &npt, break_read_only, 1, "writable in a read-only slot" },
	{ &npt, break_slot_end, 1, "leaf outside a slot" },
	{ &npt, break_no_ram, 1, "leaf maps no RAM" },
	{ &npt, break_direct_rights, 1, "direct leaf with more rights than its role" },
	{ &four, break_large, 1, "leaf for a guest table" },
	{ &four, break_rights, 1, "more rights than the guest gives" },
	{ &four, break_rights_user, 1, "more rights than the guest gives" },
	{ &four, break_leaf_unlinked, 2, "leaf is not in the reverse map" },
	{ &four, break_reverse_map, 2, "reverse map names no leaf of its frame" },
	{ &four, break_parent, 3, "parent does not point here" },
	{ &four, break_child_unlinked, 3, "entry is no parent of its child" },
	{ &four, break_child, 4, "child of another frame or role" },
	{ &four, break_piece, 4, "piece with too many rights" },
	{ &pae, break_pdpte, 4, "child where none can be" },
	{ &four, break_twice, 4, "two pages of one frame and role" },
	{ &four, break_list_nested, 4, "on another list than its only root's" },
	{ &four, break_list_owner, 4, "on another list than its only root's" },
	{ &four, break_references, 5, "references do not add up" },
	{ &four, break_freed, 6, "entry leads to a freed page" },
	{ &four, break_tracked_write, 7, "guest table is writable" },
	{ &four, break_tracking, 7, "tracking disagrees with the shadow pages" },
	{ &four, break_count_2m, 7, "count of tracked frames is wrong" },
	{ &four, break_count_1g, 7, "count of tracked frames is wrong" },
	{ &four, break_list_level, 7, "on a list, and no leaf table" },
	{ &four, break_list, 8, "list is broken" },
	{ &four, break_pages, 8, "pages do not add up" },
	{ &four, break_leaves, 8, "leaves do not add up" },
	{ &four, break_nodes, 8, "nodes do not add up" },
	{ &four, break_unsync, 8, "listed tables do not add up" },
	{ &four, break_used, 8, "the map of used entries is wrong" },
	{ &four, break_parents_context, 10, "parent of another context" },
	{ &four, break_context, 10, "root of another context" },
	{ &four, break_entry, 10, "a context's root is not its current one" },
	{ &four, break_stamp, 11, "a tag's stamp lies ahead" },
	{ &four, break_owner, 11, "a tag has two owners" },
	{ &npt, break_owner, 11, "a tag has two owners" },
	{ &four, break_log, 12, "writable and not logged" },
	{ &four, break_accessed, 13, "present without the guest's P and A" },
	{ &four, break_table_accessed, 13, "table without the guest's P and A" },
	{ &four, break_mmio, 14, "MMIO entry where a slot is" },
	{ &pae, break_pae_root, 16, "PAE root above 4 GiB" },
};

static void scene_make(struct scene *s, const struct setup *setup)
{
	struct world *world = world_make(setup);

	*s = (struct scene){ .world = world, .vm = world->vm, .root = table_new(world),
	                     .other = table_new(world) };
	map(world, s->root, AT, DATA, PWU);
	map(world, s->root, AT2, DATA2, PWU);
	map(world, s->root, MMIO, HOLE, PWU);
	if (setup->kind == RHZ_SHADOW) {
		map_at(world, s->root, LARGE, 0x400000, PWU, 2);
		map_at(world, s->root, PIECES, 0, PWU, 2);
		map_window(world, s->root);
		memcpy(guest_at(world, s->other), guest_at(world, s->root), 4096);
		start(world, 0, s->root);
		start(world, 1, s->root);
	}
	for (unsigned vcpu = 0; vcpu < 2; vcpu++)
		assert_int_equal(touch(world, vcpu, AT, WRITE).how, REACHED);
	if (setup->kind != RHZ_SHADOW || setup->mode != RHZ_PAGING_4LEVEL)
		return;
	reaches(world, LARGE, WRITE, 0x400000);
	reaches(world, PIECES + DATA, WRITE, DATA);
	reaches(world, WINDOW + s->root, READ, s->root);
	is_mmio(world, MMIO, WRITE, HOLE);
	load_ok(world, 1, s->other);
	reaches_on(world, 1, AT, WRITE, DATA);
	s->root_page = page_at_level(s, s->root, 4);
	s->other_page = page_at_level(s, s->other, 4);
	s->directory = page_at_level(s, entry_at(world, s->root, AT, 3) & ~0xfffull, 3);
	s->leaf = page_at_level(s, entry_at(world, s->root, AT, 1) & ~0xfffull, 1);
}

static void test_everything_is_found(void **state)
{
	unsigned wrong = 0;

	(void)state;
	for (unsigned i = 0; i < sizeof(breaks) / sizeof(*breaks); i++) {
		struct rhz_audit found;
		struct scene s;

		scene_make(&s, breaks[i].setup);
		audit(s.world);
		breaks[i].how(&s);
		if (rhz_vm_audit(s.vm, &found) != breaks[i].invariant ||
		    strcmp(found.what, breaks[i].what)) {
			print_error("%u %s: found %u, %s\n", breaks[i].invariant, breaks[i].what,
			            found.invariant, found.what ? found.what : "nothing");
			wrong++;
		}
		mend(&s);
		audit(s.world);
		world_end(s.world);
	}
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
