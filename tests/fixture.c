/* SPDX-License-Identifier: MIT */
/* The host, the VM, guest memory and guest tables of the tests. Processors: processor.c. */
#include "fixture.h"

#include <stdio.h>

/* ---- the host ---- */

static uint64_t page_hpa(unsigned page)
{
	uint64_t base = page < LOW_PAGES ? 0x10000000ull : 0x180000000ull;

	return base + (uint64_t)page * 4096;
}

static void *host_page_alloc(void *ctx, enum rhz_page_zone zone, rhz_hpa *hpa)
{
	struct world *world = ctx;
	unsigned page = zone == RHZ_PAGE_BELOW_4G ? 0 : LOW_PAGES;

	assert_true(world->locked || !world->host.lock);
	world->allocated++;
	if (world->fail_at && !--world->fail_at) {
		world->no_memory = world->no_memory || world->fail_on;
		return NULL;
	}
	if (world->no_memory)
		return NULL;
	while (page < HOST_PAGES && world->page_live[page])
		page++;
	if (page == HOST_PAGES || (zone == RHZ_PAGE_BELOW_4G && page >= LOW_PAGES))
		return NULL;
	world->page_live[page] = true;
	world->live++;
	hpa->v = page_hpa(page);
	memset(world->pages + (size_t)page * 4096, 0xcc, 4096);
	return world->pages + (size_t)page * 4096;
}

static void host_page_free(void *ctx, void *at, rhz_hpa hpa)
{
	struct world *world = ctx;
	size_t page = (size_t)((uint8_t *)at - world->pages) / 4096;

	assert_true(world->locked || !world->host.lock);
	assert_true(page < HOST_PAGES && world->page_live[page]);
	assert_int_equal(hpa.v, page_hpa((unsigned)page));
	memset(at, 0xa5, 4096);
	world->page_live[page] = false;
	world->live--;
	world->freed++;
}

static void host_lock(void *ctx)
{
	struct world *world = ctx;

	assert_int_equal(world->locked, 0);
	world->locked = 1;
	world->locks++;
}

static void host_unlock(void *ctx)
{
	struct world *world = ctx;

	assert_int_equal(world->locked, 1);
	world->locked = 0;
}

static void host_kick(void *ctx, uint64_t vcpus)
{
	struct world *world = ctx;

	assert_true(world->locked || !world->host.lock);
	assert_true(vcpus);
	world->kicks++;
	world->kicked = vcpus;
	if (world->on_kick)
		world->on_kick(world);
	for (unsigned i = 0; i < VCPUS; i++) {
		if (vcpus >> i & 1) {
			assert_non_null(world->vcpu[i]);
			world->at[i].running = false;
		}
	}
}

/* ---- the VM ---- */

void world_default_config(const struct setup *setup, struct rhz_vm_config *config)
{
	*config = (struct rhz_vm_config){
		.kind = setup->kind,
		.nested = setup->nested,
		.host_cpu = { .maxphyaddr = 46, .pages_1g = !setup->no_1g, .nx = true,
			      .ept_execute_only = !setup->no_execute_only,
			      .ept_ad = setup->ept_ad },
		.cpuid = { .vendor = setup->amd ? RHZ_VENDOR_AMD : RHZ_VENDOR_INTEL,
			   .maxphyaddr = setup->maxphyaddr ? setup->maxphyaddr : 40,
			   .pse = true, .pae = true, .pge = true, .pse36 = true, .pat = true,
			   .nx = true, .gbpages = true, .la57 = true, .pcid = true,
			   .invpcid = true, .smep = true, .smap = true, .pku = true, .pks = true },
		.quota = setup->quota ? setup->quota : 512,
		.options = setup->options,
	};
}

