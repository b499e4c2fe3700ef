/* SPDX-License-Identifier: MIT */
/*
 * What the manuals say that a paging-structure walk must yield, written plainly and bit by bit, to
 * hold the library's walk against. Shares nothing with lib/ but the public types. The tests that
 * use it are access_test.c and npt_test.c.
 */
#ifndef TESTS_GUEST_PREDICT_H
#define TESTS_GUEST_PREDICT_H

#include <rhizome/guest.h>

#define BIT(n) (1ull << (n))

/* All that a walk depends on: one entry per level is enough for one address. */
struct given {
	enum rhz_paging paging;
	struct rhz_cpuid cpuid;
	struct rhz_regs regs;
	bool nested; /* the tables are nested ones */
	uint64_t gva;
	unsigned access;
	uint64_t entry[6];
};

struct expected {
	enum rhz_walk_outcome outcome;
	uint32_t code;
	unsigned level; /* of the leaf, or of the entry that ended the walk */
	unsigned shift;
	uint64_t gpa;
	bool global;
	unsigned key, rights; /* if a page was found */
	uint64_t after[6]; /* the entries once A and D are set */
};

static inline bool on(const struct given *g, uint64_t cr4_bit)
{
	return g->regs.cr4 & cr4_bit;
}

static inline bool is_long(const struct given *g)
{
	return g->paging == RHZ_PAGING_4LEVEL || g->paging == RHZ_PAGING_5LEVEL;
}

static inline unsigned top_of(const struct given *g)
{
	switch (g->paging) {
	case RHZ_PAGING_NONE:
		return 0;
	case RHZ_PAGING_32:
		return 2;
	case RHZ_PAGING_PAE:
		return 3;
	case RHZ_PAGING_4LEVEL:
		return 4;
	case RHZ_PAGING_5LEVEL:
		return 5;
	}
	return 0;
}

/* [SDM3 4.3]: the bulleted list of reserved bits of 32-bit paging. */
static inline bool reserved_32bit(const struct given *g, unsigned level, bool leaf, unsigned bit)
{
	unsigned m = g->cpuid.maxphyaddr > 40 ? 40 : g->cpuid.maxphyaddr;

	if (!on(g, RHZ_CR4_PSE))
		return false;
	if (level == 1)
		return bit == 7 && !g->cpuid.pat;
	if (!leaf)
		return false;
	if (bit == 12)
		return !g->cpuid.pat;
	if (!g->cpuid.pse36)
		return bit >= 13 && bit <= 21;
	return bit <= 21 && bit >= m - 19;
}

/* [SDM3 4.4.1, 4.4.2]. */
static inline bool reserved_in_pae(const struct given *g, unsigned level, bool leaf, unsigned bit)
{
	if (level == 3)
		return bit == 1 || bit == 2 || (bit >= 5 && bit <= 8) ||
		       bit >= g->cpuid.maxphyaddr;
	if (bit == 63)
		return !(g->regs.efer & RHZ_EFER_NXE);
	if (bit >= g->cpuid.maxphyaddr)
		return true;
	if (level == 2 && leaf)
		return (bit >= 13 && bit <= 20) || (bit == 12 && !g->cpuid.pat);
	return level == 1 && bit == 7 && !g->cpuid.pat;
}

/* [SDM3 4.5.4], and for bit 8 the figures of [APM2 5.3]. */
static inline bool reserved_in_long(const struct given *g, unsigned level, bool leaf, unsigned bit)
{
	bool amd = g->cpuid.vendor == RHZ_VENDOR_AMD;

	if (bit == 63)
		return !(g->regs.efer & RHZ_EFER_NXE);
	if (bit >= 52)
		return false;
	if (bit >= g->cpuid.maxphyaddr)
		return true;
	switch (level) {
	case 5:
	case 4:
		return bit == 7 || (bit == 8 && amd);
	case 3:
		return leaf && ((bit >= 13 && bit <= 29) || (bit == 7 && !g->cpuid.gbpages));
	case 2:
		return leaf && bit >= 13 && bit <= 20;
	default:
		return false;
	}
}

