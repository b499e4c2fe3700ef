/* SPDX-License-Identifier: MIT */
/*
 * Saving and restoring a state, and its hash. This file alone knows the library's inside.
 *
 * Two states are one if nothing that the library goes by differs: guest memory, registers, shadow
 * pages with their entries, lists, references and flags, the root caches in their order, leases
 * and whether they are up to date; and what the processors may hold and what the oracle allows.
 * Not told apart: numbers of pages, nodes and tags, where a page lies, counters whose value is only
 * compared (removals, kicks, unlinks, dooms), the order in a list or in a reverse map, and, where
 * nothing is reclaimed but by SHRINK, the order of reclaim.
 */
#include "root/roots.h"

#include "small.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* ---- saving ---- */

/* Entries of a table that can be used at all: the first and the last eight. */
enum { EDGE = 8, PARTS = 16, ALIVE = 48 };

struct part {
	void *at;
	size_t bytes;
};

struct image {
	unsigned parts;
	struct part part[PARTS];
	uint64_t edge[POOL][2 * EDGE];
	uint64_t nodes;  /* pool pages that hold nodes, saved whole */
	uint8_t *saved;
};

static void part_add(struct image *image, void *at, size_t bytes)
{
	if (image->part[image->parts].at == at || image->parts == PARTS)
		abort();
	image->part[image->parts++] = (struct part){ at, bytes };
}

struct image *image_make(void)
{
	struct image *image = calloc(1, sizeof(*image));
	uint8_t *end = (uint8_t *)(vm->chunk + vm->chunks_most);
	size_t bytes = 0;

	/* slots and what follows from CPUID never change */
	part_add(image, vm, offsetof(struct rhz_vm, slot));
	part_add(image, vm->space, sizeof(vm->space[0]));
	part_add(image, &vm->stats, sizeof(vm->stats));
	part_add(image, vm->page, (size_t)(end - (uint8_t *)vm->page));
	part_add(image, vm->ram[0].head, rhz_ram_size((FRAMES + 1 + FIXED) * 4096));
	for (unsigned v = 0; v < plan->vcpus; v++)
		part_add(image, vcpu[v], rhz_vcpu_size());
	part_add(image, &world, sizeof(world));
	for (unsigned f = 0; f < FRAMES; f++) {
		part_add(image, ram + f * 4096, 8);
		part_add(image, ram + f * 4096 + 4088, 8);
	}
	for (unsigned i = 0; i < image->parts; i++)
		bytes += image->part[i].bytes;
	image->saved = malloc(bytes + POOL * 4096);
	return image;
}

void image_free(struct image *image)
{
	free(image->saved);
	free(image);
}

static uint64_t node_pages(void)
{
	uint64_t set = 0;

	for (unsigned i = 0; i < vm->chunks; i++)
		set |= 1ull << ((uint8_t *)vm->chunk[i].node - pool) / 4096;
	return set;
}

void image_save(struct image *image)
{
	uint8_t *to = image->saved;

	for (unsigned i = 0; i < image->parts; i++) {
		memcpy(to, image->part[i].at, image->part[i].bytes);
		to += image->part[i].bytes;
	}
	image->nodes = node_pages();
	for (uint64_t set = world.pages; set; set &= set - 1) {
		unsigned n = (unsigned)__builtin_ctzll(set);

		if (image->nodes >> n & 1) {
			memcpy(to, pool + n * 4096, 4096);
			to += 4096;
			continue;
		}
		memcpy(image->edge[n], pool + n * 4096, EDGE * 8);
		memcpy(image->edge[n] + EDGE, pool + n * 4096 + 4096 - EDGE * 8, EDGE * 8);
	}
}

void image_restore(const struct image *image)
{
	const uint8_t *from = image->saved;

	for (unsigned i = 0; i < image->parts; i++) {
		memcpy(image->part[i].at, from, image->part[i].bytes);
		from += image->part[i].bytes;
	}
	for (uint64_t set = world.pages; set; set &= set - 1) {
		unsigned n = (unsigned)__builtin_ctzll(set);

		if (image->nodes >> n & 1) {
			memcpy(pool + n * 4096, from, 4096);
			from += 4096;
			continue;
		}
		memcpy(pool + n * 4096, image->edge[n], EDGE * 8);
		memcpy(pool + n * 4096 + 4096 - EDGE * 8, image->edge[n] + EDGE, EDGE * 8);
	}
}

/* ---- the hash ---- */

static uint64_t hash;
static const struct page *alive[ALIVE];
static unsigned alive_count;

static void add(uint64_t word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
	hash ^= hash >> 29;
}

static int page_order(const struct page *a, const struct page *b)
{
	if (a->frame != b->frame)
		return a->frame < b->frame ? -1 : 1;
	if (a->role.word != b->role.word)
		return a->role.word < b->role.word ? -1 : 1;
	if (a->flags != b->flags)
		return a->flags < b->flags ? -1 : 1;
	/* PAE roots of other PDPTEs, doomed ones */
	return memcmp(a->table, b->table, EDGE * 8);
}

