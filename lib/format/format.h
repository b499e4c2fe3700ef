/* SPDX-License-Identifier: MIT */
/*
 * What a page-table entry is, as const data: geometry and bits of every format, and the always-
 * inline operations on one entry. An entry is a table, a leaf or a hole. No walks live here, and no
 * reserved-bit rules that depend on the guest's registers (guest/mode.c).
 */
#ifndef RHZ_FORMAT_FORMAT_H
#define RHZ_FORMAT_FORMAT_H

#include <rhizome/types.h>

#define RHZ_INLINE static inline __attribute__((always_inline))

/* Before a loop whose bound a constant format gives: unroll it wholly. */
#ifdef __clang__
#define RHZ_UNROLL _Pragma("unroll")
#else
#define RHZ_UNROLL _Pragma("GCC unroll 8")
#endif

/* Bits hi to lo, both included, 0 <= lo <= hi <= 63; none at all if hi < lo. */
RHZ_INLINE uint64_t format_bits(unsigned hi, unsigned lo)
{
	return hi < lo ? 0 : (~0ull >> (63 - hi)) & (~0ull << lo);
}

/* Bits shared by all formats but EPT [SDM3 4.3, 4.4.2, 4.5.4] [APM2 5.2, 5.3]. */
#define PTE_P (1ull << 0)
#define PTE_W (1ull << 1)
#define PTE_U (1ull << 2)
#define PTE_PWT (1ull << 3)
#define PTE_PCD (1ull << 4)
#define PTE_A (1ull << 5)
#define PTE_D (1ull << 6)
#define PTE_PS (1ull << 7)        /* levels 2 and up: this entry is a leaf */
#define PTE_PAT_4K (1ull << 7)    /* level 1 */
#define PTE_G (1ull << 8)
#define PTE_PAT_LARGE (1ull << 12)
#define PTE_NX (1ull << 63)
#define PTE_KEY_SHIFT 59
#define PTE_KEY (15ull << PTE_KEY_SHIFT)
#define PTE_FRAME 0x000ffffffffff000ull

#define PTE32_FRAME 0xfffff000ull
/* A 4 MiB leaf of 32-bit paging: frame bits 39:32 stand in bits 20:13 (PSE-36) [SDM3 4.3]. */
#define PTE32_LARGE_FRAME 0xffc00000ull
#define PTE32_HIGH_SHIFT 13
#define PTE32_HIGH (0xffull << PTE32_HIGH_SHIFT)

/* EPT [SDM3 28.3.2]. */
#define EPT_R (1ull << 0)
#define EPT_W (1ull << 1)
#define EPT_X (1ull << 2)
#define EPT_MT_SHIFT 3
#define EPT_MT (7ull << EPT_MT_SHIFT)
#define EPT_IPAT (1ull << 6)
#define EPT_PS (1ull << 7)
#define EPT_A (1ull << 8)
#define EPT_D (1ull << 9)
#define EPT_XU (1ull << 10)

struct rhz_format {
	const char *name;
	uint8_t levels;      /* of the deepest tree; 32-bit: 2, PAE: 3 */
	uint8_t entry_bytes; /* 4 or 8 */
	uint8_t index_bits;  /* of a table below the top: 9 or 10 */
	uint8_t top_bits;    /* of the top table: 2 for PAE, else index_bits */
	uint8_t leaf_levels; /* bit n: level n may hold leaves */
	bool ept;
	uint64_t present;    /* any of these set: not a hole */
	uint64_t accessed;   /* A and D, 0 if the format has none */
	uint64_t dirty;
	uint64_t frame;      /* address bits of an entry */
};

#define FORMAT_32                                                                                \
	{                                                                                          \
		.name = "32-bit", .levels = 2, .entry_bytes = 4, .index_bits = 10, .top_bits = 10, \
		.leaf_levels = 1 << 1 | 1 << 2, .present = PTE_P, .accessed = PTE_A,               \
		.dirty = PTE_D, .frame = PTE32_FRAME,                                              \
	}
