/* SPDX-License-Identifier: MIT */
/*
 * What a guest's registers and page tables mean: paging mode, walk, rights, error codes.
 *
 * Everything here is pure: values and a table reader go in, an answer comes out. No vCPU, no VM.
 * Manuals are cited as [SDM3 4.6.1] (Intel SDM volume 3) and [APM2 5.6] (AMD APM volume 2); the
 * editions are listed in docs/terms.md.
 */
#ifndef RHIZOME_GUEST_H
#define RHIZOME_GUEST_H

#include <rhizome/types.h>

/* Register bits that paging looks at, under the manuals' names. */
#define RHZ_CR0_PE (1ull << 0)
#define RHZ_CR0_WP (1ull << 16)
#define RHZ_CR0_NW (1ull << 29)
#define RHZ_CR0_CD (1ull << 30)
#define RHZ_CR0_PG (1ull << 31)
#define RHZ_CR3_PWT (1ull << 3)
#define RHZ_CR3_PCD (1ull << 4)
#define RHZ_CR3_NOFLUSH (1ull << 63)
#define RHZ_CR4_PSE (1ull << 4)
#define RHZ_CR4_PAE (1ull << 5)
#define RHZ_CR4_PGE (1ull << 7)
#define RHZ_CR4_LA57 (1ull << 12)
#define RHZ_CR4_PCIDE (1ull << 17)
#define RHZ_CR4_SMEP (1ull << 20)
#define RHZ_CR4_SMAP (1ull << 21)
#define RHZ_CR4_PKE (1ull << 22)
#define RHZ_CR4_PKS (1ull << 24)
#define RHZ_EFER_LME (1ull << 8)
#define RHZ_EFER_LMA (1ull << 10)
#define RHZ_EFER_NXE (1ull << 11)

/* #PF error code [SDM3 4.7] [APM2 8.4.2]. */
#define RHZ_PF_P (1u << 0)    /* a translation exists, its rights forbid */
#define RHZ_PF_W (1u << 1)    /* write */
#define RHZ_PF_U (1u << 2)    /* user-mode access */
#define RHZ_PF_RSVD (1u << 3) /* reserved bit set in an entry */
#define RHZ_PF_I (1u << 4)    /* instruction fetch; set only with NXE or SMEP */
#define RHZ_PF_PK (1u << 5)   /* protection key */

enum rhz_vendor { RHZ_VENDOR_INTEL, RHZ_VENDOR_AMD };

/* What the guest's CPUID says, as far as paging depends on it. Constant in the life of a vCPU. */
struct rhz_cpuid {
	enum rhz_vendor vendor;
	uint8_t maxphyaddr; /* 32 to 52 */
	bool pse, pae, pge, pse36, pat, nx, gbpages, la57, pcid, invpcid, smep, smap, pku, pks;
};

/* The registers that translation depends on. */
struct rhz_regs {
	uint64_t cr0, cr3, cr4, efer;
	uint64_t pdpte[4]; /* the PDPTE registers [SDM3 4.4.1]; meaningful under PAE paging only */
	uint32_t pkru;
	uint32_t pkrs;
};

enum rhz_paging {
	RHZ_PAGING_NONE,   /* CR0.PG = 0: addresses are physical, 32 bits */
	RHZ_PAGING_32,     /* [SDM3 4.3] */
	RHZ_PAGING_PAE,    /* [SDM3 4.4] */
	RHZ_PAGING_4LEVEL, /* [SDM3 4.5] */
	RHZ_PAGING_5LEVEL, /* [SDM3 4.5] */
};

/* An access, as a set of bits. Neither WRITE nor FETCH is a data read. */
enum {
	RHZ_ACCESS_WRITE = 1 << 0,
	RHZ_ACCESS_FETCH = 1 << 1,
	RHZ_ACCESS_USER = 1 << 2,     /* user-mode access: CPL 3 and not implicit */
	RHZ_ACCESS_IMPLICIT = 1 << 3, /* a supervisor's, to a system structure, at any CPL */
	RHZ_ACCESS_AC = 1 << 4,       /* EFLAGS.AC = 1 */
	RHZ_ACCESS_TABLE = 1 << 5,    /* EPT only: the processor's own access to a guest table */
};
enum { RHZ_ACCESSES = 1 << 5 };       /* combinations of what the rights of a page depend on */

