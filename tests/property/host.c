/* SPDX-License-Identifier: MIT */
/* What the library is given: pages, the lock, kicks. Each callback checks the library's side. */
#include "world.h"

#include <string.h>

static const uint64_t LOW = 0x10000000, HIGH = 0x2000000000;

static uint64_t pool_hpa(unsigned n)
{
	return n < POOL_LOW ? LOW + n * 4096ull : HIGH + n * 4096ull;
}

/* The pool's page at this address, allocated or not; null if there is none. */
struct pool_page *pool_page_at(struct world *w, uint64_t hpa)
{
	uint64_t n = hpa >= HIGH ? (hpa - HIGH) / 4096 : (hpa - LOW) / 4096;

	if (hpa < LOW || n >= POOL || pool_hpa((unsigned)n) != (hpa & ~0xfffull))
		return NULL;
	return &w->pool_page[n];
}

void *pool_at(struct world *w, uint64_t hpa)
{
	struct pool_page *page = pool_page_at(w, hpa);

	return page ? pool_memory + (size_t)(page - w->pool_page) * 4096 + (hpa & 0xfff) : NULL;
}

static void *page_alloc(void *ctx, enum rhz_page_zone zone, rhz_hpa *hpa)
{
	struct vm *vm = ctx;
	struct world *w = vm->world;
	bool low = zone == RHZ_PAGE_BELOW_4G;

	if (!vm->locked)
		fail(w, "page_alloc called without the lock");
	vm->allocs++;
	if (w->fail_alloc > 0)
		w->fail_alloc--;
	if (w->fail_alloc == 0) {
		w->alloc_failed = true;
		return NULL;
	}
	for (unsigned i = 0; i < POOL; i++) {
		unsigned n = (w->pool_free + i) % POOL;

		if (w->pool_page[n].used || (n < POOL_LOW) != low)
			continue;
		w->pool_free = n + 1;
		w->pool_page[n].used = true;
		w->pool_page[n].vm = (uint8_t)vm->index;
		w->pool_page[n].serial = ++w->serial;
		vm->pages++;
		hpa->v = pool_hpa(n);
		return pool_memory + (size_t)n * 4096;
	}
	fail(w, "the pool of %u pages is exhausted: %u held by this VM", POOL, vm->pages);
}

static void page_free(void *ctx, void *page, rhz_hpa hpa)
{
	struct vm *vm = ctx;
	struct world *w = vm->world;
	struct pool_page *known = pool_page_at(w, hpa.v);

	if (!vm->locked)
		fail(w, "page_free called without the lock");
	if (!known || !known->used || known->vm != vm->index || pool_at(w, hpa.v) != page)
		fail(w, "page_free of what was not allocated: %#llx", (unsigned long long)hpa.v);
	check_freed(w, vm, hpa.v);
	known->used = false;
	vm->pages--;
	memset(page, 0xdb, 4096);
}

static void lock(void *ctx)
{
	struct vm *vm = ctx;

	if (vm->locked)
		fail(vm->world, "the lock is taken twice");
	vm->locked = true;
	vm->locks++;
}

static void unlock(void *ctx)
{
	struct vm *vm = ctx;

	if (!vm->locked)
		fail(vm->world, "the lock is given back twice");
	vm->locked = false;
}

