/* SPDX-License-Identifier: MIT */
/* Task state segments and descriptors as memory: what a task switch reads and writes. */
#ifndef HV_EXIT_TASK_H
#define HV_EXIT_TASK_H

#include <stdbool.h>
#include <stdint.h>

struct guest;

enum { TASK_BYTES = 104, TASK16_BYTES = 44 }; /* of a TSS [APM2 12.2.4, 12.2.5] */

/* Some bytes at a linear address, translated: reading and writing them cannot fail any more. */
struct task_memory {
	uint8_t *at[2];
	uint64_t gpa[2];
	unsigned first; /* bytes on the first page */
};

/*
 * Translates 'bytes' at a linear address for the processor's own access, RHZ_ACCESS_WRITE or 0.
 * False: an exception is injected, or the instruction is to run again.
 */
bool task_open(struct guest *g, uint64_t gva, unsigned bytes, unsigned access,
               struct task_memory *memory);
void task_get(const struct task_memory *memory, void *to, unsigned bytes);
/* Writes to the beginning, and tells the library. */
void task_put(struct guest *g, const struct task_memory *memory, const void *from,
              unsigned bytes);

/* Bits of a descriptor's attributes, as a control block has them. */
enum {
	SEGMENT_TYPE = 15,
	SEGMENT_ACCESSED = 1 << 0,
	SEGMENT_WRITABLE = 1 << 1,   /* of data; of code: readable */
	SEGMENT_CONFORMING = 1 << 2, /* of code */
	SEGMENT_CODE = 1 << 3,
	SEGMENT_S = 1 << 4,
	SEGMENT_DPL_SHIFT = 5,
	SEGMENT_PRESENT = 1 << 7,
	SEGMENT_GRANULAR = 1 << 11,
	TSS_BUSY = 1 << 1,
	TSS_WIDE = 1 << 3,           /* of 32 bits */
	TSS_TYPE = 1,                /* available, 16 bits */
	LDT_TYPE = 2,
};

struct descriptor {
	uint64_t gva;        /* where it lies */
	uint32_t base, limit;
	uint16_t attributes;
};

enum descriptor_result { DESCRIPTOR_OK, DESCRIPTOR_OUTSIDE, DESCRIPTOR_FAULTED };

/* Reads a descriptor of the GDT or LDT. FAULTED: as for task_open. */
enum descriptor_result descriptor_read(struct guest *g, uint16_t selector,
                                       struct descriptor *descriptor);

struct task_state {
	uint32_t cr3, eip, flags, reg[8];
	uint16_t segment[6], ldt; /* es, cs, ss, ds, fs, gs */
	bool trap;
};

/* From and to the bytes of a TSS; those that a switch does not save stay. */
void task_state_read(struct task_state *state, const uint8_t *tss, bool wide);
void task_state_write(const struct task_state *state, uint8_t *tss, bool wide);

#endif
