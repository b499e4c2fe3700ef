/* SPDX-License-Identifier: MIT */
/* What the guest does to its registers and to what is cached; model and library must agree. */
#include "world.h"

#include <string.h>

static const uint64_t FIXED_CR0 = RHZ_CR0_PE | 1ull << 4;

const struct model_regs *regs_of(struct vcpu *v)
{
	return model_vcpu_regs(v->vm->model, v->index);
}

struct rhz_regs to_lib(const struct model_regs *m)
{
	struct rhz_regs regs = { m->cr0, m->cr3, m->cr4, m->efer, { 0 }, m->pkru, m->pkrs };

	return regs;
}

enum model_paging paging_of(struct vcpu *v, const struct model_regs *regs)
{
	struct model_mode mode;

	model_mode_of(&mode, &v->vm->model->cpuid, regs);
	return mode.paging;
}

void load_begin(struct vcpu *v, bool pae)
{
	vcpu_leave(v);
	v->vm->world->quiet += pae; /* the PDPTEs are read once, by both */
	if (v->keys_changed)
		rhz_vcpu_set_keys(v->lib, regs_of(v)->pkru, regs_of(v)->pkrs);
	v->keys_changed = false;
}

/* Both have done it: do they agree? */
void load_end(struct vcpu *v, bool pae, enum rhz_load_result result, bool fine, const char *what)
{
	struct world *w = v->vm->world;
	const struct model_regs *m = regs_of(v);
	const struct rhz_regs *lib = rhz_vcpu_regs(v->lib);

	w->quiet -= pae;
	if (result == RHZ_LOAD_NO_MEMORY)
		fail(w, "%s without memory for no reason", what);
	if (fine != (result == RHZ_LOAD_OK))
		fail(w, "%s: %s, the model says %s", what, result == RHZ_LOAD_OK ? "fine" : "#GP",
		     fine ? "fine" : "#GP");
	if (lib->cr0 != m->cr0 || (lib->cr3 & ~RHZ_CR3_NOFLUSH) != m->cr3 || lib->cr4 != m->cr4 ||
	    lib->efer != m->efer)
		fail(w, "%s: registers differ: cr0 %#llx cr3 %#llx cr4 %#llx efer %#llx", what,
		     (unsigned long long)lib->cr0, (unsigned long long)lib->cr3,
		     (unsigned long long)lib->cr4, (unsigned long long)lib->efer);
	if (paging_of(v, m) == MODEL_PAE && !runs_unseen(v) &&
	    memcmp(lib->pdpte, m->pdpte, sizeof(m->pdpte)))
		fail(w, "%s: PDPTEs differ: %#llx %#llx, model %#llx %#llx", what,
		     (unsigned long long)lib->pdpte[0], (unsigned long long)lib->pdpte[1],
		     (unsigned long long)m->pdpte[0], (unsigned long long)m->pdpte[1]);
}

/* A hit allocates nothing, by the library's own account of hits. */
struct hit {
	uint64_t allocs, reused, syncs, missed, dropped;
};

static struct hit hit_begin(struct vcpu *v)
{
	const struct rhz_vcpu_stats *s = rhz_vcpu_stats(v->lib);
	struct hit hit = {
		v->vm->allocs, s->root_current_reused + s->root_cached_reused,
		s->syncs_done, s->root_missed, s->root_dropped + s->root_evicted,
	};

	return hit;
}

static void hit_end(struct vcpu *v, const struct hit *was, const char *what)
{
	struct hit now = hit_begin(v);

	if (now.reused == was->reused || now.syncs != was->syncs || now.missed != was->missed ||
	    now.dropped != was->dropped)
		return;
	if (now.allocs != was->allocs)
		fail(v->vm->world, "%s: a hit allocated", what);
}

