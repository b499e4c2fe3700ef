/* SPDX-License-Identifier: MIT */
/*
 * A vCPU's life: making it, loads of its registers, entries. From one context to another: switch.c;
 * faults and invalidations: access.c, nested.c.
 *
 * Without the lock run: a load that finds its root with nothing to sync, and rhz_vcpu_enter. They
 * read three things that others write: 'dooms' and 'removals', which only grow, and the heads of
 * the lists. A root in this vCPU's cache is referenced and so stays what it is. A table that joins
 * a list after we have looked does so before the guest can write it through a mapping, so a write
 * that our load should have covered has not happened yet. A root zapped after we have looked is
 * seen by rhz_vcpu_enter, which runs with the announcement made: either it sees the new counters,
 * or the other side's kick sees the announcement.
 */
#include "api/vcpu.h"

#include "core/flush.h"
#include "core/frame.h"
#include "core/list.h"
#include "core/mem.h"
#include "direct/map.h"
#include "root/registers.h"
#include "root/tag.h"
#include "root/walk.h"
#include "shadow/sync.h"
#include "shadow/tree.h"

/* Marks a root key whose table is not an address but the number of a PAE root: see key_of. */
#define KEY_BY_PAGE (1ull << 63)

size_t rhz_vcpu_size(void)
{
	return sizeof(struct rhz_vcpu);
}

static enum rhz_status vcpu_enlist(struct rhz_vm *vm, struct rhz_vcpu *vcpu)
{
	uint32_t id = 0;

	while (id < RHZ_MAX_VCPUS && vm->vcpu[id])
		id++;
	if (id == RHZ_MAX_VCPUS)
		return RHZ_ERR_TOO_MANY_VCPUS;
	vcpu->id = id;
	vm->vcpu[id] = vcpu;
	vm->vcpus_made |= 1ull << id;
	return RHZ_OK;
}

enum rhz_status rhz_vcpu_create(struct rhz_vm *vm, void *memory, size_t size,
                                const struct rhz_vcpu_config *config, struct rhz_vcpu **out)
{
	/* CR0 after reset [SDM3 table 10-1] */
	const struct rhz_regs reset = { .cr0 = RHZ_CR0_CD | RHZ_CR0_NW | 1u << 4 };
	enum rhz_root_policy policy;
	struct rhz_vcpu *vcpu = memory;
	enum rhz_status status;

	if (!vm || !memory || (uintptr_t)memory % 16 || !config || !out)
		return RHZ_ERR_ARGUMENT;
	if (size < sizeof(*vcpu))
		return RHZ_ERR_MEMORY_SIZE;
	memset(vcpu, 0, sizeof(*vcpu));
	policy = option(vm, RHZ_NO_ROOT_REUSE) ? RHZ_ROOTS_NONE : config->policy;
	status = rhz_root_cache_init(&vcpu->roots, policy, config->cached_roots, config->seed);
	if (status != RHZ_OK)
		return status;
	vcpu->vm = vm;
	vcpu->swift = vcpu->roots.plain && !vm->host.trace;
	vcpu->guest = &vm->space[0];
	vcpu->now = &vcpu->context[RHZ_CONTEXT_L1];
	root_bind(vcpu);
	status = context_init(vcpu_context(vcpu), vm, 0, &reset);
	if (status != RHZ_OK)
		return status;
	vm_lock(vm);
	status = vcpu_enlist(vm, vcpu);
	vcpu->dooms_seen = vm->dooms;
	vm_unlock(vm);
	if (status == RHZ_OK)
		*out = vcpu;
	return status;
}

unsigned rhz_vcpu_id(const struct rhz_vcpu *vcpu)
{
	return vcpu->id;
}

void rhz_vcpu_destroy(struct rhz_vcpu *vcpu)
{
	struct rhz_vm *vm = vcpu->vm;

	vcpu_lock(vcpu);
	roots_drop(vcpu);
	vm->vcpu[vcpu->id] = NULL;
	vm->vcpus_made &= ~(1ull << vcpu->id);
	vm_unlock(vm);
}

/* ---- roots of a context ---- */

/* The context's top table: its frame, and the role of the root itself. */
static struct child top_of(struct rhz_vcpu *vcpu, const struct context *context)
{
	uint64_t gfn = (context->regs.cr3 & context->mode.cr3_table) >> RHZ_PAGE_SHIFT;
	struct child top = { .role = context->role };
	bool rom;

