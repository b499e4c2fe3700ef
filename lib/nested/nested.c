/* SPDX-License-Identifier: MIT */
/* The context of L1's nested tables: mode and role, walks, what L1 is told of a fault. */
#include "nested/nested.h"

#include "core/mem.h"
#include "format/format.h"
#include "root/walk.h"

/* EPTP: memory type, walk length, A and D [SDM3 24.6.11]. */
#define EPTP_TYPE_WRITE_BACK 6u
#define EPTP_LENGTH(levels) (((levels) - 1u) << 3)
#define EPTP_AD (1u << 6)

static bool is_ept(enum rhz_paging_kind kind)
{
	return kind == RHZ_EPT_4LEVEL || kind == RHZ_EPT_5LEVEL;
}

static bool is_5level(enum rhz_paging_kind kind)
{
	return kind == RHZ_NPT_5LEVEL || kind == RHZ_EPT_5LEVEL;
}

/* L1 is shown the EPT that the processor has. */
static enum rhz_status ept_mode_init(struct rhz_ept_mode *mode, const struct rhz_vm *vm,
                                     uint64_t eptp)
{
	const struct rhz_host_cpu *host = &vm->config.host_cpu;
	enum rhz_status status;

	status = rhz_ept_mode_init(mode, eptp, vm->config.cpuid.maxphyaddr,
	                           host->ept_execute_only, host->pages_1g,
	                           is_5level(vm->config.nested), false);
	return status == RHZ_OK && mode->ad && !host->ept_ad ? RHZ_ERR_FEATURE : status;
}

void nested_init(struct rhz_vm *vm)
{
	vm->nested_levels = vm->config.nested == RHZ_SHADOW ? 0 :
	                    is_5level(vm->config.nested) ? 5 : 4;
	for (unsigned i = 0; i < 4 && is_ept(vm->config.nested); i++) {
		unsigned levels = i / 2 ? 5 : 4, no_ad = i % 2;
		uint64_t eptp = EPTP_TYPE_WRITE_BACK | EPTP_LENGTH(levels) | (no_ad ? 0 : EPTP_AD);

		/* what the processor lacks no context can have: then its mode is of no use */
		ept_mode_init(&vm->ept_mode[levels - 4][no_ad], vm, eptp);
	}
}

/* ---- walks ---- */

static const struct rhz_ept_mode *ept_mode(const struct rhz_vcpu *vcpu)
{
	union role role = vcpu->now->role;

	return &vcpu->vm->ept_mode[role.guest - ROLE_EPT4][role.no_ad];
}

static enum rhz_ept_outcome ept_walk(struct rhz_vcpu *vcpu, rhz_ngpa ngpa, unsigned access,
                                     struct rhz_ept_walk *walk)
{
	return rhz_ept_walk(ept_mode(vcpu), vcpu->now->regs.cr3, ngpa, access, vcpu_slots_read,
	                    vcpu, walk);
}

/* As the other formats have it: the shadow's walk, of which it needs entries and rights. */
static enum rhz_walk_outcome walk_ept(struct rhz_vcpu *vcpu, rhz_gva addr, unsigned access,
                                      struct rhz_walk *walk)
{
	static const enum rhz_walk_outcome outcomes[] = {
		[RHZ_EPT_OK] = RHZ_WALK_OK, [RHZ_EPT_VIOLATION] = RHZ_WALK_RIGHTS,
		[RHZ_EPT_MISCONFIG] = RHZ_WALK_RESERVED, [RHZ_EPT_TABLE] = RHZ_WALK_TABLE,
	};
	struct rhz_ept_walk ept;
	bool accessed = true;

	ept_walk(vcpu, (rhz_ngpa){ addr.v }, access, &ept);
	for (unsigned i = ept.level; vcpu->now->dirty && i <= ept.top; i++)
		accessed &= !!(ept.entry[i] & EPT_A);
	*walk = (struct rhz_walk){
		.outcome = outcomes[ept.outcome],
		.level = ept.level,
		.top = ept.top,
		.page_shift = ept.page_shift,
		.accessed = accessed,
		.rights = ept.rights,
		.gpa = ept.gpa,
	};
	memcpy(walk->entry, ept.entry, sizeof(walk->entry));
	memcpy(walk->table, ept.table, sizeof(walk->table));
	return walk->outcome;
}

static enum rhz_ad_result set_ad_ept(struct rhz_vcpu *vcpu, unsigned access, struct rhz_walk *walk)
{
	struct rhz_ept_walk ept = { .level = walk->level, .top = walk->top };
	enum rhz_ad_result result;

