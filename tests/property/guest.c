/* SPDX-License-Identifier: MIT */
/* Accesses of the guest through the simulated processor, and the faults they raise. */
#include "world.h"

#include <string.h>

enum resolved { READY, AGAIN, FAULT, MMIO, EMULATE };

struct part {
	uint64_t gva, hpa, gpa;
	unsigned bytes;
	bool emulate;
	struct translation to;
};

void call_begin(struct vm *vm)
{
	for (unsigned i = 0; i < VCPUS && !vm->host.kick; i++)
		if (vm->vcpu[i].running) /* who cannot be kicked is out when something is asked */
			vcpu_leave(&vm->vcpu[i]);
	vm->world->calling = true;
	vm->world->clock++;
}

void call_end(struct vm *vm)
{
	vm->world->calling = false;
	if (vm->locked)
		fail(vm->world, "a call returned with the lock held");
}

/*
 * A call ran out of memory. Was it our doing, or do other vCPUs keep roots that they have been
 * asked to give up? They do so when they prepare to run. True: it is worth a repetition.
 */
bool call_again(struct vm *vm, unsigned *tries)
{
	bool ours = vm->world->alloc_failed;

	vm->world->alloc_failed = false;
	vm->world->fail_alloc = -1;
	if (ours)
		return true;
	for (unsigned i = 0; i < vm->world->config.vcpus; i++) {
		if (!vm->vcpu[i].alive)
			continue;
		vcpu_leave(&vm->vcpu[i]);
		call_begin(vm);
		rhz_vcpu_prepare(vm->vcpu[i].lib);
		call_end(vm);
	}
	return ++*tries < 4;
}

/* Does the leaf of the walk lie at this place? One entry may serve at two levels. */
static bool is_leaf(struct vcpu *v, const struct model_walk *walk, uint64_t at)
{
	uint64_t hpa;
	unsigned flags;

	if (!walk->exists || !model_hpa(v->vm->model, v->vm->model->vcpu[v->index].space,
	                                walk->step[walk->steps - 1].gpa, &hpa, &flags))
		return false;
	return hpa == at;
}

/* Did another step of the walk read the same place by another address? Who logs it is open. */
static bool aliased(struct vcpu *v, const struct model_walk *walk, unsigned step, uint64_t at)
{
	uint64_t hpa;
	unsigned flags;

	for (unsigned i = 0; i < walk->steps; i++)
		if (walk->step[i].gpa != walk->step[step].gpa &&
		    model_hpa(v->vm->model, v->vm->model->vcpu[v->index].space, walk->step[i].gpa,
		              &hpa, &flags) && hpa == at)
			return true;
	return false;
}

/* The bits that a walk that completes sets in the entry of one of its steps. */
static uint64_t bits_set(struct vcpu *v, const struct model_walk *walk, unsigned step, bool dirty)
{
	struct model_mode mode;

	model_mode_of(&mode, &v->vm->model->cpuid, model_vcpu_regs(v->vm->model, v->index));
	if (mode.paging >= MODEL_EPT4)
		return mode.ad ? 256 | (dirty ? 512 : 0) : 0;
	if (mode.paging == MODEL_PAE && walk->step[step].level == 3)
		return 0; /* one place may serve at another level too: then that step tells */
	return 32 | (dirty ? 64 : 0);
}