#define FORMAT_PAE                                                                               \
	{                                                                                          \
		.name = "PAE", .levels = 3, .entry_bytes = 8, .index_bits = 9, .top_bits = 2,      \
		.leaf_levels = 1 << 1 | 1 << 2, .present = PTE_P, .accessed = PTE_A,               \
		.dirty = PTE_D, .frame = PTE_FRAME,                                                \
	}
#define FORMAT_LONG(_name, _levels)                                                              \
	{                                                                                          \
		.name = (_name), .levels = (_levels), .entry_bytes = 8, .index_bits = 9,           \
		.top_bits = 9, .leaf_levels = 1 << 1 | 1 << 2 | 1 << 3, .present = PTE_P,          \
		.accessed = PTE_A, .dirty = PTE_D, .frame = PTE_FRAME,                             \
	}
#define FORMAT_EPT(_name, _levels)                                                               \
	{                                                                                          \
		.name = (_name), .levels = (_levels), .entry_bytes = 8, .index_bits = 9,           \
		.top_bits = 9, .leaf_levels = 1 << 1 | 1 << 2 | 1 << 3, .ept = true,               \
		.present = EPT_R | EPT_W | EPT_X, .accessed = EPT_A, .dirty = EPT_D,               \
		.frame = PTE_FRAME,                                                                \
	}

/*
 * The formats as compile-time constants, for what is to be unrolled over them. A pointer that is
 * kept or compared is one to the objects below, of which there is one each.
 */
static const struct rhz_format format_32 = FORMAT_32;
static const struct rhz_format format_pae = FORMAT_PAE;
static const struct rhz_format format_4level = FORMAT_LONG("4-level", 4);
static const struct rhz_format format_5level = FORMAT_LONG("5-level", 5);
static const struct rhz_format format_ept4 = FORMAT_EPT("EPT, 4-level", 4);
static const struct rhz_format format_ept5 = FORMAT_EPT("EPT, 5-level", 5);

extern const struct rhz_format rhz_format_32;
extern const struct rhz_format rhz_format_pae;
extern const struct rhz_format rhz_format_4level; /* NPT too: [APM2 15.25.5] */
extern const struct rhz_format rhz_format_5level;
extern const struct rhz_format rhz_format_ept4;
extern const struct rhz_format rhz_format_ept5;

/* log2 of the bytes that one entry of this level maps. */
RHZ_INLINE unsigned format_shift(const struct rhz_format *format, unsigned level)
{
	return RHZ_PAGE_SHIFT + (level - 1) * format->index_bits;
}

/* Index of the entry for an address in its table of this level; 'levels' is the tree's depth. */
RHZ_INLINE unsigned format_index(const struct rhz_format *format, unsigned level, uint64_t addr)
{
	unsigned bits = level == format->levels ? format->top_bits : format->index_bits;

	return (unsigned)(addr >> format_shift(format, level)) & ((1u << bits) - 1);
}

/* Whether entries of this level are always tables, always leaves, or say so by their PS bit. */
RHZ_INLINE bool format_may_be_leaf(const struct rhz_format *format, unsigned level)
{
	return format->leaf_levels >> level & 1;
}

/* The gpa of the first byte that a leaf of this level maps. */
RHZ_INLINE uint64_t format_leaf_frame(const struct rhz_format *format, unsigned level,
                                      uint64_t entry)
{
	if (format->entry_bytes == 4 && level == 2)
		return (entry & PTE32_LARGE_FRAME) |
		       (entry & PTE32_HIGH) << (32 - PTE32_HIGH_SHIFT);
	return entry & format->frame & (~0ull << format_shift(format, level));
}

RHZ_INLINE bool format_is_hole(const struct rhz_format *format, uint64_t entry)
{
	return !(entry & format->present);
}

#endif