static bool load_regs(struct vcpu *v, const struct model_regs *next)
{
	struct vm *vm = v->vm;
	struct rhz_regs regs = to_lib(next);
	bool pae = paging_of(v, next) == MODEL_PAE, fine;
	enum rhz_load_result result;
	unsigned tries = 0;
	uint64_t start;

	load_begin(v, pae);
	start = model_tick(vm->model);
	tell(vm->world, "  vcpu %u regs cr0 %#llx cr3 %#llx cr4 %#llx efer %#llx", v->index,
	     (unsigned long long)next->cr0, (unsigned long long)next->cr3,
	     (unsigned long long)next->cr4, (unsigned long long)next->efer);
	do {
		call_begin(vm);
		result = rhz_vcpu_load_regs(v->lib, &regs);
		call_end(vm);
	} while (result == RHZ_LOAD_NO_MEMORY && call_again(vm, &tries));
	fine = model_load(vm->model, v->index, next, start);
	load_end(v, pae, result, fine, "load of registers");
	return fine;
}

static bool load_cr3(struct vcpu *v, uint64_t cr3)
{
	struct vm *vm = v->vm;
	bool pae = paging_of(v, regs_of(v)) == MODEL_PAE, fine;
	enum rhz_load_result result;
	unsigned tries = 0;
	struct hit hit;
	uint64_t start;

	load_begin(v, pae);
	start = model_tick(vm->model);
	tell(vm->world, "  vcpu %u cr3 %#llx", v->index, (unsigned long long)cr3);
	hit = hit_begin(v);
	do {
		call_begin(vm);
		result = rhz_vcpu_load_cr3(v->lib, cr3);
		call_end(vm);
	} while (result == RHZ_LOAD_NO_MEMORY && call_again(vm, &tries));
	hit_end(v, &hit, "load of CR3");
	fine = model_cr3(vm->model, v->index, cr3, start);
	load_end(v, pae, result, fine, "load of CR3");
	return fine;
}

unsigned pick_pcid(struct random *r)
{
	static const uint16_t pcids[] = { 0, 1, 2, 0xfff };

	return pcids[below(r, 4)];
}

/* CR3's low bits and above for these registers. */
static uint64_t pick_cr3(struct vcpu *v, const struct model_regs *regs)
{
	struct random *r = &v->vm->world->random;
	enum model_paging paging = paging_of(v, regs);
	uint64_t cr3 = pick_root(v->vm, paging);

	if (regs->cr4 & RHZ_CR4_PCIDE)
		return cr3 | pick_pcid(r) | (chance(r, 60) ? RHZ_CR3_NOFLUSH : 0);
	if (chance(r, 10))
		cr3 |= RHZ_CR3_PWT << below(r, 2);
	return cr3;
}

void act_cr3(struct vcpu *v)
{
	struct random *r = &v->vm->world->random;
	const struct model_regs *regs = regs_of(v);
	uint64_t cr3 = pick_cr3(v, regs);

	if (runs_unseen(v)) /* L2's CR3 is the processor's */
		return;
	if (chance(r, 15)) /* the value already loaded is a flush too */
		cr3 = regs->cr3 | (cr3 & RHZ_CR3_NOFLUSH);
	if (chance(r, 2) && regs->efer & RHZ_EFER_LMA)
		cr3 |= chance(r, 50) ? RHZ_CR3_NOFLUSH : 1ull << 60;
	load_cr3(v, cr3);
}

static uint64_t features(struct vm *vm, enum model_paging paging, uint64_t cr4)
{
	const struct model_cpuid *c = &vm->model->cpuid;
	struct random *r = &vm->world->random;
	const struct {
		bool there;
		unsigned percent;
		uint64_t bit;
	} all[] = {
		{ c->pse, 70, RHZ_CR4_PSE }, { c->pge, 60, RHZ_CR4_PGE },
		{ c->smep, 40, RHZ_CR4_SMEP }, { c->smap, 30, RHZ_CR4_SMAP },
		{ c->pku, 25, RHZ_CR4_PKE }, { c->pks, 15, RHZ_CR4_PKS },
	};

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i].there)
			cr4 = (cr4 & ~all[i].bit) | (chance(r, all[i].percent) ? all[i].bit : 0);
	cr4 &= ~(RHZ_CR4_PAE | RHZ_CR4_LA57 | RHZ_CR4_PCIDE);
	if (paging >= MODEL_PAE)
		cr4 |= RHZ_CR4_PAE;
	if (paging == MODEL_5LEVEL)
		cr4 |= RHZ_CR4_LA57;
	return cr4;
}

