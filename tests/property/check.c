/* SPDX-License-Identifier: MIT */
/* What must hold: of each translation that a processor has, of memory, logs, statistics. */
#include "world.h"

#include <string.h>

static bool logged(struct vm *vm, const struct model_slot *slot, uint64_t gpa)
{
	uint64_t page = (gpa - slot->gpa) / 4096;

	return !(slot->flags & MODEL_SLOT_DIRTY_LOG) ||
	       vm->slot[slot - vm->model->slot].dirty[page / 64] >> page % 64 & 1;
}

/* With the dirty log on, what can be written is logged already (invariant 12), in the slot that it
 * is written through: one of those that a chain allows. */
static void check_logged(struct vcpu *v, uint64_t gva, uint64_t gpa, const char *where)
{
	struct vm *vm = v->vm;
	unsigned space = vm->model->vcpu[v->index].space, flags;
	struct model_slot *slot = model_slot_at(vm->model, space, gpa);
	uint64_t hpa;

	if (!slot || vm->world->calling || logged(vm, slot, gpa))
		return;
	model_hpa(vm->model, space, gpa, &hpa, &flags);
	for (unsigned i = 0; i < SLOTS && !runs_direct(v); i++) {
		struct model_question q = { .gva = gva, .to_gpa = true, .any_type = true,
		                            .need = MODEL_WRITES };

		slot = &vm->model->slot[i];
		if (!slot->used || slot->space != space || hpa - slot->hpa >= slot->bytes)
			continue;
		q.target = slot->gpa + (hpa - slot->hpa);
		model_allowed(vm->model, v->index, &q);
		if (q.got & MODEL_WRITES && logged(vm, slot, q.target))
			return;
	}
	fail(vm->world, "%s: gva %#llx can be written, gpa %#llx is not logged dirty", where,
	     (unsigned long long)gva, (unsigned long long)gpa);
}

static void check_direct(struct vcpu *v, const struct translation *to, bool cached,
                         uint64_t offset, const char *where)
{
	struct vm *vm = v->vm;
	uint64_t gpa = to->gva + offset, hpa;
	bool ept = vm->lib_config.kind >= RHZ_EPT_4LEVEL;
	unsigned flags;

	if (!model_hpa(vm->model, vm->model->vcpu[v->index].space, gpa, &hpa, &flags) ||
	    hpa != to->hpa + offset)
		fail(vm->world, "%s: gpa %#llx leads to hpa %#llx, which is not its slot's", where,
		     (unsigned long long)gpa, (unsigned long long)(to->hpa + offset));
	if (to->write && flags & MODEL_SLOT_READ_ONLY)
		fail(vm->world, "%s: gpa %#llx can be written, its slot is read-only", where,
		     (unsigned long long)gpa);
	if (to->write && (to->dirty || !cached))
		check_logged(v, gpa, gpa, where);
	if (to->type != (ept ? 6 : 0))
		fail(vm->world, "%s: memory type %u", where, to->type);
	if (to->nx && vm->lib_config.host_cpu.nx && !(vm->lib_config.options & RHZ_NO_EXEC_LARGE))
		fail(vm->world, "%s: gpa %#llx cannot be executed", where, (unsigned long long)gpa);
}

static void check_page(struct vcpu *v, const struct translation *to, bool cached, uint64_t filled,
                       uint64_t offset, const char *where)
{
	struct vm *vm = v->vm;
	unsigned need = cpu_abilities(v, to);
	struct model_question q = { .gva = to->gva + offset, .target = to->hpa + offset,
	                            .type = to->type };
	int frame = model_frame(vm->model, q.target);

	vm->world->totals.checks++;
	if (cached && frame >= 0 && filled <= vm->invalidated[frame])
		fail(vm->world, "%s: hpa %#llx is still used after its invalidation", where,
		     (unsigned long long)q.target);
	if (runs_direct(v)) {
		check_direct(v, to, cached, offset, where);
		return;
	}
	if (cached && !to->dirty)
		need &= ~(unsigned)MODEL_WRITES;
	q.need = need;
	if (need && !model_allowed(vm->model, v->index, &q))
		fail(vm->world, "%s: vcpu %u gva %#llx -> hpa %#llx type %u abilities %#o (%s%s%s, "
		     "key %u, shift %u), allowed are %#o; %s", where, v->index,
		     (unsigned long long)q.gva, (unsigned long long)q.target, to->type, need,
		     to->write ? "W" : "-", to->user ? "U" : "-", to->nx ? "-" : "X", to->key,
		     to->shift, q.got, describe(v, q.gva, 0));
	if (need & MODEL_WRITES)
		check_logged(v, q.gva, q.gpa, where);
}

