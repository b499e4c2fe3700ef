/* SPDX-License-Identifier: MIT */
/* What exits cost, in ticks of the TSC by reason, if the options ask for it. */
#ifndef HV_EXIT_PROFILE_H
#define HV_EXIT_PROFILE_H

#include <stdbool.h>

#include "exit/stats.h"

/* Begins the profile, if the options ask for one. */
void profile_init(void);

/* An exit begins; the guest is about to be entered after it. Where there is no profile: nothing. */
void profile_exit(void);
void profile_entry(void);

/* Whether there is one; a reason's ticks until now. */
bool profile_on(void);
uint64_t profile_ticks(enum exit_kind kind);

#endif