struct rhz_format;

/*
 * What each kind of access asks of the rights of a page, RHZ_RIGHT_*: of those that it cares about,
 * the ones in 'need' must be set and the others clear. It cares about READ, and does not need it,
 * where protection keys act: these always want a second look.
 */
struct rhz_rules {
	uint8_t need[RHZ_ACCESSES];
	uint8_t care[RHZ_ACCESSES];
};

/*
 * What the registers amount to, worked out once per register change and not per walk.
 * Fields are read-only to everybody but rhz_mode_init.
 */
struct rhz_mode {
	const struct rhz_format *format; /* null when paging is off */
	enum rhz_paging paging;
	uint8_t levels;    /* 0 when paging is off; PAE: 3 */
	uint8_t va_bits;   /* 32, 48 or 57 */
	/*
	 * As they act in this mode: all false with paging off; nxe only with PAE or long mode, keys
	 * only in long mode; pse: PS makes leaves (CR4.PSE in 32-bit paging, else always).
	 */
	bool wp, nxe, smep, smap, pke, pks, pse, pge, pcide;
	bool nested; /* NPT: addresses are physical ones of L2, not linear */
	enum rhz_vendor vendor;
	uint8_t maxphyaddr;
	uint64_t cr3_table; /* the bits of CR3 that address the top table */
	/* reserved bits of an entry, by level (1-based): [level][0] as a table, [1] as a leaf */
	uint64_t reserved[RHZ_MAX_LEVELS + 1][2];
	uint64_t va_mask; /* the bits of an address that count: 32-bit modes drop the others */
	uint64_t va_bias; /* an address plus this, shifted right by va_bits, is 0, or is illegal */
	uint64_t global;  /* the G bit if CR4.PGE, else 0 */
	/* by level: bits that no plain table (level 1: leaf) has, P flipped (guest/walk.h) */
	uint64_t refused[RHZ_MAX_LEVELS + 1];
	struct rhz_rules rules;
};

/*
 * Works out the mode; CR3, the PDPTEs and the keys play no part. RHZ_ERR_FEATURE: registers that no
 * processor with this CPUID can hold, or a width outside 32 to 52.
 */
enum rhz_status rhz_mode_init(struct rhz_mode *mode, const struct rhz_cpuid *cpuid,
                              const struct rhz_regs *regs);

/*
 * The mode of L1's nested tables, from L1's registers at its VMRUN [APM2 15.25.5]: every access is
 * a user access (RHZ_ACCESS_USER), keys do not act, addresses are L2's physical ones and so are
 * not sign-extended; one too wide is not present. RHZ_ERR_FEATURE: as above, or paging is off.
 */
enum rhz_status rhz_npt_mode_init(struct rhz_mode *mode, const struct rhz_cpuid *cpuid,
                                  const struct rhz_regs *regs);

/* Whether a register change raises #GP(0). */
enum rhz_load_check { RHZ_LOAD_FINE, RHZ_LOAD_FAULTS };

/*
 * Would loading 'next' after 'now' be allowed? Checks what the manuals say of MOV to CR0, CR3 and
 * CR4 and of WRMSR EFER together [SDM3 2.5, 4.10.1] [APM2 3.1]: PG needs PE, LMA and LME agree,
 * PAE in long mode, LA57 fixed while LMA, PCIDE only with LMA and CR3[11:0] = 0 at that moment,
 * CR3's reserved bits, unknown CR4 bits as far as paging owns them.
 * next->cr3's bit 63 (no flush) is legal if and only if next->cr4 has PCIDE.
 */
enum rhz_load_check rhz_regs_check(const struct rhz_cpuid *cpuid, const struct rhz_regs *now,
                                   const struct rhz_regs *next);

