/* SPDX-License-Identifier: MIT */
/* The shadow tree of one address: getting tables, roots included, and linking them. */
#ifndef RHZ_SHADOW_TREE_H
#define RHZ_SHADOW_TREE_H

#include "root/roots.h"
#include "shadow/gpte.h"

/* The page of this frame and role: found, in sync with all below, or made of what is reserved. */
struct page *tree_get(struct rhz_vcpu *vcpu, struct child child);

/* The page below entry 'index' if it is what 'child' demands; else the entry is cleared, null. */
struct page *tree_below(struct rhz_vcpu *vcpu, struct page *page, unsigned index,
                        const struct child *child);

/* Links child under entry 'index', which is a hole. */
void tree_link(struct rhz_vcpu *vcpu, struct page *page, unsigned index, struct page *child);

/* The page and index that stand for an address at the lowest level there is; null: no root. */
struct page *tree_find(struct rhz_vcpu *vcpu, uint64_t addr, unsigned *index);

/*
 * The root for a guest's top table: found or made (*built). pdpte: the registers under
 * PAE. Null: no memory.
 */
struct page *tree_root(struct rhz_vcpu *vcpu, struct child top, const uint64_t pdpte[4],
                       bool *built);

/* The PAE root of this frame, role and these registers, or null. */
struct page *tree_find_pae_root(struct rhz_vm *vm, uint32_t frame, union role role,
                                const uint64_t pdpte[4]);

RHZ_INLINE unsigned tree_index(unsigned level, uint64_t addr)
{
	return (addr >> (RHZ_PAGE_SHIFT + 9 * (level - 1))) & 511;
}

#endif