void world_vcpu_add(struct world *world, unsigned vcpu)
{
	const struct setup *setup = &world->setup;
	struct rhz_vcpu_config config = {
		.policy = setup->given_roots ? setup->policy : RHZ_ROOTS_CURRENT_FIRST,
		.cached_roots = setup->given_roots ? setup->cached_roots : RHZ_DEFAULT_CACHED_ROOTS,
		.seed = 1,
	};

	world->vcpu_memory[vcpu] = aligned_alloc(16, (rhz_vcpu_size() + 15) & ~15ul);
	memset(world->vcpu_memory[vcpu], 0x5a, rhz_vcpu_size());
	assert_status(rhz_vcpu_create(world->vm, world->vcpu_memory[vcpu], rhz_vcpu_size(), &config,
	                              &world->vcpu[vcpu]), RHZ_OK);
	assert_int_equal(rhz_vcpu_id(world->vcpu[vcpu]), vcpu);
	world->at[vcpu] = (struct place){ .cpu = vcpu % CPUS };
}

void world_vcpu_remove(struct world *world, unsigned vcpu)
{
	world->at[vcpu].running = false;
	rhz_vcpu_destroy(world->vcpu[vcpu]);
	free(world->vcpu_memory[vcpu]);
	world->vcpu[vcpu] = NULL;
}

static void world_ram(struct world *world)
{
	size_t size = rhz_ram_size(world->ram_bytes);
	struct rhz_slot slot = { .gpa = { 0 }, .bytes = world->ram_bytes };

	world->ram = aligned_alloc(4096, world->ram_bytes);
	memset(world->ram, 0, world->ram_bytes);
	world->ram_memory[0] = malloc(size);
	assert_status(rhz_vm_add_ram(world->vm, world->ram_memory[0], size, (rhz_hpa){ RAM_HPA },
	                             world->ram, world->ram_bytes, &world->ram_id), RHZ_OK);
	if (world->setup.bare)
		return;
	slot.ram = world->ram_id;
	assert_status(rhz_slot_add(world->vm, &slot, &world->slot), RHZ_OK);
}

struct world *world_make(const struct setup *setup)
{
	struct world *world = calloc(1, sizeof(*world));
	size_t size;

	world->setup = *setup;
	world->host = (struct rhz_host){ .ctx = world, .page_alloc = host_page_alloc,
		                         .page_free = host_page_free, .kick = host_kick };
	if (!setup->no_lock) {
		world->host.lock = host_lock;
		world->host.unlock = host_unlock;
	}
	world->pages = aligned_alloc(4096, HOST_PAGES * 4096);
	world->ram_bytes = setup->ram ? setup->ram : RAM;
	world->next_table = TABLES;
	world_default_config(setup, &world->config);
	world->config.host = &world->host;
	size = rhz_vm_size(&world->config);
	assert_true(size);
	world->vm_memory = aligned_alloc(16, (size + 15) & ~15ul);
	memset(world->vm_memory, 0x5a, size);
	assert_status(rhz_vm_create(world->vm_memory, size, &world->config, &world->vm), RHZ_OK);
	world_ram(world);
	for (unsigned i = 0; i < CPUS; i++)
		rhz_cpu_init(&world->cpu[i].cpu, i, 1, setup->given_tags ? setup->tags : 15,
		             !setup->no_flush_by_tag);
	for (unsigned i = 0; !setup->bare && i < (setup->vcpus ? setup->vcpus : 1); i++)
		world_vcpu_add(world, i);
	return world;
}

void world_end(struct world *world)
{
	if (!world->setup.no_audit)
		audit(world);
	for (unsigned i = 0; i < VCPUS; i++) {
		if (world->vcpu[i])
			world_vcpu_remove(world, i);
	}
	rhz_vm_destroy(world->vm);
	assert_int_equal(world->live, 0);
	for (unsigned i = 0; i < RHZ_MAX_RAMS; i++)
		free(world->ram_memory[i]);
	free(world->vm_memory);
	free(world->pages);
	free(world->ram);
	free(world);
}

void world_audit(struct world *world, const char *file, int line)
{
	struct rhz_audit found;

	if (!rhz_vm_audit(world->vm, &found))
		return;
	print_error("invariant %u: %s: table %#llx role %#llx index %u entry %#llx not %#llx\n",
	            found.invariant, found.what, (unsigned long long)found.table.v,
	            (unsigned long long)found.role, found.index, (unsigned long long)found.entry,
	            (unsigned long long)found.expected);
	_fail(file, line);
}

/* ---- guest memory ---- */

