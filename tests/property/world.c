/* SPDX-License-Identifier: MIT */
/* Makes a world from its seed, and ends it. */
#include "world.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

unsigned char *pool_memory, *ram_memory[VMS][2];
static struct model_vm *models[VMS];

static void *map(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		abort();
	return at;
}

void world_memory_init(void)
{
	pool_memory = map(POOL * 4096);
	memset(pool_memory, 0xdb, POOL * 4096);
	for (unsigned i = 0; i < VMS; i++) {
		ram_memory[i][0] = map(RAM_A_BYTES);
		ram_memory[i][1] = map(RAM_B_BYTES);
		models[i] = map(sizeof(*models[i]));
	}
}

void fail(struct world *w, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(w->reason, sizeof(w->reason), format, arguments);
	va_end(arguments);
	longjmp(w->failed, 1);
}

void tell(struct world *w, const char *format, ...)
{
	va_list arguments;

	if (!w->verbose)
		return;
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
}

bool is_direct(const struct vm *vm)
{
	return vm->lib_config.kind != RHZ_SHADOW;
}

bool runs_nested(const struct vcpu *v)
{
	return v->vm->model->vcpu[v->index].context == 2;
}

bool runs_direct(const struct vcpu *v)
{
	return is_direct(v->vm) && !runs_nested(v);
}

bool runs_unseen(const struct vcpu *v)
{
	return is_direct(v->vm) || runs_nested(v);
}

static void pick_cpuid(struct random *r, struct model_cpuid *m, struct rhz_cpuid *lib)
{
	static const uint8_t widths[] = { 36, 40, 46, 52 };

	*m = (struct model_cpuid){
		.amd = chance(r, 50), .maxphyaddr = widths[below(r, 4)], .pse = chance(r, 95),
		.pae = true, .pge = chance(r, 90), .pse36 = chance(r, 70), .nx = chance(r, 92),
		.gbpages = chance(r, 70), .la57 = true, .pcid = chance(r, 85),
		.smep = chance(r, 80), .smap = chance(r, 80), .pku = chance(r, 70),
		.pks = chance(r, 50),
	};
	*lib = (struct rhz_cpuid){
		.vendor = m->amd ? RHZ_VENDOR_AMD : RHZ_VENDOR_INTEL,
		.maxphyaddr = (uint8_t)m->maxphyaddr, .pse = m->pse, .pae = m->pae, .pge = m->pge,
		.pse36 = m->pse36, .pat = true, .nx = m->nx, .gbpages = m->gbpages,
		.la57 = m->la57, .pcid = m->pcid, .invpcid = true, .smep = m->smep,
		.smap = m->smap, .pku = m->pku, .pks = m->pks,
	};
}

static enum rhz_paging_kind pick_paging_kind(struct random *r, unsigned mode)
{
	if (mode == MODE_NPT)
		return chance(r, 50) ? RHZ_NPT_4LEVEL : RHZ_NPT_5LEVEL;
	if (mode == MODE_EPT)
		return chance(r, 50) ? RHZ_EPT_4LEVEL : RHZ_EPT_5LEVEL;
	if (mode == MODE_L2 && chance(r, 30))
		return RHZ_NPT_4LEVEL;
	return RHZ_SHADOW;
}

static void pick_nested(struct random *r, unsigned mode, struct rhz_vm_config *c,
                        struct model_cpuid *cpuid)
{
	if (mode < MODE_NSVM)
		return;
	c->nested = mode == MODE_NEPT ? chance(r, 50) ? RHZ_EPT_4LEVEL : RHZ_EPT_5LEVEL :
	            chance(r, 50) ? RHZ_NPT_4LEVEL : RHZ_NPT_5LEVEL;
	if (mode == MODE_NNPT || (mode == MODE_NEPT && chance(r, 50)))
		c->kind = c->nested;
	cpuid->nested_levels = c->nested == RHZ_EPT_5LEVEL || c->nested == RHZ_NPT_5LEVEL ? 5 : 4;
	cpuid->ept_1g = c->host_cpu.pages_1g;
	cpuid->ept_execute_only = c->host_cpu.ept_execute_only;
	cpuid->ept_ad = c->host_cpu.ept_ad;
}

