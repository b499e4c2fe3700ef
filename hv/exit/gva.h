/* SPDX-License-Identifier: MIT */
/* The guest's memory by its linear addresses: code at rip, and operands. */
#ifndef HV_EXIT_GVA_H
#define HV_EXIT_GVA_H

#include "cpu/x86.h"
#include "svm/guest.h"

enum { CODE_MAX = 15 }; /* bytes of the longest instruction [APM3 1.1] */

/* True in 64-bit code, where segments but FS and GS have no base. */
HV_INLINE bool gva_is_64bit(const struct guest *g)
{
	return (g->vmcb->cs.attributes & SEGMENT_LONG) && (g->vmcb->efer & EFER_LMA);
}

/*
 * A place, of 2^bits, for what is remembered of a linear address: the same code under many roots,
 * as a nested guest's, gets one for each. Fibonacci hashing: the product's top bits are mixed.
 */
HV_INLINE size_t gva_place(uint64_t gva, uint64_t cr3, unsigned bits)
{
	return (gva ^ cr3) * 0x9e3779b97f4a7c15u >> (64 - bits);
}

/*
 * The bytes of the instruction at rip, as far as its page goes: *left of them. Null: they are not
 * in RAM or ROM, or not mapped any more; the guest runs the instruction again.
 */
const uint8_t *gva_code(struct guest *g, unsigned *left);

/*
 * As gva_code in 64-bit code, if the page is known already and holds four bytes of it: these as a
 * number. Else false, which means nothing.
 */
HV_INLINE bool gva_code_quick(struct guest *g, uint32_t *bytes)
{
	const uint64_t rip = g->vmcb->rip;
	const struct code_page *known = code_page_of(g, rip);
	const uint64_t offset = rip ^ known->gva; /* on another page, it is larger than a page */

	if (__builtin_expect(offset > CODE_PAGE_BYTES - 4 || known->root != g->entry.root.v ||
	                     known->removals != g->vm_stats->removals ||
	                     !(g->vmcb->cs.attributes & SEGMENT_LONG), 0))
		return false;
	*bytes = *(const uint32_t *)(known->at + offset);
	return true;
}

/* After that: the same, the page found anew, for something was taken from a table. */
bool gva_code_anew(struct guest *g, uint32_t *bytes);

/* Copies the instruction's bytes, from a second page if need be. Returns how many there are. */
unsigned gva_fetch(struct guest *g, uint8_t bytes[CODE_MAX]);

enum gva_result {
	GVA_OK,
	GVA_FAULT,      /* the exception is injected: leave the instruction where it is */
	GVA_RETRY,      /* the guest's tables changed meanwhile: leave it where it is */
	GVA_NOT_MEMORY, /* no RAM of the guest's there */
};

/*
 * Translates an operand's address under shadow paging, access being RHZ_ACCESS_*; accessed and
 * dirty bits are set as the processor would. *gpa is good to the end of the page.
 */
enum gva_result gva_translate(struct guest *g, uint64_t gva, unsigned access, uint64_t *gpa);

/* Reads an operand, from two pages if need be; nothing is read unless all can be. */
enum gva_result gva_read(struct guest *g, uint64_t gva, unsigned access, void *to, unsigned bytes);

#endif
