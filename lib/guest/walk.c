/* SPDX-License-Identifier: MIT */
/*
 * The walk by name, one function per format, and how a walk ends that does not end well: outcome
 * and error code. The walk itself is in walk.h.
 */
#include "guest/walk.h"

/*
 * The #PF error code but for PK [SDM3 4.7] [APM2 8.4.2]: it describes the access, and P and RSVD
 * say what stood in its way. I is reported only where fetches differ from reads: with NXE under
 * PAE or long mode, or with SMEP.
 */
static uint32_t error_code(const struct rhz_mode *mode, unsigned access,
                           enum rhz_walk_outcome outcome)
{
	uint32_t code = 0;

	if (outcome != RHZ_WALK_NOT_PRESENT)
		code |= RHZ_PF_P;
	if (outcome == RHZ_WALK_RESERVED)
		code |= RHZ_PF_RSVD;
	if (access & RHZ_ACCESS_WRITE)
		code |= RHZ_PF_W;
	if ((access & RHZ_ACCESS_USER) && !(access & RHZ_ACCESS_IMPLICIT))
		code |= RHZ_PF_U;
	if ((access & RHZ_ACCESS_FETCH) && (mode->nxe || mode->smep))
		code |= RHZ_PF_I;
	return code;
}

enum rhz_walk_outcome rhz_walk_stop(const struct rhz_mode *mode, unsigned access,
                                    enum rhz_walk_outcome outcome, uint64_t denied,
                                    struct rhz_walk *walk)
{
	/* L2's addresses have no sign: one that the nested tables cannot reach is not mapped. */
	if (outcome == RHZ_WALK_NON_CANONICAL && mode->nested)
		outcome = RHZ_WALK_NOT_PRESENT;
	walk->outcome = outcome;
	walk->error_code = 0;
	if (outcome == RHZ_WALK_NOT_PRESENT || outcome == RHZ_WALK_RESERVED)
		walk->error_code = error_code(mode, access, outcome);
	walk->top = mode->levels;
	walk->page_shift = 0;
	walk->key = 0;
	walk->rights = walk_rights(denied);
	walk->accessed = !(denied & PTE_A);
	walk->global = false;
	walk->gpa.v = 0;
	return outcome;
}

enum rhz_walk_outcome rhz_walk_turn(const struct rhz_mode *mode, const struct rhz_regs *regs,
                                    uint64_t addr, unsigned access, uint64_t denied,
                                    struct rhz_walk *walk)
{
	const struct rhz_format *format = mode->format;
	unsigned level = walk->level;
	uint64_t entry = walk->entry[level];
	bool leaf = level == 1 || (entry & mode->refused[level] & PTE_PS);

	if (!(entry & PTE_P))
		return rhz_walk_stop(mode, access, RHZ_WALK_NOT_PRESENT, denied, walk);
	if (entry & mode->reserved[level][leaf])
		return rhz_walk_stop(mode, access, RHZ_WALK_RESERVED, denied, walk);
	return walk_leaf(format, mode, regs, addr, access, level, entry ^ WALK_FLIP, denied, walk);
}

/*
 * Whether the key of the page forbids a data access [SDM3 4.6.2] [APM2 5.6.7]: PKRU judges user
 * pages, PKRS supervisor pages; two bits per key, AD and then WD. WD binds a supervisor only with
 * CR0.WP. Fetches are free.
 */
static bool key_forbids(const struct rhz_mode *mode, const struct rhz_regs *regs, unsigned access,
                        const struct rhz_walk *walk)
{
	bool user_page = walk->rights & RHZ_RIGHT_USER;
	bool user = (access & RHZ_ACCESS_USER) && !(access & RHZ_ACCESS_IMPLICIT);
	uint32_t rights = (user_page ? regs->pkru : regs->pkrs) >> (2 * walk->key);

	if (!(user_page ? mode->pke : mode->pks) || (access & RHZ_ACCESS_FETCH))
		return false;
	return (rights & 1) || ((rights & 2) && (access & RHZ_ACCESS_WRITE) && (user || mode->wp));
}