static void pages_sort(void)
{
	alive_count = 0;
	for (uint32_t number = 1; number <= vm->pages_fresh; number++) {
		const struct page *page = page_at(vm, number);
		unsigned i;

		if (!(page->flags & (PAGE_LIVE | PAGE_DOOMED)))
			continue;
		if (alive_count == ALIVE)
			fail("more than %u shadow pages", ALIVE);
		for (i = alive_count++; i && page_order(page, alive[i - 1]) < 0; i--)
			alive[i] = alive[i - 1];
		alive[i] = page;
	}
}

/* A page's name: its place among those alive, from 1; ALIVE + 1 for one that has gone. */
static uint64_t name_of(const struct page *page)
{
	for (unsigned i = 0; i < alive_count; i++)
		if (alive[i] == page)
			return i + 1;
	return ALIVE + 1;
}

static uint64_t name_of_hpa(uint64_t hpa)
{
	for (unsigned i = 0; i < alive_count; i++)
		if (alive[i]->hpa == hpa)
			return i + 1;
	return ALIVE + 1;
}

static uint64_t name_of_list(uint32_t list)
{
	return list == LIST_NONE || list == LIST_SHARED ? list : name_of(page_at(vm, list));
}

static void add_entry(const struct page *page, unsigned index)
{
	uint64_t spte = page->table[index];

	if (!spte)
		return;
	add(index);
	if ((spte & PTE_P) && page->role.level > 1 && !(spte & PTE_PS) && (page->role.host ||
	    page->role.level < 3 || index < 4))
		add(name_of_hpa(spte & PTE_FRAME) << 12 | (spte & 0xfff));
	else
		add(spte);
}

static void add_page(const struct page *page)
{
	add(page->frame);
	add(page->role.word);
	add((uint64_t)page->flags << 32 | (uint64_t)page->refs << 16 | page->writes);
	add(page->role.level == 1 ? name_of_list(page->list) : page->list);
	for (unsigned i = 0; i < EDGE; i++)
		add_entry(page, i);
	for (unsigned i = TABLE_ENTRIES - EDGE; i < TABLE_ENTRIES; i++)
		add_entry(page, i);
}

/* A set of pool pages, by name: in no order, so names are added up. */
static uint64_t names(uint64_t set)
{
	uint64_t sum = 0;

	for (; set; set &= set - 1) {
		unsigned n = (unsigned)__builtin_ctzll(set);
		uint64_t name = name_of_hpa(0x10000000ull + n * 4096ull);

		sum += name * name * 0x9e3779b97f4a7c15ull;
	}
	return sum;
}

static void add_tag(const struct tag *tag)
{
	for (unsigned place = 0; place < PLACES; place++) {
		add(tag->tlb[place]);
		add(names(tag->tables[place]));
	}
	add(tag->dangling);
}

static void add_root(const struct rhz_vcpu *v, unsigned index)
{
	const struct rhz_root_entry *entry = &v->roots.entry[index];
	const struct seat *seat = &world.seat[v->id];
	const struct rhz_cpu *cpu = &world.cpu[v->id];
	bool leased = entry->lease.tag && entry->lease.generation == cpu->generation;

	add(entry->key.table);
	add(name_of(page_at(vm, entry->page)));
	add(leased | (entry->lease.stamp == vm->removed[0]) << 1 | (v->entered == entry) << 2);
	if (leased)
		add_tag(&seat->tag[entry->lease.tag]);
}

static void add_vcpu(const struct rhz_vcpu *v)
{
	const struct seat *seat = &world.seat[v->id];
	const struct leaf_table *leaf = &v->leaf_table;
	unsigned current = v->roots.current[0];

	add(seat->cr3);
	add(current == RHZ_ROOT_NO_ENTRY);
	if (current != RHZ_ROOT_NO_ENTRY)
		add_root(v, current);
	for (unsigned n = 0; n < v->roots.cached; n++)
		add_root(v, v->roots.at_place[rhz_root_cache_place(&v->roots, n)]);
	add(leaf->unlinks == vm->unlinks && leaf->root == v->now->root ?
	    leaf->run << 8 | name_of(leaf->page) : 0);
	add(v->last_spurious);
	add((uint64_t)v->requests << 1 | (v->dooms_seen == vm->dooms));
	for (unsigned i = 0; i < ENTRIES; i++)
		add(seat->allowed.upper[i]);
	for (unsigned place = 0; place < PLACES; place++)
		add(seat->allowed.leaf[place]);
}

uint64_t state_hash(void)
{
	hash = 0;
	pages_sort();
	for (unsigned f = 0; f < FRAMES; f++)
		for (unsigned i = 0; i < ENTRIES; i++)
			add(world.memory[f][i]);
	for (unsigned i = 0; i < alive_count; i++)
		add_page(alive[i]);
	if (plan->quota)
		for (uint32_t i = vm->lru_newest; i; i = page_at(vm, i)->lru_next)
			add(name_of(page_at(vm, i)));
	add(vm->kicked == vm->stats.removals);
	for (unsigned v = 0; v < plan->vcpus; v++)
		add_vcpu(vcpu[v]);
	return hash ? hash : 1;
}
