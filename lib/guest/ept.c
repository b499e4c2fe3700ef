/* SPDX-License-Identifier: MIT */
/*
 * The walk of EPT tables [SDM3 28.3]. It is apart from walk.h because its outcomes differ in kind:
 * a violation tells the rights found, a misconfiguration tells that an entry makes no sense. A and
 * D bits are in ad.c.
 */
#include "guest/ept.h"

#include "format/format.h"

/* EPTP [SDM3 24.6.11]. */
#define EPTP_MT 7ull
#define EPTP_LENGTH_SHIFT 3 /* bits 5:3: levels minus one */
#define EPTP_AD (1ull << 6)

#define MT_UC 0
#define MT_WB 6
/* Memory types 2, 3 and 7 do not exist [SDM3 28.3.3.1]. */
#define MT_INVALID (1u << 2 | 1u << 3 | 1u << 7)

/* [SDM3 28.3.2]: the reserved bits of its tables of entry formats.. */
static void ept_reserved_init(struct rhz_ept_mode *mode)
{
	uint64_t high = format_bits(51, mode->maxphyaddr), type = format_bits(6, 3);

	for (unsigned level = 4; level <= RHZ_MAX_LEVELS; level++)
		mode->reserved[level][0] = mode->reserved[level][1] = high | type | EPT_PS;
	mode->reserved[3][0] = high | type;
	mode->reserved[3][1] = high | format_bits(29, 12) | (mode->pages_1g ? 0 : EPT_PS);
	mode->reserved[2][0] = high | type;
	mode->reserved[2][1] = high | format_bits(20, 12);
	mode->reserved[1][0] = mode->reserved[1][1] = high;
}

enum rhz_status rhz_ept_mode_init(struct rhz_ept_mode *mode, uint64_t eptp, uint8_t maxphyaddr,
                                  bool execute_only, bool pages_1g, bool la57, bool mode_based)
{
	unsigned type = (unsigned)(eptp & EPTP_MT);
	unsigned levels = (unsigned)(eptp >> EPTP_LENGTH_SHIFT & 7) + 1;

	*mode = (struct rhz_ept_mode){
		.ad = eptp & EPTP_AD,
		.execute_only = execute_only,
		.pages_1g = pages_1g,
		.mode_based = mode_based,
		.maxphyaddr = maxphyaddr,
	};
	if (maxphyaddr < 32 || maxphyaddr > 52)
		return RHZ_ERR_FEATURE;
	/* VM entry checks all of these [SDM3 26.2.1.1]; bit 7 belongs to shadow stacks. */
	if (type != MT_UC && type != MT_WB)
		return RHZ_ERR_FEATURE;
	if (levels != 4 && !(levels == 5 && la57))
		return RHZ_ERR_FEATURE;
	if (eptp & (format_bits(11, 7) | format_bits(63, maxphyaddr)))
		return RHZ_ERR_FEATURE;
	mode->levels = (uint8_t)levels;
	ept_reserved_init(mode);
	return RHZ_OK;
}

/* Whether a present entry makes no sense [SDM3 28.3.3.1]. */
bool rhz_ept_misconfigured(const struct rhz_ept_mode *mode, uint64_t entry, unsigned level,
                           bool leaf)
{
	uint64_t exec = EPT_X | (mode->mode_based ? EPT_XU : 0);

	if (!(entry & EPT_R) && ((entry & EPT_W) || (!mode->execute_only && (entry & exec))))
		return true;
	if (entry & mode->reserved[level][leaf])
		return true;
	return leaf && (MT_INVALID >> (entry >> EPT_MT_SHIFT & 7) & 1);
}

/* The rights that 'all', the AND of the entries, grants. */
uint8_t rhz_ept_rights(const struct rhz_ept_mode *mode, uint64_t all)
{
	unsigned rights = 0;

	if (all & EPT_R)
		rights |= RHZ_RIGHT_READ;
	if (all & EPT_W)
		rights |= RHZ_RIGHT_WRITE;
	if (all & EPT_X)
		rights |= RHZ_RIGHT_EXEC;
	if (mode->mode_based && (all & EPT_XU))
		rights |= RHZ_RIGHT_USER;
	return (uint8_t)rights;
}

/*
 * The rights that an access needs. Tables of the guest are read, and with A/D enabled written too
 * [SDM3 28.3.3.2]. With mode-based execute control a fetch from a user-mode linear address asks
 * bit 10 instead of bit 2.
 */