static inline bool is_reserved(const struct given *g, unsigned level, bool leaf, unsigned bit)
{
	if (is_long(g))
		return reserved_in_long(g, level, leaf, bit);
	if (g->paging == RHZ_PAGING_PAE)
		return reserved_in_pae(g, level, leaf, bit);
	return reserved_32bit(g, level, leaf, bit);
}

static inline bool has_reserved_bit(const struct given *g, unsigned level, bool leaf)
{
	for (uint64_t left = g->entry[level]; left; left &= left - 1)
		if (is_reserved(g, level, leaf, (unsigned)__builtin_ctzll(left)))
			return true;
	return false;
}

static inline bool maps_a_page(const struct given *g, unsigned level)
{
	if (level == 1)
		return true;
	if (!(g->entry[level] & BIT(7)))
		return false;
	if (g->paging == RHZ_PAGING_32)
		return on(g, RHZ_CR4_PSE);
	return level == 2 || (level == 3 && is_long(g));
}

/* The rights that all entries together give an address [SDM3 4.6]. */
struct page_rights {
	bool user, writable, xd;
	unsigned key;
};

/* [SDM3 4.6.1], case by case. */
static inline bool rights_allow(const struct given *g, struct page_rights page)
{
	bool implicit = g->access & RHZ_ACCESS_IMPLICIT;
	bool user_mode = (g->access & RHZ_ACCESS_USER) && !implicit;
	bool write = g->access & RHZ_ACCESS_WRITE, fetch = g->access & RHZ_ACCESS_FETCH;
	bool ac = g->access & RHZ_ACCESS_AC;
	bool xd_counts = g->paging != RHZ_PAGING_32 && (g->regs.efer & RHZ_EFER_NXE);

	if (user_mode) {
		if (!page.user)
			return false;
		if (fetch)
			return !(xd_counts && page.xd);
		return write ? page.writable : true;
	}
	if (fetch) {
		if (page.user && on(g, RHZ_CR4_SMEP))
			return false;
		return !(xd_counts && page.xd);
	}
	if (page.user && on(g, RHZ_CR4_SMAP) && (implicit || !ac))
		return false;
	if (write && (g->regs.cr0 & RHZ_CR0_WP))
		return page.writable;
	return true;
}

/* [SDM3 4.6.2]. */
static inline bool key_allows(const struct given *g, struct page_rights page)
{
	bool user_mode = (g->access & RHZ_ACCESS_USER) && !(g->access & RHZ_ACCESS_IMPLICIT);
	bool ad, wd;

	if (!is_long(g) || g->nested || (g->access & RHZ_ACCESS_FETCH))
		return true;
	if (page.user) {
		if (!on(g, RHZ_CR4_PKE))
			return true;
		ad = g->regs.pkru & BIT(2 * page.key);
		wd = g->regs.pkru & BIT(2 * page.key + 1);
		if (wd && !user_mode && !(g->regs.cr0 & RHZ_CR0_WP))
			wd = false;
	} else {
		if (!on(g, RHZ_CR4_PKS))
			return true;
		ad = g->regs.pkrs & BIT(2 * page.key);
		wd = (g->regs.pkrs & BIT(2 * page.key + 1)) && (g->regs.cr0 & RHZ_CR0_WP);
		/* a user-mode access is bound by AD and WD alike [SDM3 4.7] */
		if (user_mode)
			wd = g->regs.pkrs & BIT(2 * page.key + 1);
	}
	return !ad && !(wd && (g->access & RHZ_ACCESS_WRITE));
}

/* [SDM3 4.7], flag by flag. */
static inline uint32_t code_of(const struct given *g, bool p, bool rsvd, bool pk)
{
	bool user_mode = (g->access & RHZ_ACCESS_USER) && !(g->access & RHZ_ACCESS_IMPLICIT);
	bool i = (g->access & RHZ_ACCESS_FETCH) &&
		 ((on(g, RHZ_CR4_SMEP) && !g->nested) ||
		  (on(g, RHZ_CR4_PAE) && (g->regs.efer & RHZ_EFER_NXE)));

	return (uint32_t)(p | (bool)(g->access & RHZ_ACCESS_WRITE) << 1 | user_mode << 2 |
			  rsvd << 3 | i << 4 | pk << 5);
}