static void pick_vm_config(struct vm *vm, struct model_cpuid *cpuid)
{
	struct world *w = vm->world;
	struct random *r = &w->random;
	struct rhz_vm_config *c = &vm->lib_config;

	memset(c, 0, sizeof(*c));
	c->kind = pick_paging_kind(r, w->config.mode);
	pick_cpuid(r, cpuid, &c->cpuid);
	c->host_cpu.maxphyaddr = chance(r, 50) || cpuid->maxphyaddr > 46 ? 52 : 46;
	c->host_cpu.pages_1g = chance(r, 70);
	c->host_cpu.nx = true;
	c->host_cpu.ept_execute_only = chance(r, 50);
	c->host_cpu.ept_ad = chance(r, 70);
	pick_nested(r, w->config.mode, c, cpuid);
	c->quota = chance(r, 35) ? 16 + below(r, 24) : 64 + below(r, 192);
	for (unsigned i = 0; i < 9; i++)
		if (chance(r, 12))
			c->options |= 1u << i;
	c->options = (c->options | w->config.options) & ~w->config.options_off;
	c->host = &vm->host;
	host_init(vm);
	if (w->config.vcpus == 1 && chance(r, 50))
		vm->host.kick = NULL;
}

void vcpu_create(struct vm *vm, unsigned index)
{
	struct world *w = vm->world;
	struct random *r = &w->random;
	static const uint8_t capacities[] = { 0, 1, 3, 3, 8, 16, 64 };
	struct rhz_vcpu_config config = {
		.policy = chance(r, 50) ? RHZ_ROOTS_CURRENT_FIRST : below(r, RHZ_ROOT_POLICIES),
		.cached_roots = capacities[below(r, 7)], .seed = roll(r),
	};
	struct vcpu *v = &vm->vcpu[index];
	enum rhz_status status;

	memset(v, 0, sizeof(*v));
	v->vm = vm;
	v->index = index;
	v->memory = aligned_alloc(64, (rhz_vcpu_size() + 63) / 64 * 64);
	v->cpu = v->last_cpu = &w->cpu[(index + vm->index) % w->cpus];
	call_begin(vm);
	status = rhz_vcpu_create(vm->lib, v->memory, rhz_vcpu_size(), &config, &v->lib);
	call_end(vm);
	if (status != RHZ_OK)
		fail(w, "vcpu_create: %s", rhz_status_name(status));
	v->alive = true;
	model_vcpu_reset(vm->model, index);
	tell(w, "vcpu %u of vm %u: policy %s, %u cached roots", index, vm->index,
	     rhz_root_policy_name(config.policy), config.cached_roots);
}

static void add_ram(struct vm *vm, unsigned n)
{
	uint64_t hpa = frame_hpa(vm->index, n ? MODEL_FRAMES : 0) & ~0xfffffull;
	uint64_t bytes = n ? RAM_B_BYTES : RAM_A_BYTES;
	size_t size = rhz_ram_size(bytes);
	enum rhz_status status;

	vm->ram_memory[n] = aligned_alloc(64, (size + 63) / 64 * 64);
	status = rhz_vm_add_ram(vm->lib, vm->ram_memory[n], size, (rhz_hpa){ hpa },
	                        ram_memory[vm->index][n], bytes, &vm->ram[n]);
	if (status != RHZ_OK)
		fail(vm->world, "add_ram: %s", rhz_status_name(status));
}

