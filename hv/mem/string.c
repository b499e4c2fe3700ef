/* SPDX-License-Identifier: MIT */
/* memcpy and its kin, by the string instructions. */
#include "mem/string.h"

#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
	void *at = to;

	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(bytes) : : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
	unsigned char *end = (unsigned char *)to + bytes - 1;
	const unsigned char *last = (const unsigned char *)from + bytes - 1;

	if ((uintptr_t)to - (uintptr_t)from >= bytes)
		return memcpy(to, from, bytes);
	__asm__ volatile("std\n\trep movsb\n\tcld" : "+D"(end), "+S"(last), "+c"(bytes)
	                 : : "memory");
	return to;
}

void *memset(void *to, int value, size_t bytes)
{
	void *at = to;

	__asm__ volatile("rep stosb" : "+D"(at), "+c"(bytes) : "a"(value) : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
	const unsigned char *x = a, *y = b;

	for (; bytes; x++, y++, bytes--) {
		if (*x != *y)
			return *x < *y ? -1 : 1;
	}
	return 0;
}