/* Takes over the A and D bits that a completed walk may have set; nothing else may differ. */
static void absorb_walk(struct vcpu *v, unsigned access, const struct model_walk *walk)
{
	struct vm *vm = v->vm;

	for (unsigned i = 0; i < walk->steps; i++) {
		const struct model_step *step = &walk->step[i];
		unsigned flags, space = vm->model->vcpu[v->index].space;
		uint64_t allowed, hpa, now = 0, was;

		if (!model_hpa(vm->model, space, step->gpa, &hpa, &flags) ||
		    model_frame(vm->model, hpa) < 0)
			continue;
		memcpy(&now, ram_at(vm, hpa), step->bytes);
		was = model_peek(vm->model, hpa, step->bytes);
		if (now == was)
			continue;
		allowed = bits_set(v, walk, i, access & MODEL_WRITE && is_leaf(v, walk, hpa));
		if (walk->outcome != MODEL_OK)
			fail(vm->world, "A or D set by a walk that did not complete: %#llx was "
			     "%#llx", (unsigned long long)now, (unsigned long long)was);
		if ((now ^ was) & ~allowed || was & ~now)
			fail(vm->world, "a walk changed an entry from %#llx to %#llx",
			     (unsigned long long)was, (unsigned long long)now);
		model_store(vm->model, hpa, step->bytes, &now);
		if (!aliased(v, walk, i, hpa))
			model_log(vm->model, space, step->gpa);
	}
}

/* before: a walk from before the call that may have set bits. */
void absorb(struct vcpu *v, uint64_t gva, unsigned access, const struct model_walk *before)
{
	struct model_walk now;

	absorb_walk(v, access, before);
	model_walk(v->vm->model, v->index, gva, access, &now);
	absorb_walk(v, access, &now);
}

static uint64_t in_memory(struct vcpu *v, const struct model_step *step)
{
	uint64_t hpa, value = 0;
	unsigned flags;

	if (model_hpa(v->vm->model, v->vm->model->vcpu[v->index].space, step->gpa, &hpa, &flags))
		memcpy(&value, ram_at(v->vm, hpa), step->bytes);
	return value;
}

/* The model's walk of an address, for a failure's text; (!): memory itself has another value. */
const char *describe(struct vcpu *v, uint64_t gva, unsigned access)
{
	const struct model_regs *regs = model_vcpu_regs(v->vm->model, v->index);
	static char text[400];
	struct model_walk walk;
	int at;

	model_walk(v->vm->model, v->index, gva, access, &walk);
	at = snprintf(text, sizeof(text), "cr0 %#llx cr4 %#llx efer %#llx pkru %#x pkrs %#x; "
	              "model: outcome %d error %#x %c%c%c%c gpa %#llx",
	              (unsigned long long)regs->cr0,
	              (unsigned long long)regs->cr4, (unsigned long long)regs->efer, regs->pkru,
	              regs->pkrs, (int)walk.outcome, walk.error, walk.write ? 'W' : '-',
	              walk.user ? 'U' : '-', walk.nx ? '-' : 'X', walk.dirty ? 'D' : '-',
	              (unsigned long long)walk.gpa);
	for (unsigned i = 0; i < walk.steps; i++)
		at += snprintf(text + at, sizeof(text) - (size_t)at, ", %u: [%#llx] %#llx%s",
		               walk.step[i].level, (unsigned long long)walk.step[i].gpa,
		               (unsigned long long)walk.step[i].value,
		               in_memory(v, &walk.step[i]) == walk.step[i].value ? "" : " (!)");
	return text;
}

static unsigned ability_of(unsigned access)
{
	unsigned what = access & MODEL_WRITE ? 1 : access & MODEL_FETCH ? 2 : 0;
	unsigned who = access & MODEL_USER ? 0 :
	               access & MODEL_AC && !(access & MODEL_IMPLICIT) ? 2 : 1;

	return 1u << (3 * who + what);
}

/* Is it true that the access leads to this guest-physical address? */
static void check_leads(struct vcpu *v, uint64_t gva, unsigned access, uint64_t gpa,
                        const char *what)
{
	struct model_question q = { .gva = gva, .to_gpa = true, .any_type = true, .target = gpa,
	                            .need = ability_of(access) };

	v->vm->world->totals.checks++;
	if (runs_direct(v) ? gpa != gva : !model_allowed(v->vm->model, v->index, &q))
		fail(v->vm->world, "%s at gpa %#llx is not where gva %#llx leads (access %#x); %s",
		     what, (unsigned long long)gpa, (unsigned long long)gva, access,
		     describe(v, gva, access));
}