/* Reserved bits of the four PDPTEs under PAE [SDM3 4.4.1]: a set one makes the CR3 load #GP. */
enum rhz_load_check rhz_pdptes_check(const struct rhz_mode *mode, const uint64_t pdpte[4]);

/* How a walk ended. Existence is judged before rights. */
enum rhz_walk_outcome {
	RHZ_WALK_OK,
	RHZ_WALK_NON_CANONICAL, /* not a #PF: #GP or #SS, by the instruction */
	RHZ_WALK_NOT_PRESENT,
	RHZ_WALK_RESERVED,      /* a reserved bit in a present entry */
	RHZ_WALK_RIGHTS,        /* R/W, U/S, NX, SMEP, SMAP */
	RHZ_WALK_KEY,           /* PKRU or PKRS */
	RHZ_WALK_TABLE,         /* the reader could not read a table: 'table' says where */
};

/* Rights of a translation, ANDed over its levels; an entry's bits, turned by one (guest/walk.h). */
enum {
	RHZ_RIGHT_EXEC = 1 << 0,
	RHZ_RIGHT_READ = 1 << 1, /* always set but in EPT */
	RHZ_RIGHT_WRITE = 1 << 2,
	RHZ_RIGHT_USER = 1 << 3,
	RHZ_RIGHT_ALL = 15,
};

struct rhz_walk {
	enum rhz_walk_outcome outcome;
	uint32_t error_code; /* of the #PF to reflect, if it is one */
	uint8_t level;       /* of the leaf, or where the walk stopped; 0 with paging off */
	uint8_t top;         /* level of the first entry read: 2, 3, 4 or 5; PAE: 3 (a register) */
	uint8_t page_shift;  /* of the page mapped: 12, 21, 22 or 30; with paging off 12 */
	uint8_t key;         /* protection key of the leaf; 0 unless CR4.PKE or PKS acts */
	bool accessed;       /* A is set at every level */
	uint8_t rights;      /* RHZ_RIGHT_*, of the entries read so far */
	bool global;         /* G of the leaf, if CR4.PGE */
	rhz_gpa gpa;         /* where the address leads, page offset included */
	/*
	 * By level (1-based), from top down to level: the entry's value and address. PAE: the pdpte
	 * has no address. Other levels, and the entry where the outcome is TABLE, are not written.
	 */
	uint64_t entry[RHZ_MAX_LEVELS + 1];
	rhz_gpa table[RHZ_MAX_LEVELS + 1];
};

/*
 * The table reader: gives the 4 or 8 bytes (one atomic read) at a guest-physical address.
 * False: nothing can be read there. Where tables are themselves translated (nested guests), the
 * reader translates: the walk does not know.
 */
typedef bool (*rhz_read_entry)(void *ctx, rhz_gpa at, unsigned bytes, uint64_t *value);

/*
 * Translates gva. regs gives CR3, the PDPTEs, PKRU and PKRS. Writes all of *walk but entry[] and
 * table[] of levels not read; A and D bits are neither judged nor set. Returns walk->outcome.
 * gpa, page_shift, key and global are there once a leaf was found (OK, RIGHTS, KEY), else 0.
 * RHZ_WALK_KEY: only the key forbids; where rights forbid too, the outcome is RIGHTS, and the error
 * code tells of both [SDM3 4.7].
 */
enum rhz_walk_outcome rhz_guest_walk(const struct rhz_mode *mode, const struct rhz_regs *regs,
                                     rhz_gva gva, unsigned access, rhz_read_entry read, void *ctx,
                                     struct rhz_walk *walk);

/*
 * Compare-and-exchange of an entry in guest memory: true if it held 'old' and now holds 'new'.
 */
typedef bool (*rhz_swap_entry)(void *ctx, rhz_gpa at, unsigned bytes, uint64_t old, uint64_t new);

enum rhz_ad_result {
	RHZ_AD_UNCHANGED, /* all bits were set already */
	RHZ_AD_SET,       /* bits were set; walk->entry[] has the new values */
	RHZ_AD_RETRY,     /* an entry changed meanwhile: walk again */
};

/*
 * After a walk with outcome OK: sets A at every level, and D in the leaf if the access writes
 * [SDM3 4.8]. PDPTE registers have neither.
 */
