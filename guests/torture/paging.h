/* SPDX-License-Identifier: MIT */
/*
 * The guest's own paging: modes, registers, the kernel's part of every address space, and what the
 * manuals say of an address: the walk through the tables as we believe them to be.
 */
#ifndef GUESTS_TORTURE_PAGING_H
#define GUESTS_TORTURE_PAGING_H

#include <stdbool.h>
#include <stdint.h>

enum mode { MODE_NONE, MODE_32, MODE_PAE, MODE_4, MODE_5 };
enum { LEVELS_MAX = 5, PCIDS = 4, INDEXES_MAX = 8 };

#define ERROR_P 1u
#define ERROR_W 2u
#define ERROR_U 4u
#define ERROR_RSVD 8u
#define ERROR_I 16u
#define ERROR_PK 32u

/* A mode's tables. */
struct format {
	unsigned levels, entry_bytes, index_bits;
	/* Indexes that tests use, from level 1 on; those of a root leave out the kernel's. */
	uint16_t index[LEVELS_MAX][INDEXES_MAX];
	uint8_t indexes[LEVELS_MAX];
};

struct cpu {
	enum mode mode;
	const struct format *format;
	bool paged, wp, pse, pge, smep, smap, pke, nxe;
	uint32_t pkru;
	unsigned root, pcid; /* the current ones */
	uint64_t root_pa[32];
	unsigned roots;
};
extern struct cpu cpu;

/* Chooses the mode; false if the processor or this build has it not. */
bool paging_choose(enum mode mode);

/* The kernel's tables; once. */
void paging_build_kernel(void);

/* The top table's entries that belong to the kernel are written for every root. */
void paging_put_kernel(uint64_t root_pa);

/* Puts the registers on the processor as 'cpu' has them, and flushes everything. */
void paging_apply(void);

/* Each register alone. */
void paging_write_cr0(void);
void paging_write_cr4(void);
void paging_write_efer(void);
void paging_write_pkru(void);
void paging_load_root(bool no_flush);
void paging_flush_all(void);
enum invpcid { INVPCID_ADDRESS, INVPCID_SINGLE, INVPCID_ALL, INVPCID_NON_GLOBAL };
void paging_invpcid(enum invpcid type, unsigned pcid, uint64_t gva);

/* Back to the kernel's own tables, before the arena is rebuilt. */
void paging_leave_roots(void);

/* A store there would cut the branch that we sit on, or leaves what is defined. */
bool paging_is_protected(uint64_t pa, unsigned bytes);

struct walk {
	uint64_t gva;
	unsigned steps;             /* entries that were read */
	uint64_t entry_pa[LEVELS_MAX];
	unsigned leaf_level;        /* 0: none */
	uint64_t pa;
	bool outside;               /* the page is not the arena's */
	bool identity;              /* kernel's memory, or no paging: no entries to watch */
	bool writable, user, no_execute;
	unsigned key;
	unsigned error;             /* P, RSVD */
};

enum verdict { GOOD, FAULT, UNKNOWN };

/* GOOD: there is a translation, whatever its rights. FAULT: walk->error. */
enum verdict paging_walk(uint64_t gva, struct walk *walk);

/* A bound to the pages of a translation, for invalidations: log2 of its size. */
unsigned paging_page_shift(unsigned level);

#endif
