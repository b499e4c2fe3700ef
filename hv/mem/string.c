/* SPDX-License-Identifier: MIT */
/* memcpy and its kin, by the string instructions: words, then the bytes that are left. */
#include "mem/string.h"

#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
	void *at = to;
	size_t words = bytes / 8;

	__asm__ volatile("rep movsq" : "+D"(at), "+S"(from), "+c"(words) : : "memory");
	bytes %= 8;
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
	const uint64_t word = 0x0101010101010101ull * (uint8_t)value;
	void *at = to;
	size_t words = bytes / 8;

	__asm__ volatile("rep stosq" : "+D"(at), "+c"(words) : "a"(word) : "memory");
	bytes %= 8;
	__asm__ volatile("rep stosb" : "+D"(at), "+c"(bytes) : "a"(word) : "memory");
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
