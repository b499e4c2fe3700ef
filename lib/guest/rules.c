/* SPDX-License-Identifier: MIT */
/*
 * Which rights each kind of access asks of a page [SDM3 4.6.1] [APM2 5.6]: the manual's rules as a
 * constant table over (WP, SMEP, SMAP, keys) and over the access. No walk is here.
 */
#include "guest/regs.h"

/* An index of the table: which of the features that rights depend on are on. */
enum { WP = 1, SMEP = 2, SMAP = 4, KEYS = 8, FEATURES = 16 };

/* An implicit access is a supervisor's whatever the CPL, and EFLAGS.AC does not excuse it. */
#define IS_USER(a) (((a) & RHZ_ACCESS_USER) && !((a) & RHZ_ACCESS_IMPLICIT))
#define IS_EXCUSED(a) (((a) & RHZ_ACCESS_AC) && !((a) & RHZ_ACCESS_IMPLICIT))

#define NEEDS_WRITE(f, a) (((a) & RHZ_ACCESS_WRITE) && (IS_USER(a) || ((f) & WP)))
#define NEEDS_EXEC(f, a) ((a) & RHZ_ACCESS_FETCH)
/* A supervisor may not fetch from user pages under SMEP, nor touch their data under SMAP. */
#define DENIES_USER(f, a)                                                                        \
	(!IS_USER(a) && ((a) & RHZ_ACCESS_FETCH ? (f) & SMEP : ((f) & SMAP) && !IS_EXCUSED(a)))

#define NEED(f, a)                                                                               \
	(NEEDS_WRITE(f, a) ? RHZ_RIGHT_WRITE : 0) | (NEEDS_EXEC(f, a) ? RHZ_RIGHT_EXEC : 0) |      \
		(IS_USER(a) ? RHZ_RIGHT_USER : 0)
#define CARE(f, a)                                                                               \
	NEED(f, a) | (DENIES_USER(f, a) ? RHZ_RIGHT_USER : 0) | ((f) & KEYS ? RHZ_RIGHT_READ : 0)

#define FOR_4(of, f, a) of(f, (a)), of(f, (a) + 1), of(f, (a) + 2), of(f, (a) + 3)
#define FOR_16(of, f, a)                                                                         \
	FOR_4(of, f, a), FOR_4(of, f, (a) + 4), FOR_4(of, f, (a) + 8), FOR_4(of, f, (a) + 12)
#define FOR_ACCESSES(of, f) FOR_16(of, f, 0), FOR_16(of, f, 16)
#define RULES(f) { .need = { FOR_ACCESSES(NEED, f) }, .care = { FOR_ACCESSES(CARE, f) } }
#define RULES_4(f) RULES(f), RULES((f) + 1), RULES((f) + 2), RULES((f) + 3)

static const struct rhz_rules rules[FEATURES] = { RULES_4(0), RULES_4(4), RULES_4(8), RULES_4(12) };

void rhz_rules_init(struct rhz_mode *mode)
{
	unsigned features = 0;

	if (mode->wp)
		features |= WP;
	if (mode->smep)
		features |= SMEP;
	if (mode->smap)
		features |= SMAP;
	if (mode->pke || mode->pks)
		features |= KEYS;
	mode->rules = rules[features];
}
