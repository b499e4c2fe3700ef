/* SPDX-License-Identifier: MIT */
/*
 * What can happen next. An action is a kind and a seed: all it does follows from these and from
 * the state that it finds, so that leaving out others leaves it meaningful.
 */
#include "world.h"

#include <stdlib.h>
#include <string.h>

enum kind {
	READ, STORE, HOST_WRITE, CR3, REGS, MODE, KEYS, INVLPG, INVPCID, CONTEXT, FLUSH, SPACE,
	SLOT, HARVEST, INVALIDATE, AGE, SHRINK, UNSHADOW, VCPU, MIGRATE, TRANSLATE,
	INVLPGA, FLUSH_NESTED, KINDS,
};

static const struct {
	const char *name;
	unsigned weight, direct, nested; /* how often; ... under nested paging; with L2s */
} kinds[KINDS] = {
	[READ] = { "access", 220, 400, 260 },
	[STORE] = { "store", 260, 300, 300 },
	[HOST_WRITE] = { "host write", 50, 30, 50 },
	[CR3] = { "cr3", 120, 0, 60 },
	[REGS] = { "registers", 40, 0, 15 },
	[MODE] = { "mode", 12, 0, 6 },
	[KEYS] = { "keys", 20, 0, 8 },
	[INVLPG] = { "invlpg", 90, 0, 40 },
	[INVPCID] = { "invpcid", 30, 0, 10 },
	[CONTEXT] = { "context", 40, 0, 190 },
	[FLUSH] = { "flush", 5, 30, 8 },
	[SPACE] = { "address space", 12, 30, 10 },
	[SLOT] = { "slot", 15, 40, 18 },
	[HARVEST] = { "harvest", 25, 50, 25 },
	[INVALIDATE] = { "invalidate", 15, 40, 18 },
	[AGE] = { "age", 8, 20, 8 },
	[SHRINK] = { "shrink", 6, 20, 8 },
	[UNSHADOW] = { "unshadow", 8, 5, 8 },
	[VCPU] = { "vcpu", 4, 10, 4 },
	[MIGRATE] = { "migrate", 20, 30, 25 },
	[TRANSLATE] = { "translate", 40, 0, 40 },
	[INVLPGA] = { "invlpga", 0, 0, 40 },
	[FLUSH_NESTED] = { "nested flush", 0, 0, 15 },
};

static unsigned weight(unsigned mode, unsigned kind)
{
	if (mode >= MODE_L2)
		return kinds[kind].nested;
	return mode == MODE_NPT || mode == MODE_EPT ? kinds[kind].direct : kinds[kind].weight;
}

uint32_t pick_kind(unsigned mode, struct random *r)
{
	unsigned total = 0, pick, k = 0;

	for (unsigned i = 0; i < KINDS; i++)
		total += weight(mode, i);
	pick = below(r, total);
	while (pick >= weight(mode, k))
		pick -= weight(mode, k++);
	return k;
}

void pick_actions(struct config *config, struct action *actions, unsigned count)
{
	struct random r = { .state = config->seed ^ 0x5deece66d };

	for (unsigned i = 0; i < count; i++) {
		actions[i].kind = pick_kind(config->mode, &r);
		actions[i].seed = roll(&r);
	}
}

static unsigned pick_access(struct random *r, bool write)
{
	unsigned access = write ? MODEL_WRITE : chance(r, 25) ? MODEL_FETCH : 0;

	if (chance(r, 40))
		return access | MODEL_USER;
	if (chance(r, 40))
		access |= MODEL_AC;
	if (!(access & MODEL_FETCH) && chance(r, 8))
		access |= MODEL_IMPLICIT;
	return access;
}

static bool usable(struct vcpu *v, uint64_t gva)
{
	const struct model_regs *regs = model_vcpu_regs(v->vm->model, v->index);
	struct model_mode mode;

	model_mode_of(&mode, &v->vm->model->cpuid, regs);
	return gva && model_canonical(&mode, gva) && (mode.levels >= 4 || !(gva >> 32));
}

