/* SPDX-License-Identifier: MIT */
/* The embedder's callbacks under threads: lock, kick, pages. Making and ending the VM. */
#include "world.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct world world;
__thread struct thread *self;

void broken(const char *format, ...)
{
	va_list args;

	flockfile(stdout);
	printf("seed %llu: ", (unsigned long long)world.seed);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n0 passed, 1 failed\n");
	fflush(stdout);
	_exit(1);
}

/* ---- lock and kick ---- */

/* A mutex is not fair: the one host thread goes before the vCPUs, or it would hardly ever run. */
static void host_lock(void *ctx)
{
	bool host = self == &world.host_thread;

	(void)ctx;
	if (host)
		STORE_SEQ(&world.host_waits, true);
	for (unsigned i = 0; !host && i < 100 && LOAD_SEQ(&world.host_waits); i++)
		sched_yield();
	pthread_mutex_lock(&world.lock);
	if (host)
		STORE_SEQ(&world.host_waits, false);
	if (world.locked)
		broken("the lock is taken twice");
	world.locked = true;
}

void lock_release(void)
{
	self->keep = false;
	world.locked = false;
	pthread_mutex_unlock(&world.lock);
}

static void host_unlock(void *ctx)
{
	(void)ctx;
	if (!world.locked)
		broken("the lock is given back twice");
	if (self->wrote >= 0)
		STORE(&world.stored[self->wrote], true);
	self->wrote = -1;
	if (!self->keep)
		lock_release();
}

/*
 * The request is stored with a full barrier before the announcement is looked at, as that is
 * before rhz_vcpu_enter looks at the library's counters. A vCPU that withdraws may announce itself
 * again at once: so what is waited for is the end of the stay that was seen.
 */
static void host_kick(void *ctx, uint64_t vcpus)
{
	(void)ctx;
	if (!world.locked || !vcpus || vcpus >> VCPUS)
		broken("a kick without the lock, or of nobody");
	world.kicks++;
	for (unsigned i = 0; i < VCPUS; i++) {
		if (vcpus >> i & 1)
			STORE_SEQ(&world.cpu[i].leave, true);
	}
	for (unsigned i = 0; i < VCPUS; i++) {
		uint64_t stay = LOAD_SEQ(&world.cpu[i].stay);

		if (self == &world.cpu[i].thread && stay & 1)
			broken("a vCPU holds the lock while announced");
		while (vcpus >> i & 1 && stay & 1 && LOAD_SEQ(&world.cpu[i].stay) == stay)
			sched_yield();
	}
}

/* ---- pages ---- */

static void *host_page_alloc(void *ctx, enum rhz_page_zone zone, rhz_hpa *hpa)
{
	unsigned page = pick(HOST_PAGES / 2);

	(void)ctx, (void)zone;
	if (!world.locked)
		broken("an allocation without the lock");
	if (!pick(200))
		return NULL;
	while (page < HOST_PAGES && world.page_live[page])
		page++;
	if (page == HOST_PAGES)
		return NULL;
	__atomic_store_n(&world.page_live[page], true, __ATOMIC_RELAXED);
	world.live++;
	hpa->v = PAGES_HPA + (uint64_t)page * RHZ_PAGE_SIZE;
	return world.pages + (size_t)page * RHZ_PAGE_SIZE;
}

/* A vCPU that is in the guest must not have walked the page: its caches may still lead there. */
static void host_page_free(void *ctx, void *at, rhz_hpa hpa)
{
	size_t page = (size_t)((uint8_t *)at - world.pages) / RHZ_PAGE_SIZE;

	(void)ctx;
	if (!world.locked || page >= HOST_PAGES || !world.page_live[page] ||
	    hpa.v != PAGES_HPA + page * RHZ_PAGE_SIZE)
		broken("page_free gets what is no page");
	for (unsigned i = 0; i < VCPUS; i++) {
		uint64_t stay = LOAD_SEQ(&world.cpu[i].stay);

		if (stay & 1 && LOAD_SEQ(&world.cpu[i].walked[page]) == stay)
			broken("page_free gets a page that vCPU %u walked in this stay", i);
	}
	if (self)
		checked(CHECK_FREED);
	__atomic_store_n(&world.page_live[page], false, __ATOMIC_RELAXED);
	memset(at, 0xa5, RHZ_PAGE_SIZE);
	world.live--;
}

/* ---- making and ending ---- */

