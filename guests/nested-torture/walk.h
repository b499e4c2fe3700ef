/* SPDX-License-Identifier: MIT */
/*
 * What the processor must find: L2's linear address through its own tables, and each address in
 * them through L1's nested ones [APM2 5.3, 15.25]. Written from the manual alone.
 */
#ifndef GUESTS_NESTED_TORTURE_WALK_H
#define GUESTS_NESTED_TORTURE_WALK_H

#include <stdbool.h>
#include <stdint.h>

/* Bits of a page fault's error code, and of EXITINFO1 of a nested one [APM2 8.4.2, 15.25.6]. */
#define F_P (1ull << 0)
#define F_W (1ull << 1)
#define F_U (1ull << 2)
#define F_RSV (1ull << 3)
#define F_I (1ull << 4)
#define F_FINAL (1ull << 32)
#define F_TABLE (1ull << 33)

/* The processor's state that a walk depends on: L2's, and of L1 what its nested tables need. */
struct paging {
	bool nested, paged;
	uint64_t nested_root, root;
	bool nested_nx;
	bool nx, wp, smep, smap, ac, user;
};

/* OPEN: a table lies where nothing is known of what stands there, or is one of both kinds. */
enum walk_end { WALK_OK, WALK_PAGE_FAULT, WALK_NESTED_FAULT, WALK_OPEN };

struct walk {
	enum walk_end end;
	uint64_t pa;      /* L1's physical address */
	uint64_t error;   /* error code, or EXITINFO1 */
	uint64_t address; /* nested fault: L2's physical address */
};

/* access: F_W and F_I of it. */
void walk_linear(const struct paging *paging, uint64_t gva, uint64_t access, struct walk *walk);

/*
 * A and D bits that the walks since walk_forget() set: those of walks that came to their end, and
 * those that may be set beside. walk_failed(): what they set, they may set or not, since emulators
 * set bits of walks that fail. walk_settle() looks whether the tables have just these now, puts
 * them into the copy, and returns the address of an entry that is otherwise, or 0.
 */
void walk_forget(void);
void walk_failed(void);
uint64_t walk_settle(void);

#endif
