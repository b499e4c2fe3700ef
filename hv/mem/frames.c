/* SPDX-License-Identifier: MIT */
/* Frames: what is kept grows upwards, single pages come back to a list. */
#include "mem/frames.h"

#include "mem/layout.h"
#include "mem/string.h"

struct free_frame { struct free_frame *next; };

static uint64_t next, last;
static struct free_frame *free_frames;

void frames_init(uint64_t from, uint64_t to)
{
	next = from;
	last = to;
}

static void *grow(uint64_t bytes)
{
	void *at = direct(next);

	if (bytes > last - next)
		return NULL;
	next += bytes;
	return at;
}

void *frames_keep_as_is(size_t bytes)
{
	return grow(align_up(bytes, PAGE_BYTES));
}

void *frames_keep(size_t bytes)
{
	void *at = frames_keep_as_is(bytes);

	return at ? memset(at, 0, bytes) : NULL;
}

void *frame_take(void)
{
	struct free_frame *frame = free_frames;

	if (!frame)
		return grow(PAGE_BYTES);
	free_frames = frame->next;
	return frame;
}

void frame_give(void *at)
{
	struct free_frame *frame = at;

	frame->next = free_frames;
	free_frames = frame;
}