static enum resolved check_mmio(struct vcpu *v, uint64_t gva, unsigned access,
                                const struct rhz_fault *f)
{
	struct model_slot *slot;

	v->vm->world->totals.mmio++;
	check_leads(v, gva, access, f->gpa.v, "MMIO");
	slot = model_slot_at(v->vm->model, v->vm->model->vcpu[v->index].space, f->gpa.v);
	if (slot && !(slot->flags & MODEL_SLOT_READ_ONLY && access & MODEL_WRITE))
		fail(v->vm->world, "MMIO at gpa %#llx, where there is RAM",
		     (unsigned long long)f->gpa.v);
	if (f->read_only != (slot != NULL))
		fail(v->vm->world, "MMIO with read_only = %d", f->read_only);
	return MMIO;
}

static enum resolved check_tracked(struct vcpu *v, uint64_t gva, unsigned access,
                                   const struct rhz_fault *f)
{
	struct model_slot *slot;

	v->vm->world->totals.tracked++;
	check_leads(v, gva, access, f->gpa.v, "a tracked write");
	slot = model_slot_at(v->vm->model, v->vm->model->vcpu[v->index].space, f->gpa.v);
	if (!slot || (slot->flags & MODEL_SLOT_READ_ONLY && access & MODEL_WRITE))
		fail(v->vm->world, "a tracked write at gpa %#llx, where nothing can be written",
		     (unsigned long long)f->gpa.v);
	if (chance(&v->vm->world->random, 8)) { /* a flood, the embedder thinks */
		call_begin(v->vm);
		rhz_vm_unshadow(v->vm->lib, v->vm->model->vcpu[v->index].space, f->gpa);
		call_end(v->vm);
		if (chance(&v->vm->world->random, 50))
			return AGAIN;
	}
	return EMULATE;
}

static bool justified(struct vcpu *v, unsigned access, const struct model_walk *walk,
                      const struct rhz_fault *f)
{
	const struct model_regs *regs = model_vcpu_regs(v->vm->model, v->index);
	uint64_t info;

	if (runs_nested(v)) {
		if (walk->outcome != MODEL_FAULT)
			return false;
		if (regs->kind == MODEL_EPT && walk->broken)
			return v->exit.kind == RHZ_L1_EPT_MISCONFIG;
		info = model_exit_info(regs, walk, access, v->table);
		if (regs->kind == MODEL_EPT)
			info |= v->table ? 128 : 384;
		return v->exit.info == info &&
		       v->exit.kind == (regs->kind == MODEL_EPT ? RHZ_L1_EPT_VIOLATION :
		                                                  RHZ_L1_NPF);
	}
	if (walk->outcome == MODEL_NON_CANONICAL)
		return f->vector == 13;
	return walk->outcome == MODEL_FAULT && f->vector == 14 && f->error_code == walk->error;
}

static enum resolved check_reflect(struct vcpu *v, uint64_t gva, unsigned access,
                                   const struct rhz_fault *f, const struct model_walk *before)
{
	struct model_walk now;

	v->vm->world->totals.reflected++;
	if (runs_direct(v))
		fail(v->vm->world, "a nested fault is reflected");
	model_walk(v->vm->model, v->index, gva, access, &now);
	if (!justified(v, access, &now, f) && !justified(v, access, before, f))
		fail(v->vm->world, "gva %#llx access %#x: vector %u error %#x, exit %d info %#llx "
		     "reflected; %s", (unsigned long long)gva, access, f->vector, f->error_code,
		     (int)v->exit.kind, (unsigned long long)v->exit.info,
		     describe(v, gva, access));
	if (runs_nested(v) && v->exit.ngpa.v != gva)
		fail(v->vm->world, "an exit to L1 with another address");
	return FAULT;
}

