/* SPDX-License-Identifier: MIT */
/* Nested entries and exits, and what L1 invalidates of its guests; model and library must agree. */
#include "world.h"

#include <string.h>

/* What L1 puts into its guest's registers: now and then what no processor takes. */
static struct model_regs regs_for_nested(struct vcpu *v)
{
	struct random *r = &v->vm->world->random;
	struct model_regs next = regs_for(v, pick_paging(v->vm));

	if (next.efer & RHZ_EFER_LMA && v->vm->model->cpuid.pcid && chance(r, 40)) {
		next.cr4 |= RHZ_CR4_PCIDE;
		next.cr3 |= pick_pcid(r);
	}
	if (chance(r, 3))
		next.cr4 ^= chance(r, 50) ? RHZ_CR4_PCIDE : RHZ_CR4_PAE;
	if (chance(r, 2))
		next.cr0 ^= chance(r, 50) ? RHZ_CR0_PE : RHZ_CR0_NW;
	return next;
}

/* L1's nested tables: by any registers that L1 could have, or an EPTP. */
static struct model_regs regs_for_tables(struct vcpu *v)
{
	struct vm *vm = v->vm;
	struct random *r = &vm->world->random;
	enum model_paging paging = 1 + below(r, 4);
	struct model_regs next = { .kind = MODEL_EPT };

	if (vm->lib_config.nested < RHZ_EPT_4LEVEL) {
		next = regs_for(v, chance(r, 2) ? MODEL_NONE : paging);
		next.kind = MODEL_NPT;
		next.pkru = next.pkrs = 0;
	} else {
		paging = chance(r, 50) ? MODEL_EPT4 : MODEL_EPT5;
		next.cr3 = pick_root(vm, paging) | (chance(r, 97) ? 6 : below(r, 8)) |
		           (paging == MODEL_EPT5 ? 32 : 24) | (chance(r, 60) ? 64 : 0);
	}
	if (chance(r, 2))
		next.cr3 |= 1ull << below(r, 63);
	return next;
}

static unsigned pick_context(struct vcpu *v)
{
	struct random *r = &v->vm->world->random;

	if (v->vm->model->vcpu[v->index].context)
		return 0;
	return v->vm->lib_config.nested && chance(r, 75) ? 2 : 1;
}

static void note_flush(struct vcpu *v, enum model_flush flush, uint32_t asid)
{
	for (unsigned i = 0; i < GUEST_ASIDS; i++)
		if (flush == MODEL_FLUSH_ALL || (flush == MODEL_FLUSH_ASID && i == asid))
			v->flushed[i] = v->vm->world->clock;
}

/* As the library is told it: some are alike but for a bit that a small table of them drops. */
static uint32_t lib_asid(uint32_t asid)
{
	return asid < 3 ? asid : asid + 14;
}

static enum rhz_load_result ask_switch(struct vcpu *v, unsigned context,
                                       const struct model_regs *given, uint32_t asid,
                                       enum model_flush flush)
{
	struct rhz_nested nested = { 0 };
	const uint32_t named = lib_asid(asid);
	enum rhz_load_result result;
	struct rhz_regs regs = { 0 };
	unsigned tries = 0;

	if (given) {
		nested = (struct rhz_nested){ given->cr3, given->cr0, given->cr4, given->efer };
		regs = to_lib(given);
	}
	do {
		call_begin(v->vm);
		if (context == 2)
			result = rhz_vcpu_switch_nested(v->lib, given ? &nested : NULL, named,
			                                (enum rhz_guest_flush)flush);
		else
			result = rhz_vcpu_switch_context(v->lib, context, given ? &regs : NULL,
			                                 named, (enum rhz_guest_flush)flush);
		call_end(v->vm);
	} while (result == RHZ_LOAD_NO_MEMORY && call_again(v->vm, &tries));
	return result;
}

