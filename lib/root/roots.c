/* SPDX-License-Identifier: MIT */
/* A vCPU's roots as shadow pages: adopting, letting go. */
#include "root/roots.h"

#include "core/flush.h"
#include "root/tag.h"

static void root_let_go(struct rhz_vcpu *vcpu, uint32_t number)
{
	struct page *page = page_at(vcpu->vm, number);

	trace(vcpu->vm, RHZ_EVENT_ROOT_FREED, page->role.level, page->frame, page->role.word);
	page_release(vcpu->vm, page);
}

static void root_trace(const struct rhz_vcpu *vcpu, struct rhz_event event)
{
	event.vcpu = vcpu->id;
	if (vcpu->vm->host.trace)
		vcpu->vm->host.trace(vcpu->vm->host.ctx, &event);
}

void root_trace_switch(const struct rhz_vcpu *vcpu, const struct rhz_root_key *key,
                       const struct root_answer *answer)
{
	root_trace(vcpu, (struct rhz_event){
		.kind = RHZ_EVENT_ROOT_SWITCH,
		.level = answer->found == RHZ_ROOT_CACHED ? answer->position : 0,
		.address = vcpu->now->regs.cr3,
		.value = answer->found,
		.root = key,
	});
}

static void root_remove(struct rhz_vcpu *vcpu, unsigned index)
{
	const struct rhz_root_key *key = &vcpu->roots.entry[index].key;
	struct context *of = &vcpu->context[key->context];

	if (of->entry == &vcpu->roots.entry[index])
		of->entry = NULL;
	vcpu->stats.root_dropped++;
	root_trace(vcpu, (struct rhz_event){
		.kind = RHZ_EVENT_ROOT_DROPPED,
		.address = key->table,
		.root = key,
	});
	root_let_go(vcpu, rhz_root_cache_remove(&vcpu->roots, index));
}

void root_bind(struct rhz_vcpu *vcpu)
{
	struct context *now = vcpu->now;
	struct rhz_root_entry *entry = root_cache_current(&vcpu->roots, vcpu->current);

	if (entry && root_lags(vcpu, entry))
		root_catch_up(vcpu, now, entry);
	now->entry = entry;
	now->root = entry ? page_at(vcpu->vm, entry->page) : NULL;
	now->unusual = ~0ull;
	now->key = (struct rhz_root_key){
		.table = NO_TABLE,
		.role = now->role.word,
		.guest_asid = now->guest_asid,
		.context = vcpu->current,
	};
	if (!entry || !now->quick || !vcpu->roots.plain || vcpu->vm->host.trace)
		return;
	if (entry->key.role == now->key.role && entry->key.guest_asid == now->guest_asid) {
		now->key.table = entry->key.table;
		now->unusual = 0;
	}
}

static bool is_cached_only(const struct rhz_vcpu *vcpu, unsigned index)
{
	for (unsigned i = 0; i < RHZ_CONTEXTS; i++) {
		if (vcpu->roots.current[i] == index)
			return false;
	}
	return rhz_root_cache_holds(&vcpu->roots, index);
}

/* Lets the oldest cached root go, if there is one that is not current. */
static bool root_spare(struct rhz_vcpu *vcpu)
{
	unsigned oldest = rhz_root_cache_oldest(&vcpu->roots);

	if (oldest == RHZ_ROOT_NO_ENTRY || !is_cached_only(vcpu, oldest))
		return false;
	root_remove(vcpu, oldest);
	return true;
}

struct rhz_root_entry *root_adopt(struct rhz_vcpu *vcpu, const struct rhz_root_key *key,
                                  struct page *page)
{
	struct rhz_root_entry **last = &vcpu->last_of_asid[key->guest_asid % LAST_OF_ASID], *entry;
	uint32_t evicted[2];
	unsigned count;

	page_hold(vcpu->vm, page);
	count = rhz_root_cache_insert(&vcpu->roots, key, page_number(vcpu->vm, page), evicted);
	entry = &vcpu->roots.entry[vcpu->roots.current[key->context]];
	entry->owned = page;
	/* the place in the cache may have been that of another ASID that is remembered there */
	if (*last == entry)
		*last = NULL;
	vcpu->stats.root_evicted += count;
	for (unsigned i = 0; i < count; i++)
		root_let_go(vcpu, evicted[i]);
	/* what roots hold cannot be reclaimed: half of the quota is for the rest */
	while (vcpu->vm->roots_held > vcpu->vm->config.quota / 2 && root_spare(vcpu))
		;
	return entry;
}

void roots_prune(struct rhz_vcpu *vcpu)
{
	struct rhz_vm *vm = vcpu->vm;
	uint32_t requests;

	if (__builtin_expect(roots_undisturbed(vcpu), 1))
		return;
	vcpu->dooms_seen = vm->dooms;
	requests = vcpu->requests;
	vcpu->requests = 0;
	for (unsigned i = 0; i < RHZ_ROOT_ENTRIES; i++) {
		if (!rhz_root_cache_holds(&vcpu->roots, i))
			continue;
		if (page_at(vm, vcpu->roots.entry[i].page)->flags & PAGE_DOOMED ||
		    (requests & REQUEST_GIVE_UP_ROOTS && is_cached_only(vcpu, i)))
			root_remove(vcpu, i);
	}
	root_bind(vcpu);
}

