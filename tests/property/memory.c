/* SPDX-License-Identifier: MIT */
/* What the embedder and the host do to a VM's memory: slots, dirty log, invalidation, pressure. */
#include "world.h"

#include <string.h>

/* The slots that a VM has, if all are there; two views of RAM A and B, two address spaces. */
static const struct {
	uint64_t gpa, bytes, offset;
	unsigned ram, space;
} plan[SLOTS] = {
	{ 0, 4 << 20, 0, 0, 0 },
	{ 4 << 20, 4 << 20, 4 << 20, 0, 0 },
	{ 10 << 20, RAM_B_BYTES, 0, 1, 0 },
	{ 16 << 20, 2 << 20, 0, 0, 0 },
	{ 0, 2 << 20, 0, 0, 1 },
	{ 10 << 20, RAM_B_BYTES, 0, 1, 1 },
	{ 20 << 20, RAM_B_BYTES / 2, RAM_B_BYTES / 4, 1, 0 },
	{ 24 << 20, 0x40000, 0x11000, 0, 0 },
};

static void changed(struct vm *vm)
{
	model_slots_changed(vm->model);
	find_hot(vm);
}

static void expect(struct vm *vm, enum rhz_status status, const char *what)
{
	if (status != RHZ_OK)
		fail(vm->world, "%s: %s", what, rhz_status_name(status));
}

/* Read-only memory only in some worlds: it relaxes what the oracle asks of A and D bits. */
static unsigned pick_flags(struct vm *vm)
{
	unsigned flags = below(&vm->world->random, 4);

	return vm->world->rom ? flags : flags & RHZ_SLOT_DIRTY_LOG;
}

void slot_create(struct vm *vm, unsigned n)
{
	struct random *r = &vm->world->random;
	unsigned flags = chance(r, 12) ? pick_flags(vm) : 0;
	struct slot *slot = &vm->slot[n];
	uint64_t offset = plan[n].offset;

	if (n == 3 && vm->world->shifted) /* nothing large fits then */
		offset += 0x3000;
	memset(slot->dirty, 0, sizeof(slot->dirty));
	slot->lib = (struct rhz_slot){
		.gpa = { plan[n].gpa }, .bytes = plan[n].bytes, .ram = vm->ram[plan[n].ram],
		.offset = offset, .address_space = plan[n].space, .flags = flags,
		.dirty = flags & RHZ_SLOT_DIRTY_LOG ? slot->dirty : NULL,
	};
	tell(vm->world, "  slot %u added, flags %u", n, flags);
	call_begin(vm);
	expect(vm, rhz_slot_add(vm->lib, &slot->lib, &slot->id), "slot_add");
	call_end(vm);
	slot->used = true;
	vm->model->slot[n] = (struct model_slot){
		true, plan[n].gpa, plan[n].bytes,
		(plan[n].ram ? frame_hpa(vm->index, MODEL_FRAMES) & ~0xfffffull :
		               frame_hpa(vm->index, 0) & ~0xfffffull) + offset,
		plan[n].space, flags, 0,
	};
	changed(vm);
}

static void slot_delete(struct vm *vm, unsigned n)
{
	tell(vm->world, "  slot %u deleted", n);
	call_begin(vm);
	expect(vm, rhz_slot_delete(vm->lib, vm->slot[n].id), "slot_delete");
	call_end(vm);
	vm->slot[n].used = vm->model->slot[n].used = false;
	changed(vm);
}

static void slot_move(struct vm *vm, unsigned n)
{
	uint64_t gpa = plan[n].gpa;

	if (gpa == vm->model->slot[n].gpa)
		gpa += 32 << 20;
	tell(vm->world, "  slot %u moved to %#llx", n, (unsigned long long)gpa);
	call_begin(vm);
	expect(vm, rhz_slot_move(vm->lib, vm->slot[n].id, (rhz_gpa){ gpa }), "slot_move");
	call_end(vm);
	vm->model->slot[n].gpa = gpa;
	changed(vm);
}

