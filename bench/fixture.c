/* SPDX-License-Identifier: MIT */
/* The host, the VM and the guest's tables of the benchmarks. */
#define _GNU_SOURCE
#include "fixture.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Host-physical addresses, made up: low pages from 1 MiB, others from 4 GiB, RAM from 1 TiB. */
#define LOW_AT 0x100000ull
#define HIGH_AT 0x100000000ull
#define RAM_AT 0x10000000000ull

enum { LOW_PAGES = 256, HIGH_BITS = 21 };

static struct fixture only;

static void *map_memory(uint64_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	bench_require(at != MAP_FAILED, "no memory");
	return at;
}

/* ---- host ---- */

/* A host's free pages are all over the place: each number is another's, and none twice. */
static uint64_t scatter(uint64_t number)
{
	const uint64_t mask = (1u << HIGH_BITS) - 1;

	number = number * 0x5851f42du & mask;
	number ^= number >> 11;
	number = number * 0x14057b7fu & mask;
	return number ^ number >> 9;
}

static void *page_alloc(void *ctx, enum rhz_page_zone where, rhz_hpa *hpa)
{
	struct fixture *f = ctx;
	unsigned z = where == RHZ_PAGE_BELOW_4G;
	uint64_t *page = f->zone[z].free;

	f->pages_out++;
	if (page) {
		f->zone[z].free = (void *)(uintptr_t)page[0];
		hpa->v = page[1];
		return page;
	}
	bench_require(f->zone[z].used < f->zone[z].pages, "no page left");
	page = (void *)(f->zone[z].arena + f->zone[z].used * RHZ_PAGE_SIZE);
	hpa->v = z ? LOW_AT + f->zone[z].used * RHZ_PAGE_SIZE :
	             HIGH_AT + scatter(f->zone[z].used) * RHZ_PAGE_SIZE;
	f->zone[z].used++;
	return page;
}

static void page_free(void *ctx, void *page, rhz_hpa hpa)
{
	struct fixture *f = ctx;
	uint64_t *words = page;
	unsigned z = hpa.v < HIGH_AT;

	f->pages_out--;
	words[0] = (uintptr_t)f->zone[z].free;
	words[1] = hpa.v;
	f->zone[z].free = page;
}

static void host_make(struct fixture *f)
{
	f->zone[0].pages = 1u << HIGH_BITS;
	f->zone[1].pages = LOW_PAGES;
	for (unsigned z = 0; z < 2; z++)
		f->zone[z].arena = map_memory(f->zone[z].pages * RHZ_PAGE_SIZE);
}

/* ---- guest memory ---- */

static void ram_make(struct fixture *f)
{
	uint64_t echo_bytes = (uint64_t)ECHO_FRAMES * RHZ_PAGE_SIZE;
	int file = memfd_create("echo", 0);

	f->ram_bytes = ECHO_AT + f->config.echoes * echo_bytes;
	f->ram = map_memory(f->ram_bytes);
	bench_require(file >= 0 && !ftruncate(file, (off_t)echo_bytes), "no echo memory");
	for (unsigned i = 0; i < f->config.echoes; i++)
		bench_require(mmap(f->ram + ECHO_AT + i * echo_bytes, echo_bytes,
		                   PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) !=
		              MAP_FAILED, "no echo memory");
	close(file);
	f->next_frame = 1;
}

static void ram_give(struct fixture *f)
{
	struct rhz_slot slot = { .bytes = f->ram_bytes };

	f->ram_book_bytes = rhz_ram_size(f->ram_bytes);
	f->ram_memory = map_memory(f->ram_book_bytes);
	bench_require(rhz_vm_add_ram(f->vm, f->ram_memory, f->ram_book_bytes, (rhz_hpa){ RAM_AT },
	                             f->ram, f->ram_bytes, &f->ram_id) == RHZ_OK, "no RAM");
	slot.ram = f->ram_id;
	bench_require(rhz_slot_add(f->vm, &slot, &f->slot) == RHZ_OK, "no slot");
}