static void *memory(size_t size)
{
	void *at = aligned_alloc(RHZ_PAGE_SIZE,
	                         (size + RHZ_PAGE_SIZE - 1) & -(size_t)RHZ_PAGE_SIZE);

	if (!at)
		broken("no memory");
	return memset(at, 0, size);
}

static void ram_add(unsigned n, uint64_t hpa, uint8_t *at, uint64_t bytes, unsigned *id)
{
	size_t size = rhz_ram_size(bytes);

	world.ram_memory[n] = memory(size);
	if (rhz_vm_add_ram(world.vm, world.ram_memory[n], size, (rhz_hpa){ hpa }, at, bytes, id))
		broken("rhz_vm_add_ram");
}

static void vm_make(void)
{
	static const uint32_t options[] = { 0, 0, 0, RHZ_NO_PREFETCH, RHZ_NO_QUICK_FILL,
		                            RHZ_NO_LISTS, RHZ_NO_TAGS, RHZ_NO_MMIO_CACHE };
	struct rhz_vm_config config = {
		.kind = RHZ_SHADOW,
		.host_cpu = { .maxphyaddr = 46, .nx = true },
		.cpuid = { .maxphyaddr = 40, .pse = true, .pae = true, .pge = true, .nx = true },
		.quota = 24 + pick(100),
		.options = options[pick(8)],
		.host = &world.host,
	};
	size_t size = rhz_vm_size(&config);

	world.quota = config.quota;
	world.options = config.options;
	world.vm_memory = memory(size);
	if (rhz_vm_create(world.vm_memory, size, &config, &world.vm))
		broken("rhz_vm_create");
}

static void cpu_make(struct cpu *cpu, unsigned number)
{
	struct rhz_vcpu_config config = { .policy = pick(2) ? RHZ_ROOTS_CURRENT_FIRST :
		                                    (enum rhz_root_policy)pick(RHZ_ROOT_POLICIES),
		                          .cached_roots = 2 + pick(4), .seed = number };

	cpu->number = number;
	cpu->memory = memory(rhz_vcpu_size());
	cpu->thread.random = world.seed * 0x9e3779b97f4a7c15ull + number + 1;
	cpu->thread.wrote = -1;
	if (rhz_vcpu_create(world.vm, cpu->memory, rhz_vcpu_size(), &config, &cpu->vcpu) ||
	    rhz_vcpu_id(cpu->vcpu) != number)
		broken("rhz_vcpu_create");
	rhz_cpu_init(&cpu->cpu, number, 1, number == 1 ? 0 : TAGS, number != 2);
}

void world_make(uint64_t seed)
{
	struct rhz_slot slot = { .bytes = RAM_PAGES * (uint64_t)RHZ_PAGE_SIZE };

	world.seed = seed;
	world.host = (struct rhz_host){ .page_alloc = host_page_alloc, .lock = host_lock,
		                        .page_free = host_page_free, .unlock = host_unlock,
		                        .kick = host_kick };
	pthread_mutex_init(&world.lock, NULL);
	self = &world.host_thread;
	self->random = seed * 0x9e3779b97f4a7c15ull + 99;
	self->wrote = -1;
	world.pages = memory((size_t)HOST_PAGES * RHZ_PAGE_SIZE);
	world.ram = memory(RAM_PAGES * RHZ_PAGE_SIZE);
	world.spare = memory(SPARE_PAGES * RHZ_PAGE_SIZE);
	vm_make();
	ram_add(0, RAM_HPA, world.ram, RAM_PAGES * RHZ_PAGE_SIZE, &world.ram_id);
	ram_add(1, SPARE_HPA, world.spare, SPARE_PAGES * RHZ_PAGE_SIZE, &world.spare_id);
	slot.ram = world.ram_id;
	if (rhz_slot_add(world.vm, &slot, &world.slot))
		broken("rhz_slot_add");
	for (unsigned i = RAM_PAGES; i < FRAMES; i++)
		world.gone[i] = true;
	guest_make();
	for (unsigned i = 0; i < VCPUS; i++)
		cpu_make(&world.cpu[i], i);
}

void world_end(void)
{
	for (unsigned i = 0; i < VCPUS; i++) {
		rhz_vcpu_destroy(world.cpu[i].vcpu);
		free(world.cpu[i].memory);
	}
	rhz_vm_destroy(world.vm);
	if (world.live)
		broken("%u pages never came back", world.live);
	free(world.ram_memory[0]);
	free(world.ram_memory[1]);
	free(world.vm_memory);
	free(world.pages);
	free(world.ram);
	free(world.spare);
}