/* An address, of a table if we know one. */
static uint64_t pick_target(struct vcpu *v, unsigned percent_tables)
{
	struct vm *vm = v->vm;
	struct random *r = &vm->world->random;

	for (unsigned i = 0; i < 3 && chance(r, percent_tables); i++) {
		unsigned frame = below(r, percent_tables < 50 ? vm->model->frames : 25);

		if (usable(v, vm->alias[frame]))
			return vm->alias[frame];
	}
	return pick_gva(vm, model_vcpu_regs(vm->model, v->index));
}

/* The entry where a walk ended, as the guest's kernel would mend it. */
static void mend(struct vcpu *v, uint64_t gva, unsigned access)
{
	struct vm *vm = v->vm;
	struct random *r = &vm->world->random;
	const struct model_step *step;
	struct model_walk walk;
	uint64_t hpa, entry;
	unsigned flags, group, space = vm->model->vcpu[v->index].space;
	int frame;

	model_walk(vm->model, v->index, gva, access, &walk);
	if (runs_direct(v) || walk.outcome != MODEL_FAULT || !walk.steps || !v->alive)
		return;
	step = &walk.step[walk.steps - 1];
	if (!model_hpa(vm->model, space, step->gpa, &hpa, &flags))
		return;
	frame = model_frame(vm->model, hpa);
	group = step->bytes == 4 ? GROUP_PT32 - (step->level - 1) : step->level;
	if (frame < 0)
		return;
	if (runs_nested(v) && step->level == 3 && group_of((unsigned)frame) == GROUP_PDPT)
		group = GROUP_PDPT;
	entry = pick_entry(vm, group) | (group == GROUP_PDPT ? 1 : 7);
	if (step->bytes == 8)
		entry &= chance(r, 80) ? ~(1ull << 63) : ~0ull;
	if (usable(v, vm->alias[frame]) && chance(r, 50)) {
		guest_access(v, vm->alias[frame] + (hpa & 0xfff), MODEL_WRITE | MODEL_AC,
		             step->bytes, &entry);
		return;
	}
	if (!guest_store(vm, hpa, step->bytes, &entry))
		return;
	model_log(vm->model, space, step->gpa);
	tell(vm->world, "  entry at gpa %#llx mended: %#llx", (unsigned long long)step->gpa,
	     (unsigned long long)entry);
	call_begin(vm);
	rhz_vm_wrote(vm->lib, space, (rhz_gpa){ step->gpa }, step->bytes);
	call_end(vm);
}

static void act_read(struct vcpu *v)
{
	struct random *r = &v->vm->world->random;
	uint64_t gva = pick_target(v, 40) + (below(r, 4096) & ~7u);
	unsigned access = pick_access(r, false);

	v->table = runs_nested(v) && chance(r, 20);
	if (guest_access(v, gva, access, 1, NULL) == ACCESS_FAULT && chance(r, 60))
		mend(v, gva, access);
	v->table = false;
}

static void act_store(struct vcpu *v)
{
	struct vm *vm = v->vm;
	struct random *r = &vm->world->random;
	uint64_t gva = pick_target(v, 60), hpa, value;
	unsigned group = 0, flags, bytes = 8, access = pick_access(r, true), offset;
	struct model_walk walk;

	model_walk(vm->model, v->index, gva, access, &walk);
	if (runs_direct(v))
		walk.exists = true, walk.gpa = gva;
	if (walk.exists && model_hpa(vm->model, vm->model->vcpu[v->index].space, walk.gpa, &hpa,
	                             &flags) && model_frame(vm->model, hpa) >= 0)
		group = group_of((unsigned)model_frame(vm->model, hpa));
	offset = pick_offset(vm, group);
	value = pick_entry(vm, group);
	if (group >= GROUP_PD32)
		bytes = 4;
	if (group && chance(r, 40))
		value = pick_flip(vm, (hpa & ~0xfffull) + offset, bytes);
	if (chance(r, 12)) { /* a piece of an entry, or across two */
		unsigned shift = below(r, bytes);

		bytes = 1u << below(r, 4);
		offset = chance(r, 10) ? 4096 - shift : (offset + shift) & 4095;
		if (!chance(r, 30))
			offset &= ~(bytes - 1);
		value >>= shift * 8;
	}
	gva = (gva & ~0xfffull) + (offset & 4095);
	if (guest_access(v, gva, access, bytes, &value) == ACCESS_FAULT && chance(r, 60))
		mend(v, gva, access);
}