static void vm_create(struct world *w, unsigned index)
{
	struct vm *vm = &w->vm[index];
	struct model_cpuid cpuid;
	enum rhz_status status;
	size_t size;

	memset(vm, 0, sizeof(*vm));
	vm->world = w;
	vm->index = index;
	vm->model = models[index];
	pick_vm_config(vm, &cpuid);
	tell(w, "vm %u: kind %d, nested %d, %s, maxphyaddr %u, host %u, quota %u, options %#x",
	     index, (int)vm->lib_config.kind, (int)vm->lib_config.nested,
	     cpuid.amd ? "AMD" : "Intel", cpuid.maxphyaddr, vm->lib_config.host_cpu.maxphyaddr,
	     vm->lib_config.quota, vm->lib_config.options);
	model_init(vm->model, &cpuid);
	for (unsigned i = 0; i < 54; i++) {
		model_add_frame(vm->model, frame_hpa(index, i));
		memset(ram_at(vm, frame_hpa(index, i)), 0, 4096);
	}
	size = rhz_vm_size(&vm->lib_config);
	vm->memory = aligned_alloc(64, (size + 63) / 64 * 64);
	status = rhz_vm_create(vm->memory, size, &vm->lib_config, &vm->lib);
	if (status != RHZ_OK)
		fail(w, "vm_create: %s", rhz_status_name(status));
	add_ram(vm, 0);
	add_ram(vm, 1);
	for (unsigned n = 0; n < SLOTS; n++)
		if (n == 0 || chance(&w->random, 75))
			slot_create(vm, n);
	fill_tables(vm);
	for (unsigned i = 0; i < w->config.vcpus; i++)
		vcpu_create(vm, i);
}

void world_create(struct world *w, const struct config *config)
{
	static const uint8_t tags[] = { 0, 1, 3, 3, 15, 64 };
	struct random *r = &w->random;

	w->config = *config;
	w->random.state = config->seed;
	w->fail_alloc = -1;
	w->vms = config->vms;
	w->cpus = config->cpus;
	w->table_cache = chance(r, 60);
	w->reload_on_fault = chance(r, 50);
	w->keep_on_fault = chance(r, 30);
	w->rom = chance(r, 25);
	w->shifted = chance(r, 25);
	w->pdpte_registers = chance(r, 60);
	tell(w, "%s%s%s%s", w->table_cache ? "table cache " : "",
	     w->reload_on_fault ? "reload on fault " : "",
	     w->keep_on_fault ? "keep on fault " : "", w->rom ? "rom" : "");
	for (unsigned i = 0; i < w->cpus; i++) {
		unsigned count = tags[below(r, 6)], by_tag = chance(r, 50);

		rhz_cpu_init(&w->cpu[i].lib, i, 1 + below(r, 4), count, by_tag);
		tell(w, "cpu %u: %u tags, %sflush by tag", i, count, by_tag ? "" : "no ");
	}
	for (unsigned i = 0; i < w->vms; i++)
		vm_create(w, i);
	for (unsigned i = 0; i < w->vms; i++)
		for (unsigned n = 0; n < config->vcpus && !is_direct(&w->vm[i]); n++)
			enter_mode(&w->vm[i].vcpu[n], pick_paging(&w->vm[i]));
}

void world_abandon(struct world *w)
{
	for (unsigned i = 0; i < VMS; i++) {
		struct vm *vm = &w->vm[i];

		for (unsigned n = 0; n < VCPUS; n++)
			free(vm->vcpu[n].memory);
		free(vm->ram_memory[0]);
		free(vm->ram_memory[1]);
		free(vm->memory);
	}
}

void world_end(struct world *w)
{
	for (unsigned i = 0; i < w->vms; i++) {
		struct vm *vm = &w->vm[i];

		for (unsigned n = 0; n < w->config.vcpus; n++) {
			if (!vm->vcpu[n].alive)
				continue;
			vcpu_leave(&vm->vcpu[n]);
			count_vcpu_stats(&vm->vcpu[n]);
			call_begin(vm);
			rhz_vcpu_destroy(vm->vcpu[n].lib);
			call_end(vm);
			vm->vcpu[n].alive = false;
		}
		check_memory(vm);
		check_log(vm);
		count_stats(vm);
		call_begin(vm);
		rhz_vm_destroy(vm->lib);
		call_end(vm);
		if (vm->pages)
			fail(w, "%u pages are leaked", vm->pages);
	}
	world_abandon(w);
}