void *guest_at(struct world *world, uint64_t gpa)
{
	assert_true(gpa < world->ram_bytes);
	return world->ram + gpa;
}

uint64_t guest_get(struct world *world, uint64_t gpa, unsigned bytes)
{
	uint64_t value = 0;

	memcpy(&value, guest_at(world, gpa), bytes);
	return value;
}

void guest_put(struct world *world, uint64_t gpa, unsigned bytes, uint64_t value)
{
	memcpy(guest_at(world, gpa), &value, bytes);
}

void guest_poke(struct world *world, uint64_t gpa, unsigned bytes, uint64_t value)
{
	guest_put(world, gpa, bytes, value);
	rhz_vm_wrote(world->vm, 0, (rhz_gpa){ gpa }, bytes);
	audit(world);
}

/* ---- guest tables ---- */

uint64_t table_new(struct world *world)
{
	uint64_t gpa = world->next_table;

	assert_true(gpa < TABLES_LAST);
	world->next_table += 4096;
	return gpa;
}

unsigned entry_bytes(const struct world *world)
{
	return world->setup.mode == RHZ_PAGING_32 ? 4 : 8;
}

unsigned mode_levels(const struct world *world)
{
	static const unsigned levels[] = { 0, 2, 3, 4, 5 };

	return levels[world->setup.mode];
}

static uint64_t index_in(const struct world *world, uint64_t gva, unsigned level)
{
	unsigned bits = world->setup.mode == RHZ_PAGING_32 ? 10 : 9;
	uint64_t index = gva >> (12 + bits * (level - 1)) & ((1u << bits) - 1);

	return world->setup.mode == RHZ_PAGING_PAE && level == 3 ? index & 3 : index;
}

uint64_t entry_at(struct world *world, uint64_t root, uint64_t gva, unsigned level)
{
	uint64_t table = root;

	for (unsigned at = mode_levels(world); at > level; at--) {
		uint64_t index = index_in(world, gva, at);
		uint64_t entry = guest_get(world, table + index * entry_bytes(world),
		                           entry_bytes(world));

		assert_true(entry & P);
		table = entry & FRAME;
	}
	return table + index_in(world, gva, level) * entry_bytes(world);
}

void map_at(struct world *world, uint64_t root, uint64_t gva, uint64_t gpa, uint64_t bits,
            unsigned level)
{
	unsigned bytes = entry_bytes(world);

	for (unsigned at = mode_levels(world); at > level; at--) {
		uint64_t entry = entry_at(world, root, gva, at);
		bool pdpte = world->setup.mode == RHZ_PAGING_PAE && at == 3;

		if (!(guest_get(world, entry, bytes) & P))
			guest_put(world, entry, bytes, table_new(world) | (pdpte ? P : PWU));
	}
	guest_put(world, entry_at(world, root, gva, level), bytes,
	          gpa | bits | (level > 1 ? PS : 0));
}

void map(struct world *world, uint64_t root, uint64_t gva, uint64_t gpa, uint64_t bits)
{
	map_at(world, root, gva, gpa, bits, 1);
}

void map_window(struct world *world, uint64_t root)
{
	for (uint64_t gpa = TABLES; gpa < TABLES_END; gpa += 4096)
		map(world, root, WINDOW + gpa, gpa, P | W);
}

uint64_t entry_get(struct world *world, uint64_t root, uint64_t gva, unsigned level)
{
	return guest_get(world, entry_at(world, root, gva, level), entry_bytes(world));
}

void entry_poke(struct world *world, uint64_t root, uint64_t gva, unsigned level, uint64_t value)
{
	guest_poke(world, entry_at(world, root, gva, level), entry_bytes(world), value);
}

void entry_store(struct world *world, unsigned vcpu, uint64_t root, uint64_t gva, unsigned level,
                 uint64_t value)
{
	uint64_t at = entry_at(world, root, gva, level);
	struct seen seen = store(world, vcpu, WINDOW + at, entry_bytes(world), value);

	assert_true(seen.how == REACHED || seen.how == WAS_TRACKED);
}

/* ---- registers ---- */

