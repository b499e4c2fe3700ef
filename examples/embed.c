/* SPDX-License-Identifier: MIT */
/*
 * The smallest embedder: 16 MiB of guest memory, one vCPU, two address spaces of the guest's.
 * No processor runs the guest here: we play both, and look at what it would see.
 * cc embed.c $(pkg-config --cflags --libs rhizome)
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rhizome/rhizome.h>
#define GUEST_BYTES (16u << 20)
#define GUEST_AT_HPA 0x100000000u /* where the processor is to find guest memory: anywhere */
#define GVA 0x400000u

static void check(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "embed: %s\n", what);
		exit(1);
	}
}

static void *memory(size_t size)
{
	void *p = aligned_alloc(RHZ_PAGE_SIZE, (size + RHZ_PAGE_SIZE - 1) & -RHZ_PAGE_SIZE);

	check(p, "no memory");
	return memset(p, 0, size);
}

/* The library's table pages. In this house a pointer is a host-physical address. */
static void *page_alloc(void *ctx, enum rhz_page_zone zone, rhz_hpa *hpa)
{
	(void)ctx, (void)zone;
	hpa->v = (uintptr_t)memory(RHZ_PAGE_SIZE);
	return (void *)hpa->v;
}

static void page_free(void *ctx, void *page, rhz_hpa hpa)
{
	(void)ctx, (void)hpa, free(page);
}

/* The guest's own work: four levels of tables from 'table' on that map GVA to 'page'. */
static void guest_writes_tables(uint8_t *ram, uint64_t table, uint64_t page)
{
	for (int level = 4; level >= 1; level--, table += RHZ_PAGE_SIZE) {
		uint64_t index = GVA >> (12 + 9 * (level - 1)) & 511;
		uint64_t entry = (level > 1 ? table + RHZ_PAGE_SIZE : page) | 7; /* P, R/W, U/S */

		memcpy(ram + table + 8 * index, &entry, sizeof(entry));
	}
}

/* What a processor would find for GVA under this root: the leaf, or 0. */
static uint64_t processor_walks(const struct rhz_entry *entry)
{
	uint64_t table = entry->root.v, value = 0;

	for (int level = entry->levels; level >= 1 && table; level--) {
		uint64_t index = GVA >> (12 + 9 * (level - 1)) & 511;

		value = ((const uint64_t *)table)[index];
		table = value & 0xffffffffff000;
	}
	return value;
}

/* What the processor is to be given now. */
static struct rhz_entry enter(struct rhz_vcpu *vcpu, struct rhz_cpu *cpu)
{
	struct rhz_entry entry;

	while (rhz_vcpu_enter(vcpu, cpu, &entry) == RHZ_ENTER_PREPARE)
		check(rhz_vcpu_prepare(vcpu) == RHZ_LOAD_OK, "no memory for a root");
	return entry;
}

/* The guest loads CR3 and stores to GVA. Returns the leaf that its processor ends up with. */
static uint64_t guest_runs(struct rhz_vcpu *vcpu, struct rhz_cpu *cpu, uint64_t cr3)
{
	check(rhz_vcpu_load_cr3(vcpu, cr3) == RHZ_LOAD_OK, "load of CR3");
	struct rhz_entry entry = enter(vcpu, cpu);
	if (!processor_walks(&entry)) {
		struct rhz_fault fault;

		printf("#PF at %#x, ", GVA);
		check(rhz_vcpu_page_fault(vcpu, (rhz_gva){ GVA }, RHZ_PF_W | RHZ_PF_U, 0, &fault) ==
		      RHZ_FAULT_RESUME, "page fault");
		entry = enter(vcpu, cpu);
	}
	printf("CR3 %#" PRIx64 ": root %#" PRIx64 ", tag %u, flush %d, leaf %#" PRIx64 "\n", cr3,
	       entry.root.v, entry.tag, entry.flush, processor_walks(&entry));
	return processor_walks(&entry);
}

int main(void)
{
	static const uint64_t table[2] = { 0x10000, 0x20000 }, page[2] = { 0x5000, 0x6000 };
	struct rhz_host host = { .page_alloc = page_alloc, .page_free = page_free };
	struct rhz_vm_config config = {
		.kind = RHZ_SHADOW,
		.host_cpu = { .maxphyaddr = 48, .nx = true },
		.cpuid = { .maxphyaddr = 40, .pse = true, .pae = true, .pge = true, .nx = true },
		.quota = 256,
		.host = &host,
	};
	struct rhz_vcpu_config vcpu_config = { .policy = RHZ_ROOTS_CURRENT_FIRST,
	                                       .cached_roots = RHZ_DEFAULT_CACHED_ROOTS };
	size_t vm_size = rhz_vm_size(&config), ram_size = rhz_ram_size(GUEST_BYTES);
	void *vm_memory = memory(vm_size), *ram_memory = memory(ram_size);
	void *vcpu_memory = memory(rhz_vcpu_size());
	uint8_t *ram = memory(GUEST_BYTES);
	struct rhz_slot slot = { .bytes = GUEST_BYTES };
	struct rhz_vm *vm;
	struct rhz_vcpu *vcpu;
	struct rhz_cpu cpu;
	unsigned slot_id;

	check(!rhz_vm_create(vm_memory, vm_size, &config, &vm), "VM");
	check(!rhz_vm_add_ram(vm, ram_memory, ram_size, (rhz_hpa){ GUEST_AT_HPA }, ram,
	                      GUEST_BYTES, &slot.ram), "RAM");
	check(!rhz_slot_add(vm, &slot, &slot_id), "slot");
	check(!rhz_vcpu_create(vm, vcpu_memory, rhz_vcpu_size(), &vcpu_config, &vcpu), "vCPU");
	rhz_cpu_init(&cpu, 0, 1, 15, true);

	guest_writes_tables(ram, table[0], page[0]);
	guest_writes_tables(ram, table[1], page[1]);
	struct rhz_regs regs = { .cr0 = RHZ_CR0_PE | RHZ_CR0_WP | RHZ_CR0_PG, .cr3 = table[0],
	                         .cr4 = RHZ_CR4_PAE, .efer = RHZ_EFER_LME | RHZ_EFER_LMA };
	check(rhz_vcpu_load_regs(vcpu, &regs) == RHZ_LOAD_OK, "paging on");

	for (int i = 0; i < 6; i++) {
		uint64_t leaf = guest_runs(vcpu, &cpu, table[i & 1]);

		check((leaf & 0xffffffffff000) == GUEST_AT_HPA + page[i & 1], "wrong frame");
	}
	guest_runs(vcpu, &cpu, table[1]); /* the CR3 in use, once more */
	const struct rhz_vcpu_stats *stats = rhz_vcpu_stats(vcpu);
	printf("%" PRIu64 " root switches: %" PRIu64 " current reused, %" PRIu64 " cached reused, %"
	       PRIu64 " built; %" PRIu64 " faults\n", stats->root_switches,
	       stats->root_current_reused, stats->root_cached_reused, stats->root_built,
	       stats->pf_taken);
	rhz_vcpu_destroy(vcpu);
	rhz_vm_destroy(vm);
	free(vm_memory), free(ram_memory), free(vcpu_memory), free(ram);
	return 0;
}
