/* SPDX-License-Identifier: MIT */
/*
 * What the guest does to its registers and its TLB: which context is current from when to when,
 * and the last invalidation of each kind.
 */
#include "model.h"

#include <stdlib.h>
#include <string.h>

enum {
	CR4_PSE = 1 << 4, CR4_PAE = 1 << 5, CR4_PGE = 1 << 7, CR4_PCIDE = 1 << 17,
	CR4_SMEP = 1 << 20,
};
static const uint64_t PG = 1ull << 31, NO_FLUSH = 1ull << 63;

static struct model_vcpu *vcpu_of(struct model_vm *vm, unsigned vcpu)
{
	return &vm->vcpu[vcpu];
}

const struct model_regs *model_vcpu_regs(const struct model_vm *vm, unsigned vcpu)
{
	return &vm->vcpu[vcpu].regs[vm->vcpu[vcpu].context];
}

uint64_t model_tick(struct model_vm *vm)
{
	return ++vm->time;
}

static unsigned pcid_of(const struct model_regs *regs)
{
	return regs->cr4 & CR4_PCIDE ? regs->cr3 & 0xfff : 0;
}

static unsigned find_asid(struct model_vcpu *v, unsigned context, uint32_t guest_asid, uint64_t now)
{
	struct model_asid *asid;

	for (unsigned i = 0; i < v->asids; i++)
		if (v->asid_of[i].context == context && v->asid_of[i].guest_asid == guest_asid)
			return i;
	if (v->asids == MODEL_ASIDS)
		abort();
	asid = &v->asid_of[v->asids];
	memset(asid, 0, sizeof(*asid));
	asid->context = context;
	asid->guest_asid = guest_asid;
	asid->flushed = now;
	return v->asids++;
}

static unsigned find_key(struct model_vcpu *v, unsigned asid, unsigned pcid, uint64_t now)
{
	struct model_key *key;

	for (unsigned i = 0; i < v->keys; i++) {
		key = &v->key_of[i];
		if (key->asid == asid && key->pcid == pcid && key->space == v->space)
			return i;
	}
	if (v->keys == MODEL_KEYS)
		abort();
	key = &v->key_of[v->keys];
	key->asid = asid;
	key->pcid = pcid;
	key->space = v->space;
	key->flushed = now;
	key->intervals = 0;
	return v->keys++;
}

static void close_interval(struct model_vcpu *v, uint64_t now)
{
	struct model_key *key = &v->key_of[v->key];

	if (key->intervals && key->interval[key->intervals - 1].to == MODEL_FOREVER)
		key->interval[key->intervals - 1].to = now;
}

/* Intervals that no chain can begin in or pass through any more are forgotten. */
static void trim(struct model_vcpu *v, struct model_key *key)
{
	uint64_t flushed = v->asid_of[key->asid].flushed;
	unsigned kept = 0;

	for (unsigned i = 0; i < key->intervals; i++)
		if (key->interval[i].to > flushed && key->interval[i].to > key->interval[i].from)
			key->interval[kept++] = key->interval[i];
	key->intervals = kept;
	if (kept == MODEL_INTERVALS) {
		memmove(key->interval, key->interval + 1, (kept - 1) * sizeof(key->interval[0]));
		key->intervals--;
	}
}

/* The registers are as they are now: the key they select is current from 'start'. */
static void make_current(struct model_vm *vm, struct model_vcpu *v, uint64_t start)
{
	const struct model_regs *regs = &v->regs[v->context];
	struct model_interval *interval;
	struct model_key *key;
	unsigned asid;

	close_interval(v, start);
	asid = find_asid(v, v->context, v->guest_asid[v->context], start);
	v->key = find_key(v, asid, pcid_of(regs), start);
	key = &v->key_of[v->key];
	trim(v, key);
	interval = &key->interval[key->intervals++];
	interval->from = start;
	interval->to = MODEL_FOREVER;
	interval->cr3 = regs->cr3;
	memcpy(interval->pdpte, regs->pdpte, sizeof(interval->pdpte));
	model_mode_of(&interval->mode, &vm->cpuid, regs);
	v->epoch++;
}

void model_vcpu_reset(struct model_vm *vm, unsigned vcpu)
{
	struct model_vcpu *v = vcpu_of(vm, vcpu);

	v->context = v->space = v->key = v->keys = v->asids = 0;
	memset(v->regs, 0, sizeof(v->regs));
	memset(v->guest_asid, 0, sizeof(v->guest_asid));
	v->regs[0].cr0 = v->regs[1].cr0 = 1ull << 29 | 1ull << 30 | 1ull << 4;
	find_key(v, find_asid(v, 0, 0, vm->time), 0, vm->time);
	make_current(vm, v, vm->time);
}

