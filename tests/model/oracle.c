/* SPDX-License-Identifier: MIT */
/*
 * The oracle: is a translation one that the simulated processor may still have cached?
 *
 * It is if there is a chain of values that the entries held at times t4 <= t3 <= t2 <= t1, upper
 * levels first, each time inside an interval in which the key was current on this vCPU, all of
 * them between the same two address invalidations of its PCID (an address invalidation drops all
 * cached upper levels), and none before the last invalidation that covers the leaf.
 */
#include "model.h"

#include <string.h>

struct reader {
	const struct model_vm *vm;
	unsigned space;
};

static uint64_t read_now(void *ctx, uint64_t gpa, unsigned bytes)
{
	const struct reader *reader = ctx;
	uint64_t hpa;
	unsigned flags;

	if (!model_hpa(reader->vm, reader->space, gpa, &hpa, &flags))
		return 0;
	return model_peek(reader->vm, hpa, bytes);
}

void model_walk(struct model_vm *vm, unsigned vcpu, uint64_t gva, unsigned access,
                struct model_walk *walk)
{
	struct reader reader = { vm, vm->vcpu[vcpu].space };

	model_mmu_walk(&vm->cpuid, model_vcpu_regs(vm, vcpu), gva, access, read_now, &reader, walk);
}

/* The rights of a chain so far. */
struct chain {
	bool read, write, user, nx;
	bool rom; /* the entry's A and D bits could not be set: its frame is or was read-only */
};

struct search {
	const struct model_vm *vm;
	const struct model_vcpu *vcpu;
	const struct model_asid *asid;
	const struct model_key *key;
	const struct model_interval *interval; /* in which CR3 is read */
	struct model_question *question;
	uint64_t end;            /* of the stretch between two address invalidations */
	unsigned next_address;   /* the first address invalidation after it */
	bool only_global;
	bool unknown;            /* an entry's history was cut short */
};

/* The first time from t on when the key was current. */
static uint64_t current_from(const struct model_key *key, uint64_t t)
{
	for (unsigned i = 0; i < key->intervals; i++)
		if (key->interval[i].to > t)
			return key->interval[i].from > t ? key->interval[i].from : t;
	return MODEL_FOREVER;
}

/* Has a leaf of this size been invalidated by address since the chain was read? */
static bool invalidated(const struct search *s, const struct model_entry *leaf)
{
	const struct model_asid *asid = s->asid;

	for (unsigned i = s->next_address; i < asid->addresses; i++) {
		const struct model_address *a = &asid->address[i];

		if (a->pcid != s->key->pcid && !(leaf->global && a->globals))
			continue;
		if (a->gva >> leaf->shift == s->question->gva >> leaf->shift)
			return true;
	}
	return false;
}

/* Counts what a finished chain allows, if it leads where the question asks. */
static void judge(struct search *s, const struct chain *chain, const struct model_entry *leaf)
{
	struct model_question *q = s->question;
	const struct model_regs *regs = &s->vcpu->regs[s->vcpu->context];
	uint64_t gpa = leaf->next | (q->gva & ((1ull << leaf->shift) - 1)), hpa;
	unsigned set, flags = 0;
	bool mapped = model_hpa(s->vm, s->vcpu->space, gpa, &hpa, &flags);

	if (q->to_gpa ? gpa != q->target : !mapped || hpa != q->target)
		return;
	if (s->only_global && !leaf->global)
		return;
	if (!q->any_type && leaf->type != q->type)
		return;
	if (invalidated(s, leaf))
		return;
	set = model_abilities(regs, &(struct model_rights){ chain->read, chain->write,
	                      chain->user, chain->nx }, leaf->key);
	if (!leaf->dirty && !chain->rom)
		set &= ~(unsigned)MODEL_WRITES;
	if (!q->to_gpa && flags & MODEL_SLOT_READ_ONLY)
		set &= ~(unsigned)MODEL_WRITES;
	if (set & q->need & ~q->got)
		q->gpa = gpa;
	q->got |= set;
}

static bool done(const struct search *s)
{
	return !(s->question->need & ~s->question->got);
}

static void go_down(struct search *s, unsigned level, uint64_t table, uint64_t t,
                    struct chain chain);

/* One value of an entry, read at time t. */
static void follow(struct search *s, unsigned level, uint64_t value, uint64_t t,
                   struct chain chain)
{
	struct model_entry e;

	model_decode(&s->interval->mode, level, value, &e);
	if (!e.present || e.reserved || (!e.accessed && !chain.rom))
		return;
	chain.read &= e.read;
	chain.write &= e.write;
	chain.user &= e.user;
	chain.nx |= e.nx;
	if (e.leaf)
		judge(s, &chain, &e);
	else
		go_down(s, level - 1, e.next, t, chain);
}

