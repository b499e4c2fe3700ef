/* SPDX-License-Identifier: MIT */
/* The hypervisor's frames: a region of physical memory that the guest never sees. */
#ifndef HV_MEM_FRAMES_H
#define HV_MEM_FRAMES_H

#include <stddef.h>
#include <stdint.h>

/* The region to serve from; physical addresses, whole pages. */
void frames_init(uint64_t from, uint64_t to);

/* 'bytes' of contiguous zeroed memory, page-aligned, kept for ever; null if there is none. */
void *frames_keep(size_t bytes);
/* The same, contents undefined. */
void *frames_keep_as_is(size_t bytes);

/* One page, contents undefined; null if there is none. */
void *frame_take(void);
void frame_give(void *frame);

#endif