void roots_drop(struct rhz_vcpu *vcpu)
{
	for (unsigned i = 0; i < RHZ_ROOT_ENTRIES; i++) {
		if (rhz_root_cache_holds(&vcpu->roots, i))
			root_remove(vcpu, i);
	}
}

bool root_is_current(const struct rhz_vm *vm, const struct page *page)
{
	uint32_t number = page_number(vm, page);

	for (unsigned i = 0; i < RHZ_MAX_VCPUS; i++) {
		const struct rhz_vcpu *vcpu = vm->vcpu[i];

		for (unsigned c = 0; vcpu && c < RHZ_CONTEXTS; c++) {
			unsigned index = __atomic_load_n(&vcpu->roots.current[c],
			                                 __ATOMIC_RELAXED);

			if (index != RHZ_ROOT_NO_ENTRY && vcpu->roots.entry[index].page == number)
				return true;
		}
	}
	return false;
}

bool root_is_running(const struct rhz_vm *vm, const struct page *page)
{
	uint32_t number = page_number(vm, page);

	for (unsigned i = 0; i < RHZ_MAX_VCPUS; i++) {
		const struct rhz_vcpu *vcpu = vm->vcpu[i];
		unsigned context, index;

		if (!vcpu)
			continue;
		context = __atomic_load_n(&vcpu->current, __ATOMIC_RELAXED);
		index = __atomic_load_n(&vcpu->roots.current[context], __ATOMIC_RELAXED);
		if (index != RHZ_ROOT_NO_ENTRY && vcpu->roots.entry[index].page == number)
			return true;
	}
	return false;
}

bool roots_give_up_one(struct rhz_vm *vm)
{
	for (unsigned i = 0; i < RHZ_MAX_VCPUS; i++) {
		if (vm->vcpu[i] && vm->vcpu[i] != vm->self)
			vm->vcpu[i]->requests |= REQUEST_GIVE_UP_ROOTS;
	}
	__atomic_store_n(&vm->dooms, vm->dooms + 1, __ATOMIC_RELEASE);
	return vm->self && root_spare(vm->self);
}

/*
 * The entry has a root of the guest ASID, whose tag may keep what the processor made by itself. Or
 * it had one: to mark it then is no matter, an insertion gives it another lease.
 */
static bool keeps_unseen(const struct rhz_vcpu *vcpu, const struct rhz_root_entry *entry,
                         uint32_t guest_asid)
{
	return entry->key.guest_asid == guest_asid && vcpu->context[entry->key.context].unseen;
}

/* All such entries but one; none is spared if that is null. */
static void asid_stale(struct rhz_vcpu *vcpu, uint32_t guest_asid,
                       const struct rhz_root_entry *spared)
{
	for (unsigned i = 0; i < RHZ_ROOT_ENTRIES; i++) {
		struct rhz_root_entry *entry = &vcpu->roots.entry[i];

		if (entry != spared && keeps_unseen(vcpu, entry, guest_asid))
			tag_stale(entry);
	}
}

void roots_stale(struct rhz_vcpu *vcpu, uint32_t guest_asid)
{
	struct rhz_root_entry *current = root_entry(vcpu);

	if (!guest_asid && vcpu->vm->config.kind == RHZ_SHADOW)
		return;
	/* it is alone: root_alone */
	if (guest_asid && current && current->key.guest_asid == guest_asid && vcpu->now->unseen) {
		tag_stale(current);
		return;
	}
	asid_stale(vcpu, guest_asid, NULL);
}

void root_alone(struct rhz_vcpu *vcpu)
{
	const uint32_t guest_asid = vcpu->now->guest_asid;
	struct rhz_root_entry *entry = root_entry(vcpu);
	struct rhz_root_entry **last = &vcpu->last_of_asid[guest_asid % LAST_OF_ASID];

	if (!entry || root_is_alone(vcpu, vcpu->now))
		return;
	/* the one before was alone; who that was is forgotten if another ASID has the place */
	if (*last && keeps_unseen(vcpu, *last, guest_asid))
		tag_stale(*last);
	else
		asid_stale(vcpu, guest_asid, entry);
	*last = entry;
}

void roots_catch_up(struct rhz_vcpu *vcpu)
{
	for (unsigned i = 0; i < RHZ_ROOT_ENTRIES; i++) {
		struct rhz_root_entry *entry = &vcpu->roots.entry[i];

		root_catch_up(vcpu, &vcpu->context[entry->key.context], entry);
	}
}

void roots_stale_l2(struct rhz_vcpu *vcpu)
{
	for (unsigned i = 0; i < RHZ_ROOT_ENTRIES; i++) {
		struct rhz_root_entry *entry = &vcpu->roots.entry[i];

		if (entry->key.context != RHZ_CONTEXT_L1 &&
		    vcpu->context[entry->key.context].unseen)
			tag_stale(entry);
	}
}

void roots_stale_table(struct rhz_vcpu *vcpu, uint64_t table)
{
	table &= vcpu->context[RHZ_CONTEXT_L2_NESTED].cr3_mask;
	for (unsigned i = 0; i < RHZ_ROOT_ENTRIES; i++) {
		struct rhz_root_entry *entry = &vcpu->roots.entry[i];

		if (entry->key.table == table && entry->key.context == RHZ_CONTEXT_L2_NESTED)
			tag_stale(entry);
	}
}