/* Everything of one (context, guest ASID), globals included. */
static void flush_all(struct model_vcpu *v, unsigned asid, uint64_t start)
{
	v->asid_of[asid].flushed = start;
	v->asid_of[asid].addresses = 0;
	for (unsigned i = 0; i < v->keys; i++)
		if (v->key_of[i].asid == asid)
			v->key_of[i].flushed = start;
	v->epoch++;
}

/* All but globals of one PCID, in every address space. */
static void flush_pcid(struct model_vcpu *v, unsigned asid, unsigned pcid, uint64_t start)
{
	for (unsigned i = 0; i < v->keys; i++)
		if (v->key_of[i].asid == asid && v->key_of[i].pcid == pcid)
			v->key_of[i].flushed = start;
	v->epoch++;
}

/* Fills next->pdpte from memory. False: #GP. */
static bool read_pdptes(struct model_vm *vm, unsigned space, struct model_regs *next)
{
	for (unsigned i = 0; i < 4; i++) {
		uint64_t gpa = (next->cr3 & 0xffffffe0) + 8 * i, hpa;
		unsigned flags;

		next->pdpte[i] = model_hpa(vm, space, gpa, &hpa, &flags) ?
		                 model_peek(vm, hpa, 8) : 0;
	}
	return !model_pdptes_fault(&vm->cpuid, next->pdpte);
}

static bool in_pae(struct model_vm *vm, const struct model_regs *regs)
{
	struct model_mode mode;

	model_mode_of(&mode, &vm->cpuid, regs);
	return mode.paging == MODEL_PAE && !mode.nested;
}

bool model_cr3(struct model_vm *vm, unsigned vcpu, uint64_t cr3, uint64_t start)
{
	struct model_vcpu *v = vcpu_of(vm, vcpu);
	struct model_regs next = v->regs[v->context];
	bool keep = next.cr4 & CR4_PCIDE && cr3 & NO_FLUSH;

	if (model_cr3_faults(&vm->cpuid, &next, cr3))
		return false;
	next.cr3 = next.cr4 & CR4_PCIDE ? cr3 & ~NO_FLUSH : cr3;
	if (in_pae(vm, &next) && !read_pdptes(vm, v->space, &next))
		return false;
	v->regs[v->context] = next;
	make_current(vm, v, start);
	if (!keep) /* [SDM3 4.10.4.1] */
		flush_pcid(v, v->key_of[v->key].asid, pcid_of(&next), start);
	return true;
}

bool model_load(struct model_vm *vm, unsigned vcpu, const struct model_regs *wanted, uint64_t start)
{
	struct model_vcpu *v = vcpu_of(vm, vcpu);
	struct model_regs now = v->regs[v->context], next = *wanted;
	uint64_t flipped = now.cr4 ^ next.cr4;
	bool keep = next.cr4 & CR4_PCIDE && next.cr3 & NO_FLUSH;
	unsigned asid;

	memcpy(next.pdpte, now.pdpte, sizeof(next.pdpte));
	if (model_load_faults(&vm->cpuid, &now, &next))
		return false;
	if (model_loads_pdptes(&vm->cpuid, &now, &next) && !read_pdptes(vm, v->space, &next))
		return false;
	next.cr3 &= next.cr4 & CR4_PCIDE ? ~NO_FLUSH : ~0ull;
	v->regs[v->context] = next;
	make_current(vm, v, start);
	asid = v->key_of[v->key].asid;
	/* [SDM3 4.10.4.1] [APM2 5.5.3] */
	if ((now.cr0 ^ next.cr0) & PG || flipped & (CR4_PGE | CR4_PAE | CR4_PSE) ||
	    flipped & now.cr4 & CR4_PCIDE)
		flush_all(v, asid, start);
	else if (flipped & next.cr4 & CR4_SMEP || (now.cr3 != next.cr3 && !keep))
		flush_pcid(v, asid, pcid_of(&next), start);
	return true;
}

/* A nested entry or exit: what is not flushed stays, for each (context, guest ASID) its own. */
bool model_switch(struct model_vm *vm, unsigned vcpu, unsigned context,
                  const struct model_regs *regs, uint32_t guest_asid, enum model_flush flush,
                  uint64_t start)
{
	struct model_vcpu *v = vcpu_of(vm, vcpu);
	struct model_regs next = regs ? *regs : v->regs[context];

	if (regs) {
		memcpy(next.pdpte, v->regs[context].pdpte, sizeof(next.pdpte));
		if (context == 2 ? model_nested_faults(&vm->cpuid, &next) :
		                   model_load_faults(&vm->cpuid, &next, &next))
			return false;
		if (in_pae(vm, &next) && !read_pdptes(vm, v->space, &next))
			return false;
	}
	close_interval(v, start);
	v->context = context;
	v->guest_asid[context] = guest_asid;
	v->regs[context] = next;
	make_current(vm, v, start);
	for (unsigned i = 0; i < v->asids; i++)
		if (flush == MODEL_FLUSH_ALL ||
		    (flush && v->asid_of[i].guest_asid == guest_asid))
			flush_all(v, i, start);
	return true;
}