/* A nested entry or exit. */
void act_context(struct vcpu *v)
{
	struct vm *vm = v->vm;
	struct random *r = &vm->world->random;
	unsigned context = pick_context(v);
	uint32_t asid = context ? 1 + below(r, GUEST_ASIDS - 1) : 0;
	bool given = context && (!v->known[context] || chance(r, 40)), pae, fine;
	enum model_flush flush = chance(r, 75) ? MODEL_KEEP : chance(r, 80) ? MODEL_FLUSH_ASID :
	                         MODEL_FLUSH_ALL;
	struct model_regs next = vm->model->vcpu[v->index].regs[context];
	enum rhz_load_result result;
	uint64_t start;

	if (is_direct(vm) && vm->world->config.mode < MODE_L2)
		return;
	if (context && chance(r, 50)) /* mostly the same few */
		asid = 1 + below(r, 2);
	if (given)
		next = context == 2 ? regs_for_tables(v) : regs_for_nested(v);
	pae = paging_of(v, &next) == MODEL_PAE;
	load_begin(v, pae);
	start = model_tick(vm->model);
	tell(vm->world, "  vcpu %u to context %u asid %u flush %d regs %d: cr0 %#llx cr3 %#llx "
	     "cr4 %#llx efer %#llx", v->index, context, asid, flush, given,
	     (unsigned long long)next.cr0, (unsigned long long)next.cr3,
	     (unsigned long long)next.cr4, (unsigned long long)next.efer);
	result = ask_switch(v, context, given ? &next : NULL, asid, flush);
	fine = model_switch(vm->model, v->index, context, given ? &next : NULL, asid, flush, start);
	load_end(v, pae, result, fine, "switch of context");
	if (fine) {
		note_flush(v, flush, asid);
		v->known[context] = true;
		if ((unsigned)rhz_vcpu_context(v->lib) != context)
			fail(vm->world, "the vCPU is in another context");
	}
	v->keys_changed = context != 2;
}

void note_gone(struct vcpu *v, uint64_t gva, uint32_t guest_asid)
{
	v->gone[v->gone_next].gva = gva;
	v->gone[v->gone_next].time = v->vm->world->clock;
	v->gone[v->gone_next].guest_asid = guest_asid;
	v->gone_next = (v->gone_next + 1) % GONE;
}

/* INVLPGA: an address under one of L1's ASIDs, 0 being its own. */
void act_invlpga(struct vcpu *v)
{
	struct vm *vm = v->vm;
	struct random *r = &vm->world->random;
	uint32_t asid = chance(r, 10) ? 0 : chance(r, 60) ? 1 + below(r, 2) :
	                1 + below(r, GUEST_ASIDS - 1), tag = 0;
	uint64_t gva = pick_known_gva(v) + below(r, 4096), start;
	const struct tlb_entry *e = &v->cpu->tlb[below(r, TLB_ENTRIES)];
	enum rhz_flush flush;

	if (vm->model->vcpu[v->index].context)
		return;
	if (chance(r, 60) && e->valid && e->guest_asid) {
		gva = e->to.gva;
		asid = e->guest_asid;
	}
	vcpu_leave(v);
	start = model_tick(vm->model);
	call_begin(vm);
	flush = rhz_vcpu_invlpga(v->lib, &v->cpu->lib, (rhz_gva){ gva }, lib_asid(asid), &tag);
	call_end(vm);
	tell(vm->world, "  vcpu %u invlpga %#llx asid %u: flush %d tag %u", v->index,
	     (unsigned long long)gva, asid, (int)flush, tag);
	if (flush != RHZ_FLUSH_NONE && flush != RHZ_FLUSH_ADDRESS)
		fail(vm->world, "INVLPGA asks for flush %d", (int)flush);
	if (flush == RHZ_FLUSH_ADDRESS)
		cpu_flush_address(asid ? v->cpu : v->last_cpu, tag, gva);
	model_invlpga(vm->model, v->index, gva, asid, start);
	if (!asid)
		return;
	note_gone(v, gva, asid);
}

/* INVVPID and INVEPT: one ASID, all of L2's, or one of the nested tables. */
void act_flush_nested(struct vcpu *v)
{
	struct vm *vm = v->vm;
	struct random *r = &vm->world->random;
	uint32_t asid = 1 + below(r, 3);
	bool ept = v->known[2] && vm->lib_config.nested >= RHZ_EPT_4LEVEL;
	unsigned how = below(r, ept ? 3 : 2);
	uint64_t table = vm->model->vcpu[v->index].regs[2].cr3, start;

	vcpu_leave(v);
	start = model_tick(vm->model);
	tell(vm->world, "  vcpu %u nested flush %u: asid %u table %#llx", v->index, how, asid,
	     (unsigned long long)table);
	call_begin(vm);
	if (how == 0)
		rhz_vcpu_flush_asid(v->lib, lib_asid(asid));
	else if (how == 1)
		rhz_vcpu_flush_l2(v->lib);
	else
		rhz_vcpu_flush_table(v->lib, table);
	call_end(vm);
	if (how == 0)
		model_flush_asid(vm->model, v->index, asid, start);
	else if (how == 1)
		model_flush_l2(vm->model, v->index, start);
	else
		model_flush_table(vm->model, v->index, table, start);
	for (unsigned i = 1; i < GUEST_ASIDS && how < 2; i++)
		note_flush(v, how || i == asid ? MODEL_FLUSH_ASID : MODEL_KEEP, i);
}