/* Every value that the entry of a table held from time t on while it could be read. */
static void go_down(struct search *s, unsigned level, uint64_t table, uint64_t t,
                    struct chain chain)
{
	const struct model_mode *mode = &s->interval->mode;
	unsigned bytes = model_entry_bytes(mode), flags, shift;
	unsigned index = model_index(mode, level, s->question->gva);
	uint64_t gpa = table + (uint64_t)index * bytes, hpa, mask, when;
	const struct model_frame *frame;
	int found;
	uint32_t node;

	if (mode->paging == MODEL_PAE && level == 3 && !mode->nested) {
		follow(s, level, s->interval->pdpte[index], t, chain);
		return;
	}
	if (!model_hpa(s->vm, s->vcpu->space, gpa, &hpa, &flags))
		return;
	found = model_frame(s->vm, hpa);
	if (found < 0)
		return;
	frame = &s->vm->frame[found];
	chain.rom = frame->rom;
	index = (hpa & 0xfff) / 8;
	shift = (hpa & 7) * 8;
	mask = bytes == 4 ? 0xffffffff : ~0ull;
	when = current_from(s->key, t > frame->since[index] ? t : frame->since[index]);
	if (when < s->end)
		follow(s, level, frame->value[index] >> shift & mask, when, chain);
	for (node = frame->old[index]; node && !done(s); node = s->vm->old[node].older) {
		const struct model_old *old = &s->vm->old[node];

		if (old->to <= t)
			return;
		when = current_from(s->key, t > old->from ? t : old->from);
		if (when < old->to && when < s->end)
			follow(s, level, old->value >> shift & mask, when, chain);
	}
	if (frame->olds[index] == MODEL_OLD_VALUES)
		s->unknown = true;
}

/* All chains of the key between two address invalidations. */
static void search_stretch(struct search *s, uint64_t begin)
{
	const struct chain all = { true, true, true, false, false };

	for (unsigned i = 0; i < s->key->intervals && !done(s); i++) {
		const struct model_interval *interval = &s->key->interval[i];
		uint64_t t = interval->from > begin ? interval->from : begin;

		if (t >= interval->to || t >= s->end || interval->mode.paging == MODEL_NONE)
			continue;
		if (!model_canonical(&interval->mode, s->question->gva))
			continue;
		s->interval = interval;
		go_down(s, model_top_level(&interval->mode),
		        model_root(&interval->mode, interval->cr3), t, all);
	}
}

static void search_key(struct search *s, uint64_t begin)
{
	const struct model_asid *asid = s->asid;

	for (unsigned i = 0; i <= asid->addresses && !done(s); i++) {
		if (i < asid->addresses && asid->address[i].pcid != s->key->pcid)
			continue; /* this one does not part the chains of our PCID */
		s->end = i < asid->addresses ? asid->address[i].time : MODEL_FOREVER;
		s->next_address = i;
		if (s->end > begin)
			search_stretch(s, begin);
		if (i < asid->addresses && asid->address[i].time > begin)
			begin = asid->address[i].time;
	}
}

/* The whole history. */
static bool search_all(struct model_vm *vm, struct model_vcpu *v, struct model_question *q)
{
	struct search s = { .vm = vm, .vcpu = v, .question = q };

	s.key = &v->key_of[v->key];
	s.asid = &v->asid_of[s.key->asid];
	vm->searches++;
	search_key(&s, s.key->flushed);
	s.only_global = true; /* these join every PCID */
	for (unsigned i = 0; i < v->keys && !done(&s); i++) {
		s.key = &v->key_of[i];
		if (&v->asid_of[s.key->asid] == s.asid && s.key->space == v->space)
			search_key(&s, s.asid->flushed);
	}
	if (!done(&s) && s.unknown) {
		vm->unknown++;
		return true;
	}
	return done(&s);
}

bool model_allowed(struct model_vm *vm, unsigned vcpu, struct model_question *q)
{
	struct model_vcpu *v = &vm->vcpu[vcpu];
	struct model_mode mode;
	struct model_walk walk;
	uint64_t hpa;
	unsigned flags = 0;
	bool mapped;

	q->got = 0;
	model_walk(vm, vcpu, q->gva, 0, &walk);
	if (walk.exists && walk.accessed) {
		mapped = model_hpa(vm, v->space, walk.gpa, &hpa, &flags);
		if ((q->to_gpa ? walk.gpa == q->target : mapped && hpa == q->target) &&
		    (q->any_type || walk.type == q->type)) {
			q->gpa = walk.gpa;
			q->got = model_abilities(model_vcpu_regs(vm, vcpu), &(struct model_rights){
			                         walk.read, walk.write, walk.user, walk.nx },
			                         walk.key);
			if (!walk.dirty || (!q->to_gpa && flags & MODEL_SLOT_READ_ONLY))
				q->got &= ~(unsigned)MODEL_WRITES;
		}
	}
	if (!(q->need & ~q->got))
		return true;
	model_mode_of(&mode, &vm->cpuid, model_vcpu_regs(vm, vcpu));
	if (mode.paging == MODEL_NONE)
		return false;
	return search_all(vm, v, q);
}