/* Registers under which this mode is in force, but for PCIDE. */
struct model_regs regs_for(struct vcpu *v, enum model_paging paging)
{
	struct vm *vm = v->vm;
	struct random *r = &vm->world->random;
	struct model_regs regs = { .pkru = regs_of(v)->pkru, .pkrs = regs_of(v)->pkrs };

	regs.cr0 = FIXED_CR0 | (paging ? RHZ_CR0_PG : 0) | (chance(r, 70) ? RHZ_CR0_WP : 0);
	regs.cr4 = features(vm, paging, 0);
	if (vm->model->cpuid.nx && chance(r, 80))
		regs.efer |= RHZ_EFER_NXE;
	if (paging >= MODEL_4LEVEL)
		regs.efer |= RHZ_EFER_LME | RHZ_EFER_LMA;
	regs.cr3 = pick_root(vm, paging);
	return regs;
}

/* The way software has to take: paging off, then the rest, then paging on, then PCIDE. */
void enter_mode(struct vcpu *v, enum model_paging paging)
{
	struct random *r = &v->vm->world->random;
	struct model_regs next = regs_for(v, paging), step = *regs_of(v);

	if (step.cr0 & RHZ_CR0_PG) {
		step.cr4 &= ~RHZ_CR4_PCIDE;
		if (step.cr4 != regs_of(v)->cr4)
			load_regs(v, &step);
		step.cr0 &= ~RHZ_CR0_PG;
		step.efer &= ~(uint64_t)RHZ_EFER_LMA;
		load_regs(v, &step);
	}
	step = next;
	step.cr0 &= ~RHZ_CR0_PG;
	step.efer &= ~(uint64_t)RHZ_EFER_LMA;
	load_regs(v, &step);
	if (paging == MODEL_NONE)
		return;
	for (unsigned tries = 0; !load_regs(v, &next) && tries < 4; tries++)
		next.cr3 = pick_root(v->vm, paging); /* its PDPTEs were bad */
	if (paging >= MODEL_4LEVEL && v->vm->model->cpuid.pcid && chance(r, 50)) {
		next.cr4 |= RHZ_CR4_PCIDE;
		load_regs(v, &next);
	}
}

enum model_paging pick_paging(struct vm *vm)
{
	struct random *r = &vm->world->random;
	unsigned mode = vm->world->config.mode;
	enum model_paging paging = mode <= MODE_5 ? (enum model_paging)mode : below(r, 5);

	if (is_direct(vm))
		return MODEL_NONE;
	if (paging == MODEL_5LEVEL && !vm->model->cpuid.la57)
		return MODEL_4LEVEL;
	return paging;
}

void act_mode(struct vcpu *v)
{
	if (runs_nested(v))
		return;
	enter_mode(v, chance(&v->vm->world->random, 10) && !is_direct(v->vm) ? MODEL_NONE :
	           pick_paging(v->vm));
}

/* One register changes, now and then to what it must not be. */
void act_regs(struct vcpu *v)
{
	struct random *r = &v->vm->world->random;
	struct model_regs next = *regs_of(v);
	enum model_paging paging = paging_of(v, &next);
	static const uint64_t toggles[] = {
		RHZ_CR4_PSE, RHZ_CR4_PGE, RHZ_CR4_SMEP, RHZ_CR4_SMAP, RHZ_CR4_PKE, RHZ_CR4_PKS,
	};

	if (runs_unseen(v))
		return;
	switch (below(r, 10)) {
	case 0: case 1: case 2:
		next.cr0 ^= RHZ_CR0_WP;
		break;
	case 3: case 4: case 5:
		next.cr4 ^= toggles[below(r, 6)];
		break;
	case 6:
		next.efer ^= RHZ_EFER_NXE;
		break;
	case 7:
		next.cr4 ^= RHZ_CR4_PCIDE;
		break;
	case 8:
		if (paging == MODEL_32 || paging == MODEL_PAE)
			next.cr4 ^= RHZ_CR4_PAE;
		else
			next.cr4 = features(v->vm, paging, next.cr4) | (next.cr4 & RHZ_CR4_PCIDE);
		break;
	default: /* what no processor takes */
		if (chance(r, 30))
			next.cr4 ^= RHZ_CR4_LA57;
		else if (chance(r, 30))
			next.cr0 = (next.cr0 | RHZ_CR0_NW) & ~RHZ_CR0_CD;
		else if (chance(r, 50))
			next.cr0 &= ~RHZ_CR0_PE;
		else
			next.cr4 &= ~RHZ_CR4_PAE;
	}
	if (chance(r, 8))
		next.cr3 = pick_cr3(v, &next);
	load_regs(v, &next);
}

