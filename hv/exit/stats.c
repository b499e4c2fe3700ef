/* SPDX-License-Identifier: MIT */
/* Statistics: exits by reason and every counter of the library; at the end, and now and then. */
#include "exit/stats.h"

#include <stddef.h>

#include "boot/info.h"
#include "cpu/clock.h"
#include "cpu/console.h"
#include "cpu/x86.h"
#include "exit/profile.h"
#include "svm/guest.h"

_Static_assert((int)KINDS <= (int)EXIT_KINDS, "one counter a kind");

static const char *const names[KINDS] = {
	[KIND_NPF] = "npf", [KIND_MSR] = "msr", [KIND_IO] = "io", [KIND_SMI] = "smi",
	[KIND_INVD] = "invd", [KIND_SVM] = "svm_instruction", [KIND_L1] = "to_l1",
	[KIND_OTHER] = "other",
	[KIND_PF] = "pf", [KIND_CR3_WRITE] = "cr3_write", [KIND_CR_WRITE] = "cr_write",
	[KIND_CR_READ] = "cr_read", [KIND_INVLPG] = "invlpg", [KIND_INVPCID] = "invpcid",
	[KIND_CPUID] = "cpuid", [KIND_UD] = "ud", [KIND_GP] = "gp", [KIND_STEP] = "step",
	[KIND_TASK_SWITCH] = "task_switch",
};

static uint64_t ticks_per_line, next_line; /* of the TSC; 0: no lines but the last */

void stats_init(void)
{
	if (!boot_info.options.stats_seconds)
		return;
	guest.watched = true;
	ticks_per_line = clock_measure() * boot_info.options.stats_seconds;
	next_line = rdtsc(); /* the first line at the first exit */
}

void stats_tick(const struct guest *g)
{
	if (!next_line || rdtsc() < next_line)
		return;
	next_line = rdtsc() + ticks_per_line;
	stats_print(g);
}

struct counter { const char *name; size_t offset; };

#define VCPU(name) { #name, offsetof(struct rhz_vcpu_stats, name) }
#define VM(name) { #name, offsetof(struct rhz_vm_stats, name) }

static const struct counter of_vcpu[] = {
	VCPU(pf_taken), VCPU(pf_fixed), VCPU(pf_guest), VCPU(pf_emulate), VCPU(pf_spurious),
	VCPU(pf_mmio_spte_created), VCPU(pf_mmio_cached), VCPU(pf_retry), VCPU(pf_no_memory),
	VCPU(prefetched), VCPU(root_switches), VCPU(root_current_reused),
	VCPU(root_cached_reused), VCPU(root_missed), VCPU(root_refound), VCPU(root_built),
	VCPU(root_evicted), VCPU(root_dropped), VCPU(syncs_asked), VCPU(syncs_done),
	VCPU(tables_synced), VCPU(entries_synced), VCPU(invlpg), VCPU(guest_flushes),
	VCPU(tlb_flush), VCPU(flush_tag), VCPU(flush_all), VCPU(flush_address),
	VCPU(fresh_tags), VCPU(stale_asked), VCPU(stale_removed), VCPU(nested_entries),
	VCPU(nested_exits), VCPU(nested_flush_unneeded),
};

static const struct counter of_vm[] = {
	VM(mmu_shadow_pages), VM(mmu_shadow_zapped), VM(mmu_recycled), VM(mmu_unsync),
	VM(mmu_pte_write), VM(mmu_flooded), VM(pages_4k), VM(pages_2m), VM(pages_1g),
	VM(mmio_entries), VM(large_split), VM(rmap_nodes), VM(removals), VM(remote_tlb_flush),
	VM(dirty_pages_logged), VM(pages_freed_after_flush),
};

static void print_counters(const struct counter *counter, size_t n, const void *stats)
{
	for (; n; n--, counter++) {
		const uint64_t *value = (const void *)((const char *)stats + counter->offset);

		print(", \"%s\": %lu", counter->name, *value);
	}
}

uint64_t stats_exits(const struct guest *g)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < KINDS; i++)
		sum += g->exits_of[i];
	return sum;
}

static void print_object(const struct guest *g)
{
	const struct rhz_vcpu_stats *vcpu = rhz_vcpu_stats(g->mmu);
	unsigned places = RHZ_MAX_CACHED_ROOTS;

	print("\"tsc\": %lu, \"tsc_hz\": %lu, \"exits\": %lu", rdtsc(), clock_hz(),
	      stats_exits(g));
	for (unsigned i = 0; i < KINDS; i++)
		print(", \"exits_%s\": %lu", names[i], g->exits_of[i]);
	for (unsigned i = 0; profile_on() && i < KINDS; i++)
		print(", \"ticks_%s\": %lu", names[i], profile_ticks(i));
	print(", \"stores_emulated\": %lu, \"stores_stepped\": %lu", g->stores_emulated,
	      g->stores_stepped);
	print_counters(of_vcpu, sizeof(of_vcpu) / sizeof(of_vcpu[0]), vcpu);
	print_counters(of_vm, sizeof(of_vm) / sizeof(of_vm[0]), rhz_vm_stats(g->vm));
	while (places && !vcpu->root_reused_at[places - 1])
		places--;
	print(", \"root_reused_at\": [");
	for (unsigned i = 0; i < places; i++)
		print(i ? ", %lu" : "%lu", vcpu->root_reused_at[i]);
	print("]}\n");
}

void stats_print(const struct guest *g)
{
	print("rhizome: stats {");
	print_object(g);
}

void stats_mark(const struct guest *g, uint8_t mark)
{
	print("rhizome: mark {\"mark\": %u, ", mark);
	print_object(g);
}