/* ---- the whole way of an address of L2's ---- */

struct composed {
	struct vcpu *v;
	bool exit; /* a table of L2's is not where L1's nested tables lead */
	struct model_walk nested;
};

static uint64_t read_slots(struct vcpu *v, uint64_t gpa, unsigned bytes)
{
	struct model_vm *model = v->vm->model;
	uint64_t hpa;
	unsigned flags;

	return model_hpa(model, model->vcpu[v->index].space, gpa, &hpa, &flags) ?
	       model_peek(model, hpa, bytes) : 0;
}

static uint64_t read_composed(void *ctx, uint64_t ngpa, unsigned bytes)
{
	struct composed *c = ctx;
	const struct model_regs *nested = model_vcpu_regs(c->v->vm->model, c->v->index);
	bool written = nested->kind == MODEL_NPT || nested->cr3 & 64;

	if (c->exit)
		return 0;
	model_walk(c->v->vm->model, c->v->index, ngpa, MODEL_USER | (written ? MODEL_WRITE : 0u),
	           &c->nested);
	c->exit = c->nested.outcome != MODEL_OK;
	return c->exit ? 0 : read_slots(c->v, c->nested.gpa, bytes);
}

/* The library's walk through both levels against the model's. */
void act_translate_l2(struct vcpu *v)
{
	struct vm *vm = v->vm;
	struct random *r = &vm->world->random;
	unsigned access = model_ability_access(below(r, MODEL_ABILITIES)), outcome;
	struct model_regs l2 = regs_for(v, below(r, 5));
	struct composed c = { .v = v };
	struct rhz_regs regs = to_lib(&l2);
	struct model_walk walk;
	struct rhz_l2_walk lib;
	enum rhz_status status;
	uint64_t gva;

	l2.kind = MODEL_LINEAR;
	gva = pick_gva(vm, &l2) + below(r, 4096);
	for (unsigned i = 0; i < 4 && paging_of(v, &l2) == MODEL_PAE; i++)
		l2.pdpte[i] = read_composed(&c, (l2.cr3 & 0xffffffe0) + 8 * i, 8);
	load_begin(v, false);
	call_begin(vm);
	status = rhz_vcpu_translate_l2(v->lib, &regs, (rhz_gva){ gva }, access, &lib);
	call_end(vm);
	if (status != RHZ_OK)
		fail(vm->world, "translate_l2: %s", rhz_status_name(status));
	if (paging_of(v, &l2) == MODEL_PAE && !c.exit &&
	    model_pdptes_fault(&vm->model->cpuid, l2.pdpte))
		return; /* what L2 cannot have loaded */
	if (!c.exit)
		model_mmu_walk(&vm->model->cpuid, &l2, gva, access, read_composed, &c, &walk);
	outcome = c.exit ? RHZ_L2_EXIT : walk.outcome == MODEL_OK ? RHZ_L2_OK : RHZ_L2_EXCEPTION;
	if (outcome == RHZ_L2_OK) {
		model_walk(vm->model, v->index, walk.gpa,
		           MODEL_USER | (access & (MODEL_WRITE | MODEL_FETCH)), &c.nested);
		if (c.nested.outcome != MODEL_OK)
			outcome = RHZ_L2_EXIT;
	}
	if (lib.outcome != outcome || (outcome == RHZ_L2_OK && lib.gpa.v != c.nested.gpa) ||
	    (outcome == RHZ_L2_EXCEPTION && lib.walk.error_code != walk.error))
		fail(vm->world, "translate_l2 gva %#llx access %#x: outcome %d gpa %#llx error "
		     "%#x, model %u %#llx %#x", (unsigned long long)gva, access,
		     (int)lib.outcome, (unsigned long long)lib.gpa.v, lib.walk.error_code,
		     outcome, (unsigned long long)c.nested.gpa, walk.error);
}
