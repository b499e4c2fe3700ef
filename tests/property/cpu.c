/* SPDX-License-Identifier: MIT */
/*
 * A simulated processor: walks the tables that the library made, in the format that it runs them
 * in, and keeps translations and upper levels under tags until it is told to forget them.
 */
#include "world.h"

#include <string.h>

static const uint64_t NX = 1ull << 63;

void cpu_flush(struct cpu *cpu, bool all, uint32_t tag)
{
	for (unsigned i = 0; i < TLB_ENTRIES; i++)
		if (all || cpu->tlb[i].tag == tag)
			cpu->tlb[i].valid = false;
	for (unsigned i = 0; i < TABLE_CACHE; i++)
		if (all || cpu->table[i].tag == tag)
			cpu->table[i].valid = false;
}

/* INVLPGA, INVVPID 0: the leaf of any size, and all upper levels of the tag. */
void cpu_flush_address(struct cpu *cpu, uint32_t tag, uint64_t gva)
{
	for (unsigned i = 0; i < TLB_ENTRIES; i++) {
		struct tlb_entry *e = &cpu->tlb[i];

		if (e->tag == tag && e->to.gva == (gva & ~((1ull << e->to.shift) - 1)))
			e->valid = false;
	}
	for (unsigned i = 0; i < TABLE_CACHE; i++)
		if (cpu->table[i].tag == tag)
			cpu->table[i].valid = false;
}

struct tlb_entry *tlb_find(struct cpu *cpu, uint32_t tag, uint64_t gva)
{
	for (unsigned i = 0; i < TLB_ENTRIES; i++) {
		struct tlb_entry *e = &cpu->tlb[i];

		if (e->valid && e->tag == tag && e->to.gva == (gva & ~((1ull << e->to.shift) - 1)))
			return e;
	}
	return NULL;
}

void tlb_insert(struct vcpu *v, const struct translation *to)
{
	struct world *w = v->vm->world;
	struct tlb_entry *e = tlb_find(v->cpu, v->entry.tag, to->gva);

	if (!e)
		e = &v->cpu->tlb[below(&w->random, TLB_ENTRIES)];
	e->valid = true;
	e->tag = v->entry.tag;
	e->to = *to;
	e->filled = w->clock;
	e->context = v->vm->model->vcpu[v->index].context;
	e->guest_asid = v->vm->model->vcpu[v->index].guest_asid[e->context];
	e->vcpu = v;
	e->vm_epoch = v->vm->model->epoch;
	e->vcpu_epoch = v->vm->model->vcpu[v->index].epoch;
}

/* What it holds is checked when the vCPU enters with it. */
void tlb_insert_unchecked(struct vcpu *v, const struct translation *to)
{
	tlb_insert(v, to);
	tlb_find(v->cpu, v->entry.tag, to->gva)->vcpu = NULL;
}

static bool is_ept(const struct vcpu *v)
{
	enum rhz_paging_kind kind = runs_nested(v) ? v->vm->lib_config.nested :
	                                             v->vm->lib_config.kind;

	return kind == RHZ_EPT_4LEVEL || kind == RHZ_EPT_5LEVEL;
}

/* Does the processor keep A and D bits in the EPT that it runs? For L2 as L1's EPTP says. */
static bool has_ad(const struct vcpu *v)
{
	const struct model_regs *regs = model_vcpu_regs(v->vm->model, v->index);

	if (!is_ept(v))
		return true;
	return v->vm->lib_config.host_cpu.ept_ad && (!runs_nested(v) || regs->cr3 & 64);
}

/* What decides an access beside the translation. */
struct rules {
	bool unseen, ept, smep, smap, pke, pks;
	uint32_t pkru, pkrs;
};

/* The guest's registers as the processor has them: paging always on, WP always set. */
static struct rules rules_of(const struct vcpu *v)
{
	const struct model_regs *regs = model_vcpu_regs(v->vm->model, v->index);
	bool paging = regs->cr0 >> 31 & 1, keys = paging && v->entry.levels >= 4;

	return (struct rules){
		.unseen = runs_unseen(v),
		.ept = is_ept(v),
		.smep = paging && regs->cr4 & RHZ_CR4_SMEP,
		.smap = paging && regs->cr4 & RHZ_CR4_SMAP,
		.pke = keys && regs->cr4 & RHZ_CR4_PKE,
		.pks = keys && regs->cr4 & RHZ_CR4_PKS,
		.pkru = regs->pkru,
		.pkrs = regs->pkrs,
	};
}

static bool key_allows(const struct rules *r, const struct translation *to, unsigned access)
{
	uint32_t key;

	if (access & RHZ_ACCESS_FETCH || !(to->user ? r->pke : r->pks))
		return true;
	key = (to->user ? r->pkru : r->pkrs) >> 2 * to->key & 3;
	return !(key & 1) && !(key & 2 && access & RHZ_ACCESS_WRITE);
}

