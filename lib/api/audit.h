/* SPDX-License-Identifier: MIT */
/* What the two halves of the audit share: entries (audit_entry.c) and everything else (audit.c). */
#ifndef RHZ_API_AUDIT_H
#define RHZ_API_AUDIT_H

#include "core/vm.h"

struct audit {
	struct rhz_vm *vm;
	struct rhz_audit *out;
	uint64_t leaves[4];  /* seen, by level */
	uint64_t mmio;
};

/* Notes the broken invariant and answers false, so that checks read 'return audit_fails(...)'. */
bool audit_fails(struct audit *audit, unsigned invariant, const char *what,
                 const struct page *page, unsigned index, uint64_t expected);

/* Invariants 1, 3, 4, 7, 12 to 15 of every entry of a page. */
bool audit_entries(struct audit *audit, struct page *page);

/* Is the entry in this set of links? */
bool audit_linked(const struct rhz_vm *vm, uint32_t head, uint32_t entry);

#endif
