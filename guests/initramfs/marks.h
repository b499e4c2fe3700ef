/* SPDX-License-Identifier: MIT */
/* The marks that run inside Linux: what they share. Ticks are the TSC's. */
#ifndef GUESTS_INITRAMFS_MARKS_H
#define GUESTS_INITRAMFS_MARKS_H

#include <stdint.h>

static inline uint64_t ticks(void)
{
	return __builtin_ia32_rdtsc();
}

enum mark_number { MARK_BEGIN = 1, MARK_END = 2, MARK_SHELL = 3 };

/* A NOP with a number, for a counter of instructions that reads code (bench/window_plugin.c). */
#define MARK(number) \
	__asm__ volatile (".byte 0x0f, 0x1f, 0x84, 0x00; .long 0x52480000 + %c0" : \
	                  : "i" (number) : "memory")

/* Ends with status 1 and a line that names what failed, with errno's reason. */
__attribute__((noreturn)) void mark_failed(const char *what);

/* Prints the mark's one line: parameter's value, operations, ticks for each. */
void mark_print(const char *op, const char *parameter, unsigned value, uint64_t operations,
                uint64_t sum_ticks);

/* The measured part begins, or ends: under "rhizome run --marks" the statistics of the moment are
   kept with this number. Elsewhere nobody listens at the port. */
void mark_moment(unsigned char number);

/* N processes in a ring of pipes pass a token round. */
void switchmark(unsigned processes, unsigned rounds);

/* Each round has N children at once, who write a few pages and leave. */
void forkmark(unsigned processes, unsigned rounds);

/* Each round maps N pages, writes every one, and unmaps them. */
void faultmark(unsigned pages, unsigned rounds);

#endif