	top.frame = frame_of_table(vcpu->vm, context->role.space, gfn, &rom);
	top.role.rom = rom;
	/* PAE tables are 32 bytes, 128 of them to a frame */
	if (top.role.guest == ROLE_PAE)
		top.role.quadrant = (context->regs.cr3 >> 5) & 127;
	return top;
}

/* The root is what registers held when they were loaded. */
static bool by_page(const struct context *context)
{
	return role_is_pae_root(context->role) && context->role.guest == ROLE_PAE;
}

/*
 * The key under which the context's root is cached. A PAE root is what its PDPTE registers were
 * when they were loaded, so its key is the page that was made of them; there may be none yet.
 */
static struct rhz_root_key key_of(struct rhz_vcpu *vcpu, unsigned number,
                                  const struct context *context)
{
	struct rhz_root_key key = {
		.table = context->regs.cr3 & context->cr3_mask,
		.role = context->role.word,
		.guest_asid = context->guest_asid,
		.context = number,
	};

	if (by_page(context)) {
		struct child top = top_of(vcpu, context);
		struct page *page = tree_find_pae_root(vcpu->vm, top.frame, top.role,
		                                       context->regs.pdpte);

		key.table = KEY_BY_PAGE | (page ? page_number(vcpu->vm, page) : 0);
	}
	return key;
}

static struct page *root_build(struct rhz_vcpu *vcpu, const struct context *context, bool *built)
{
	if (context->role.guest == ROLE_DIRECT)
		return direct_root(vcpu, context->role, built);
	return tree_root(vcpu, top_of(vcpu, context), context->regs.pdpte, built);
}

/* After a miss, with the lock: finds the root among the VM's pages or makes it. */
static bool root_bring(struct rhz_vcpu *vcpu, const struct context *context,
                       struct rhz_root_key *key)
{
	struct page *page;
	bool built;

	page = root_build(vcpu, context, &built);
	if (!page)
		return false;
	if (built) {
		vcpu->stats.root_built++;
		trace(vcpu->vm, RHZ_EVENT_ROOT_BUILT, page->role.level, page->frame,
		      page->role.word);
	} else {
		vcpu->stats.root_refound++;
	}
	if (by_page(context))
		key->table = KEY_BY_PAGE | page_number(vcpu->vm, page);
	root_adopt(vcpu, key, page);
	return true;
}

/* [SDM3 4.4.1]: reads the PDPTEs that the context's CR3 names; false: #GP. */
static bool pdptes_load(struct rhz_vcpu *vcpu, struct context *context)
{
	uint64_t at = context->regs.cr3 & context->mode.cr3_table;

	for (unsigned i = 0; i < 4; i++)
		context->regs.pdpte[i] = vcpu_read_entry(vcpu, (rhz_gpa){ at + 8 * i }, 8);
	return rhz_pdptes_check(&context->mode, context->regs.pdpte) == RHZ_LOAD_FINE;
}

static void sync_current(struct rhz_vcpu *vcpu)
{
	struct page *root = root_page(vcpu);

	__atomic_store_n(&root->writes, 0, __ATOMIC_RELAXED);
	if (!root->role.nested && __builtin_expect(lists_empty(vcpu->vm, root), 1))
		return;
	sync_lists(vcpu, root);
}

enum rhz_load_result context_switch(struct rhz_vcpu *vcpu, unsigned number,
                                    struct context *next, bool pdptes,
                                    enum rhz_guest_flush flush)
{
	enum rhz_load_result result = RHZ_LOAD_OK;
	struct root_answer answer;
	struct rhz_root_key key;

	vcpu_lock(vcpu);
	roots_prune(vcpu);
	/* where the processor walks the guest's tables, it reads PDPTEs itself [APM2 15.25.10] */
	if (pdptes && !pdptes_load(vcpu, next) && !next->unseen) {
		result = RHZ_LOAD_GP;
		goto out;
	}
	key = key_of(vcpu, number, next);
	if (!root_find(vcpu, &key, &answer) && !root_bring(vcpu, next, &key)) {
		result = RHZ_LOAD_NO_MEMORY;
		goto out;
	}
	vcpu->context[number] = *next;
	__atomic_store_n(&vcpu->current, number, __ATOMIC_RELAXED);
	vcpu->now = &vcpu->context[number];
	root_bind(vcpu);
	root_trace_switch(vcpu, &key, &answer);
	sync_current(vcpu);
	root_alone(vcpu);
	if (flush == RHZ_GUEST_FLUSH_ALL)
		roots_stale_all(vcpu);
	else if (flush == RHZ_GUEST_FLUSH_ASID)
		roots_stale(vcpu, next->guest_asid);
out:
	vm_unlock(vcpu->vm);
	return result;
}

