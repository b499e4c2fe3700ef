/* SPDX-License-Identifier: MIT */
/* The store guest: its space, whose directory is written in every way, and its checks. */
#ifndef GUESTS_STORE_STORE_H
#define GUESTS_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "mark/space.h"

enum { BASE_PTE = PTE_USED, SLOT = 8 };

/*
 * The window's directory (level 2), as memory. Its first entries map leaf tables, the next may be
 * changed, and from the middle on nothing is mapped: room for anything that is no table.
 */
extern uint64_t *directory;
extern struct space space;

/* Two leaf tables: the first page of the one reads as 1, of the other as 2. */
extern uint64_t leaf_entry[2];

void check(bool ok, const char *what);

/* Where entry SLOT of the directory leads now: what its leaf table's first page reads as. */
uint64_t slot_reads(void);

/* Groups of checks. */
void check_stores(void);
void check_odd_stores(void);
void check_floods(void);
void check_strings(void);
void check_system_stores(void);
void check_stack(void);
void check_deliveries(void);
void check_traps(void);
void check_storm(void);

#endif