enum rhz_ad_result rhz_guest_set_ad(const struct rhz_mode *mode, struct rhz_walk *walk,
                                    unsigned access, rhz_swap_entry swap, void *ctx);

/* ---- EPT: tables of their own kind [SDM3 28.3] ---- */

struct rhz_ept_mode {
	uint8_t levels;      /* 4 or 5, from EPTP bits 5:3 */
	bool ad;             /* EPTP bit 6 */
	bool execute_only;   /* the processor allows X without R */
	bool pages_1g;
	bool mode_based;     /* mode-based execute control: bit 10 is user execute */
	uint8_t maxphyaddr;
	uint64_t reserved[RHZ_MAX_LEVELS + 1][2];
};

enum rhz_ept_outcome { RHZ_EPT_OK, RHZ_EPT_VIOLATION, RHZ_EPT_MISCONFIG, RHZ_EPT_TABLE };

/* Exit qualification of an EPT violation [SDM3 table 27-7]. */
#define RHZ_EPT_QUAL_READ (1ull << 0)
#define RHZ_EPT_QUAL_WRITE (1ull << 1)
#define RHZ_EPT_QUAL_FETCH (1ull << 2)
#define RHZ_EPT_QUAL_R (1ull << 3)     /* the entries allow reads ... */
#define RHZ_EPT_QUAL_W (1ull << 4)
#define RHZ_EPT_QUAL_X (1ull << 5)
#define RHZ_EPT_QUAL_XU (1ull << 6)
#define RHZ_EPT_QUAL_GVA (1ull << 7)   /* a linear address is known ... */
#define RHZ_EPT_QUAL_FINAL (1ull << 8) /* ... and this is its translation, not a table's */

struct rhz_ept_walk {
	enum rhz_ept_outcome outcome;
	uint64_t qualification; /* for a violation; bits 7 and 8 are the caller's */
	uint8_t level, top;
	uint8_t rights;         /* RHZ_RIGHT_*; _USER: user execute, if mode_based */
	uint8_t page_shift;
	uint8_t memory_type;    /* of the leaf: bits 5:3 */
	bool ignore_pat;
	rhz_gpa gpa;
	uint64_t entry[RHZ_MAX_LEVELS + 1];
	rhz_gpa table[RHZ_MAX_LEVELS + 1];
};

/* Works out the mode of an EPTP. RHZ_ERR_FEATURE: VM entry with this EPTP would fail. */
enum rhz_status rhz_ept_mode_init(struct rhz_ept_mode *mode, uint64_t eptp, uint8_t maxphyaddr,
                                  bool execute_only, bool pages_1g, bool la57, bool mode_based);

/* Translates ngpa by the tables at eptp. access: RHZ_ACCESS_WRITE, _FETCH, _USER (mode-based). */
enum rhz_ept_outcome rhz_ept_walk(const struct rhz_ept_mode *mode, uint64_t eptp, rhz_ngpa ngpa,
                                  unsigned access, rhz_read_entry read, void *ctx,
                                  struct rhz_ept_walk *walk);

/* As rhz_guest_set_ad, for EPT with A/D enabled [SDM3 28.3.5]; UNCHANGED without. */
enum rhz_ad_result rhz_ept_set_ad(const struct rhz_ept_mode *mode, struct rhz_ept_walk *walk,
                                  unsigned access, rhz_swap_entry swap, void *ctx);

/* ---- NPT: the nested walk is a user access through ordinary tables [APM2 15.25] ---- */

/* EXITINFO1 of a nested page fault, above the #PF bits [APM2 15.25.6]. */
#define RHZ_NPF_FINAL (1ull << 32) /* the fault is on the final address */
#define RHZ_NPF_TABLE (1ull << 33) /* the fault is on a guest table */

/*
 * EXITINFO1 for a nested walk that failed: error bits of the walk, always a user access, with
 * table or final. table: the address translated was that of a guest table.
 */
uint64_t rhz_npf_info(const struct rhz_walk *nested, bool table);

#endif