static void act_vcpu(struct vcpu *v)
{
	struct vm *vm = v->vm;

	if (!v->alive) {
		vcpu_create(vm, v->index);
		if (!is_direct(vm))
			enter_mode(v, pick_paging(vm));
		return;
	}
	vcpu_leave(v);
	count_vcpu_stats(v);
	call_begin(vm);
	rhz_vcpu_destroy(v->lib);
	call_end(vm);
	free(v->memory);
	v->memory = NULL;
	v->alive = false;
}

static void migrate(struct vcpu *v)
{
	vcpu_leave(v);
	v->cpu = &v->vm->world->cpu[below(&v->vm->world->random, v->vm->world->cpus)];
}

static void act_on_vcpu(struct vcpu *v, enum kind kind)
{
	static void (*const acts[KINDS])(struct vcpu *) = {
		[READ] = act_read, [STORE] = act_store, [CR3] = act_cr3, [REGS] = act_regs,
		[MODE] = act_mode, [KEYS] = act_keys, [INVLPG] = act_invlpg,
		[INVPCID] = act_invpcid, [CONTEXT] = act_context, [FLUSH] = act_flush,
		[SPACE] = act_space, [VCPU] = act_vcpu, [MIGRATE] = migrate,
		[TRANSLATE] = act_translate, [INVLPGA] = act_invlpga,
		[FLUSH_NESTED] = act_flush_nested,
	};

	if (v->alive || kind == VCPU || chance(&v->vm->world->random, 30))
		acts[v->alive ? kind : VCPU](v);
}

static void act_on_vm(struct vm *vm, enum kind kind)
{
	static void (*const acts[KINDS])(struct vm *) = {
		[HOST_WRITE] = act_host_write, [SLOT] = act_slot, [HARVEST] = act_harvest,
		[INVALIDATE] = act_invalidate, [AGE] = act_age, [SHRINK] = act_shrink,
		[UNSHADOW] = act_unshadow,
	};

	acts[kind](vm);
}

static bool concerns_vm(enum kind kind)
{
	return kind == HOST_WRITE || (kind >= SLOT && kind <= UNSHADOW);
}

/* Which checks are due is the action's own, so that a shorter sequence makes the same ones. */
static void check_after(struct world *w, struct vm *vm, struct vcpu *v, uint64_t seed)
{
	check_running(w);
	if (w->config.check && (seed >> 8) % w->config.check == 0) {
		for (unsigned i = 0; i < w->cpus; i++)
			if (w->cpu[i].running)
				check_tables(w->cpu[i].running);
		check_log(vm);
		check_stats(vm);
	}
	if (w->config.check && (seed >> 8) % (8 * w->config.check) == 0)
		check_memory(vm);
	if (w->config.audit && (seed >> 24) % w->config.audit == 0)
		check_audit(vm);
	if (v->alive && chance(&w->random, 70)) {
		vcpu_enter(v);
		speculate(v);
	}
}

void perform(struct world *w, const struct action *action)
{
	struct random *r = &w->random;
	struct vm *vm;
	struct vcpu *v;

	w->random.state = action->seed;
	vm = &w->vm[below(r, w->vms)];
	v = &vm->vcpu[below(r, w->config.vcpus)];
	w->fail_alloc = chance(r, 3) && !w->config.plain ? 1 + (int)below(r, 4) : -1;
	tell(w, "%4u %s: vm %u vcpu %u", w->step, kinds[action->kind].name, vm->index, v->index);
	w->clock++;
	if (concerns_vm(action->kind))
		act_on_vm(vm, action->kind);
	else
		act_on_vcpu(v, action->kind);
	w->fail_alloc = -1;
	w->alloc_failed = false;
	check_after(w, vm, v, action->seed);
}