/* What the exit says: bits of the access, and whether it was to one of L2's tables. */
static uint64_t nested_info(struct vcpu *v, unsigned access)
{
	if (model_vcpu_regs(v->vm->model, v->index)->kind == MODEL_EPT)
		return (access & MODEL_FETCH ? 4u : access & MODEL_WRITE ? 2 : 1) | 128 |
		       (v->table ? 0 : 256);
	return (access & MODEL_WRITE ? RHZ_PF_W : 0) | (access & MODEL_FETCH ? RHZ_PF_I : 0) |
	       RHZ_PF_U | (v->table ? RHZ_NPF_TABLE : RHZ_NPF_FINAL);
}

static enum rhz_fault_result ask(struct vcpu *v, uint64_t gva, unsigned access, uint32_t error,
                                 struct rhz_fault *f)
{
	const struct model_regs *regs = model_vcpu_regs(v->vm->model, v->index);
	enum rhz_fault_result result;
	unsigned tries = 0;

	if (v->keys_changed)
		rhz_vcpu_set_keys(v->lib, regs->pkru, regs->pkrs);
	v->keys_changed = false;
	do {
		memset(f, 0x5a, sizeof(*f));
		call_begin(v->vm);
		if (runs_nested(v))
			result = rhz_vcpu_l2_fault(v->lib, (rhz_ngpa){ gva },
			                           nested_info(v, access), f, &v->exit);
		else if (is_direct(v->vm))
			result = rhz_vcpu_nested_fault(v->lib, (rhz_gpa){ gva },
			                               access & (MODEL_WRITE | MODEL_FETCH), f);
		else
			result = rhz_vcpu_page_fault(v->lib, (rhz_gva){ gva }, error, access, f);
		call_end(v->vm);
	} while (result == RHZ_FAULT_NO_MEMORY && call_again(v->vm, &tries));
	return result;
}

/* The processor faulted and we are out of the guest. */
static enum resolved take_fault(struct vcpu *v, struct part *part, unsigned access, uint32_t error)
{
	struct world *w = v->vm->world;
	enum rhz_fault_result result;
	struct model_walk before;
	struct rhz_fault f;

	w->totals.faults++;
	model_walk(v->vm->model, v->index, part->gva, access, &before);
	v->vm->faulting.vcpu = runs_direct(v) ? NULL : v;
	v->vm->faulting.gva = part->gva;
	v->vm->faulting.access = access;
	v->vm->faulting.before = &before;
	result = ask(v, part->gva, access, error, &f);
	v->vm->faulting.vcpu = NULL;
	if (!runs_direct(v))
		absorb(v, part->gva, access, &before);
	tell(w, "  vcpu %u fault gva %#llx access %#x error %#x: result %d", v->index,
	     (unsigned long long)part->gva, access, error, (int)result);
	tell(w, "    %s", w->verbose && !runs_direct(v) ? describe(v, part->gva, access) : "");
	switch (result) {
	case RHZ_FAULT_RESUME:
		if (f.flush != RHZ_FLUSH_NONE && f.flush != RHZ_FLUSH_ADDRESS)
			fail(w, "a fault asks for flush %d", (int)f.flush);
		if (f.flush == RHZ_FLUSH_ADDRESS && v->entered)
			cpu_flush_address(v->last_cpu, v->entry.tag, part->gva);
		return AGAIN;
	case RHZ_FAULT_RETRY:
		return AGAIN;
	case RHZ_FAULT_REFLECT:
		return check_reflect(v, part->gva, access, &f, &before);
	case RHZ_FAULT_MMIO:
		return check_mmio(v, part->gva, access, &f);
	case RHZ_FAULT_TRACKED:
		part->gpa = f.gpa.v;
		return check_tracked(v, part->gva, access, &f);
	case RHZ_FAULT_NO_MEMORY:
		fail(w, "a fault without memory for no reason");
	}
	fail(w, "a fault with result %d", (int)result);
}

/* Finds the translation of one part, or takes the fault that stands in the way. */
static enum resolved resolve(struct vcpu *v, struct part *part, unsigned access)
{
	struct world *w = v->vm->world;
	struct tlb_entry *e;
	uint32_t error;