/* ---- loads ---- */

__attribute__((noinline)) enum rhz_load_result load_synced(struct rhz_vcpu *vcpu)
{
	vcpu_lock(vcpu);
	sync_lists(vcpu, vcpu->now->root);
	vm_unlock(vcpu->vm);
	return RHZ_LOAD_OK;
}

static __attribute__((noinline)) enum rhz_load_result load_renewed(struct rhz_vcpu *vcpu)
{
	rhz_root_cache_renew(&vcpu->roots);
	return lists_empty(vcpu->vm, vcpu->now->root) ? RHZ_LOAD_OK : load_synced(vcpu);
}

/* The root is made, or it is one that needs more than its address to be found. With the lock. */
static __attribute__((noinline)) enum rhz_load_result load_cr3_built(struct rhz_vcpu *vcpu,
                                                                     uint64_t cr3)
{
	enum rhz_load_result result = RHZ_LOAD_OK;
	struct context *now = vcpu->now;
	struct rhz_root_key key = now->key;
	uint64_t before = now->regs.cr3;

	now->regs.cr3 = cr3;
	if (root_bring(vcpu, now, &key)) {
		root_bind(vcpu);
		sync_current(vcpu);
	} else {
		now->regs.cr3 = before;
		root_bind(vcpu);
		result = RHZ_LOAD_NO_MEMORY;
	}
	vm_unlock(vcpu->vm);
	return result;
}

/* The VM's page that is the root for the context's key; null: none is known. With the lock. */
RHZ_INLINE struct page *root_known(struct rhz_vcpu *vcpu)
{
	struct context *now = vcpu->now;
	union role role = now->role;
	const struct slot *slot = slot_at(&vcpu->vm->space[role.space], now->key.table);

	if (role.guest == ROLE_DIRECT || !slot)
		return NULL;
	role.rom = slot->read_only;
	return page_find(vcpu->vm, slot_frame(slot, now->key.table >> RHZ_PAGE_SHIFT), role);
}

/* The root is not in the cache, but may be among the VM's pages. */
static __attribute__((noinline)) enum rhz_load_result load_cr3_missed(struct rhz_vcpu *vcpu,
                                                                      uint64_t cr3)
{
	struct context *now = vcpu->now;
	struct page *page;

	vcpu_lock(vcpu);
	page = root_known(vcpu);
	if (__builtin_expect(!page, 0))
		return load_cr3_built(vcpu, cr3);
	vcpu->stats.root_refound++;
	root_bind_quick(now, root_adopt(vcpu, &now->key, page));
	now->regs.cr3 = cr3;
	if (__builtin_expect(now->unusual, 0))
		root_bind(vcpu);
	sync_current(vcpu);
	vm_unlock(vcpu->vm);
	return RHZ_LOAD_OK;
}

/* Another policy than the usual ones, no current root, PDPTEs to be read, trace events wanted. */
static __attribute__((noinline)) enum rhz_load_result load_cr3_unusual(struct rhz_vcpu *vcpu,
                                                                       uint64_t cr3)
{
	struct context *now = vcpu->now;
	struct root_answer answer;

	/* L2's CR3 is no business of the context of L1's nested tables */
	if (cr3 & now->cr3_reserved || now->role.nested)
		return RHZ_LOAD_GP;
	if (!now->quick || !roots_undisturbed(vcpu) || vcpu->vm->host.trace) {
		struct context next = *now;

		next.regs.cr3 = cr3;
		return context_switch(vcpu, vcpu->current, &next,
		                      next.mode.paging == RHZ_PAGING_PAE,
		                      RHZ_GUEST_FLUSH_ASID);
	}
	now->key.table = cr3 & now->cr3_mask;
	if (!root_find(vcpu, &now->key, &answer))
		return load_cr3_missed(vcpu, cr3);
	now->regs.cr3 = cr3;
	root_bind(vcpu);
	__atomic_store_n(&now->root->writes, 0, __ATOMIC_RELAXED);
	return lists_empty(vcpu->vm, now->root) ? RHZ_LOAD_OK : load_synced(vcpu);
}

