/* SPDX-License-Identifier: MIT */
/*
 * L2's linear addresses through both levels, for the embedder: the ordinary walk of L2's tables,
 * with a table reader that finds each of them by L1's nested tables.
 */
#include "format/format.h"
#include "nested/nested.h"
#include "root/walk.h"

struct composed {
	struct rhz_vcpu *vcpu;
	struct rhz_l2_walk *out;
};

/* What the processor's exit would say of this access: [APM2 15.25.6] [SDM3 table 27-7]. */
static uint64_t info_of(const struct rhz_vcpu *vcpu, unsigned access, bool table)
{
	uint64_t info;

	if (role_guest_is_ept(vcpu->now->role)) {
		info = access & RHZ_ACCESS_WRITE ? RHZ_EPT_QUAL_WRITE :
		       access & RHZ_ACCESS_FETCH ? RHZ_EPT_QUAL_FETCH : RHZ_EPT_QUAL_READ;
		return info | RHZ_EPT_QUAL_GVA | (table ? 0 : RHZ_EPT_QUAL_FINAL);
	}
	info = access & RHZ_ACCESS_WRITE ? RHZ_PF_W : access & RHZ_ACCESS_FETCH ? RHZ_PF_I : 0;
	return table ? RHZ_NPF_TABLE | RHZ_PF_W : RHZ_NPF_FINAL | info;
}

/* By L1's nested tables: false, and out->exit tells, if they forbid it. */
static bool translate(struct composed *composed, rhz_ngpa ngpa, unsigned access, bool table,
                      rhz_gpa *gpa)
{
	uint64_t info = info_of(composed->vcpu, access, table);

	if (nested_walk(composed->vcpu, ngpa, info, gpa, &composed->out->exit))
		return true;
	composed->out->outcome = RHZ_L2_EXIT;
	return false;
}

static bool read_composed(void *ctx, rhz_gpa at, unsigned bytes, uint64_t *value)
{
	struct composed *composed = ctx;
	rhz_gpa gpa;

	/* the walk takes the address for one that it knows; it is L2's */
	if (!translate(composed, (rhz_ngpa){ at.v }, 0, true, &gpa))
		return false;
	return vcpu_slots_read(composed->vcpu, gpa, bytes, value);
}

/* The PDPTEs that CR3 names; a reserved bit in them is found by the walk. */
static bool pdptes_read(struct composed *composed, const struct rhz_mode *mode,
                        struct rhz_regs *regs)
{
	for (unsigned i = 0; i < 4; i++) {
		rhz_gpa at = { (regs->cr3 & mode->cr3_table) + 8 * i };

		if (!read_composed(composed, at, 8, &regs->pdpte[i]))
			return false;
	}
	return true;
}

void nested_translate(struct rhz_vcpu *vcpu, const struct rhz_mode *mode,
                      const struct rhz_regs *regs, rhz_gva gva, unsigned access,
                      struct rhz_l2_walk *out)
{
	struct composed composed = { vcpu, out };
	struct rhz_regs l2 = *regs;

	*out = (struct rhz_l2_walk){ .outcome = RHZ_L2_OK };
	if (mode->paging == RHZ_PAGING_PAE && !pdptes_read(&composed, mode, &l2))
		return;
	switch (rhz_guest_walk(mode, &l2, gva, access, read_composed, &composed, &out->walk)) {
	case RHZ_WALK_OK:
		break;
	case RHZ_WALK_TABLE:
		return;
	case RHZ_WALK_NON_CANONICAL:
	case RHZ_WALK_NOT_PRESENT:
	case RHZ_WALK_RESERVED:
	case RHZ_WALK_RIGHTS:
	case RHZ_WALK_KEY:
		out->outcome = RHZ_L2_EXCEPTION;
		return;
	}
	out->ngpa.v = out->walk.gpa.v;
	translate(&composed, out->ngpa, access, false, &out->gpa);
}