static void slot_flags(struct vm *vm, unsigned n)
{
	struct random *r = &vm->world->random;
	struct model_slot *model = &vm->model->slot[n];
	unsigned flags = chance(r, 60) ? RHZ_SLOT_DIRTY_LOG : pick_flags(vm);
	bool log = flags & RHZ_SLOT_DIRTY_LOG, logged = model->flags & MODEL_SLOT_DIRTY_LOG;

	if (flags == model->flags)
		flags = log = 0;
	if (log && !logged)
		memset(vm->slot[n].dirty, 0, sizeof(vm->slot[n].dirty));
	tell(vm->world, "  slot %u flags %u", n, flags);
	call_begin(vm);
	expect(vm, rhz_slot_set_flags(vm->lib, vm->slot[n].id, flags,
	                              log ? vm->slot[n].dirty : NULL), "slot_set_flags");
	call_end(vm);
	if (!log || !logged)
		model->logged = 0;
	model->flags = flags;
	changed(vm);
	if (!flags && chance(r, 30)) {
		call_begin(vm);
		expect(vm, rhz_slot_collapse(vm->lib, vm->slot[n].id), "slot_collapse");
		call_end(vm);
	}
}

void act_slot(struct vm *vm)
{
	struct random *r = &vm->world->random;
	unsigned n = below(r, SLOTS);

	for (unsigned i = 0; i < 4; i++) /* what is missing comes back soon */
		if (!vm->slot[i].used && chance(r, 50))
			n = i;
	if (!vm->slot[n].used)
		slot_create(vm, n);
	else if (chance(r, n == 0 ? 4 : 18))
		slot_delete(vm, n);
	else if (plan[n].space == 0 && n >= 2 && chance(r, 20))
		slot_move(vm, n);
	else
		slot_flags(vm, n);
}

static unsigned ones(const uint64_t *words, uint64_t pages)
{
	unsigned count = 0;

	for (uint64_t p = 0; p < (pages + 63) / 64 * 64; p++)
		count += words[p / 64] >> p % 64 & 1;
	return count;
}

static bool logs(const struct model_slot *slot)
{
	return slot->used && slot->flags & MODEL_SLOT_DIRTY_LOG;
}

void act_harvest(struct vm *vm)
{
	struct random *r = &vm->world->random;
	unsigned n = below(r, SLOTS);
	uint64_t out[RAM_A_BYTES / 4096 / 64], first, pages, found = 0, total;
	struct model_slot *model = &vm->model->slot[n];

	for (unsigned i = 0; i < SLOTS && !logs(model); i++)
		model = &vm->model->slot[n = (n + 1) % SLOTS];
	if (!logs(model))
		return;
	total = model->bytes / 4096;
	first = chance(r, 70) || total <= 64 ? 0 : 64 * below(r, (unsigned)total / 64);
	pages = chance(r, 70) ? total - first : 1 + below(r, (unsigned)(total - first));
	memset(out, 0x55, sizeof(out));
	tell(vm->world, "  slot %u harvested from page %#llx", n, (unsigned long long)first);
	call_begin(vm);
	expect(vm, rhz_slot_harvest(vm->lib, vm->slot[n].id, first, pages, out, &found), "harvest");
	call_end(vm);
	if (found != ones(out, pages))
		fail(vm->world, "harvest found %llu, the bits are %u", (unsigned long long)found,
		     ones(out, pages));
	for (uint64_t page = first; page < first + pages; page++)
		if (vm->slot[n].dirty[page / 64] >> page % 64 & 1)
			fail(vm->world, "slot %u page %#llx is still dirty after the harvest", n,
			     (unsigned long long)page);
	for (unsigned f = 0; f < vm->model->frames; f++) {
		uint64_t page = (vm->model->frame[f].hpa - model->hpa) / 4096, at = page - first;

		if (!(model->logged >> f & 1) || page < first || at >= pages)
			continue;
		if (!(out[at / 64] >> at % 64 & 1))
			fail(vm->world, "slot %u page %#llx was written, the harvest lacks it", n,
			     (unsigned long long)page);
		model->logged &= ~(1ull << f);
	}
	vm->model->epoch++;
}

/* Nothing may lead into the run: asked of the tables of one vCPU. */
static void check_unmapped(struct vcpu *v, uint64_t hpa, uint64_t bytes)
{
	struct model_mode mode;
	struct translation to;
	uint64_t gva;
	uint32_t error;

	if (!v->alive)
		return;
	vcpu_enter(v);
	model_mode_of(&mode, &v->vm->model->cpuid, model_vcpu_regs(v->vm->model, v->index));
	for (unsigned n = 0; v->running; n++) {
		if (mode.paging == MODEL_NONE) {
			if (n == v->vm->hot_count)
				return;
			gva = v->vm->hot[n];
		} else if (!hot_gva(&mode, n, &gva)) {
			return;
		}
		cpu_walk(v, gva, 0, false, &to, &error);
		if (to.shift && to.hpa + (1ull << to.shift) > hpa && to.hpa < hpa + bytes)
			fail(v->vm->world, "gva %#llx leads to hpa %#llx after its invalidation",
			     (unsigned long long)gva, (unsigned long long)to.hpa);
	}
}

