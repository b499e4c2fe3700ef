/* SPDX-License-Identifier: MIT */
/*
 * What a guest's entry demands of the shadow entry behind it: the child page of a table, or the
 * leaf of a page. Reading and judging one entry; nothing is changed here.
 *
 * Which guest entry stands behind entry 'index' of a page:
 *
 *   PAE, 4- and 5-level     the entry of the same index, 8 bytes
 *   PAE root                a PDPTE register; the page keeps their values behind its four entries
 *   32-bit, level 1         1024 entries of 4 bytes are shadowed by two pages (quadrants 0, 1)
 *   32-bit, level 2         ... by four pages; an entry maps 4 MiB and so stands behind two of ours
 *   32-bit root             made up: its four entries lead to the four quadrants of level 2
 *
 * L1's nested tables may be less deep than the processor's: then the pages above their top are made
 * up ('wrapping'): only the first entry leads anywhere, above 32-bit tables the first four. A PAE
 * top of theirs is a table of four entries in memory: nobody loads it into registers.
 */
#ifndef RHZ_SHADOW_GPTE_H
#define RHZ_SHADOW_GPTE_H

#include "core/leaf.h"

/* Where a PAE root keeps the PDPTE registers that it was made of. */
enum { PDPTE_AT = 4 };

/* A guest entry, taken apart. */
struct gpte {
	bool usable;     /* present, no reserved bit, A set: it may stand behind a shadow entry */
	bool leaf;
	bool dirty;
	uint64_t gfn;    /* of the table, or of the memory behind this very shadow entry */
	unsigned rights; /* RHZ_RIGHT_*, of this entry alone */
	uint64_t attributes; /* of a leaf, as attributes_of gives them */
};

/* What should be below an entry that is a table. */
struct child {
	uint32_t frame;
	union role role;
};

RHZ_INLINE const struct rhz_mode *page_mode(const struct rhz_vm *vm, union role role)
{
	return &vm->mode[role_mode(role)];
}

/* The guest's entry behind entry 'index'; a table outside every slot reads as zero. */
RHZ_INLINE uint64_t gpte_read(struct rhz_vm *vm, const struct page *page, unsigned index)
{
	union role role = page->role;
	const void *at;

	if (role_is_pae_root(role))
		return role.guest == ROLE_PAE ? page->table[PDPTE_AT + index] : 0;
	if (page->frame == FRAME_NONE)
		return 0;
	at = frame_at(vm, page->frame);
	if (__builtin_expect(role_is_pdpt(role), 0)) {
		if (index >= 4)
			return 0;
		index += role.quadrant * 4;
	}
	if (role.guest != ROLE_32)
		return __atomic_load_n((const uint64_t *)at + index, __ATOMIC_RELAXED);
	index = role.level == 1 ? role.quadrant * 512 + index : role.quadrant * 256 + index / 2;
	return __atomic_load_n((const uint32_t *)at + index, __ATOMIC_RELAXED);
}

/*
 * A leaf of such a page is the guest's entry as it is, but for its place in memory: entries of 64
 * bits, P and A where they always are, which a walk of ours can set.
 */
RHZ_INLINE bool role_is_quick(union role role)
{
	return role.guest < ROLE_32 && !role.rom;
}

/* The rights of one entry alone, which is not EPT's. */
RHZ_INLINE unsigned gpte_rights(uint64_t value)
{
	return RHZ_RIGHT_READ | (unsigned)(value & (PTE_W | PTE_U)) << 1 |
	       (value & PTE_NX ? 0u : RHZ_RIGHT_EXEC);
}

/* Takes apart the entry 'value' behind entry 'index' of a page that is no PAE root. */
void gpte_decode(const struct rhz_vm *vm, const struct page *page, unsigned index, uint64_t value,
                 struct gpte *gpte);

/*
 * Rights that a leaf with this entry at its end gives, slots and tracking apart: those of all
 * levels, D for W, and what CR0.WP = 0 adds. Not promoted: see fault.c.
 */
RHZ_INLINE unsigned gpte_leaf_rights(union role role, unsigned rights, bool dirty)
{
	rights &= role.rights;
	/* [SDM3 4.6.1]: with WP = 0 supervisor writes may go to any supervisor-mode address */
	if (!role.wp && !(rights & RHZ_RIGHT_USER))
		rights |= RHZ_RIGHT_WRITE;
	return dirty ? rights : rights & ~(unsigned)RHZ_RIGHT_WRITE;
}

/*
 * The rights in which a supervisor may write a user page that is read-only, CR0.WP = 0 [SDM3
 * 4.6.1]: as a supervisor page, until a user access brings the others back. It must not be
 * executed where SMEP would forbid it, and cannot be told from a supervisor page by SMAP and keys:
 * with these nothing is promoted. 0: not so. 'rights' are gpte_leaf_rights'.
 */
RHZ_INLINE unsigned gpte_promoted_rights(union role role, unsigned rights, bool dirty)
{
	if (role.wp || role.strict_nowp || !dirty || !(rights & RHZ_RIGHT_USER) ||
	    rights & RHZ_RIGHT_WRITE)
		return 0;
	rights = (rights & ~(unsigned)RHZ_RIGHT_USER) | RHZ_RIGHT_WRITE;
	return role.smep_nowp ? rights & ~(unsigned)RHZ_RIGHT_EXEC : rights;
}

/*
 * The child that a page's entry demands: a guest table's, or, if the guest entry is a leaf larger
 * than our page's entries may be, the direct page of its piece with the final rights given.
 */
struct child child_of_table(struct rhz_vm *vm, const struct page *page, unsigned index,
                            const struct gpte *gpte);
struct child child_of_piece(const struct page *page, const struct gpte *gpte, unsigned rights);

/* The child of entry 'index' of a PAE root; false: its PDPTE is not present. */
bool child_of_pae_root(struct rhz_vm *vm, const struct page *root, unsigned index,
                       struct child *child);

/* The child of entry 'index' of a page that wraps; false: it has none there. */
bool child_of_wrap(const struct page *page, unsigned index, struct child *child);

/* No guest entry stands behind this page's entries. */
RHZ_INLINE bool role_is_made_up(union role role)
{
	return role_is_pae_root(role) || role_wraps(role);
}

/* What the entry of such a page demands. */
RHZ_INLINE bool child_of_made_up(struct rhz_vm *vm, const struct page *page, unsigned index,
                                 struct child *child)
{
	return role_is_pae_root(page->role) ? child_of_pae_root(vm, page, index, child) :
	                                      child_of_wrap(page, index, child);
}

#endif
