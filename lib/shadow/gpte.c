/* SPDX-License-Identifier: MIT */
/* Judging one guest entry. */
#include "shadow/gpte.h"

#include "guest/ept.h"

/* [SDM3 28.3.2]. Without A and D bits, they count as set. */
static void decode_ept(const struct rhz_vm *vm, union role role, uint64_t value, struct gpte *gpte)
{
	const struct rhz_ept_mode *mode = &vm->ept_mode[role.guest - ROLE_EPT4][role.no_ad];
	const struct rhz_format *format = &rhz_format_ept4;
	unsigned level = role.level;

	gpte->leaf = level == 1 || (value & EPT_PS && format_may_be_leaf(format, level));
	if (role.rom || role.no_ad)
		value |= EPT_A | EPT_D;
	gpte->usable = !format_is_hole(format, value) && value & EPT_A &&
	               !rhz_ept_misconfigured(mode, value, level, gpte->leaf);
	gpte->dirty = value & EPT_D;
	gpte->rights = rhz_ept_rights(mode, value);
	gpte->attributes = attributes_of_ept(value);
	gpte->gfn = (gpte->leaf ? format_leaf_frame(format, level, value) :
	                          value & format->frame) >> RHZ_PAGE_SHIFT;
}

void gpte_decode(const struct rhz_vm *vm, const struct page *page, unsigned index, uint64_t value,
                 struct gpte *gpte)
{
	union role role = page->role;
	const struct rhz_mode *mode;
	unsigned level = role.level;
	uint64_t as_it_is = value;

	if (__builtin_expect(role_guest_is_ept(role), 0)) {
		decode_ept(vm, role, value, gpte);
		return;
	}
	mode = page_mode(vm, role);
	gpte->leaf = level == 1 || (value & PTE_PS && mode->pse &&
	                            format_may_be_leaf(mode->format, level));
	/* in a read-only slot no walk can set them: it goes on as if it had */
	if (role.rom)
		value |= PTE_A | PTE_D;
	gpte->usable = (value & (PTE_P | PTE_A)) == (PTE_P | PTE_A) &&
	               !(value & mode->reserved[level][gpte->leaf]);
	gpte->dirty = value & PTE_D;
	gpte->rights = gpte_rights(value);
	gpte->attributes = attributes_of(role, value);
	if (__builtin_expect(role_is_pdpt(role), 0)) {
		/* neither rights nor A [SDM3 4.4.1, table 4-8] */
		gpte->usable = value & PTE_P && !(as_it_is & mode->reserved[3][0]);
		gpte->rights = RHZ_RIGHT_ALL;
	}
	if (!gpte->leaf) {
		gpte->gfn = (value & mode->format->frame) >> RHZ_PAGE_SHIFT;
		return;
	}
	gpte->gfn = format_leaf_frame(mode->format, level, value) >> RHZ_PAGE_SHIFT;
	/* one entry of 4 MiB stands behind two of ours of 2 MiB */
	if (role.guest == ROLE_32 && level == 2)
		gpte->gfn += (index & 1) * 512;
}

struct child child_of_table(struct rhz_vm *vm, const struct page *page, unsigned index,
                            const struct gpte *gpte)
{
	struct child child = { .role = page->role };
	bool rom;

	child.frame = frame_of_table(vm, page->role.space, gpte->gfn, &rom);
	child.role.rom = rom;
	child.role.level--;
	child.role.rights &= gpte->rights;
	child.role.quadrant = page->role.guest == ROLE_32 ? index & 1 : 0;
	return child;
}

struct child child_of_piece(const struct page *page, const struct gpte *gpte, unsigned rights)
{
	unsigned level = page->role.level - 1;
	struct child child = { (uint32_t)(gpte->gfn >> (9 * level)), { 0 } };

	child.role.level = level;
	child.role.host = page->role.host;
	child.role.guest = ROLE_DIRECT;
	child.role.rights = rights;
	child.role.space = page->role.space;
	child.role.nested = page->role.nested;
	child.role.no_ad = page->role.no_ad;
	if (page->role.host == ROLE_HOST_EPT) {
		child.role.memory = (gpte->attributes & EPT_MT) >> EPT_MT_SHIFT;
		child.role.key = !!(gpte->attributes & EPT_IPAT);
		return child;
	}
	child.role.memory = (gpte->attributes & (PTE_PWT | PTE_PCD)) >> 3 |
	                    (gpte->attributes & PTE_PAT_LARGE ? MEMORY_PAT : 0);
	child.role.key = gpte->attributes >> PTE_KEY_SHIFT & 15;
	return child;
}

bool child_of_pae_root(struct rhz_vm *vm, const struct page *root, unsigned index,
                       struct child *child)
{
	*child = (struct child){ root->frame, root->role };
	child->role.level = 2;
	child->role.quadrant = 0;
	if (root->role.guest == ROLE_32) {
		child->role.quadrant = index;
		return root->frame != FRAME_NONE;
	}
	uint64_t pdpte = gpte_read(vm, root, index);
	bool rom;

	child->frame = frame_of_table(vm, root->role.space, (pdpte & PTE_FRAME) >> RHZ_PAGE_SHIFT,
	                              &rom);
	child->role.rom = rom;
	return pdpte & PTE_P && child->frame != FRAME_NONE;
}

bool child_of_wrap(const struct page *page, unsigned index, struct child *child)
{
	union role role = page->role;
	bool quadrants = role.guest == ROLE_32 && role.level == 3;

	*child = (struct child){ page->frame, role };
	child->role.level--;
	if (quadrants)
		child->role.quadrant = index & 3;
	return index < (quadrants ? 4 : 1) && page->frame != FRAME_NONE;
}
