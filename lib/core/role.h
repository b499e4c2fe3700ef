/* SPDX-License-Identifier: MIT */
/*
 * The role: everything that the entries of a shadow page depend on beside the guest's entries, the
 * slots and write tracking. Frame and role together are the key of a shadow page, and the whole
 * key: a page is reused if and only if both match. State ('doomed') is never part of it.
 */
#ifndef RHZ_CORE_ROLE_H
#define RHZ_CORE_ROLE_H

#include <rhizome/guest.h>

#include "format/format.h"

/* Whose format the shadowed table has. From ROLE_32 on entries are unlike ours. */
enum role_guest {
	ROLE_DIRECT = 0, /* no guest table: a run of guest-physical memory */
	ROLE_PAE,
	ROLE_4LEVEL,
	ROLE_5LEVEL,
	ROLE_32,
	ROLE_EPT4,
	ROLE_EPT5,
};

/* The format of our own table. */
enum role_host {
	ROLE_HOST_PAE = 0,
	ROLE_HOST_LONG,
	ROLE_HOST_EPT,
	ROLE_HOST_NPT, /* as LONG, for shadows of L1's nested tables: keys do not act */
};

union role {
	uint64_t word;
	struct {
		uint64_t level : 3;    /* of our table; 1 maps 4 KiB an entry */
		uint64_t host : 2;     /* enum role_host */
		uint64_t guest : 3;    /* enum role_guest */
		uint64_t rights : 4;   /* RHZ_RIGHT_*: ANDed over the levels above */
		uint64_t quadrant : 7; /* part of a guest table: ROLE_32; PAE top: CR3[11:5] */
		uint64_t space : 2;    /* address space */
		uint64_t wp : 1;       /* CR0.WP */
		uint64_t nxe : 1;      /* EFER.NXE: bit 63 means something */
		uint64_t pse : 1;      /* CR4.PSE, where it says what a large entry is: ROLE_32 */
		uint64_t smep_nowp : 1;   /* SMEP without WP: promoted leaves do not execute */
		uint64_t strict_nowp : 1; /* SMAP or keys without WP: nothing is promoted */
		uint64_t rom : 1;      /* the table is in a read-only slot: A and D count as set */
		uint64_t memory : 3;   /* pieces of a guest large page: PWT, PCD, PAT; EPT type */
		uint64_t key : 4;      /* ... and its protection key; EPT: bit 0 is 'ignore PAT' */
		uint64_t no_ad : 1;    /* L1's EPT has no A and D bits: EPTP bit 6 is clear */
		uint64_t unused : 27;
		uint64_t nested : 1;   /* the table's addresses are L2's physical ones: nested/ */
	};
};

_Static_assert(sizeof(union role) == 8, "a role is compared as one word");

/* How many frames an entry of this level maps: 1, 512, 512 * 512, ... There is no level 0. */
RHZ_INLINE uint64_t level_frames(unsigned level)
{
	if (level < 1 || level > RHZ_MAX_LEVELS)
		__builtin_unreachable();
	return 1ull << (9 * (level - 1));
}

/* The root of PAE tables: its four entries stand in for the PDPTE registers. */
RHZ_INLINE bool role_is_pae_root(union role role)
{
	return role.host == ROLE_HOST_PAE && role.level == 3;
}

/* How deep the guest's tables are; 0 if there are none. */
RHZ_INLINE unsigned role_guest_levels(union role role)
{
	/* a digit for each enum role_guest */
	return 0x5425430u >> 4 * role.guest & 7;
}

/*
 * A page above the top of L1's nested tables: these are less deep than ours. Nothing stands in
 * guest memory for its entries.
 */
RHZ_INLINE bool role_wraps(union role role)
{
	return role.nested && role.guest != ROLE_DIRECT && role.level > role_guest_levels(role);
}

/* The table's contents come from guest memory, not from registers or from nothing. */
RHZ_INLINE bool role_has_table(union role role)
{
	return role.guest != ROLE_DIRECT && !role_is_pae_root(role) && !role_wraps(role);
}

/* L1's nested PAE tables: the four entries at their top. */
RHZ_INLINE bool role_is_pdpt(union role role)
{
	return role.nested && role.guest == ROLE_PAE && role.level == 3;
}

/* What A and D are elsewhere in an entry of another of these. */
enum role_format { FORMAT_IS_64 = 1, FORMAT_IS_32 = 2, FORMAT_IS_EPT = 4, FORMAT_IS_PDPT = 8 };

RHZ_INLINE unsigned role_format(union role role)
{
	if (role_is_pdpt(role))
		return FORMAT_IS_PDPT;
	return role.guest < ROLE_32 ? FORMAT_IS_64 : role.guest == ROLE_32 ? FORMAT_IS_32 :
	                                                                     FORMAT_IS_EPT;
}

/* What entries mean: a number for each format but EPT's, with and without NXE and PSE. */
enum { ROLE_MODES = 4 * 2 * 2 };

RHZ_INLINE unsigned role_mode(union role role)
{
	return (role.guest - 1u) * 4 + role.pse * 2u + role.nxe;
}

/* The guest's tables are EPT's, of a format all of its own. */
RHZ_INLINE bool role_guest_is_ept(union role role)
{
	return role.guest >= ROLE_EPT4;
}

#endif
