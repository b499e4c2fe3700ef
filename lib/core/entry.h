/* SPDX-License-Identifier: MIT */
/*
 * One entry of one of our tables: its bits, and setting, weakening and clearing it with all that
 * hangs on it (reverse map, parent links, counters). What an entry should be is not decided here.
 *
 *   hole   0
 *   MMIO   bits 2:0 clear, MMIO_MARK set: the guest maps the address to no RAM
 *   leaf   maps a frame
 *   table  points to a child page
 *
 * Bits 2:0 say 'present' in every host format (P, or R|W|X), bit 1 is 'writable' and bit 7 above
 * level 1 is 'leaf' in every one of them too, which keeps the common operations free of formats.
 */
#ifndef RHZ_CORE_ENTRY_H
#define RHZ_CORE_ENTRY_H

#include "core/flush.h"
#include "core/frame.h"
#include "core/rmap.h"

#define SPTE_PRESENT 7ull
#define SPTE_W 2ull
#define SPTE_FRAME PTE_FRAME

_Static_assert(PTE_W == SPTE_W && EPT_W == SPTE_W, "bit 1 is 'writable' everywhere");
_Static_assert(PTE_PS == EPT_PS, "bit 7 is 'leaf' everywhere");

/* An MMIO entry: mark, rights, key, frame number, generation of the slots. */
#define MMIO_MARK (1ull << 3)
#define MMIO_RIGHTS_SHIFT 4 /* RHZ_RIGHT_*, WRITE only if the guest's D bit is set */
#define MMIO_KEY_SHIFT 8
#define MMIO_GENERATION_SHIFT 52
#define MMIO_GENERATION_MASK 0xfffu

RHZ_INLINE bool spte_present(uint64_t spte)
{
	return spte & SPTE_PRESENT;
}

RHZ_INLINE bool spte_is_leaf(uint64_t spte, unsigned level)
{
	return spte_present(spte) && (level == 1 || spte & PTE_PS);
}

RHZ_INLINE bool spte_is_table(uint64_t spte, unsigned level)
{
	return spte_present(spte) && level > 1 && !(spte & PTE_PS);
}

RHZ_INLINE bool spte_is_mmio(uint64_t spte)
{
	return !spte_present(spte) && spte & MMIO_MARK;
}

RHZ_INLINE uint64_t spte_hfn(uint64_t spte, unsigned level)
{
	uint64_t hfn = (spte & SPTE_FRAME) >> RHZ_PAGE_SHIFT;

	/* bit 12 of a large leaf is PAT, not address [SDM3 4.5.4] */
	return level == 1 ? hfn : hfn & ~(level_frames(level) - 1);
}

RHZ_INLINE uint64_t spte_accessed_bit(union role role)
{
	return role.host == ROLE_HOST_EPT ? EPT_A : PTE_A;
}

RHZ_INLINE uint64_t spte_ad_bits(union role role)
{
	return role.host == ROLE_HOST_EPT ? EPT_A | EPT_D : PTE_A | PTE_D;
}

/* The bits of a leaf that say how its memory is cached. */
RHZ_INLINE uint64_t spte_type_bits(union role role)
{
	return role.host == ROLE_HOST_EPT ? EPT_MT | EPT_IPAT :
	                                    PTE_PWT | PTE_PCD | PTE_PAT_4K | PTE_PAT_LARGE;
}

/* The processor reads our tables while we write them: one whole store, never torn. */
RHZ_INLINE void entry_store(struct page *page, unsigned index, uint64_t spte)
{
	__atomic_store_n(&page->table[index], spte, __ATOMIC_RELEASE);
}

/* The reverse map's head for a leaf of this level. */
RHZ_INLINE uint32_t *leaf_head(struct rhz_vm *vm, uint64_t spte, unsigned level)
{
	uint64_t hfn = spte_hfn(spte, level);
	struct rhz_ram *ram = ram_of_hfn(vm, hfn);

	return &ram->head[hfn - ram->first_hfn];
}