struct rhz_regs regs_of(enum rhz_paging mode, uint64_t root)
{
	struct rhz_regs regs = { .cr0 = RHZ_CR0_PE | RHZ_CR0_WP | 1 << 4, .cr3 = root };

	if (mode == RHZ_PAGING_NONE)
		return regs;
	regs.cr0 |= RHZ_CR0_PG;
	regs.cr4 = RHZ_CR4_PSE;
	if (mode == RHZ_PAGING_32)
		return regs;
	regs.cr4 |= RHZ_CR4_PAE;
	regs.efer = RHZ_EFER_NXE;
	if (mode == RHZ_PAGING_PAE)
		return regs;
	regs.efer |= RHZ_EFER_LME | RHZ_EFER_LMA;
	if (mode == RHZ_PAGING_5LEVEL)
		regs.cr4 |= RHZ_CR4_LA57;
	return regs;
}

void regs_ok(struct world *world, unsigned vcpu, const struct rhz_regs *regs)
{
	world->at[vcpu].running = false;
	assert_int_equal(rhz_vcpu_load_regs(world->vcpu[vcpu], regs), RHZ_LOAD_OK);
	if (!world->setup.no_audit)
		audit(world);
}

void start(struct world *world, unsigned vcpu, uint64_t root)
{
	struct rhz_regs regs = regs_of(world->setup.mode, root), off = regs;

	off.cr0 &= ~RHZ_CR0_PG;
	off.efer &= ~RHZ_EFER_LMA;
	off.cr4 &= ~RHZ_CR4_PCIDE;
	regs_ok(world, vcpu, &off);
	regs_ok(world, vcpu, &regs);
}

void load_ok(struct world *world, unsigned vcpu, uint64_t cr3)
{
	world->at[vcpu].running = false;
	assert_int_equal(rhz_vcpu_load_cr3(world->vcpu[vcpu], cr3), RHZ_LOAD_OK);
	if (!world->setup.no_audit)
		audit(world);
}

void switch_ok(struct world *world, unsigned vcpu, enum rhz_context context,
               const struct rhz_regs *regs, uint32_t guest_asid, enum rhz_guest_flush flush)
{
	world->at[vcpu].running = false;
	assert_int_equal(rhz_vcpu_switch_context(world->vcpu[vcpu], context, regs, guest_asid,
	                                         flush), RHZ_LOAD_OK);
	if (!world->setup.no_audit)
		audit(world);
}

enum rhz_load_result nested_entry(struct world *world, unsigned vcpu, const struct rhz_regs *l1,
                                  uint32_t guest_asid, enum rhz_guest_flush flush)
{
	struct rhz_nested nested = { l1->cr3, l1->cr0, l1->cr4, l1->efer };
	enum rhz_load_result result;

	world->at[vcpu].running = false;
	result = rhz_vcpu_switch_nested(world->vcpu[vcpu], &nested, guest_asid, flush);
	if (!world->setup.no_audit)
		audit(world);
	return result;
}

void nested_ok(struct world *world, unsigned vcpu, const struct rhz_regs *l1, uint32_t guest_asid,
               enum rhz_guest_flush flush)
{
	assert_int_equal(nested_entry(world, vcpu, l1, guest_asid, flush), RHZ_LOAD_OK);
}

void ept_ok(struct world *world, unsigned vcpu, uint64_t eptp, uint32_t vpid,
            enum rhz_guest_flush flush)
{
	struct rhz_regs regs = { .cr3 = eptp };

	world->at[vcpu].ept_ad = eptp >> 6 & 1;
	nested_ok(world, vcpu, &regs, vpid, flush);
}

void exit_ok(struct world *world, unsigned vcpu)
{
	switch_ok(world, vcpu, RHZ_CONTEXT_L1, NULL, 0, RHZ_GUEST_KEEP);
}

void cr_change(struct world *world, unsigned vcpu, uint64_t cr0_flip, uint64_t cr4_flip,
               uint64_t efer_flip)
{
	struct rhz_regs regs = *rhz_vcpu_regs(world->vcpu[vcpu]);

	regs.cr0 ^= cr0_flip;
	regs.cr4 ^= cr4_flip;
	regs.efer ^= efer_flip;
	regs_ok(world, vcpu, &regs);
}