/* cached: it stands in a TLB since 'filled'; else the tables would give it now. */
void check_translation(struct vcpu *v, const struct translation *to, bool cached, uint64_t filled,
                       const char *where)
{
	struct vm *vm = v->vm;
	uint64_t bytes = 1ull << to->shift;

	check_page(v, to, cached, filled, 0, where);
	if (to->shift == 12)
		return;
	check_page(v, to, cached, filled, bytes - 4096, where);
	for (unsigned i = 0; i < 3; i++) {
		unsigned frame = below(&vm->world->random, vm->model->frames);
		uint64_t offset = vm->model->frame[frame].hpa - to->hpa;

		if (offset < bytes)
			check_page(v, to, cached, filled, offset, where);
	}
}

/*
 * Where the processor walks guest tables, what it found there is in the TLB, and no table of ours
 * tells: a tag is one context's and guest ASID's alone, and is flushed when these are.
 */
static void check_unseen(struct vcpu *v, const struct tlb_entry *e)
{
	struct world *w = v->vm->world;
	const struct model_vcpu *m = &v->vm->model->vcpu[v->index];
	uint32_t asid = m->guest_asid[m->context];

	if (e->context != m->context || e->guest_asid != asid)
		fail(w, "tag %u of context %u asid %u has a translation of context %u asid %u",
		     e->tag, m->context, asid, e->context, e->guest_asid);
	if (e->filled < v->flushed[asid])
		fail(w, "gva %#llx of asid %u outlived a flush", (unsigned long long)e->to.gva,
		     asid);
	for (unsigned i = 0; i < GONE; i++)
		if (v->gone[i].guest_asid == asid && e->filled < v->gone[i].time &&
		    v->gone[i].gva >> e->to.shift == e->to.gva >> e->to.shift)
			fail(w, "gva %#llx of asid %u outlived its invalidation",
			     (unsigned long long)e->to.gva, asid);
}

/* All that the TLB holds under the tag that a running vCPU has. */
void check_tlb(struct vcpu *v)
{
	uint64_t vm_epoch = v->vm->model->epoch;
	uint64_t vcpu_epoch = v->vm->model->vcpu[v->index].epoch;

	for (unsigned i = 0; i < TLB_ENTRIES; i++) {
		struct tlb_entry *e = &v->cpu->tlb[i];

		if (!e->valid || e->tag != v->entry.tag)
			continue;
		if (runs_unseen(v))
			check_unseen(v, e);
		if (e->vcpu == v && e->vm_epoch == vm_epoch && e->vcpu_epoch == vcpu_epoch)
			continue;
		check_translation(v, &e->to, true, e->filled, "TLB");
		e->vcpu = v;
		e->vm_epoch = vm_epoch;
		e->vcpu_epoch = vcpu_epoch;
	}
}

void check_running(struct world *w)
{
	for (unsigned i = 0; i < w->cpus; i++)
		if (w->cpu[i].running)
			check_tlb(w->cpu[i].running);
}

/* What the tables of a running vCPU give at all addresses that we use. */
void check_tables(struct vcpu *v)
{
	struct model_mode mode;
	struct translation to;
	uint64_t gva;
	uint32_t error;
	bool more = true;

	if (!v->running)
		return;
	model_mode_of(&mode, &v->vm->model->cpuid, model_vcpu_regs(v->vm->model, v->index));
	if (runs_direct(v) || mode.paging == MODEL_NONE) {
		for (unsigned i = 0; i < v->vm->hot_count; i++) {
			cpu_walk(v, v->vm->hot[i], 0, false, &to, &error);
			if (to.shift)
				check_translation(v, &to, false, 0, "tables");
		}
		return;
	}
	for (unsigned n = 0; more; n++) {
		more = hot_gva(&mode, n, &gva);
		if (!more)
			break;
		cpu_walk(v, gva, 0, false, &to, &error);
		if (to.shift)
			check_translation(v, &to, false, 0, "tables");
	}
}