/* Removes an entry that is there, nearly always as the only one. */
RHZ_INLINE void link_drop(struct rhz_vm *vm, uint32_t *head, uint32_t id)
{
	if (__builtin_expect((*head & ~LINK_TRACKED) == id, 1))
		*head ^= id;
	else
		link_remove(vm, head, id);
}

/* The hole at index becomes a leaf; false if the reverse map has no node left. */
bool entry_set_leaf(struct rhz_vm *vm, struct page *page, unsigned index, uint64_t spte);

/* The hole at index becomes a 4 KiB leaf; head is its frame's, and a node is free. */
RHZ_INLINE void entry_fill(struct rhz_vm *vm, struct page *page, unsigned index, uint64_t spte,
                           uint32_t *head)
{
	link_add(vm, head, entry_id(vm, page, index));
	page->used[index / 64] |= 1ull << (index % 64);
	entry_store(page, index, spte);
	vm->stats.pages_4k++;
	trace(vm, RHZ_EVENT_SET_SPTE, 1, spte & SPTE_FRAME, spte);
}

/* A leaf becomes another leaf of the same frame; counts as a removal if it is weaker. */
void entry_change_leaf(struct rhz_vm *vm, struct page *page, unsigned index, uint64_t spte);

/* A 4 KiB leaf becomes one of another frame; head is that frame's, and a node is free for it. */
RHZ_INLINE void entry_replace_leaf(struct rhz_vm *vm, struct page *page, unsigned index,
                                   uint64_t spte, uint32_t *head)
{
	uint32_t id = entry_id(vm, page, index);

	link_drop(vm, leaf_head(vm, page->table[index], 1), id);
	link_add(vm, head, id);
	entry_store(page, index, spte);
	vm_removed(vm, page->role);
	trace(vm, RHZ_EVENT_SET_SPTE, 1, spte & SPTE_FRAME, spte);
}

/* The hole at index becomes a link to child; false if there is no node left. */
bool entry_set_table(struct rhz_vm *vm, struct page *page, unsigned index, struct page *child);

/* The hole at index becomes an MMIO entry. */
void entry_set_mmio(struct rhz_vm *vm, struct page *page, unsigned index, uint64_t gfn,
                    unsigned rights, unsigned key);

/* Whatever stands at index goes. Clearing what is present counts as a removal. */
void entry_clear(struct rhz_vm *vm, struct page *page, unsigned index);

/* A leaf loses write access; false if it had none. */
RHZ_INLINE bool entry_write_protect(struct rhz_vm *vm, struct page *page, unsigned index)
{
	uint64_t spte = page->table[index];
	uint64_t dirty = page->role.host == ROLE_HOST_EPT ? EPT_D : PTE_D;

	if (!(spte & SPTE_W))
		return false;
	/* D means nothing without W, and stays clear so that a leaf is writable or neither */
	entry_store(page, index, spte & ~(SPTE_W | dirty));
	vm_removed(vm, page->role);
	return true;
}

/* A leaf's accessed bit is cleared; true if it was set (without A bits: the leaf goes, true). */
bool entry_age(struct rhz_vm *vm, struct page *page, unsigned index);

/* For frame.c: a large leaf was set over this host frame. */
void frame_note_large(struct rhz_vm *vm, uint64_t hfn, unsigned level);

/* The first index >= from whose entry is not zero, or TABLE_ENTRIES. */
RHZ_INLINE unsigned page_next_used(const struct page *page, unsigned from)
{
	unsigned word = from / 64;
	uint64_t bits;

	if (from >= TABLE_ENTRIES)
		return TABLE_ENTRIES;
	bits = page->used[word] & (~0ull << (from % 64));
	while (!bits) {
		if (++word == TABLE_ENTRIES / 64)
			return TABLE_ENTRIES;
		bits = page->used[word];
	}
	return word * 64 + (unsigned)__builtin_ctzll(bits);
}

#endif
