/* SPDX-License-Identifier: MIT */
/* The compact form's bytes, as its writer and its reader share them; see docs/formats.md. */
#ifndef LAB_COMPACT_FORM_H
#define LAB_COMPACT_FORM_H

#include <stdint.h>

enum {
	FORM_BLOCK_HEAD = 8, /* length and check sum */
	FORM_KIND_BITS = 5,
	FORM_KIND_MASK = (1 << FORM_KIND_BITS) - 1,
	FORM_VALUES_MAX = 7,
	FORM_THREAD = 0,             /* not an event: names a thread */
	FORM_LOST = FORM_KIND_MASK,  /* nor is this */
	FORM_EVENT_MAX = 1 + (FORM_VALUES_MAX + 2) * 10, /* bytes */
};

#define FORM_END_SUM 0x444e4521u /* "!END": a block of no length with this sum ends the file */

static inline uint32_t form_u32(const uint8_t *at)
{
	return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint64_t form_zigzag(uint64_t difference)
{
	return difference << 1 ^ -(difference >> 63);
}

static inline uint64_t form_unzigzag(uint64_t value)
{
	return value >> 1 ^ -(value & 1);
}

#endif
