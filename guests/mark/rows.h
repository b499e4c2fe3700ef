/* SPDX-License-Identifier: MIT */
/* A row is an operation that is measured; docs/performance.md says what each does. */
#ifndef GUESTS_MARK_ROWS_H
#define GUESTS_MARK_ROWS_H

#include <stdbool.h>
#include <stdint.h>

enum { ROOTS_MAX = 32 };

struct row {
	const char *op;
	unsigned ops;    /* operations of one repetition, about: rounds of roots are whole */
	bool has_roots;  /* measured for several numbers of roots */
	void (*prepare)(unsigned roots); /* before each repetition, not counted; or null */
	/* Does one repetition and returns how many operations that were. */
	unsigned (*run)(unsigned ops, unsigned roots);
};

/* Each ends with a row whose op is null. */
extern const struct row switch_rows[]; /* CR3 and CR4 */
extern const struct row touch_rows[];  /* pages and their entries */
extern const struct row scale_rows[];  /* exits that are no MMU work */
extern const struct row nested_rows[]; /* with a guest of the guest's own */

/* Before a nested row. Returns why it cannot be measured; null: it can. */
const char *nested_begin(bool nested_paging);

#endif