/* Another root than the current one, or something out of the ordinary. */
static __attribute__((noinline)) enum rhz_load_result load_cr3_other(struct rhz_vcpu *vcpu,
                                                                     uint64_t cr3)
{
	struct context *now = vcpu->now;
	unsigned position;
	struct rhz_root_entry *entry;
	struct page *root;
	bool renew;

	if (__builtin_expect((cr3 | now->unusual) & now->cr3_reserved ||
	                     !roots_undisturbed(vcpu), 0))
		return load_cr3_unusual(vcpu, cr3);
	now->key.table = cr3 & now->cr3_mask;
	entry = root_cache_find_plain(&vcpu->roots, &now->key, &position, &renew);
	vcpu->stats.root_switches++;
	if (__builtin_expect(!entry, 0)) {
		vcpu->stats.root_missed++;
		return load_cr3_missed(vcpu, cr3);
	}
	vcpu->stats.root_cached_reused++;
	vcpu->stats.root_reused_at[position]++;
	root_bind_quick(now, entry);
	root = now->root;
	__atomic_store_n(&root->writes, 0, __ATOMIC_RELAXED);
	now->regs.cr3 = cr3;
	if (__builtin_expect(renew, 0))
		return load_renewed(vcpu);
	return __builtin_expect(lists_empty(vcpu->vm, root), 1) ? RHZ_LOAD_OK : load_synced(vcpu);
}

enum rhz_load_result rhz_vcpu_load_cr3(struct rhz_vcpu *vcpu, uint64_t cr3)
{
	struct context *now = vcpu->now;

	cr3 &= now->cr3_kept;
	if (__builtin_expect((cr3 & now->cr3_judged) != now->key.table ||
	                     !roots_undisturbed(vcpu), 0))
		return load_cr3_other(vcpu, cr3);
	vcpu->stats.root_switches++;
	vcpu->stats.root_current_reused++;
	now->regs.cr3 = cr3;
	return __builtin_expect(lists_empty(vcpu->vm, now->root), 1) ? RHZ_LOAD_OK :
	                                                               load_synced(vcpu);
}

/*
 * The load turns these bits over and no others, and loads that do so may be quick ones. Neither bit
 * that is asked for is refused where it was not before.
 */
RHZ_INLINE bool differs_by(const struct rhz_vcpu *vcpu, const struct rhz_regs *regs, uint64_t cr0,
                           uint64_t cr4)
{
	const struct rhz_regs *now = &vcpu->now->regs;

	return (now->cr0 ^ regs->cr0) == cr0 && (now->cr4 ^ regs->cr4) == cr4 &&
	       vcpu->now->quick && vcpu->now->mode.format && now->cr3 == regs->cr3 &&
	       now->efer == regs->efer && now->pkru == regs->pkru && now->pkrs == regs->pkrs;
}

/*
 * All translations go, global ones too [SDM3 4.10.4.1]. Ours are never global: a load of the CR3 in
 * use does it.
 */
static enum rhz_load_result load_pge(struct rhz_vcpu *vcpu, uint64_t cr4)
{
	struct context *now = vcpu->now;
	enum rhz_load_result result = rhz_vcpu_load_cr3(vcpu, now->regs.cr3);

	if (result == RHZ_LOAD_OK) {
		now->regs.cr4 = cr4;
		now->mode.pge = cr4 & RHZ_CR4_PGE;
		now->mode.global = now->mode.pge ? PTE_G : 0;
	}
	return result;
}

/*
 * CR0.WP turned over: a root of another role. False: it is not in the cache, or more than that must
 * be looked at; nothing was done.
 */
static bool load_wp(struct rhz_vcpu *vcpu, uint64_t cr0, enum rhz_load_result *result)
{
	struct context *now = vcpu->now;
	struct rhz_root_key key = now->key;
	unsigned position;

	if (now->unusual || !roots_undisturbed(vcpu))
		return false;
	key.role = context_role_wp(now, cr0).word;
	if (rhz_root_cache_find_cached(&vcpu->roots, &key, &position) != RHZ_ROOT_CACHED)
		return false;
	vcpu->stats.root_switches++;
	vcpu->stats.root_cached_reused++;
	vcpu->stats.root_reused_at[position]++;
	context_load_wp(now, cr0);
	root_bind(vcpu);
	__atomic_store_n(&now->root->writes, 0, __ATOMIC_RELAXED);
	*result = lists_empty(vcpu->vm, now->root) ? RHZ_LOAD_OK : load_synced(vcpu);
	return true;
}

enum rhz_load_result rhz_vcpu_load_regs(struct rhz_vcpu *vcpu, const struct rhz_regs *regs)
{
	struct context *now = vcpu_context(vcpu);
	enum rhz_load_result result;
	struct rhz_regs wanted;
	struct context next;