/* The last that a vCPU does before it leaves: a store through what its TLB still has. */
static void last_store(struct vcpu *v, const struct tlb_entry *e)
{
	struct world *w = v->vm->world;
	struct random *r = &w->random;
	uint64_t value, page, hpa;
	unsigned frame;

	if (!e->valid || e->tag != v->entry.tag || !e->to.dirty ||
	    !(cpu_abilities(v, &e->to) & MODEL_WRITES))
		return;
	frame = below(r, v->vm->model->frames); /* one of those in the page, if it is a large one */
	page = e->to.shift == 12 ? e->to.hpa : v->vm->model->frame[frame].hpa;
	if (page - e->to.hpa >= 1ull << e->to.shift || model_frame(v->vm->model, page) < 0)
		return;
	check_translation(v, &e->to, true, e->filled, "stale store");
	frame = (unsigned)model_frame(v->vm->model, page);
	value = pick_entry(v->vm, group_of(frame));
	hpa = page + pick_offset(v->vm, group_of(frame));
	if (group_of(frame) && chance(r, 40))
		value = pick_flip(v->vm, hpa, group_of(frame) >= GROUP_PD32 ? 4 : 8);
	tell(w, "  vcpu %u, kicked, stores %#llx at hpa %#llx, gva %#llx", v->index,
	     (unsigned long long)value, (unsigned long long)hpa,
	     (unsigned long long)(e->to.gva + (hpa - e->to.hpa)));
	log_store(v, &e->to, e->to.gva + (page - e->to.hpa), page);
	guest_store(v->vm, hpa, group_of(frame) >= GROUP_PD32 ? 4 : 8, &value);
	v->vm->stores++;
	w->totals.stale_stores++;
}

/* It may also load translations, from tables that the call has half changed. */
static void last_loads(struct vcpu *v)
{
	struct random *r = &v->vm->world->random;

	for (unsigned n = below(r, 4); n; n--) {
		uint64_t gva = pick_gva(v->vm, model_vcpu_regs(v->vm->model, v->index));
		struct translation to;
		uint32_t error;

		if (cpu_walk(v, gva, chance(r, 50) ? MODEL_USER : MODEL_AC, true, &to, &error))
			tlb_insert_unchecked(v, &to);
	}
}

static void kick(void *ctx, uint64_t vcpus)
{
	struct vm *vm = ctx;
	struct world *w = vm->world;

	if (!vm->locked)
		fail(w, "kick called without the lock");
	if (!w->calling)
		fail(w, "kick called from nowhere");
	/* the call may have set A and D already: the model learns it before they are overwritten */
	if (vm->faulting.vcpu)
		absorb(vm->faulting.vcpu, vm->faulting.gva, vm->faulting.access,
		       vm->faulting.before);
	for (unsigned i = 0; i < w->config.vcpus; i++) {
		struct vcpu *v = &vm->vcpu[i];

		if (!v->alive || !v->running || !(vcpus >> rhz_vcpu_id(v->lib) & 1))
			continue;
		for (unsigned n = 0; n < TLB_ENTRIES && !w->quiet && !w->config.plain; n++)
			if (chance(&w->random, 50))
				last_store(v, &v->cpu->tlb[n]);
		if (!w->config.plain)
			last_loads(v);
		vcpu_leave(v);
	}
}

static void trace(void *ctx, const struct rhz_event *event)
{
	struct vm *vm = ctx;

	tell(vm->world, "    %s vcpu %d level %u address %#llx value %#llx",
	     rhz_event_name(event->kind), (int)event->vcpu, event->level,
	     (unsigned long long)event->address, (unsigned long long)event->value);
}

void host_init(struct vm *vm)
{
	struct random r = vm->world->random;

	vm->host = (struct rhz_host){
		.ctx = vm,
		.page_alloc = page_alloc,
		.page_free = page_free,
		.lock = lock,
		.unlock = unlock,
		.kick = kick,
		.trace = vm->world->verbose || chance(&r, 10) ? trace : NULL,
	};
}

unsigned char *ram_at(struct vm *vm, uint64_t hpa)
{
	uint64_t a = 0x100000000ull + vm->index * 0x40000000ull;
	uint64_t b = 0x300000000ull + vm->index * 0x100000ull;

	if (hpa - a < RAM_A_BYTES)
		return ram_memory[vm->index][0] + (hpa - a);
	if (hpa - b < RAM_B_BYTES)
		return ram_memory[vm->index][1] + (hpa - b);
	return NULL;
}

bool guest_store(struct vm *vm, uint64_t hpa, unsigned bytes, const void *data)
{
	if (model_frame(vm->model, hpa) < 0 || model_frame(vm->model, hpa + bytes - 1) < 0)
		return false;
	memcpy(ram_at(vm, hpa), data, bytes);
	model_store(vm->model, hpa, bytes, data);
	return true;
}
