/* SPDX-License-Identifier: MIT */
/* From registers to mode, role and depth. */
#include "root/registers.h"

#include "guest/regs.h"
#include "root/walk.h"

/* What of a role depends on CR0.WP. */
static union role role_wp(union role role, const struct rhz_mode *mode, bool wp)
{
	role.wp = wp;
	role.smep_nowp = !wp && mode->smep;
	role.strict_nowp = !wp && (mode->smap || mode->pke || mode->pks);
	return role;
}

static union role shadow_role(const struct rhz_mode *mode)
{
	union role role = { 0 };

	role.rights = RHZ_RIGHT_ALL;
	role.host = ROLE_HOST_PAE;
	role.level = 3;
	switch (mode->paging) {
	case RHZ_PAGING_NONE:
		return role;
	case RHZ_PAGING_32:
		role.guest = ROLE_32;
		role.pse = mode->pse;
		break;
	case RHZ_PAGING_PAE:
		role.guest = ROLE_PAE;
		break;
	case RHZ_PAGING_4LEVEL:
	case RHZ_PAGING_5LEVEL:
		role.guest = mode->paging == RHZ_PAGING_4LEVEL ? ROLE_4LEVEL : ROLE_5LEVEL;
		role.host = ROLE_HOST_LONG;
		role.level = mode->levels;
		break;
	}
	role.nxe = mode->nxe;
	return role_wp(role, mode, mode->wp);
}

static union role direct_role(enum rhz_paging_kind kind)
{
	bool ept = kind == RHZ_EPT_4LEVEL || kind == RHZ_EPT_5LEVEL;
	union role role = { 0 };

	role.rights = RHZ_RIGHT_ALL;
	role.host = ept ? ROLE_HOST_EPT : ROLE_HOST_LONG;
	role.level = kind == RHZ_NPT_5LEVEL || kind == RHZ_EPT_5LEVEL ? 5 : 4;
	return role;
}

enum rhz_status context_init(struct context *context, const struct rhz_vm *vm, unsigned space,
                             const struct rhz_regs *regs)
{
	enum rhz_status status = rhz_mode_init(&context->mode, &vm->config.cpuid, regs);
	const struct rhz_mode *mode = &context->mode;

	if (status != RHZ_OK)
		return status;
	context->regs = *regs;
	context->role = vm->config.kind == RHZ_SHADOW ? shadow_role(mode) :
	                                                direct_role(vm->config.kind);
	context->role.space = space;
	context->levels = context->role.level;
	context->walks = &rhz_vcpu_walks[mode->paging];
	/* with paging off one root serves every CR3 */
	context->quick = vm->config.kind == RHZ_SHADOW && mode->paging != RHZ_PAGING_PAE;
	context->cr3_mask = context->quick ? mode->cr3_table : 0;
	/* [SDM3 4.5.2, table 4-12]; bit 63 is taken off before, where it is a flag */
	context->cr3_reserved = ~0ull << vm->config.cpuid.maxphyaddr;
	context->cr3_judged = context->cr3_mask | context->cr3_reserved;
	if (mode->pcide) {
		context->cr3_reserved &= ~RHZ_CR3_NOFLUSH;
		context->cr3_judged &= ~RHZ_CR3_NOFLUSH;
	}
	context->cr3_kept = mode->pcide ? ~RHZ_CR3_NOFLUSH : ~0ull;
	context->dirty = PTE_D;
	context->removed = &vm->removed[0];
	context->unseen = vm->config.kind != RHZ_SHADOW;
	context->entered = true;
	return RHZ_OK;
}

union role context_role_wp(const struct context *context, uint64_t cr0)
{
	return role_wp(context->role, &context->mode, cr0 & RHZ_CR0_WP);
}

void context_load_wp(struct context *context, uint64_t cr0)
{
	context->role = context_role_wp(context, cr0);
	context->regs.cr0 = cr0;
	context->mode.wp = cr0 & RHZ_CR0_WP;
	rhz_rules_init(&context->mode);
}

bool registers_reload_pdptes(const struct context *from, const struct context *to)
{
	const uint64_t cr0 = RHZ_CR0_CD | RHZ_CR0_NW | RHZ_CR0_PG;
	const uint64_t cr4 = RHZ_CR4_PAE | RHZ_CR4_PGE | RHZ_CR4_PSE | RHZ_CR4_SMEP;

	if (to->mode.paging != RHZ_PAGING_PAE)
		return false;
	return !from->entered || from->mode.paging != RHZ_PAGING_PAE ||
	       from->regs.cr3 != to->regs.cr3 || ((from->regs.cr0 ^ to->regs.cr0) & cr0) ||
	       ((from->regs.cr4 ^ to->regs.cr4) & cr4);
}

void modes_init(struct rhz_vm *vm)
{
	const struct rhz_cpuid *cpuid = &vm->config.cpuid;

	for (unsigned i = 0; i < ROLE_MODES; i++) {
		enum role_guest guest = ROLE_PAE + i / 4;
		unsigned levels = role_guest_levels((union role){ .guest = guest });
		bool nxe = i & 1, pse = i & 2;
		struct rhz_regs regs = {
			.cr0 = RHZ_CR0_PE | RHZ_CR0_PG,
			.cr4 = (guest != ROLE_32 ? RHZ_CR4_PAE : 0) |
			       (guest == ROLE_5LEVEL ? RHZ_CR4_LA57 : 0) |
			       (pse && guest == ROLE_32 ? RHZ_CR4_PSE : 0),
			.efer = (levels >= 4 ? RHZ_EFER_LME | RHZ_EFER_LMA : 0) |
			        (nxe ? RHZ_EFER_NXE : 0),
		};

		if ((nxe && !cpuid->nx) || (guest == ROLE_5LEVEL && !cpuid->la57))
			continue;
		rhz_mode_init(&vm->mode[i], cpuid, &regs);
	}
}
