/* SPDX-License-Identifier: MIT */
/* Statistics: exits by reason, and those counters of the library that nested paging moves. */
#include "exit/stats.h"

#include "cpu/console.h"
#include "svm/guest.h"

_Static_assert((int)KINDS <= (int)EXIT_KINDS, "one counter a kind");

static const char *const names[KINDS] = {
	[KIND_NPF] = "npf", [KIND_MSR] = "msr", [KIND_IO] = "io", [KIND_SMI] = "smi",
	[KIND_INVD] = "invd", [KIND_SVM] = "svm_instruction", [KIND_OTHER] = "other",
};

static enum exit_kind kind_of(uint64_t exit_code)
{
	switch ((uint32_t)exit_code) {
	case EXIT_NPF:
		return KIND_NPF;
	case EXIT_MSR:
		return KIND_MSR;
	case EXIT_IOIO:
		return KIND_IO;
	case EXIT_SMI:
		return KIND_SMI;
	case EXIT_INVD:
		return KIND_INVD;
	case EXIT_INVLPGA:
	case EXIT_VMRUN:
	case EXIT_VMMCALL:
	case EXIT_VMLOAD:
	case EXIT_VMSAVE:
	case EXIT_STGI:
	case EXIT_CLGI:
	case EXIT_SKINIT:
	case EXIT_INVLPGB:
	case EXIT_TLBSYNC:
		return KIND_SVM;
	default:
		return KIND_OTHER;
	}
}

enum exit_kind stats_count(struct guest *g, uint64_t exit_code)
{
	enum exit_kind kind = kind_of(exit_code);

	g->exits_of[kind]++;
	return kind;
}

static void number(const char *name, uint64_t value)
{
	print(", \"%s\": %lu", name, value);
}

void stats_print(const struct guest *g)
{
	const struct rhz_vm_stats *vm = rhz_vm_stats(g->vm);
	const struct rhz_vcpu_stats *vcpu = rhz_vcpu_stats(g->mmu);

	print("rhizome: stats {\"exits\": %lu", g->exits);
	for (unsigned i = 0; i < KINDS; i++)
		print(", \"exits_%s\": %lu", names[i], g->exits_of[i]);
	number("pf_taken", vcpu->pf_taken);
	number("pf_fixed", vcpu->pf_fixed);
	number("pf_spurious", vcpu->pf_spurious);
	number("root_switches", vcpu->root_switches);
	number("root_current_reused", vcpu->root_current_reused);
	number("root_cached_reused", vcpu->root_cached_reused);
	number("root_built", vcpu->root_built);
	number("tables_synced", vcpu->tables_synced);
	number("tlb_flush", vcpu->tlb_flush);
	number("fresh_tags", vcpu->fresh_tags);
	number("mmu_shadow_pages", vm->mmu_shadow_pages);
	number("pages_4k", vm->pages_4k);
	number("pages_2m", vm->pages_2m);
	number("pages_1g", vm->pages_1g);
	number("large_split", vm->large_split);
	print("}\n");
}