static bool allows(const struct rules *r, const struct translation *to, unsigned access,
                   uint32_t *error)
{
	bool user = access & RHZ_ACCESS_USER, write = access & RHZ_ACCESS_WRITE;
	bool fetch = access & RHZ_ACCESS_FETCH, fine;

	*error = 0;
	if (r->unseen) {
		fine = fetch ? !to->nx : write ? to->write : to->read;
		fine = fine && (to->user || r->ept);
	} else {
		if (fetch)
			fine = !to->nx && (user ? to->user : !(to->user && r->smep));
		else if (user)
			fine = to->user && (to->write || !write);
		else
			fine = (to->write || !write) &&
			       !(to->user && r->smap &&
			         (!(access & RHZ_ACCESS_AC) || access & RHZ_ACCESS_IMPLICIT));
		if (!key_allows(r, to, access)) {
			*error |= RHZ_PF_PK;
			fine = false;
		}
	}
	*error |= RHZ_PF_P | (write ? RHZ_PF_W : 0) | (user ? RHZ_PF_U : 0) |
	          (fetch ? RHZ_PF_I : 0);
	return fine;
}

bool cpu_allows(struct vcpu *v, const struct translation *to, unsigned access, uint32_t *error)
{
	struct rules rules = rules_of(v);

	return allows(&rules, to, access, error);
}

unsigned cpu_abilities(struct vcpu *v, const struct translation *to)
{
	struct rules rules = rules_of(v);
	unsigned set = 0;
	uint32_t error;

	for (unsigned i = 0; i < MODEL_ABILITIES; i++)
		if (allows(&rules, to, model_ability_access(i), &error))
			set |= 1u << i;
	return set;
}

enum kind { HOLE, TABLE, LEAF, BROKEN };

/* An entry of the format that the processor runs [SDM3 4.4, 4.5] [APM2 5.3, 15.25]. */
static enum kind read_entry(struct vcpu *v, unsigned level, uint64_t e, struct translation *to)
{
	const struct rhz_host_cpu *host = &v->vm->lib_config.host_cpu;
	bool pae = v->entry.levels == 3;
	unsigned top = pae ? 63 : 52;
	uint64_t reserved = ((1ull << top) - 1) & ~((1ull << host->maxphyaddr) - 1);
	bool gib = level == 3 && host->pages_1g && !pae;
	bool leaf = level == 1 || (e & 128 && (level == 2 || gib));

	if (!(e & 1))
		return HOLE;
	if (pae && level == 3) {
		if (e & (0x1e6 | reserved | NX))
			fail(v->vm->world, "PDPTE %#llx has reserved bits", (unsigned long long)e);
		return TABLE;
	}
	if (leaf && level > 1)
		reserved |= (1ull << (12 + 9 * (level - 1))) - (1ull << 13);
	if (!leaf && level >= 3)
		reserved |= 128;
	if (!host->nx)
		reserved |= NX;
	if (e & reserved)
		return BROKEN;
	to->write &= (e & 2) != 0;
	to->user &= (e & 4) != 0;
	to->nx |= (e & NX) != 0;
	if (!leaf)
		return TABLE;
	to->dirty = e & 64;
	to->key = pae ? 0 : e >> 59 & 15;
	to->type = (e >> 3 & 3) | (e & (level == 1 ? 128 : 4096) ? 4 : 0);
	return LEAF;
}

/* An EPT entry [SDM3 28.3.2, 28.3.3.1]. */
static enum kind read_ept(struct vcpu *v, unsigned level, uint64_t e, struct translation *to)
{
	const struct rhz_host_cpu *host = &v->vm->lib_config.host_cpu;
	uint64_t reserved = ((1ull << 52) - 1) & ~((1ull << host->maxphyaddr) - 1);
	bool leaf = level == 1 || (e & 128 && (level == 2 || (level == 3 && host->pages_1g)));
	unsigned type = e >> 3 & 7;

	if (!(e & 7))
		return HOLE;
	if (!leaf)
		reserved |= 0xf8;
	else if (level > 1)
		reserved |= (1ull << (12 + 9 * (level - 1))) - (1ull << 12);
	if (e & reserved || (e & 3) == 2 || ((e & 7) == 4 && !host->ept_execute_only) ||
	    (leaf && (type == 2 || type == 3 || type == 7)))
		return BROKEN;
	to->read &= (e & 1) != 0;
	to->write &= (e & 2) != 0;
	to->nx |= !(e & 4);
	if (!leaf)
		return TABLE;
	to->dirty = !has_ad(v) || e & 512;
	to->type = type | (e & 64 ? 8 : 0);
	return LEAF;
}

static unsigned index_of(struct vcpu *v, unsigned level, uint64_t gva)
{
	return gva >> (12 + 9 * (level - 1)) & (v->entry.levels == 3 && level == 3 ? 3 : 511);
}

