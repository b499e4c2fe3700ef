/* SPDX-License-Identifier: MIT */
/*
 * The walk of guest page tables, once for all formats but EPT: always inlined, unrolled over a
 * constant format, with the caller's table reader inlined too. Instances by name are in walk.c;
 * whoever has a faster reader makes one of its own. A and D bits are in ad.c, EPT in ept.c.
 *
 *   CR3 --> top table --> ... --> page directory --> page table --> page
 *             entry                  entry              entry
 *           level 4 or 5            level 2            level 1
 *               |                      | PS = 1
 *               +-- PS = 1 (level 3)   +--> 2 or 4 MiB page
 *               +--> 1 GiB page
 *
 * Existence first (present, no reserved bit, from the top down), then rights. What a fault needs
 * beyond that is worked out of line.
 */
#ifndef RHZ_GUEST_WALK_H
#define RHZ_GUEST_WALK_H

#include <rhizome/guest.h>

#include "format/format.h"

#define WALK_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/*
 * Entries are looked at with P, W, U and A flipped, so that every bit that counts says 'no': one
 * test finds the entry that cannot be used, and the OR over the levels narrows the rights. NX says
 * no as it stands [SDM3 4.6.1].
 */
#define WALK_FLIP (PTE_P | PTE_W | PTE_U | PTE_A)

/* The rights that are left, of the OR of flipped entries: NX, P, W, U turn to bits 0 to 3. */
RHZ_INLINE uint8_t walk_rights(uint64_t denied)
{
	_Static_assert(PTE_NX >> 63 == RHZ_RIGHT_EXEC && PTE_P << 1 == RHZ_RIGHT_READ, "rotated");
	_Static_assert(PTE_W << 1 == RHZ_RIGHT_WRITE && PTE_U << 1 == RHZ_RIGHT_USER, "rotated");
	denied = denied << 1 | denied >> 63;
	return ~denied & RHZ_RIGHT_ALL;
}

/*
 * The ends of a walk that are not its straight path, out of line. 'denied' is the OR of the flipped
 * entries above walk->level.
 */

/* No entry was looked at: NON_CANONICAL, or TABLE. */
enum rhz_walk_outcome rhz_walk_stop(const struct rhz_mode *mode, unsigned access,
                                    enum rhz_walk_outcome outcome, uint64_t denied,
                                    struct rhz_walk *walk) __attribute__((cold));

/*
 * walk->entry[walk->level] is neither a table nor a leaf of level 1: a hole, an entry with a
 * reserved bit, or a large leaf.
 */
enum rhz_walk_outcome rhz_walk_turn(const struct rhz_mode *mode, const struct rhz_regs *regs,
                                    uint64_t addr, unsigned access, uint64_t denied,
                                    struct rhz_walk *walk);

/* A translation was found which rights or a key may forbid. */
enum rhz_walk_outcome rhz_walk_judge(const struct rhz_mode *mode, const struct rhz_regs *regs,
                                     unsigned access, struct rhz_walk *walk);

/* A leaf was found, flipped in 'entry': where it leads, and whether its rights suffice. */
RHZ_INLINE enum rhz_walk_outcome
walk_leaf(const struct rhz_format *format, const struct rhz_mode *mode,
          const struct rhz_regs *regs, uint64_t addr, unsigned access, unsigned level,
          uint64_t entry, uint64_t denied, struct rhz_walk *walk)
{
	unsigned shift = format_shift(format, level), kind = access % RHZ_ACCESSES;
	uint8_t rights = walk_rights(denied | entry);

	walk->outcome = RHZ_WALK_OK;
	walk->error_code = 0;
	walk->level = (uint8_t)level;
	walk->top = format->levels;
	walk->page_shift = (uint8_t)shift;
	walk->key = 0;
	walk->rights = rights;
	walk->accessed = !((denied | entry) & PTE_A);
	walk->global = entry & mode->global;
	walk->gpa.v = format_leaf_frame(format, level, entry) | (addr & ~(~0ull << shift));
	if (WALK_UNLIKELY((rights ^ mode->rules.need[kind]) & mode->rules.care[kind]))
		return rhz_walk_judge(mode, regs, access, walk);
	return RHZ_WALK_OK;
}

/* Reads the entry of this level for addr, and flips it. False: it cannot be read. */
RHZ_INLINE bool walk_read(const struct rhz_format *format, unsigned level, uint64_t addr,
                          uint64_t table, rhz_read_entry read, void *ctx, struct rhz_walk *walk,
                          uint64_t *flipped)
{
	uint64_t index = format_index(format, level, addr), entry;
	rhz_gpa at = { table + index * format->entry_bytes };

	walk->table[level] = at;
	if (WALK_UNLIKELY(!read(ctx, at, format->entry_bytes, &entry)))
		return false;
	walk->entry[level] = entry;
	*flipped = entry ^ WALK_FLIP;
	return true;
}

/*
 * Translates gva; see rhz_guest_walk. 'format' must be mode's and should be one of the constants
 * in format/format.h; 'read' should be an inline function.
 *
 * The PDPTE registers of PAE are looked at first: no rights, and reserved bits where these would
 * be. Loads refuse those bits [SDM3 4.4.1], but with nested paging AMD reads PDPTEs when it uses
 * them [APM2 15.25.10], so they are tested here too.
 */
RHZ_INLINE enum rhz_walk_outcome
walk_tables(const struct rhz_format *format, const struct rhz_mode *mode,
            const struct rhz_regs *regs, rhz_gva gva, unsigned access, rhz_read_entry read,
            void *ctx, struct rhz_walk *walk)
{
	const bool pae = format->levels == 3, wide = format->levels >= 4;
	uint64_t addr = wide ? gva.v : gva.v & mode->va_mask;
	uint64_t table = regs->cr3 & mode->cr3_table, denied = 0, entry;
	unsigned level = format->levels;

	if (WALK_UNLIKELY((addr + mode->va_bias) >> (wide ? format_shift(format, level + 1) : 32)))
		goto illegal;
	if (pae) {
		walk->entry[level] = regs->pdpte[addr >> 30];
		if (WALK_UNLIKELY((walk->entry[level] ^ PTE_P) & mode->refused[level]))
			goto turn;
		table = walk->entry[level--] & format->frame;
	}
	RHZ_UNROLL
	for (; level > 1; level--) {
		if (!walk_read(format, level, addr, table, read, ctx, walk, &entry))
			goto unreadable;
		if (WALK_UNLIKELY(entry & mode->refused[level]))
			goto turn;
		denied |= entry;
		table = entry & format->frame;
	}
	if (!walk_read(format, level, addr, table, read, ctx, walk, &entry))
		goto unreadable;
	if (WALK_UNLIKELY(entry & mode->refused[level]))
		goto turn;
	return walk_leaf(format, mode, regs, addr, access, level, entry, denied, walk);
illegal:
	walk->level = (uint8_t)level;
	return rhz_walk_stop(mode, access, RHZ_WALK_NON_CANONICAL, denied, walk);
unreadable:
	walk->level = (uint8_t)level;
	return rhz_walk_stop(mode, access, RHZ_WALK_TABLE, denied, walk);
turn:
	walk->level = (uint8_t)level;
	return rhz_walk_turn(mode, regs, addr, access, denied, walk);
}

#endif
