/* SPDX-License-Identifier: MIT */
/*
 * The rings of a tracefs instance, one for each processor, read as the kernel has them and put in
 * the order of time. What is held back meanwhile is at most what the rings hold.
 */
#ifndef LAB_RING_H
#define LAB_RING_H

#include "probes.h"

struct ring;

/* Opens the rings of all processors. Null, with a complaint: that cannot be. */
struct ring *ring_open(const struct probes *probes);
/*
 * Takes what the rings hold and hands over what is certain to be next, in order: all that is older
 * than the beginning of this call, or everything if this is the last one. lost: so many events
 * (0: nobody knows how many) were overwritten before they could be read; event is null then.
 * The time of handing over is the callee's. False, with a complaint: reading failed.
 */
bool ring_read(struct ring *ring, bool last,
               void (*take)(void *context, const struct lab_event *event, uint64_t lost),
               void *context);
void ring_close(struct ring *ring);

#endif
