/* SPDX-License-Identifier: MIT */
/*
 * The reference MMU: paging modes, entries, walks and rights, written plainly from the manuals.
 * Shares nothing with the library: own names, own types, no header of it. Slow and readable.
 */
#ifndef MODEL_MMU_H
#define MODEL_MMU_H

#include <stdbool.h>
#include <stdint.h>

/* The processor that the guest believes it has. */
struct model_cpuid {
	bool amd;
	unsigned maxphyaddr;
	bool pse, pae, pge, pse36, nx, gbpages, la57, pcid, smep, smap, pku, pks;
	/* the EPT that L1 is shown */
	bool ept_1g, ept_execute_only, ept_ad;
	unsigned nested_levels; /* of the deepest nested tables that there can be; 0: none */
};

enum model_kind {
	MODEL_LINEAR, /* ordinary tables, for linear addresses */
	MODEL_NPT,    /* L1's nested ones: cr3 is nCR3, the others are L1's registers */
	MODEL_EPT,    /* cr3 is EPTP */
};

struct model_regs {
	uint64_t cr0, cr3, cr4, efer;
	uint64_t pdpte[4];
	uint32_t pkru, pkrs;
	enum model_kind kind;
};

enum model_paging {
	MODEL_NONE, MODEL_32, MODEL_PAE, MODEL_4LEVEL, MODEL_5LEVEL, MODEL_EPT4, MODEL_EPT5,
};

/* An access: the same bits as the library's, by convention of the driver. */
enum {
	MODEL_WRITE = 1,
	MODEL_FETCH = 2,
	MODEL_USER = 4,
	MODEL_IMPLICIT = 8,
	MODEL_AC = 16,
};

/* What decides how an entry is read. */
struct model_mode {
	enum model_paging paging;
	unsigned levels;
	bool pse, pse36, nxe, amd, gbpages, pge;
	bool nested, ad, execute_only; /* of nested tables; A and D, and X without R: EPT's */
	unsigned maxphyaddr;
};

/* An entry, understood. */
struct model_entry {
	bool present, reserved, leaf;
	bool read, write, user, nx, global, accessed, dirty; /* read: but for EPT always */
	unsigned key;   /* protection key */
	unsigned type;  /* PWT, PCD, PAT as bits 0, 1, 2; EPT: its type, and bit 3 'ignore PAT' */
	unsigned shift; /* of the page, if a leaf */
	uint64_t next;  /* the page's or the next table's address */
};

enum model_outcome { MODEL_OK, MODEL_NON_CANONICAL, MODEL_FAULT };

/* One entry that a walk read. */
struct model_step {
	uint64_t gpa;
	unsigned bytes;
	unsigned level;
	uint64_t value;
};

struct model_walk {
	enum model_outcome outcome;
	uint32_t error;    /* #PF error code */
	bool exists;       /* there is a translation; the rights may forbid */
	bool broken;       /* EPT: a misconfiguration */
	bool read, write, user, nx, global, accessed, dirty;
	unsigned key, type, shift;
	uint64_t gpa;
	unsigned steps;    /* entries read from memory; the last is the leaf if 'exists' */
	struct model_step step[5];
};

/* Reads 4 or 8 bytes of guest memory; what is not there reads as zero. */
typedef uint64_t (*model_read)(void *ctx, uint64_t gpa, unsigned bytes);

void model_mode_of(struct model_mode *mode, const struct model_cpuid *cpuid,
                   const struct model_regs *regs);
unsigned model_top_level(const struct model_mode *mode);
/* The index that gva has in a table of this level. */
unsigned model_index(const struct model_mode *mode, unsigned level, uint64_t gva);
/* Bytes of an entry: 4 in 32-bit paging, else 8. */
unsigned model_entry_bytes(const struct model_mode *mode);
/* Where CR3 points. */
uint64_t model_root(const struct model_mode *mode, uint64_t cr3);
void model_decode(const struct model_mode *mode, unsigned level, uint64_t value,
                  struct model_entry *entry);
bool model_canonical(const struct model_mode *mode, uint64_t gva);

/* Walks and judges; sets nothing. */
void model_mmu_walk(const struct model_cpuid *cpuid, const struct model_regs *regs, uint64_t gva,
                    unsigned access, model_read read, void *ctx, struct model_walk *walk);

/* The rights of a translation, all its levels together. */
struct model_rights {
	bool read, write, user, nx;
};

/* Does a translation with these rights allow the access, and does its key? */
bool model_rights_allow(const struct model_regs *regs, const struct model_rights *rights,
                        unsigned access);
bool model_key_allows(const struct model_regs *regs, bool user, unsigned key, unsigned access);

/*
 * What can be done with a translation, as a set of nine bits: {read, write, fetch} by {user,
 * supervisor with AC = 0, supervisor with AC = 1}.
 */
enum { MODEL_ABILITIES = 9, MODEL_WRITES = 0222 };
unsigned model_ability_access(unsigned ability);
unsigned model_abilities(const struct model_regs *regs, const struct model_rights *rights,
                         unsigned key);

/*
 * What L1 is told of a walk of its nested tables that did not come through: EXITINFO1 [APM2
 * 15.25.6], or the exit qualification's bits 6:0 [SDM3 table 27-7]; table: for one of L2's tables.
 */
uint64_t model_exit_info(const struct model_regs *regs, const struct model_walk *walk,
                         unsigned access, bool table);

/* Would a nested entry by these tables fail? */
bool model_nested_faults(const struct model_cpuid *cpuid, const struct model_regs *next);

/* Does a load of 'next' after 'now' raise #GP? PDPTEs apart. */
bool model_load_faults(const struct model_cpuid *cpuid, const struct model_regs *now,
                       const struct model_regs *next);
/* Does MOV to CR3 with this value raise #GP? PDPTEs apart. */
bool model_cr3_faults(const struct model_cpuid *cpuid, const struct model_regs *now, uint64_t cr3);
/* Is a reserved bit set in one of the PDPTEs? */
bool model_pdptes_fault(const struct model_cpuid *cpuid, const uint64_t pdpte[4]);
/* Does a move from 'now' to 'next' by MOV to CR0 or CR4 load the PDPTEs? */
bool model_loads_pdptes(const struct model_cpuid *cpuid, const struct model_regs *now,
                        const struct model_regs *next);

#endif