void act_keys(struct vcpu *v)
{
	struct random *r = &v->vm->world->random;
	uint32_t pkru = (uint32_t)roll(r) & 0xffffff3c, pkrs = (uint32_t)roll(r) & 0xffffff3c;

	if (chance(r, 50))
		pkru = pkrs = 0;
	tell(v->vm->world, "  vcpu %u pkru %#x pkrs %#x", v->index, pkru, pkrs);
	model_keys(v->vm->model, v->index, pkru, pkrs);
	v->keys_changed = true;
}

static void honour(struct vcpu *v, enum rhz_flush flush, uint64_t gva)
{
	if (flush != RHZ_FLUSH_NONE && flush != RHZ_FLUSH_ADDRESS)
		fail(v->vm->world, "an invalidation asks for flush %d", (int)flush);
	if (flush == RHZ_FLUSH_ADDRESS && v->entered)
		cpu_flush_address(v->last_cpu, v->entry.tag, gva);
}

uint64_t pick_known_gva(struct vcpu *v)
{
	struct vm *vm = v->vm;
	struct random *r = &vm->world->random;
	unsigned frame = below(r, vm->model->frames);
	const struct tlb_entry *e = &v->last_cpu->tlb[below(r, TLB_ENTRIES)];
	struct model_mode mode;

	model_mode_of(&mode, &vm->model->cpuid, regs_of(v));
	if (chance(r, 60) && e->valid && e->tag == v->entry.tag &&
	    model_canonical(&mode, e->to.gva))
		return e->to.gva;
	if (chance(r, 50) && vm->alias[frame] && model_canonical(&mode, vm->alias[frame]) &&
	    (mode.levels >= 4 || !(vm->alias[frame] >> 32)))
		return vm->alias[frame];
	return pick_gva(vm, regs_of(v));
}

void act_invlpg(struct vcpu *v)
{
	struct vm *vm = v->vm;
	uint64_t gva = pick_known_gva(v) + below(&vm->world->random, 4096), start;
	enum rhz_flush flush;

	if (runs_unseen(v))
		vcpu_enter(v); /* who executes it runs: the tag of the last entry is this root's */
	vcpu_leave(v);
	start = model_tick(vm->model);
	call_begin(vm);
	flush = rhz_vcpu_invlpg(v->lib, (rhz_gva){ gva });
	call_end(vm);
	tell(vm->world, "  vcpu %u invlpg %#llx: flush %d", v->index, (unsigned long long)gva,
	     (int)flush);
	honour(v, flush, gva);
	/* L2's is for its own tables: what it cached of L1's nested ones may stay */
	if (runs_nested(v))
		note_gone(v, gva, vm->model->vcpu[v->index].guest_asid[2]);
	else
		model_invlpg(vm->model, v->index, gva, start);
}

