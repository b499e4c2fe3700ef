/* SPDX-License-Identifier: MIT */
/* The four functions that a freestanding compiler may call, and so the only ones we call. */
#ifndef RHZ_CORE_MEM_H
#define RHZ_CORE_MEM_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *at, int byte, size_t size);
int memcmp(const void *a, const void *b, size_t size);

#endif