	memcpy(ept.entry, walk->entry, sizeof(ept.entry));
	memcpy(ept.table, walk->table, sizeof(ept.table));
	result = rhz_ept_set_ad(ept_mode(vcpu), &ept, access, vcpu_slots_swap, vcpu);
	memcpy(walk->entry, ept.entry, sizeof(ept.entry));
	return result;
}

/*
 * The four entries at the top of PAE tables are registers only of the guest whose CR3 points there.
 * For nested tables the processor reads them where they are [APM2 15.25.5].
 */
static enum rhz_walk_outcome walk_pae(struct rhz_vcpu *vcpu, rhz_gva addr, unsigned access,
                                      struct rhz_walk *walk)
{
	struct context *now = vcpu->now;
	uint64_t at = (now->regs.cr3 & now->mode.cr3_table) + (addr.v >> 30 & 3) * 8;
	enum rhz_walk_outcome outcome;

	now->regs.pdpte[addr.v >> 30 & 3] = vcpu_read_entry(vcpu, (rhz_gpa){ at }, 8);
	outcome = rhz_vcpu_walks[RHZ_PAGING_PAE].slots(vcpu, addr, access, walk);
	walk->table[3].v = at;
	return outcome;
}

static const struct vcpu_walks ept_walks = { walk_ept, walk_ept, set_ad_ept };
static const struct vcpu_walks pae_walks = { walk_pae, walk_pae, vcpu_set_ad_now };

/* ---- the context ---- */

static void set_role(struct context *context, const struct rhz_vm *vm, enum role_guest guest,
                     enum role_host host)
{
	union role role = { 0 };

	role.level = vm->nested_levels;
	role.host = host;
	role.guest = guest;
	role.rights = RHZ_RIGHT_ALL;
	role.nested = true;
	role.wp = true; /* all accesses are a user's */
	context->role = role;
}

static enum rhz_status npt_init(struct context *context, const struct rhz_vm *vm,
                                const struct rhz_nested *nested)
{
	static const enum role_guest guests[] = {
		[RHZ_PAGING_32] = ROLE_32, [RHZ_PAGING_PAE] = ROLE_PAE,
		[RHZ_PAGING_4LEVEL] = ROLE_4LEVEL, [RHZ_PAGING_5LEVEL] = ROLE_5LEVEL,
	};
	struct rhz_mode *mode = &context->mode;
	struct rhz_regs *regs = &context->regs;
	enum rhz_status status;

	*regs = (struct rhz_regs){
		.cr0 = nested->cr0, .cr3 = nested->table, .cr4 = nested->cr4, .efer = nested->efer,
	};
	status = rhz_npt_mode_init(mode, &vm->config.cpuid, regs);
	if (status != RHZ_OK)
		return status;
	/* [APM2 15.25.3, 15.25.4]: as a CR3 of L1's; no tree is deeper than the processor's */
	if (nested->table >> vm->config.cpuid.maxphyaddr || mode->levels > vm->nested_levels)
		return RHZ_ERR_FEATURE;
	mode->wp = true;
	set_role(context, vm, guests[mode->paging], ROLE_HOST_NPT);
	context->role.nxe = mode->nxe;
	context->role.pse = mode->paging == RHZ_PAGING_32 && mode->pse;
	context->walks = mode->paging == RHZ_PAGING_PAE ? &pae_walks :
	                                                  &rhz_vcpu_walks[mode->paging];
	context->dirty = PTE_D;
	return RHZ_OK;
}

static enum rhz_status ept_init(struct context *context, const struct rhz_vm *vm,
                                const struct rhz_nested *nested)
{
	struct rhz_ept_mode ept;
	enum rhz_status status = ept_mode_init(&ept, vm, nested->table);

	if (status != RHZ_OK)
		return status;
	context->regs = (struct rhz_regs){ .cr3 = nested->table };
	context->mode = (struct rhz_mode){
		.format = ept.levels == 5 ? &rhz_format_ept5 : &rhz_format_ept4,
		.paging = ept.levels == 5 ? RHZ_PAGING_5LEVEL : RHZ_PAGING_4LEVEL,
		.levels = ept.levels,
		.va_bits = ept.levels == 5 ? 57 : 48,
		.va_mask = ~0ull,
		.wp = true,
		.nested = true,
		.vendor = vm->config.cpuid.vendor,
		.maxphyaddr = ept.maxphyaddr,
		.cr3_table = format_bits(ept.maxphyaddr - 1u, 12),
	};
	set_role(context, vm, ept.levels == 5 ? ROLE_EPT5 : ROLE_EPT4, ROLE_HOST_EPT);
	context->role.no_ad = !ept.ad;
	context->walks = &ept_walks;
	context->dirty = ept.ad ? EPT_D : 0;
	return RHZ_OK;
}