static inline unsigned page_shift_of(const struct given *g, unsigned level)
{
	if (g->paging == RHZ_PAGING_32)
		return level == 2 ? 22 : 12;
	return level == 3 ? 30 : level == 2 ? 21 : 12;
}

static inline uint64_t frame_of(const struct given *g, unsigned level)
{
	uint64_t entry = g->entry[level], frame = 0;
	unsigned shift = page_shift_of(g, level);

	for (unsigned bit = shift; bit < 52 && bit < (g->paging == RHZ_PAGING_32 ? 32 : 52); bit++)
		frame |= entry & BIT(bit);
	if (shift == 22)
		for (unsigned bit = 13; bit <= 20; bit++) /* PSE-36: bit 13 is address bit 32 */
			frame |= entry & BIT(bit) ? BIT(bit + 19) : 0;
	return frame;
}

/* An address that no walk starts for: not canonical, or beyond what nested tables reach. */
static inline bool is_unreachable(const struct given *g)
{
	unsigned bits = g->paging == RHZ_PAGING_5LEVEL ? 57 : is_long(g) ? 48 : 32;

	if (g->nested)
		return g->gva >> bits;
	if (!is_long(g))
		return false;
	for (unsigned bit = bits; bit < 64; bit++)
		if (!(g->gva & BIT(bit)) != !(g->gva & BIT(bits - 1)))
			return true;
	return false;
}

static inline void predict_ad(const struct given *g, struct expected *e)
{
	for (unsigned level = top_of(g); level >= e->level; level--) {
		if (g->paging == RHZ_PAGING_PAE && level == 3)
			continue;
		e->after[level] |= BIT(5);
	}
	if (g->access & RHZ_ACCESS_WRITE)
		e->after[e->level] |= BIT(6);
}

/* The whole: existence from the top down, then rights, then A and D. */
static inline struct expected predict(const struct given *g)
{
	struct expected e = { .level = top_of(g) };
	struct page_rights page = { .user = true, .writable = true };
	bool allowed, key_allowed;

	for (unsigned level = 0; level < 6; level++)
		e.after[level] = g->entry[level];
	if (is_unreachable(g)) {
		e.outcome = g->nested ? RHZ_WALK_NOT_PRESENT : RHZ_WALK_NON_CANONICAL;
		e.code = g->nested ? code_of(g, false, false, false) : 0;
		return e;
	}
	for (;; e.level--) {
		uint64_t entry = g->entry[e.level];

		if (!(entry & BIT(0))) {
			e.outcome = RHZ_WALK_NOT_PRESENT;
			e.code = code_of(g, false, false, false);
			return e;
		}
		if (has_reserved_bit(g, e.level, maps_a_page(g, e.level))) {
			e.outcome = RHZ_WALK_RESERVED;
			e.code = code_of(g, true, true, false);
			return e;
		}
		if (!(g->paging == RHZ_PAGING_PAE && e.level == 3)) {
			page.writable = page.writable && (entry & BIT(1));
			page.user = page.user && (entry & BIT(2));
			page.xd = page.xd || (entry & BIT(63));
		}
		if (maps_a_page(g, e.level))
			break;
	}
	page.key = g->entry[e.level] >> 59 & 15;
	e.shift = page_shift_of(g, e.level);
	e.gpa = frame_of(g, e.level) | (g->gva & (BIT(e.shift) - 1));
	e.global = (g->entry[e.level] & BIT(8)) && on(g, RHZ_CR4_PGE) && !g->nested;
	if (is_long(g) && !g->nested && (on(g, RHZ_CR4_PKE) || on(g, RHZ_CR4_PKS)))
		e.key = page.key;
	e.rights = RHZ_RIGHT_READ | (page.writable ? RHZ_RIGHT_WRITE : 0u) |
		   (page.user ? RHZ_RIGHT_USER : 0u) | (page.xd ? 0u : RHZ_RIGHT_EXEC);
	allowed = rights_allow(g, page);
	key_allowed = key_allows(g, page);
	if (!allowed || !key_allowed) {
		e.outcome = allowed ? RHZ_WALK_KEY : RHZ_WALK_RIGHTS;
		e.code = code_of(g, true, false, !key_allowed);
		return e;
	}
	e.outcome = RHZ_WALK_OK;
	predict_ad(g, &e);
	return e;
}

#endif