	if (part->emulate)
		return READY;
	vcpu_enter(v);
	if (!v->running)
		return AGAIN;
	e = tlb_find(v->cpu, v->entry.tag, part->gva);
	if (e) {
		bool allowed = cpu_allows(v, &e->to, access, &error);

		check_tlb(v);
		if (allowed && (e->to.dirty || !(access & MODEL_WRITE))) {
			part->to = e->to;
			part->hpa = e->to.hpa + (part->gva - e->to.gva);
			return READY;
		}
		if (!allowed && !w->reload_on_fault)
			goto fault;
	}
	if (cpu_walk(v, part->gva, access, true, &part->to, &error)) {
		check_translation(v, &part->to, false, w->clock, "walk");
		if (chance(&w->random, 90))
			tlb_insert(v, &part->to);
		part->hpa = part->to.hpa + (part->gva - part->to.gva);
		return READY;
	}
fault: /* drops what is cached for its address; an intercept need not [SDM3 4.10.4.1] */
	if (!w->keep_on_fault)
		cpu_flush_address(v->cpu, v->entry.tag, part->gva);
	vcpu_leave(v);
	return take_fault(v, part, access, error);
}

/*
 * A store through a translation is logged in the slot that it went through. With several slots
 * over one frame that may be open: then any of them will do, and nothing is asked.
 */
void log_store(struct vcpu *v, const struct translation *to, uint64_t gva, uint64_t hpa)
{
	struct model_vm *model = v->vm->model;
	unsigned space = model->vcpu[v->index].space, ways = 0;
	uint64_t gpa = gva;
	bool logs = false;

	for (unsigned i = 0; i < SLOTS; i++)
		logs |= model->slot[i].used && model->slot[i].flags & MODEL_SLOT_DIRTY_LOG;
	if (!logs)
		return;
	for (unsigned i = 0; i < SLOTS && !runs_direct(v); i++) {
		const struct model_slot *slot = &model->slot[i];
		struct model_question q = { .gva = gva & ~0xfffull, .to_gpa = true,
		                            .type = to->type, .need = MODEL_WRITES };

		if (!slot->used || slot->space != space || hpa - slot->hpa >= slot->bytes)
			continue;
		q.target = slot->gpa + (hpa - slot->hpa);
		q.target &= ~0xfffull;
		model_allowed(model, v->index, &q);
		if (!(q.got & MODEL_WRITES))
			continue;
		gpa = q.target;
		ways++;
	}
	if (runs_direct(v) || ways == 1)
		model_log(model, space, gpa);
}

static void write_part(struct vcpu *v, struct part *part, const void *data)
{
	struct vm *vm = v->vm;
	unsigned space = vm->model->vcpu[v->index].space, flags;

	if (part->emulate && !model_hpa(vm->model, space, part->gpa, &part->hpa, &flags))
		return;
	if (!part->emulate) /* before it changes the tables that lead to it */
		log_store(v, &part->to, part->gva, part->hpa);
	if (!guest_store(vm, part->hpa, part->bytes, data))
		return; /* memory that stays zero */
	tell(vm->world, "  vcpu %u stores %u bytes at gva %#llx, hpa %#llx%s", v->index,
	     part->bytes, (unsigned long long)part->gva, (unsigned long long)part->hpa,
	     part->emulate ? ", emulated" : "");
	if (part->emulate)
		model_log(vm->model, space, part->gpa);
	vm->stores++;
}

/* Everything is resolved: the access happens. */
static void finish(struct vcpu *v, struct part *part, unsigned parts, unsigned access,
                   const uint8_t *data)
{
	struct vm *vm = v->vm;
	int frame = parts == 1 && !part->emulate ? model_frame(vm->model, part->hpa) : -1;
	uint64_t page = part->hpa & ~7ull;

	if (frame >= 0) {
		vm->alias[frame] = part->gva & ~0xfffull;
		if (memcmp(ram_at(vm, page), &vm->model->frame[frame].value[(page & 0xfff) / 8], 8))
			fail(vm->world, "memory at hpa %#llx is not what was written there",
			     (unsigned long long)page);
	}
	if (!(access & MODEL_WRITE) || !data)
		return;
	for (unsigned i = 0; i < parts; i++) {
		write_part(v, &part[i], data);
		data += part[i].bytes;
	}
	for (unsigned i = 0; i < parts; i++) {
		if (!part[i].emulate)
			continue;
		call_begin(vm);
		rhz_vm_wrote(vm->lib, vm->model->vcpu[v->index].space, (rhz_gpa){ part[i].gpa },
		             part[i].bytes);
		call_end(vm);
	}
}