enum rhz_status nested_context_init(struct context *context, const struct rhz_vm *vm,
                                    unsigned space, const struct rhz_nested *nested)
{
	enum rhz_status status = RHZ_ERR_FEATURE;

	if (is_ept(vm->config.nested))
		status = ept_init(context, vm, nested);
	else if (vm->config.nested != RHZ_SHADOW)
		status = npt_init(context, vm, nested);
	if (status != RHZ_OK)
		return status;
	context->role.space = space;
	context->levels = vm->nested_levels;
	context->removed = &vm->removed[1];
	context->quick = false;
	context->unseen = true;
	context->cr3_mask = context->mode.cr3_table;
	/* L2's own CR3 is between it and the processor: no load of ours is right */
	context->cr3_reserved = context->cr3_judged = context->cr3_kept = ~0ull;
	context->entered = true;
	return RHZ_OK;
}

/* ---- faults ---- */

/* [APM2 15.25.6] [SDM3 table 27-7]: an access to one of L2's tables. */
static bool is_table(bool ept, uint64_t info)
{
	if (ept)
		return (info & (RHZ_EPT_QUAL_GVA | RHZ_EPT_QUAL_FINAL)) == RHZ_EPT_QUAL_GVA;
	return info & RHZ_NPF_TABLE;
}

unsigned nested_access(const struct rhz_vcpu *vcpu, uint64_t info)
{
	bool ept = is_ept(vcpu->vm->config.nested), table = is_table(ept, info);
	unsigned access = RHZ_ACCESS_USER;

	if (ept) {
		access |= info & RHZ_EPT_QUAL_FETCH ? RHZ_ACCESS_FETCH : 0u;
		/* with A and D bits, L2's tables are written [SDM3 28.3.3.2] */
		access |= table ? RHZ_ACCESS_TABLE : 0u;
		access |= info & RHZ_EPT_QUAL_WRITE || (table && !vcpu->now->role.no_ad) ?
			          RHZ_ACCESS_WRITE : 0u;
		return access;
	}
	access |= info & RHZ_PF_I ? RHZ_ACCESS_FETCH : 0u;
	/* L2's tables are written, whatever its access [APM2 15.25.6] */
	return access | (info & RHZ_PF_W || table ? RHZ_ACCESS_WRITE : 0u);
}

static bool walk_or_exit_ept(struct rhz_vcpu *vcpu, rhz_ngpa ngpa, uint64_t info, rhz_gpa *gpa,
                             struct rhz_l1_exit *exit)
{
	/* what the access was, and what it found of rights */
	const uint64_t ours = RHZ_EPT_QUAL_XU | (RHZ_EPT_QUAL_XU - 1);
	struct rhz_ept_walk walk;

	switch (ept_walk(vcpu, ngpa, nested_access(vcpu, info), &walk)) {
	case RHZ_EPT_OK:
		*gpa = walk.gpa;
		return true;
	case RHZ_EPT_VIOLATION:
		exit->kind = RHZ_L1_EPT_VIOLATION;
		exit->info = (info & ~ours) | walk.qualification;
		return false;
	case RHZ_EPT_MISCONFIG:
	case RHZ_EPT_TABLE: /* the reader reads everywhere */
		break;
	}
	exit->kind = RHZ_L1_EPT_MISCONFIG;
	return false;
}

bool nested_walk(struct rhz_vcpu *vcpu, rhz_ngpa ngpa, uint64_t info, rhz_gpa *gpa,
                 struct rhz_l1_exit *exit)
{
	unsigned access = nested_access(vcpu, info);
	struct rhz_walk walk;

	exit->ngpa = ngpa;
	if (is_ept(vcpu->vm->config.nested))
		return walk_or_exit_ept(vcpu, ngpa, info, gpa, exit);
	if (vcpu_walk(vcpu, (rhz_gva){ ngpa.v }, access, &walk) == RHZ_WALK_OK) {
		*gpa = walk.gpa;
		return true;
	}
	exit->kind = RHZ_L1_NPF;
	exit->info = rhz_npf_info(&walk, is_table(false, info));
	return false;
}