void act_invalidate(struct vm *vm)
{
	struct random *r = &vm->world->random;
	unsigned frame = below(r, vm->model->frames), ram;
	uint64_t hpa = vm->model->frame[frame].hpa, base, bytes = 4096ull * (1 + below(r, 3));

	ram = hpa >= 0x300000000ull;
	base = frame_hpa(vm->index, ram ? MODEL_FRAMES : 0) & ~0xfffffull;
	if (chance(r, 20)) {
		bytes = ram ? RAM_B_BYTES : 2 << 20;
		hpa = ram ? base : hpa & ~0x1fffffull;
	}
	if (hpa - base + bytes > (ram ? RAM_B_BYTES : RAM_A_BYTES))
		bytes = 4096;
	tell(vm->world, "  hpa %#llx invalidated, %#llx bytes", (unsigned long long)hpa,
	     (unsigned long long)bytes);
	call_begin(vm);
	expect(vm, rhz_ram_invalidate(vm->lib, vm->ram[ram], hpa - base, bytes), "ram_invalidate");
	call_end(vm);
	for (unsigned f = 0; f < vm->model->frames; f++)
		if (vm->model->frame[f].hpa - hpa < bytes)
			vm->invalidated[f] = vm->world->clock;
	vm->world->clock++;
	vm->model->epoch++;
	if (chance(r, 50))
		check_unmapped(&vm->vcpu[below(r, vm->world->config.vcpus)], hpa, bytes);
}

void act_age(struct vm *vm)
{
	struct random *r = &vm->world->random;
	unsigned ram = below(r, 2);
	uint64_t young = 0, size = ram ? RAM_B_BYTES : RAM_A_BYTES;
	uint64_t offset = 4096ull * below(r, (unsigned)(size / 4096));

	call_begin(vm);
	expect(vm, rhz_ram_age(vm->lib, vm->ram[ram], offset, size - offset, &young), "ram_age");
	call_end(vm);
}

void act_shrink(struct vm *vm)
{
	struct random *r = &vm->world->random;
	uint32_t pages = chance(r, 30) ? 0 : below(r, vm->lib_config.quota), left;

	call_begin(vm);
	left = rhz_vm_shrink(vm->lib, pages);
	call_end(vm);
	tell(vm->world, "  shrunk to %u pages: %u left", pages, left);
	if (left < rhz_vm_stats(vm->lib)->mmu_shadow_pages)
		fail(vm->world, "shrink says %u pages are left, the statistics say %llu", left,
		     (unsigned long long)rhz_vm_stats(vm->lib)->mmu_shadow_pages);
}

void act_unshadow(struct vm *vm)
{
	rhz_gpa gpa = { pick_gpa(vm) };

	tell(vm->world, "  unshadow %#llx", (unsigned long long)gpa.v);
	call_begin(vm);
	rhz_vm_unshadow(vm->lib, 0, gpa);
	call_end(vm);
}

/* A device or the embedder writes some entries. */
void act_host_write(struct vm *vm)
{
	struct random *r = &vm->world->random;
	unsigned hot, frame, group, offset, count = chance(r, 70) ? 1 : 1 + below(r, 4);
	uint64_t data[4];

	if (!vm->hot_count)
		return;
	hot = below(r, vm->hot_count);
	frame = vm->hot_frame[hot];
	group = group_of(frame);
	offset = pick_offset(vm, group);
	for (unsigned i = 0; i < 4; i++)
		data[i] = pick_entry(vm, group);
	if (group && chance(r, 35))
		data[0] = pick_flip(vm, vm->model->frame[frame].hpa + offset,
		                    group >= GROUP_PD32 ? 4 : 8);
	if (group >= GROUP_PD32)
		count = 4 * count;
	else
		count = 8 * count;
	if (offset + count > 4096)
		count = 4096 - offset;
	guest_store(vm, vm->model->frame[frame].hpa + offset, count, data);
	model_log(vm->model, 0, vm->hot[hot] + offset);
	tell(vm->world, "  host writes %u bytes at gpa %#llx: %#llx", count,
	     (unsigned long long)vm->hot[hot] + offset, (unsigned long long)data[0]);
	call_begin(vm);
	rhz_vm_wrote(vm->lib, 0, (rhz_gpa){ vm->hot[hot] + offset }, count);
	call_end(vm);
}