uint64_t fixture_frame(struct fixture *f)
{
	bench_require(f->next_frame < TABLE_FRAMES, "no guest frame left");
	return f->next_frame++ * RHZ_PAGE_SIZE;
}

void *fixture_at(struct fixture *f, uint64_t gpa)
{
	return f->ram + gpa;
}

/* ---- guest tables ---- */

static unsigned top_level(const struct fixture *f)
{
	switch (f->config.paging) {
	case RHZ_PAGING_NONE:
		return 0;
	case RHZ_PAGING_32:
		return 2;
	case RHZ_PAGING_PAE:
		return 3;
	case RHZ_PAGING_4LEVEL:
		return 4;
	case RHZ_PAGING_5LEVEL:
		break;
	}
	return 5;
}

static uint64_t *entry_of(struct fixture *f, uint64_t table, uint64_t gva, unsigned level)
{
	return (uint64_t *)fixture_at(f, table) + (gva >> (12 + 9 * (level - 1)) & 511);
}

uint64_t guest_table(struct fixture *f, uint64_t root, uint64_t gva, unsigned level)
{
	for (unsigned at = top_level(f); at > level; at--) {
		uint64_t *entry = entry_of(f, root, gva, at);

		/* PDPTEs have neither rights nor A [SDM3 4.4.1] */
		if (!*entry)
			*entry = fixture_frame(f) |
			         (at == 3 && f->config.paging == RHZ_PAGING_PAE ? 1 : GUEST_BITS);
		root = *entry & 0xffffffffff000ull;
	}
	return root;
}

uint64_t *guest_entry(struct fixture *f, uint64_t root, uint64_t gva, unsigned level)
{
	return entry_of(f, guest_table(f, root, gva, level), gva, level);
}

static void guest_map_32(struct fixture *f, uint64_t root, uint64_t gva, uint64_t gpa)
{
	uint32_t *entry = (uint32_t *)fixture_at(f, root) + (gva >> 22);

	if (!*entry)
		*entry = (uint32_t)(fixture_frame(f) | GUEST_BITS);
	entry = (uint32_t *)fixture_at(f, *entry & 0xfffff000) + (gva >> 12 & 1023);
	*entry = (uint32_t)(gpa | GUEST_BITS);
}

void guest_map(struct fixture *f, uint64_t root, uint64_t gva, uint64_t gpa)
{
	if (f->config.paging == RHZ_PAGING_32)
		guest_map_32(f, root, gva, gpa);
	else
		*guest_entry(f, root, gva, 1) = gpa | GUEST_BITS;
}

uint64_t guest_root(struct fixture *f)
{
	uint64_t root = fixture_frame(f);

	if (f->kernel)
		memcpy((uint8_t *)fixture_at(f, root) + 2048,
		       (uint8_t *)fixture_at(f, f->kernel) + 2048, 2048);
	return root;
}

static void kernel_make(struct fixture *f)
{
	uint64_t root = guest_root(f);

	for (uint64_t at = 0; f->config.paging == RHZ_PAGING_4LEVEL && at < f->ram_bytes;
	     at += LEAF_TABLE_BYTES)
		*guest_entry(f, root, PHYSMAP + at, 2) = at | GUEST_BITS | 0x80;
	f->kernel = root;
}

/* ---- the whole ---- */

static void registers_load(struct fixture *f)
{
	bool wide = f->config.paging >= RHZ_PAGING_4LEVEL;
	struct rhz_regs regs = {
		.cr0 = RHZ_CR0_PE | RHZ_CR0_WP | RHZ_CR0_PG | 1 << 4,
		.cr3 = f->kernel,
		.cr4 = RHZ_CR4_PSE | RHZ_CR4_PGE |
		       (f->config.paging >= RHZ_PAGING_PAE ? RHZ_CR4_PAE : 0) |
		       (f->config.paging == RHZ_PAGING_5LEVEL ? RHZ_CR4_LA57 : 0),
		.efer = RHZ_EFER_NXE | (wide ? RHZ_EFER_LME | RHZ_EFER_LMA : 0),
	};

	if (f->config.paging == RHZ_PAGING_NONE)
		bench_require(rhz_vcpu_prepare(f->vcpu) == RHZ_LOAD_OK, "no root");
	else
		bench_require(rhz_vcpu_load_regs(f->vcpu, &regs) == RHZ_LOAD_OK, "no registers");
}

