/* SPDX-License-Identifier: MIT */
/*
 * What may be stale: a translation of an address is determined if no entry of its walk, nor the
 * root itself, has had a cacheable value replaced since the last invalidation that covers it.
 * (Were the walk of that time another one, its highest entry that differs would be in today's walk
 * too, and newer.) Everything is kept for four PCIDs, whether the processor has them or not: more
 * flushing than was asked for changes nothing that is determined.
 */
#ifndef GUESTS_TORTURE_STALE_H
#define GUESTS_TORTURE_STALE_H

#include <stdbool.h>
#include <stdint.h>

#include "torture/paging.h"

void stale_reset(void);

/* After the event, with the registers as they are then. */
void stale_loaded(bool no_flush);
void stale_flushed_all(void);
void stale_invalidated(uint64_t gva);
void stale_invpcid(enum invpcid type, unsigned pcid, uint64_t gva);

/* A register changed whose effect on cached translations is not the same everywhere. */
void stale_everything(void);

/* After each change of memory: global translations may be cached from now on. */
void stale_note_globals(void);

/* Whether the walk's result could differ from what the processor has cached. */
bool stale_is(const struct walk *walk);

#endif