	if (now->role.nested)
		return RHZ_LOAD_GP;
	if (differs_by(vcpu, regs, 0, RHZ_CR4_PGE) && vcpu->vm->config.cpuid.pge)
		return load_pge(vcpu, regs->cr4);
	if (differs_by(vcpu, regs, RHZ_CR0_WP, 0) && load_wp(vcpu, regs->cr0, &result))
		return result;
	wanted = *regs;
	next = *now;
	if (rhz_regs_check(&vcpu->vm->config.cpuid, &now->regs, &wanted) != RHZ_LOAD_FINE)
		return RHZ_LOAD_GP;
	wanted.cr3 &= ~RHZ_CR3_NOFLUSH;
	memcpy(wanted.pdpte, now->regs.pdpte, sizeof(wanted.pdpte));
	if (context_init(&next, vcpu->vm, vcpu->space, &wanted) != RHZ_OK)
		return RHZ_LOAD_GP;
	return context_switch(vcpu, vcpu->current, &next, registers_reload_pdptes(now, &next),
	                      RHZ_GUEST_FLUSH_ASID);
}

enum rhz_load_result rhz_vcpu_set_address_space(struct rhz_vcpu *vcpu, unsigned address_space)
{
	struct context next = *vcpu_context(vcpu);
	enum rhz_load_result result;

	if (address_space >= RHZ_MAX_ADDRESS_SPACES)
		return RHZ_LOAD_GP;
	next.role.space = address_space;
	result = context_switch(vcpu, vcpu->current, &next, false, RHZ_GUEST_FLUSH_ASID);
	if (result != RHZ_LOAD_OK)
		return result;
	vcpu->space = address_space;
	vcpu->guest = &vcpu->vm->space[address_space];
	for (unsigned i = 0; i < RHZ_CONTEXTS; i++)
		vcpu->context[i].role.space = address_space;
	root_bind(vcpu);
	return RHZ_LOAD_OK;
}

const struct rhz_regs *rhz_vcpu_regs(const struct rhz_vcpu *vcpu)
{
	return &vcpu->context[vcpu->current].regs;
}

void rhz_vcpu_set_keys(struct rhz_vcpu *vcpu, uint32_t pkru, uint32_t pkrs)
{
	vcpu_context(vcpu)->regs.pkru = pkru;
	vcpu_context(vcpu)->regs.pkrs = pkrs;
}

/* ---- entry ---- */

/* The tag is not the root's any more, or not up to date. */
static __attribute__((noinline)) enum rhz_enter_result
enter_renewed(struct rhz_vcpu *vcpu, struct rhz_cpu *cpu, struct rhz_entry *entry)
{
	entry->flush = tag_renew(vcpu, cpu, vcpu->entered, &entry->tag);
	return RHZ_ENTER_OK;
}

enum rhz_enter_result rhz_vcpu_enter(struct rhz_vcpu *vcpu, struct rhz_cpu *cpu,
                                     struct rhz_entry *entry)
{
	const struct context *now = vcpu->now;
	struct rhz_root_entry *const current = now->entry;

	if (__builtin_expect(!now->root || !roots_undisturbed(vcpu), 0))
		return RHZ_ENTER_PREPARE;
	vcpu->entered = current;
	entry->root.v = now->root->hpa;
	entry->levels = now->levels;
	if (__builtin_expect(!tag_is_good(vcpu, cpu, &current->lease), 0))
		return enter_renewed(vcpu, cpu, entry);
	entry->tag = current->lease.tag;
	entry->flush = RHZ_FLUSH_NONE;
	return RHZ_ENTER_OK;
}

enum rhz_load_result rhz_vcpu_prepare(struct rhz_vcpu *vcpu)
{
	enum rhz_load_result result = RHZ_LOAD_OK;

	vcpu_lock(vcpu);
	roots_prune(vcpu);
	if (!root_entry(vcpu)) {
		struct context *context = vcpu_context(vcpu);
		struct rhz_root_key key = key_of(vcpu, vcpu->current, context);
		struct root_answer answer;

		if (root_find(vcpu, &key, &answer) || root_bring(vcpu, context, &key))
			root_trace_switch(vcpu, &key, &answer);
		else
			result = RHZ_LOAD_NO_MEMORY;
		root_bind(vcpu);
		root_alone(vcpu);
		if (result == RHZ_LOAD_OK)
			sync_current(vcpu);
	}
	vm_unlock(vcpu->vm);
	return result;
}

const struct rhz_vcpu_stats *rhz_vcpu_stats(const struct rhz_vcpu *vcpu)
{
	return &vcpu->stats;
}