void model_flush_asid(struct model_vm *vm, unsigned vcpu, uint32_t guest_asid, uint64_t start)
{
	struct model_vcpu *v = vcpu_of(vm, vcpu);

	for (unsigned i = 0; i < v->asids; i++)
		if (v->asid_of[i].guest_asid == guest_asid)
			flush_all(v, i, start);
}

void model_flush_l2(struct model_vm *vm, unsigned vcpu, uint64_t start)
{
	struct model_vcpu *v = vcpu_of(vm, vcpu);

	for (unsigned i = 0; i < v->asids; i++)
		if (v->asid_of[i].context)
			flush_all(v, i, start);
}

/* No chain begins any more at a CR3 that was read before. */
void model_flush_table(struct model_vm *vm, unsigned vcpu, uint64_t table, uint64_t start)
{
	struct model_vcpu *v = vcpu_of(vm, vcpu);

	for (unsigned k = 0; k < v->keys; k++) {
		struct model_key *key = &v->key_of[k];

		for (unsigned i = 0; i < key->intervals; i++) {
			struct model_interval *interval = &key->interval[i];

			if (v->asid_of[key->asid].context == 2 &&
			    !((interval->cr3 ^ table) >> 12))
				interval->from = interval->to < start ? interval->to : start;
		}
	}
	v->epoch++;
}

bool model_set_space(struct model_vm *vm, unsigned vcpu, unsigned space, uint64_t start)
{
	struct model_vcpu *v = vcpu_of(vm, vcpu);

	close_interval(v, start);
	v->space = space;
	make_current(vm, v, start);
	return true;
}

static void invalidate_in(struct model_vcpu *v, struct model_asid *asid,
                          struct model_address address)
{
	if (asid->addresses == MODEL_ADDRESSES) {
		asid->addresses--;
		memmove(asid->address, asid->address + 1,
		        asid->addresses * sizeof(asid->address[0]));
	}
	asid->address[asid->addresses++] = address;
	v->epoch++;
}

static void invalidate_address(struct model_vcpu *v, struct model_address address)
{
	invalidate_in(v, &v->asid_of[v->key_of[v->key].asid], address);
}

void model_invlpga(struct model_vm *vm, unsigned vcpu, uint64_t gva, uint32_t guest_asid,
                   uint64_t start)
{
	struct model_vcpu *v = vcpu_of(vm, vcpu);

	for (unsigned i = 0; i < v->asids; i++) {
		struct model_asid *asid = &v->asid_of[i];
		struct model_address address = { gva, start, pcid_of(&v->regs[asid->context]),
		                                 true };

		if (asid->guest_asid == guest_asid)
			invalidate_in(v, asid, address);
	}
}

void model_invlpg(struct model_vm *vm, unsigned vcpu, uint64_t gva, uint64_t start)
{
	struct model_vcpu *v = vcpu_of(vm, vcpu);
	struct model_address address = { gva, start, pcid_of(&v->regs[v->context]), true };

	invalidate_address(v, address);
}

void model_flush(struct model_vm *vm, unsigned vcpu, uint64_t start)
{
	struct model_vcpu *v = vcpu_of(vm, vcpu);

	flush_all(v, v->key_of[v->key].asid, start);
}

/* [SDM2 INVPCID] */
bool model_invpcid(struct model_vm *vm, unsigned vcpu, uint64_t type, uint64_t pcid, uint64_t gva,
                   uint64_t start)
{
	struct model_vcpu *v = vcpu_of(vm, vcpu);
	const struct model_regs *regs = &v->regs[v->context];
	unsigned asid = v->key_of[v->key].asid;
	struct model_address address = { gva, start, (unsigned)pcid, false };
	struct model_mode mode;

	model_mode_of(&mode, &vm->cpuid, regs);
	if (type > 3 || pcid >> 12)
		return false;
	if (type < 2 && !(regs->cr4 & CR4_PCIDE) && pcid)
		return false;
	if (type == 0 && !model_canonical(&mode, gva))
		return false;
	switch (type) {
	case 0:
		invalidate_address(v, address);
		break;
	case 1:
		flush_pcid(v, asid, (unsigned)pcid, start);
		break;
	case 2:
		flush_all(v, asid, start);
		break;
	default:
		for (unsigned i = 0; i < v->keys; i++)
			if (v->key_of[i].asid == asid)
				v->key_of[i].flushed = start;
		v->epoch++;
	}
	return true;
}

void model_keys(struct model_vm *vm, unsigned vcpu, uint32_t pkru, uint32_t pkrs)
{
	struct model_vcpu *v = vcpu_of(vm, vcpu);

	v->regs[v->context].pkru = pkru;
	v->regs[v->context].pkrs = pkrs;
	v->epoch++;
}
