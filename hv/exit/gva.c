/* SPDX-License-Identifier: MIT */
/*
 * Reading through the guest's translations. Code is found through the shadow tables, which hold it
 * since it has just run; where it was is kept until anything is taken from any table.
 */
#include "exit/gva.h"

#include "cpu/features.h"
#include "cpu/x86.h"
#include "exit/event.h"
#include "exit/trail.h"
#include "mem/guest.h"
#include "mem/layout.h"
#include "mem/string.h"
#include "svm/nsvm.h"

#define PDPTE_RESERVED_LOW 0x1e6ull /* bits 2:1 and 8:5 [APM2 5.2.3] */

static uint64_t linear_rip(const struct guest *g)
{
	const struct vmcb *v = g->vmcb;

	return gva_is_64bit(g) ? v->rip : (uint32_t)(v->rip + v->cs.base);
}

static bool read_entry(void *ctx, rhz_gpa at, unsigned bytes, uint64_t *value)
{
	*value = 0;
	return guest_memory_read(ctx, at.v, value, bytes);
}

/* L2's address by its own tables and L1's nested ones. */
static bool translate_l2(struct guest *g, uint64_t gva, uint64_t *gpa)
{
	const unsigned access = RHZ_ACCESS_FETCH | (g->vmcb->cpl == 3 ? RHZ_ACCESS_USER : 0u);
	const struct rhz_regs regs = nsvm_regs(g);
	struct rhz_l2_walk l2;

	if (rhz_vcpu_translate_l2(g->mmu, &regs, (rhz_gva){ gva }, access, &l2) != RHZ_OK ||
	    l2.outcome != RHZ_L2_OK)
		return false;
	*gpa = l2.gpa.v;
	return true;
}

/* By the guest's own tables. The fetch succeeded: rights are not judged. */
static bool walk_nested(struct guest *g, uint64_t gva, struct rhz_walk *walk)
{
	const struct vmcb *v = g->vmcb;
	struct rhz_regs regs = {
		.cr0 = v->cr0, .cr3 = v->cr3, .cr4 = v->cr4, .efer = v->efer,
	};
	struct rhz_mode mode;

	if (rhz_mode_init(&mode, &features.guest, &regs) != RHZ_OK)
		return false;
	/* Under nested paging the PDPTEs are not kept in registers [APM2 15.25.10]. */
	if (mode.paging == RHZ_PAGING_PAE &&
	    !guest_memory_read(g, v->cr3 & mode.cr3_table, regs.pdpte, sizeof(regs.pdpte)))
		return false;
	/* QEMU sets the A bit of a PDPTE, which is reserved; the processor has just walked them */
	for (unsigned i = 0; i < 4; i++)
		regs.pdpte[i] &= ~PDPTE_RESERVED_LOW;
	rhz_guest_walk(&mode, &regs, (rhz_gva){ gva }, 0, read_entry, g, walk);
	return walk->outcome == RHZ_WALK_OK || walk->outcome == RHZ_WALK_RIGHTS;
}

/* Under nested paging a page of code is remembered with the way to it. */
enum { TRAIL_BITS = 6 };
static struct { struct trail trail; const uint8_t *code; } trails[1 << TRAIL_BITS];

static const uint8_t *code_page_nested(struct guest *g, uint64_t page)
{
	const struct vmcb *v = g->vmcb;
	const struct trail_regs regs = { v->cr0, v->cr3, v->cr4, v->efer };
	const size_t index = gva_place(page, v->cr3, TRAIL_BITS);
	struct trail *trail = &trails[index].trail;
	struct rhz_walk walk;
	uint64_t gpa = page;

	if (g->in_l2 && g->nsvm->paging)
		return translate_l2(g, page, &gpa) ? guest_memory_at(g, gpa, PAGE_BYTES) : NULL;
	if (!(v->cr0 & CR0_PG))
		return guest_memory_at(g, page, PAGE_BYTES);
	if (__builtin_expect(trail_stands(trail, page, regs), 1))
		return trails[index].code;
	if (!walk_nested(g, page, &walk))
		return NULL;
	trails[index].code = guest_memory_at(g, walk.gpa.v, PAGE_BYTES);
	trail_note(g, trail, page, regs, &walk);
	return trails[index].code;
}

/* Goes by the shadow tables, noting the way; false if they have no leaf for gva. */
static bool shadow_page(const struct guest *g, uint64_t gva, struct code_page *way, uint64_t *page)
{
	const uint64_t address = ((1ull << 52) - 1) & -PAGE_BYTES;
	uint64_t table = g->entry.root.v;
	unsigned shift = 12 + 9 * (g->entry.levels - 1u);

	for (way->entries = 0;; shift -= 9) {
		const uint64_t *entry = &((const uint64_t *)direct(table))[gva >> shift & 511];
		const uint64_t value = *entry;

		if (!(value & RHZ_PF_P))
			return false;
		way->entry[way->entries] = entry;
		way->value[way->entries++] = value;
		table = value & address;
		if (shift == 12 || (value & (1u << 7))) {
			*page = (table & -(1ull << shift)) | (gva & ((1ull << shift) - PAGE_BYTES));
			return true;
		}
	}
}

/* From the same root on, the same values are the same way. */
HV_INLINE bool way_stands(const struct code_page *known)
{
	for (uint64_t i = 0; i < known->entries; i++) {
		if (*known->entry[i] != known->value[i])
			return false;
	}
	return known->entries;
}

/*
 * How a page is remembered: outside long mode under an address that no code there has, so that
 * gva_code_quick, which looks at the L bit alone, does not find it.
 */