/* The library may have changed A and D bits only where we saw it. */
void check_memory(struct vm *vm)
{
	for (unsigned i = 0; i < vm->model->frames; i++) {
		const struct model_frame *frame = &vm->model->frame[i];

		if (memcmp(ram_at(vm, frame->hpa), frame->value, 4096))
			fail(vm->world, "guest memory at hpa %#llx changed behind our back",
			     (unsigned long long)frame->hpa);
	}
}

/* Every store since the last harvest is logged. */
void check_log(struct vm *vm)
{
	for (unsigned s = 0; s < SLOTS; s++) {
		const struct model_slot *slot = &vm->model->slot[s];

		for (unsigned f = 0; slot->used && slot->logged >> f; f++) {
			uint64_t page = (vm->model->frame[f].hpa - slot->hpa) / 4096;

			if (slot->logged >> f & 1 &&
			    !(vm->slot[s].dirty[page / 64] >> page % 64 & 1))
				fail(vm->world, "slot %u page %#llx was written and is not logged",
				     s, (unsigned long long)page);
		}
	}
}

void check_stats(struct vm *vm)
{
	const struct rhz_vm_stats *s = rhz_vm_stats(vm->lib);

	if (s->mmu_shadow_pages > vm->lib_config.quota)
		fail(vm->world, "%llu shadow pages, the quota is %u",
		     (unsigned long long)s->mmu_shadow_pages, vm->lib_config.quota);
	if (s->mmu_unsync > s->mmu_shadow_pages)
		fail(vm->world, "more tables out of sync than shadow pages");
	for (unsigned i = 0; i < vm->world->config.vcpus; i++) {
		const struct rhz_vcpu_stats *v;
		uint64_t at = 0;

		if (!vm->vcpu[i].alive)
			continue;
		v = rhz_vcpu_stats(vm->vcpu[i].lib);
		if (v->root_missed < v->root_refound + v->root_built)
			fail(vm->world, "roots missed %llu, re-found %llu, built %llu",
			     (unsigned long long)v->root_missed,
			     (unsigned long long)v->root_refound,
			     (unsigned long long)v->root_built);
		for (unsigned n = 0; n < RHZ_MAX_CACHED_ROOTS; n++)
			at += v->root_reused_at[n];
		if (at != v->root_cached_reused)
			fail(vm->world, "roots reused %llu, by position %llu",
			     (unsigned long long)v->root_cached_reused, (unsigned long long)at);
		if (v->root_switches != at + v->root_current_reused + v->root_missed)
			fail(vm->world, "root switches %llu: current %llu, cached %llu, "
			     "missed %llu",
			     (unsigned long long)v->root_switches,
			     (unsigned long long)v->root_current_reused,
			     (unsigned long long)at, (unsigned long long)v->root_missed);
		if (v->nested_flush_unneeded)
			fail(vm->world, "a flush that nothing asked for");
		if (v->syncs_done > v->syncs_asked)
			fail(vm->world, "more syncs done than asked");
	}
}

void count_vcpu_stats(struct vcpu *v)
{
	const struct rhz_vcpu_stats *s = rhz_vcpu_stats(v->lib);
	struct totals *t = &v->vm->world->totals;

	t->synced += s->tables_synced;
	t->reused += s->root_current_reused + s->root_cached_reused;
	t->missed += s->root_missed;
	t->prefetched += s->prefetched;
}

void count_stats(struct vm *vm)
{
	const struct rhz_vm_stats *s = rhz_vm_stats(vm->lib);
	struct totals *t = &vm->world->totals;

	t->large += s->pages_2m + s->pages_1g;
	t->zapped += s->mmu_shadow_zapped;
	t->searches += vm->model->searches;
	t->unknown += vm->model->unknown;
}

void check_audit(struct vm *vm)
{
	struct rhz_audit audit = { 0 };
	unsigned broken;

	call_begin(vm);
	broken = rhz_vm_audit(vm->lib, &audit);
	call_end(vm);
	if (broken)
		fail(vm->world, "audit: invariant %u: %s (table %#llx role %#llx index %u entry "
		     "%#llx expected %#llx)", broken, audit.what, (unsigned long long)audit.table.v,
		     (unsigned long long)audit.role, audit.index, (unsigned long long)audit.entry,
		     (unsigned long long)audit.expected);
}
