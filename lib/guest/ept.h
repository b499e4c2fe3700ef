/* SPDX-License-Identifier: MIT */
/* One EPT entry judged: what the walk in ept.c and whoever shadows such entries share. */
#ifndef RHZ_GUEST_EPT_H
#define RHZ_GUEST_EPT_H

#include <rhizome/guest.h>

/* Whether a present entry of this level makes no sense [SDM3 28.3.3.1]. */
bool rhz_ept_misconfigured(const struct rhz_ept_mode *mode, uint64_t entry, unsigned level,
                           bool leaf);

/* The rights, RHZ_RIGHT_*, that an entry, or the AND of entries, grants. */
uint8_t rhz_ept_rights(const struct rhz_ept_mode *mode, uint64_t all);

#endif