static uint64_t code_page_name(const struct guest *g, uint64_t gva)
{
	return (gva & -PAGE_BYTES) | (g->entry.levels < 4 ? 1ull << 63 : 0);
}

static const uint8_t *code_page(struct guest *g, uint64_t gva)
{
	uint64_t page = gva & -PAGE_BYTES, removals;
	struct code_page *known;
	struct rhz_walk walk;

	if (!g->shadow)
		return code_page_nested(g, page);
	removals = g->vm_stats->removals;
	known = code_page_of(g, gva);
	if (known->gva == code_page_name(g, gva) && known->root == g->entry.root.v &&
	    known->removals == removals)
		return known->at;
	if (shadow_page(g, gva, known, &page)) {
		/* what is memory stays memory: that it is was looked at before */
		if (known->at != direct(page))
			known->at = guest_memory_at(g, page, PAGE_BYTES);
		known->gva = code_page_name(g, gva);
		known->root = g->entry.root.v;
		known->removals = removals;
		if (!known->at)
			known->root = known->entries = 0;
		return known->at;
	}
	known->entries = 0;
	if (rhz_vcpu_translate(g->mmu, (rhz_gva){ page }, 0, &walk) != RHZ_WALK_OK &&
	    walk.outcome != RHZ_WALK_RIGHTS)
		return NULL;
	return guest_memory_at(g, walk.gpa.v, PAGE_BYTES);
}

bool gva_code_anew(struct guest *g, uint32_t *bytes)
{
	struct code_page *known = code_page_of(g, g->vmcb->rip);

	if (known->root == g->entry.root.v && way_stands(known)) {
		known->removals = g->vm_stats->removals;
		if (gva_code_quick(g, bytes))
			return true;
	}
	return code_page(g, g->vmcb->rip) && gva_code_quick(g, bytes);
}

const uint8_t *gva_code(struct guest *g, unsigned *left)
{
	const uint64_t gva = linear_rip(g), offset = gva % PAGE_BYTES;
	const uint8_t *page = code_page(g, gva);

	*left = (unsigned)(PAGE_BYTES - offset);
	return page ? page + offset : NULL;
}

unsigned gva_fetch(struct guest *g, uint8_t bytes[CODE_MAX])
{
	unsigned left;
	const uint8_t *at = gva_code(g, &left);

	if (!at)
		return 0;
	if (left >= CODE_MAX) {
		memcpy(bytes, at, CODE_MAX);
		return CODE_MAX;
	}
	memcpy(bytes, at, left);
	at = code_page(g, linear_rip(g) + left);
	if (!at)
		return left;
	memcpy(bytes + left, at, CODE_MAX - left);
	return CODE_MAX;
}

enum gva_result gva_translate(struct guest *g, uint64_t gva, unsigned access, uint64_t *gpa)
{
	const uint32_t error = (access & RHZ_ACCESS_WRITE ? RHZ_PF_W : 0u) |
	                       (access & RHZ_ACCESS_USER ? RHZ_PF_U : 0u);
	struct rhz_fault fault;
	struct rhz_walk walk;

	if (g->vmcb->rflags & RFLAGS_AC)
		access |= RHZ_ACCESS_AC;
	if (rhz_vcpu_translate(g->mmu, (rhz_gva){ gva }, access, &walk) == RHZ_WALK_OK &&
	    walk.accessed && !(access & RHZ_ACCESS_WRITE)) {
		*gpa = walk.gpa.v;
		return GVA_OK;
	}
	switch (rhz_vcpu_page_fault(g->mmu, (rhz_gva){ gva }, error, access, &fault)) {
	case RHZ_FAULT_RESUME: /* the bits are set now */
		*gpa = walk.gpa.v;
		return walk.outcome == RHZ_WALK_OK ? GVA_OK : GVA_RETRY;
	case RHZ_FAULT_TRACKED:
	case RHZ_FAULT_MMIO:
		*gpa = fault.gpa.v;
		return GVA_OK;
	case RHZ_FAULT_REFLECT:
		event_reflect(g, gva, &fault);
		return GVA_FAULT;
	case RHZ_FAULT_RETRY:
	case RHZ_FAULT_NO_MEMORY:
		break;
	}
	return GVA_RETRY;
}

/* What the shadow tables let a supervisor read without a fault: pages that are not a user's. */
static bool read_mapped(struct guest *g, uint64_t gva, void *to, unsigned bytes)
{
	struct code_page way;
	uint64_t page;

	if (gva % PAGE_BYTES + bytes > PAGE_BYTES || !shadow_page(g, gva, &way, &page) ||
	    way.value[way.entries - 1] & RHZ_PF_U || !guest_memory_is_plain(page))
		return false;
	memcpy(to, (const uint8_t *)direct(page) + gva % PAGE_BYTES, bytes);
	return true;
}

enum gva_result gva_read(struct guest *g, uint64_t gva, unsigned access, void *to, unsigned bytes)
{
	unsigned first = (unsigned)(PAGE_BYTES - gva % PAGE_BYTES);
	uint64_t gpa[2] = { 0 };
	enum gva_result result;

	if (access == 0 && g->shadow && read_mapped(g, gva, to, bytes))
		return GVA_OK;
	if (first > bytes)
		first = bytes;
	result = gva_translate(g, gva, access, &gpa[0]);
	if (result == GVA_OK && first < bytes)
		result = gva_translate(g, gva + first, access, &gpa[1]);
	if (result != GVA_OK)
		return result;
	if (!guest_memory_read(g, gpa[0], to, first) ||
	    !guest_memory_read(g, gpa[1], (uint8_t *)to + first, bytes - first))
		return GVA_NOT_MEMORY;
	return GVA_OK;
}