static uint64_t *table_at(struct vcpu *v, uint64_t table)
{
	struct world *w = v->vm->world;
	struct pool_page *page = pool_page_at(w, table);

	if (!page || !page->used || page->vm != v->vm->index)
		fail(w, "the processor walks into a page that is not a table of this VM: %#llx",
		     (unsigned long long)table);
	return pool_at(w, table & ~0xfffull);
}

/* Some processors load the PDPTEs at the entry, others read them when they walk [SDM3 4.4.1]. */
static uint64_t *entry_at(struct vcpu *v, unsigned level, uint64_t table, uint64_t gva)
{
	uint64_t *page = table_at(v, table);

	if (v->entry.levels == 3 && level == 3 && v->vm->world->pdpte_registers && v->running)
		return &v->pdpte[index_of(v, level, gva)];
	return page + (table >> 3 & 511) + index_of(v, level, gva);
}

/* The deepest level known for the address under this tag; the root if none. */
static unsigned start_of_walk(struct vcpu *v, uint64_t gva, uint64_t *table, struct translation *to)
{
	unsigned level = v->entry.levels;

	*table = v->entry.root.v;
	for (unsigned i = 0; i < TABLE_CACHE && v->vm->world->table_cache; i++) {
		struct table_entry *e = &v->cpu->table[i];

		if (!e->valid || e->tag != v->entry.tag || e->level >= level ||
		    e->prefix != gva >> (12 + 9 * e->level))
			continue;
		if (pool_page_at(v->vm->world, e->table)->serial != e->serial)
			fail(v->vm->world, "a cached table %#llx has been freed",
			     (unsigned long long)e->table);
		level = e->level;
		*table = e->table;
		to->write = e->write;
		to->user = e->user;
		to->nx = e->nx;
		to->read = e->read;
	}
	return level;
}

static void cache_table(struct vcpu *v, uint64_t gva, unsigned level, uint64_t table,
                        const struct translation *to)
{
	struct world *w = v->vm->world;
	struct pool_page *page = pool_page_at(w, table);

	if (!w->table_cache || !page || !chance(&w->random, 40))
		return;
	v->cpu->table[below(&w->random, TABLE_CACHE)] = (struct table_entry){
		true, v->entry.tag, gva >> (12 + 9 * level), level, table, page->serial,
		to->write, to->user, to->nx, to->read,
	};
}

/* A, and D for a write, as the processor sets them on its way. */
static void set_bits(struct vcpu *v, unsigned level, uint64_t *e, enum kind kind, bool write,
                     struct translation *to)
{
	bool ept = is_ept(v);

	if (v->entry.levels == 3 && level == 3)
		return;
	if (!has_ad(v))
		return;
	*e |= ept ? 256 : 32;
	if (kind == LEAF && write && to->write) {
		*e |= ept ? 512 : 64;
		to->dirty = true;
	}
}

bool cpu_walk(struct vcpu *v, uint64_t gva, unsigned access, bool set_ad, struct translation *to,
              uint32_t *error)
{
	unsigned maxphyaddr = v->vm->lib_config.host_cpu.maxphyaddr, level;
	uint64_t table, *entry, *path[6], address;
	enum kind kind;

	memset(to, 0, sizeof(*to));
	to->write = to->user = to->read = true;
	if (v->entry.levels == 3)
		gva &= 0xffffffff;
	level = set_ad ? start_of_walk(v, gva, &table, to) : v->entry.levels;
	table = set_ad ? table : v->entry.root.v;
	for (unsigned top = level;; level--) {
		entry = entry_at(v, level, table, gva);
		kind = is_ept(v) ? read_ept(v, level, *entry, to)
		                     : read_entry(v, level, *entry, to);
		path[level] = entry;
		if (kind == HOLE || kind == BROKEN) {
			*error = (access & RHZ_ACCESS_WRITE ? RHZ_PF_W : 0) |
			         (access & RHZ_ACCESS_USER ? RHZ_PF_U : 0) |
			         (access & RHZ_ACCESS_FETCH ? RHZ_PF_I : 0) |
			         (kind == BROKEN ? RHZ_PF_P | RHZ_PF_RSVD : 0);
			return false;
		}
		address = *entry & ((1ull << maxphyaddr) - 1) & ~0xfffull;
		if (kind == LEAF) {
			to->shift = 12 + 9 * (level - 1);
			to->gva = gva & ~((1ull << to->shift) - 1);
			to->hpa = address & ~((1ull << to->shift) - 1);
			if (!cpu_allows(v, to, access, error))
				return false;
			for (unsigned i = level; set_ad && i <= top; i++)
				set_bits(v, i, path[i], i == level ? LEAF : TABLE,
				         access & RHZ_ACCESS_WRITE, to);
			return true;
		}
		table = address;
		if (set_ad)
			cache_table(v, gva, level - 1, table, to);
	}
}