static void fixture_end(struct fixture *f)
{
	if (!f->vm)
		return;
	rhz_vcpu_destroy(f->vcpu);
	rhz_vm_destroy(f->vm);
	bench_require(!f->pages_out, "pages were lost");
	for (unsigned z = 0; z < 2; z++)
		munmap(f->zone[z].arena, f->zone[z].pages * RHZ_PAGE_SIZE);
	munmap(f->ram, f->ram_bytes);
	munmap(f->ram_memory, f->ram_book_bytes);
	munmap(f->vm_memory, f->vm_bytes);
	free(f->vcpu_memory);
	memset(f, 0, sizeof(*f));
}

struct fixture *fixture_make(const struct fixture_config *config)
{
	struct fixture *f = &only;
	struct rhz_host host = { .ctx = f, .page_alloc = page_alloc, .page_free = page_free };
	struct rhz_vcpu_config vcpu = { RHZ_ROOTS_CURRENT_FIRST, config->cached_roots, 1 };
	struct rhz_vm_config vm = {
		.kind = config->kind,
		.nested = config->nested,
		.host_cpu = { .maxphyaddr = 48, .pages_1g = true, .nx = true },
		.cpuid = {
			.vendor = RHZ_VENDOR_AMD, .maxphyaddr = 48, .pse = true, .pae = true,
			.pge = true, .pat = true, .nx = true, .gbpages = true, .la57 = true,
		},
		.quota = config->quota ? config->quota : 8192,
		.options = config->options,
		.host = &host,
	};

	fixture_end(f);
	f->config = *config;
	host_make(f);
	ram_make(f);
	f->vm_bytes = rhz_vm_size(&vm);
	bench_require(f->vm_bytes != 0, "no such VM");
	f->vm_memory = map_memory(f->vm_bytes);
	bench_require(rhz_vm_create(f->vm_memory, f->vm_bytes, &vm, &f->vm) == RHZ_OK, "no VM");
	ram_give(f);
	f->vcpu_memory = calloc(1, rhz_vcpu_size());
	bench_require(f->vcpu_memory && rhz_vcpu_create(f->vm, f->vcpu_memory, rhz_vcpu_size(),
	                                                &vcpu, &f->vcpu) == RHZ_OK, "no vCPU");
	f->stats = rhz_vcpu_stats(f->vcpu);
	f->vm_stats = rhz_vm_stats(f->vm);
	kernel_make(f);
	registers_load(f);
	return f;
}

/* ---- what the guest and the host do ---- */

void fixture_load(struct fixture *f, uint64_t root)
{
	bench_require(rhz_vcpu_load_cr3(f->vcpu, root) == RHZ_LOAD_OK, "a load failed");
}

void fixture_touch(struct fixture *f, uint64_t gva, bool write)
{
	struct rhz_fault fault;
	uint64_t fixed = f->stats->pf_fixed;

	bench_require(rhz_vcpu_page_fault(f->vcpu, (rhz_gva){ gva }, write ? RHZ_PF_W : 0, 0,
	                                  &fault) == RHZ_FAULT_RESUME, "a fault was not fixed");
	bench_require(f->stats->pf_fixed == fixed + 1, "a fault was for nothing");
}

void fixture_unsync(struct fixture *f, uint64_t table)
{
	uint64_t listed = f->vm_stats->mmu_unsync;

	fixture_touch(f, PHYSMAP + table, true);
	bench_require(f->vm_stats->mmu_unsync > listed, "a table stayed in sync");
}

void fixture_unmap(struct fixture *f, uint64_t gpa, uint64_t bytes)
{
	bench_require(rhz_ram_invalidate(f->vm, f->ram_id, gpa, bytes) == RHZ_OK, "no such RAM");
}