static uint8_t ept_needs(const struct rhz_ept_mode *mode, unsigned access)
{
	unsigned need = 0;

	if (access & RHZ_ACCESS_TABLE)
		return RHZ_RIGHT_READ | (mode->ad ? RHZ_RIGHT_WRITE : 0);
	if (access & RHZ_ACCESS_WRITE)
		need |= RHZ_RIGHT_WRITE;
	if ((access & RHZ_ACCESS_FETCH) && mode->mode_based && (access & RHZ_ACCESS_USER))
		need |= RHZ_RIGHT_USER;
	else if (access & RHZ_ACCESS_FETCH)
		need |= RHZ_RIGHT_EXEC;
	return (uint8_t)(need ? need : RHZ_RIGHT_READ);
}

/*
 * Exit qualification but for bits 7 and 8 [SDM3 table 27-7]. Bits 6:3 are the AND of the entries,
 * the one that is not present included, hence 0 then. A table access under A/D has bits 0 and 1.
 */
static uint64_t ept_qualification(const struct rhz_ept_mode *mode, unsigned access, uint8_t rights)
{
	uint8_t need = ept_needs(mode, access);
	uint64_t qualification = 0;

	if (need & RHZ_RIGHT_READ)
		qualification |= RHZ_EPT_QUAL_READ;
	if (need & RHZ_RIGHT_WRITE)
		qualification |= RHZ_EPT_QUAL_WRITE;
	if (need & (RHZ_RIGHT_EXEC | RHZ_RIGHT_USER))
		qualification |= RHZ_EPT_QUAL_FETCH;
	if (rights & RHZ_RIGHT_READ)
		qualification |= RHZ_EPT_QUAL_R;
	if (rights & RHZ_RIGHT_WRITE)
		qualification |= RHZ_EPT_QUAL_W;
	if (rights & RHZ_RIGHT_EXEC)
		qualification |= RHZ_EPT_QUAL_X;
	if (rights & RHZ_RIGHT_USER)
		qualification |= RHZ_EPT_QUAL_XU;
	return qualification;
}

static enum rhz_ept_outcome ept_violation(const struct rhz_ept_mode *mode, unsigned access,
                                          struct rhz_ept_walk *walk)
{
	walk->qualification = ept_qualification(mode, access, walk->rights);
	return walk->outcome = RHZ_EPT_VIOLATION;
}

/* A leaf was found: where it leads, and whether its rights suffice. */
static enum rhz_ept_outcome ept_leaf(const struct rhz_ept_mode *mode, rhz_ngpa ngpa,
                                     unsigned access, uint64_t entry, struct rhz_ept_walk *walk)
{
	uint8_t need = ept_needs(mode, access);

	walk->page_shift = (uint8_t)format_shift(&format_ept4, walk->level);
	walk->memory_type = entry >> EPT_MT_SHIFT & 7;
	walk->ignore_pat = entry & EPT_IPAT;
	walk->gpa.v = format_leaf_frame(&format_ept4, walk->level, entry) |
	              (ngpa.v & format_bits(walk->page_shift - 1u, 0));
	if (need & ~walk->rights)
		return ept_violation(mode, access, walk);
	return walk->outcome = RHZ_EPT_OK;
}

enum rhz_ept_outcome rhz_ept_walk(const struct rhz_ept_mode *mode, uint64_t eptp, rhz_ngpa ngpa,
                                  unsigned access, rhz_read_entry read, void *ctx,
                                  struct rhz_ept_walk *walk)
{
	const struct rhz_format *format = mode->levels == 5 ? &rhz_format_ept5 : &rhz_format_ept4;
	uint64_t present = format->present | (mode->mode_based ? EPT_XU : 0);
	uint64_t table = eptp & format_bits(mode->maxphyaddr - 1u, 12), all = ~0ull;

	*walk = (struct rhz_ept_walk){ .top = mode->levels, .level = mode->levels };
	/* No entry maps an address wider than the tables reach. */
	if (ngpa.v >> format_shift(format, mode->levels + 1u))
		return ept_violation(mode, access, walk);
	for (unsigned level = mode->levels;; level--) {
		uint64_t entry;
		rhz_gpa at = { table + 8 * format_index(format, level, ngpa.v) };
		bool leaf;

		walk->level = (uint8_t)level;
		walk->table[level] = at;
		if (!read(ctx, at, 8, &entry))
			return walk->outcome = RHZ_EPT_TABLE;
		walk->entry[level] = entry;
		all &= entry;
		walk->rights = rhz_ept_rights(mode, all);
		if (!(entry & present))
			return ept_violation(mode, access, walk);
		leaf = level == 1 || (format_may_be_leaf(format, level) && (entry & EPT_PS));
		if (rhz_ept_misconfigured(mode, entry, level, leaf))
			return walk->outcome = RHZ_EPT_MISCONFIG;
		if (leaf)
			return ept_leaf(mode, ngpa, access, entry, walk);
		table = entry & format->frame;
	}
}