/* PK tells of the key whether or not the other rights forbid the access too [SDM3 4.7]. */
enum rhz_walk_outcome rhz_walk_judge(const struct rhz_mode *mode, const struct rhz_regs *regs,
                                     unsigned access, struct rhz_walk *walk)
{
	unsigned kind = access % RHZ_ACCESSES;
	unsigned unmet = (walk->rights ^ mode->rules.need[kind]) & mode->rules.care[kind];
	bool key = false;

	if (mode->pke || mode->pks) {
		walk->key = walk->entry[walk->level] >> PTE_KEY_SHIFT & 15;
		key = key_forbids(mode, regs, access, walk);
	}
	if (unmet & ~RHZ_RIGHT_READ)
		walk->outcome = RHZ_WALK_RIGHTS;
	else if (key)
		walk->outcome = RHZ_WALK_KEY;
	else
		return RHZ_WALK_OK;
	walk->error_code = error_code(mode, access, walk->outcome) | (key ? RHZ_PF_PK : 0);
	return walk->outcome;
}

/* Paging off: the address is the physical one, 32 bits wide, and everything is allowed. */
static enum rhz_walk_outcome walk_none(const struct rhz_mode *mode, rhz_gva gva,
                                       struct rhz_walk *walk)
{
	walk->outcome = RHZ_WALK_OK;
	walk->error_code = 0;
	walk->level = walk->top = 0;
	walk->page_shift = RHZ_PAGE_SHIFT;
	walk->key = 0;
	walk->rights = RHZ_RIGHT_ALL;
	walk->accessed = true;
	walk->global = false;
	walk->gpa.v = gva.v & mode->va_mask;
	return RHZ_WALK_OK;
}

static enum rhz_walk_outcome walk_32(const struct rhz_mode *mode, const struct rhz_regs *regs,
                                     rhz_gva gva, unsigned access, rhz_read_entry read, void *ctx,
                                     struct rhz_walk *walk)
{
	return walk_tables(&format_32, mode, regs, gva, access, read, ctx, walk);
}

static enum rhz_walk_outcome walk_pae(const struct rhz_mode *mode, const struct rhz_regs *regs,
                                      rhz_gva gva, unsigned access, rhz_read_entry read,
                                      void *ctx, struct rhz_walk *walk)
{
	return walk_tables(&format_pae, mode, regs, gva, access, read, ctx, walk);
}

static enum rhz_walk_outcome walk_4level(const struct rhz_mode *mode, const struct rhz_regs *regs,
                                         rhz_gva gva, unsigned access, rhz_read_entry read,
                                         void *ctx, struct rhz_walk *walk)
{
	return walk_tables(&format_4level, mode, regs, gva, access, read, ctx, walk);
}

static enum rhz_walk_outcome walk_5level(const struct rhz_mode *mode, const struct rhz_regs *regs,
                                         rhz_gva gva, unsigned access, rhz_read_entry read,
                                         void *ctx, struct rhz_walk *walk)
{
	return walk_tables(&format_5level, mode, regs, gva, access, read, ctx, walk);
}

enum rhz_walk_outcome rhz_guest_walk(const struct rhz_mode *mode, const struct rhz_regs *regs,
                                     rhz_gva gva, unsigned access, rhz_read_entry read, void *ctx,
                                     struct rhz_walk *walk)
{
	switch (mode->paging) {
	case RHZ_PAGING_NONE:
		return walk_none(mode, gva, walk);
	case RHZ_PAGING_32:
		return walk_32(mode, regs, gva, access, read, ctx, walk);
	case RHZ_PAGING_PAE:
		return walk_pae(mode, regs, gva, access, read, ctx, walk);
	case RHZ_PAGING_4LEVEL:
		return walk_4level(mode, regs, gva, access, read, ctx, walk);
	case RHZ_PAGING_5LEVEL:
		return walk_5level(mode, regs, gva, access, read, ctx, walk);
	}
	__builtin_unreachable();
}