static void __attribute__((noreturn)) no_progress(struct vcpu *v, uint64_t gva, unsigned access)
{
	fail(v->vm->world, "vcpu %u: no progress at gva %#llx, access %#x; %s", v->index,
	     (unsigned long long)gva, access, describe(v, gva, access));
}

/* All that L2 does by L1's nested tables is a user's; its tables are written where A and D are. */
static unsigned access_now(struct vcpu *v, unsigned access)
{
	const struct model_regs *regs = model_vcpu_regs(v->vm->model, v->index);

	if (!runs_nested(v))
		return access;
	if (v->table)
		return MODEL_USER | (regs->kind == MODEL_NPT || regs->cr3 & 64 ? MODEL_WRITE : 0u);
	return (access & (MODEL_WRITE | MODEL_FETCH)) | MODEL_USER;
}

/*
 * The host has not even the pages of the smallest quota for the VM. Then two pages of an access may
 * chase each other out, until it has some again.
 */
static bool is_starved(const struct vm *vm)
{
	return !vm->world->fail_alloc &&
	       rhz_vm_stats(vm->lib)->mmu_shadow_pages < RHZ_MIN_SHADOW_PAGES;
}

enum access_end guest_access(struct vcpu *v, uint64_t gva, unsigned access, unsigned bytes,
                             const void *data)
{
	struct part part[2] = { { .gva = gva, .bytes = bytes } };
	unsigned parts = 1, room = 4096 - (gva & 0xfff);
	struct model_mode mode;

	if (bytes > room) {
		model_mode_of(&mode, &v->vm->model->cpuid,
		              model_vcpu_regs(v->vm->model, v->index));
		parts = 2;
		part[0].bytes = room;
		part[1].gva = mode.levels < 4 ? (uint32_t)(gva + room) : gva + room;
		part[1].bytes = bytes - room;
		if (!model_canonical(&mode, part[1].gva))
			return ACCESS_FAULT; /* #GP before any translation */
	}
	access = access_now(v, access);
	v->vm->world->totals.accesses++;
	for (unsigned tries = 0; tries < 2 * RETRIES; tries++) {
		bool ready = true;

		if (tries == RETRIES && is_starved(v->vm))
			v->vm->world->fail_alloc = -1;
		for (unsigned i = 0; i < parts; i++) {
			enum resolved r = resolve(v, &part[i], access);

			if (r == FAULT)
				return ACCESS_FAULT;
			if (r == MMIO)
				return ACCESS_MMIO;
			part[i].emulate |= r == EMULATE;
			ready &= r == READY;
		}
		if (ready || (parts == 1 && part[0].emulate)) {
			v->vm->world->totals.done++;
			finish(v, part, parts, access, data);
			return ACCESS_DONE;
		}
	}
	no_progress(v, gva, access);
}

/* The processor loads translations that nobody asked for. */
void speculate(struct vcpu *v)
{
	struct world *w = v->vm->world;

	for (unsigned n = 1 + below(&w->random, 3); n; n--) {
		static const unsigned kinds[] = { 0, MODEL_USER, MODEL_AC, MODEL_FETCH };
		uint64_t gva = pick_gva(v->vm, model_vcpu_regs(v->vm->model, v->index));
		struct translation to;
		uint32_t error;

		if (!v->running)
			return;
		if (!cpu_walk(v, gva, kinds[below(&w->random, 4)], true, &to, &error))
			continue;
		check_translation(v, &to, false, w->clock, "speculation");
		tlb_insert(v, &to);
	}
}