void act_invpcid(struct vcpu *v)
{
	struct vm *vm = v->vm;
	struct random *r = &vm->world->random;
	uint64_t type = below(r, 4), pcid = pick_pcid(r), gva = pick_known_gva(v), start;
	enum rhz_flush flush = RHZ_FLUSH_NONE;
	enum rhz_load_result result;
	bool fine;

	if (runs_nested(v)) /* between L2 and the processor */
		return;
	if (!(regs_of(v)->cr4 & RHZ_CR4_PCIDE) && chance(r, 80))
		pcid = 0;
	if (chance(r, 3))
		type = 4 + below(r, 2);
	if (chance(r, 3))
		pcid |= 1ull << (12 + below(r, 52));
	vcpu_leave(v);
	start = model_tick(vm->model);
	call_begin(vm);
	result = rhz_vcpu_invpcid(v->lib, type, pcid, (rhz_gva){ gva }, &flush);
	call_end(vm);
	tell(vm->world, "  vcpu %u invpcid %llu pcid %#llx gva %#llx: %d, flush %d", v->index,
	     (unsigned long long)type, (unsigned long long)pcid, (unsigned long long)gva,
	     (int)result, (int)flush);
	fine = model_invpcid(vm->model, v->index, type, pcid, gva, start);
	load_end(v, false, result, fine, "INVPCID");
	if (fine)
		honour(v, flush, gva);
}

void act_flush(struct vcpu *v)
{
	uint64_t start = model_tick(v->vm->model);

	vcpu_leave(v);
	tell(v->vm->world, "  vcpu %u flush_guest", v->index);
	call_begin(v->vm);
	rhz_vcpu_flush_guest(v->lib);
	call_end(v->vm);
	model_flush(v->vm->model, v->index, start);
	v->flushed[v->vm->model->vcpu[v->index].guest_asid[v->vm->model->vcpu[v->index].context]] =
		v->vm->world->clock;
}

void act_space(struct vcpu *v)
{
	struct vm *vm = v->vm;
	unsigned space = !vm->model->vcpu[v->index].space, tries = 0;
	enum rhz_load_result result;
	uint64_t start;

	if (space && !is_direct(vm) && !chance(&vm->world->random, 30))
		return; /* most tables are in address space 0 */
	load_begin(v, false);
	start = model_tick(vm->model);
	tell(vm->world, "  vcpu %u to address space %u", v->index, space);
	do {
		call_begin(vm);
		result = rhz_vcpu_set_address_space(v->lib, space);
		call_end(vm);
	} while (result == RHZ_LOAD_NO_MEMORY && call_again(vm, &tries));
	model_set_space(vm->model, v->index, space, start);
	load_end(v, false, result, true, "switch of address space");
}

/* The library's walk against the model's. */
void act_translate(struct vcpu *v)
{
	struct vm *vm = v->vm;
	struct random *r = &vm->world->random;
	unsigned access = model_ability_access(below(r, MODEL_ABILITIES));
	uint64_t gva = pick_gva(vm, regs_of(v)) + below(r, 4096);
	struct model_walk walk;
	struct rhz_walk lib;
	bool same;

	if (runs_nested(v))
		act_translate_l2(v);
	if (runs_unseen(v))
		return;
	load_begin(v, false);
	call_begin(vm);
	rhz_vcpu_translate(v->lib, (rhz_gva){ gva }, access, &lib);
	call_end(vm);
	model_walk(vm->model, v->index, gva, access, &walk);
	if (walk.outcome == MODEL_OK)
		same = lib.outcome == RHZ_WALK_OK && lib.gpa.v == walk.gpa;
	else if (walk.outcome == MODEL_NON_CANONICAL)
		same = lib.outcome == RHZ_WALK_NON_CANONICAL;
	else
		same = lib.outcome > RHZ_WALK_NON_CANONICAL && lib.error_code == walk.error;
	if (walk.outcome == MODEL_OK && !vm->model->vcpu[v->index].space) {
		uint64_t hpa, bytes;
		unsigned flags;
		void *at = rhz_vm_at(vm->lib, 0, (rhz_gpa){ walk.gpa }, &bytes);
		bool there = model_hpa(vm->model, 0, walk.gpa, &hpa, &flags);

		if (at != (there ? ram_at(vm, hpa) : NULL))
			fail(vm->world, "vm_at gpa %#llx is wrong", (unsigned long long)walk.gpa);
	}
	if (!same)
		fail(vm->world, "translate gva %#llx access %#x: outcome %d error %#x gpa %#llx, "
		     "model: outcome %d error %#x gpa %#llx", (unsigned long long)gva, access,
		     (int)lib.outcome, lib.error_code, (unsigned long long)lib.gpa.v,
		     (int)walk.outcome, walk.error, (unsigned long long)walk.gpa);
}
