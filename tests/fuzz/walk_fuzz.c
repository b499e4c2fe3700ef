/* SPDX-License-Identifier: MIT */
/*
 * The guest walk: registers, CPUID, address and tables from the input, by the library and by the
 * model; linear, nested and EPT. They must agree on every detail, and on which registers a
 * processor can hold.
 *
 * Guest memory is a function: the word at an address is one of the input's, chosen by the address.
 * Pages of one colour are missing.
 */
#include "fuzz.h"

#include <rhizome/guest.h>

#include "model/mmu.h"

struct memory {
	struct input words; /* the 8-byte ones that there are */
	unsigned missing;   /* page number modulo 32; 32 and more: none is */
	bool hit_missing;   /* the model has read there: what it found is worth nothing */
};

struct given {
	struct rhz_cpuid cpuid;
	struct model_cpuid model_cpuid;
	struct rhz_regs regs;
	struct model_regs model_regs;
	uint64_t gva;
	unsigned access;
	struct memory memory;
};

static bool read_entry(void *ctx, rhz_gpa at, unsigned bytes, uint64_t *value)
{
	const struct memory *memory = ctx;
	struct input words = memory->words;
	uint64_t count = words.left / 8;

	must((bytes == 4 || bytes == 8) && at.v % bytes == 0);
	must(at.v >> 52 == 0);
	*value = 0;
	if ((at.v >> 12) % 32 == memory->missing)
		return false;
	if (!count)
		return true;
	words.at += 8 * ((at.v >> 3 ^ at.v >> 12) % count);
	*value = take(&words, 8);
	if (bytes == 4)
		*value = (uint32_t)(at.v & 4 ? *value >> 32 : *value);
	return true;
}

static uint64_t model_read_entry(void *ctx, uint64_t gpa, unsigned bytes)
{
	struct memory *memory = ctx;
	uint64_t value;

	if (!read_entry(ctx, (rhz_gpa){ gpa }, bytes, &value))
		memory->hit_missing = true;
	return value;
}

static struct model_regs to_model(const struct rhz_regs *regs, enum model_kind kind)
{
	struct model_regs model = { regs->cr0, regs->cr3, regs->cr4, regs->efer, { 0 }, regs->pkru,
	                            regs->pkrs, kind };

	memcpy(model.pdpte, regs->pdpte, sizeof(model.pdpte));
	return model;
}

static void take_cpuid(struct input *input, struct given *g)
{
	unsigned width = 32 + (unsigned)take(input, 1) % 21;
	uint64_t lacks = take(input, 2); /* zeros give a processor that has it all */
	struct model_cpuid *m = &g->model_cpuid;

	*m = (struct model_cpuid){
		.amd = lacks & 1, .maxphyaddr = width, .pse = ~lacks & 2, .pae = ~lacks & 4,
		.pge = ~lacks & 8, .pse36 = ~lacks & 16, .nx = ~lacks & 32,
		.gbpages = ~lacks & 64, .la57 = ~lacks & 128, .pcid = ~lacks & 256,
		.smep = ~lacks & 512, .smap = ~lacks & 1024, .pku = ~lacks & 2048,
		.pks = ~lacks & 4096, .ept_1g = ~lacks & 8192, .ept_execute_only = ~lacks & 16384,
		.ept_ad = true, .nested_levels = lacks & 32768 ? 4 : 5,
	};
	g->cpuid = (struct rhz_cpuid){
		.vendor = m->amd ? RHZ_VENDOR_AMD : RHZ_VENDOR_INTEL, .maxphyaddr = (uint8_t)width,
		.pse = m->pse, .pae = m->pae, .pge = m->pge, .pse36 = m->pse36, .pat = true,
		.nx = m->nx, .gbpages = m->gbpages, .la57 = m->la57, .pcid = m->pcid,
		.invpcid = true, .smep = m->smep, .smap = m->smap, .pku = m->pku, .pks = m->pks,
	};
}

/* Any bits that paging looks at; 'paging' makes them fit together more often than chance. */
static struct rhz_regs take_regs(struct input *input)
{
	static const uint64_t cr0_bits = RHZ_CR0_PE | RHZ_CR0_WP | RHZ_CR0_NW | RHZ_CR0_CD |
	                                 RHZ_CR0_PG;
	static const uint64_t cr4_bits = RHZ_CR4_PSE | RHZ_CR4_PAE | RHZ_CR4_PGE | RHZ_CR4_LA57 |
	                                 RHZ_CR4_PCIDE | RHZ_CR4_SMEP | RHZ_CR4_SMAP | RHZ_CR4_PKE |
	                                 RHZ_CR4_PKS;
	static const uint64_t efer_bits = RHZ_EFER_LME | RHZ_EFER_LMA | RHZ_EFER_NXE;
	unsigned paging = (unsigned)take(input, 1) % 6; /* 5: as they come */
	struct rhz_regs regs = { 0 };

	regs.cr0 = take(input, 4) & cr0_bits;
	regs.cr4 = take(input, 4) & cr4_bits;
	regs.efer = take(input, 2) & efer_bits;
	regs.cr3 = take(input, 8);
	regs.pkru = (uint32_t)take(input, 4);
	regs.pkrs = (uint32_t)take(input, 4);
	if (paging == 5)
		return regs;
	regs.cr0 &= ~(RHZ_CR0_PG | RHZ_CR0_NW);
	regs.efer &= ~(RHZ_EFER_LME | RHZ_EFER_LMA);
	if (paging)
		regs.cr0 |= RHZ_CR0_PG | RHZ_CR0_PE;
	if (paging < 3)
		regs.cr4 &= ~RHZ_CR4_PCIDE;
	if (paging == 1)
		regs.cr4 &= ~RHZ_CR4_PAE;
	if (paging >= 2)
		regs.cr4 |= RHZ_CR4_PAE;
	if (paging >= 3)
		regs.efer |= RHZ_EFER_LME | RHZ_EFER_LMA;
	regs.cr4 &= ~(paging == 3 ? RHZ_CR4_LA57 : 0);
	regs.cr4 |= paging == 4 ? RHZ_CR4_LA57 : 0;
	return regs;
}

/* Each entry that the library says it has read, the model has read too, and the other way round. */
static void check_steps(const struct rhz_walk *w, const struct model_walk *m, unsigned first)
{
	unsigned steps = 0;

	for (unsigned level = first; level >= w->level && level; level--, steps++) {
		must(steps < m->steps && m->step[steps].level == level);
		must(m->step[steps].gpa == w->table[level].v);
		must(m->step[steps].value == w->entry[level]);
	}
	must(steps == m->steps);
}

static bool swap_entry(void *ctx, rhz_gpa at, unsigned bytes, uint64_t old, uint64_t new)
{
	uint64_t value;

	must(read_entry(ctx, at, bytes, &value) && value == old && old != new);
	must(((old ^ new) & ~0x60ull) == 0);
	return true;
}

/* A at every level, D in the leaf of a write, and nothing else [SDM3 4.8]. */
static void check_ad(struct given *g, const struct rhz_mode *mode, struct rhz_walk *w,
                     unsigned first)
{
	struct rhz_walk was = *w;
	bool set = false;

	for (unsigned level = first; level >= w->level && level; level--) {
		bool leaf = level == w->level;

		was.entry[level] |= 0x20 | (leaf && g->access & RHZ_ACCESS_WRITE ? 0x40 : 0);
		set |= was.entry[level] != w->entry[level];
	}
	must(rhz_guest_set_ad(mode, w, g->access, swap_entry, &g->memory) ==
	     (set ? RHZ_AD_SET : RHZ_AD_UNCHANGED));
	for (unsigned level = first; level >= w->level && level; level--)
		must(w->entry[level] == was.entry[level]);
}

static void check_outcome(const struct given *g, const struct rhz_walk *w,
                          const struct model_walk *m, const struct rhz_mode *mode)
{
	bool exists = w->outcome == RHZ_WALK_OK || w->outcome == RHZ_WALK_RIGHTS ||
	              w->outcome == RHZ_WALK_KEY;

	if ((w->outcome == RHZ_WALK_OK) != (m->outcome == MODEL_OK) || exists != m->exists ||
	    (w->outcome == RHZ_WALK_NON_CANONICAL) != (m->outcome == MODEL_NON_CANONICAL))
		wrong("gva %#llx access %#x: outcome %d, the model's %d",
		      (unsigned long long)g->gva, g->access, (int)w->outcome, (int)m->outcome);
	if (m->outcome == MODEL_FAULT && w->error_code != m->error)
		wrong("gva %#llx access %#x: error code %#x, the model's %#x",
		      (unsigned long long)g->gva, g->access, w->error_code, m->error);
	if (m->outcome == MODEL_FAULT && !exists)
		must((w->outcome == RHZ_WALK_RESERVED) == m->broken);
	if (!exists)
		return;
	must(w->gpa.v == m->gpa && w->page_shift == m->shift && w->accessed == m->accessed);
	must(w->global == (m->global && !mode->nested));
	must(w->key == (mode->pke || mode->pks ? m->key : 0));
	must(w->rights == (RHZ_RIGHT_READ | (m->write ? RHZ_RIGHT_WRITE : 0) |
	                   (m->user ? RHZ_RIGHT_USER : 0) | (m->nx ? 0 : RHZ_RIGHT_EXEC)));
}

static void check_walk(struct given *g, const struct rhz_mode *mode)
{
	unsigned first = mode->levels;
	struct model_walk m;
	struct rhz_walk w;

	if (mode->paging == RHZ_PAGING_PAE && mode->nested) {
		/* who makes the root of nested tables reads the PDPTEs [APM2 15.25.10] */
		g->memory.missing = 32;
		for (unsigned i = 0; i < 4; i++)
			read_entry(&g->memory, (rhz_gpa){ (g->regs.cr3 & 0xffffffe0) + 8 * i }, 8,
			           &g->regs.pdpte[i]);
	}
	model_mmu_walk(&g->model_cpuid, &g->model_regs, g->gva, g->access, model_read_entry,
	               &g->memory, &m);
	memset(&w, 0xee, sizeof(w)); /* so that what is not written shows */
	rhz_guest_walk(mode, &g->regs, (rhz_gva){ g->gva }, g->access, read_entry, &g->memory, &w);
	must((w.outcome == RHZ_WALK_TABLE) == g->memory.hit_missing);
	if (w.outcome == RHZ_WALK_TABLE)
		return;
	check_outcome(g, &w, &m, mode);
	if (mode->paging == RHZ_PAGING_PAE && !mode->nested)
		first = 2;
	else if (mode->paging == RHZ_PAGING_PAE && m.steps) /* the PDPTE has no address */
		m.step[0].gpa = w.table[3].v = 0;
	if (w.outcome != RHZ_WALK_NON_CANONICAL && m.steps)
		check_steps(&w, &m, first);
	if (w.outcome == RHZ_WALK_OK)
		check_ad(g, mode, &w, mode->paging == RHZ_PAGING_PAE ? 2 : first);
}

/* May the registers be loaded when one of them was another? */
static void check_load(const struct given *g, const struct rhz_regs *other, unsigned which)
{
	struct rhz_regs now = g->regs, next = g->regs;
	struct model_regs was, will;

	now.cr0 = which == 0 ? other->cr0 : now.cr0;
	now.cr3 = which == 1 ? other->cr3 : now.cr3;
	now.cr4 = which == 2 ? other->cr4 : now.cr4;
	now.efer = which == 3 ? other->efer : now.efer;
	if (which == 0) /* LMA follows [SDM3 4.1.1] */
		now.efer &= now.cr0 & RHZ_CR0_PG && now.efer & RHZ_EFER_LME ? ~0ull :
		                                                              ~RHZ_EFER_LMA;
	if (!(next.efer & RHZ_EFER_LMA)) /* nothing wider can be loaded then */
		next.cr3 = (uint32_t)next.cr3;
	was = to_model(&now, MODEL_LINEAR);
	will = to_model(&next, MODEL_LINEAR);
	if (!model_load_faults(&g->model_cpuid, &was, &was))
		must((rhz_regs_check(&g->cpuid, &now, &next) == RHZ_LOAD_FAULTS) ==
		     model_load_faults(&g->model_cpuid, &was, &will));
}

/* The registers, and the walk by them. */
static void linear(struct given *g)
{
	struct rhz_mode mode;
	bool possible;

	g->regs.cr0 &= ~RHZ_CR0_NW; /* what CR3 and NW hold decides no mode */
	g->regs.cr3 &= (1ull << g->cpuid.maxphyaddr) - 1;
	g->model_regs = to_model(&g->regs, MODEL_LINEAR);
	possible = rhz_mode_init(&mode, &g->cpuid, &g->regs) == RHZ_OK;
	must(possible == !model_load_faults(&g->model_cpuid, &g->model_regs, &g->model_regs));
	if (!possible)
		return;
	if (mode.paging == RHZ_PAGING_PAE) {
		bool fine = rhz_pdptes_check(&mode, g->regs.pdpte) == RHZ_LOAD_FINE;

		must(fine == !model_pdptes_fault(&g->model_cpuid, g->regs.pdpte));
		if (!fine)
			return;
	}
	check_walk(g, &mode);
}

static void nested(struct given *g)
{
	struct rhz_mode mode;

	g->regs.cr3 &= (1ull << g->cpuid.maxphyaddr) - 1;
	if (rhz_npt_mode_init(&mode, &g->cpuid, &g->regs) != RHZ_OK)
		return;
	g->access = (g->access & (RHZ_ACCESS_WRITE | RHZ_ACCESS_FETCH)) | RHZ_ACCESS_USER;
	g->model_regs = to_model(&g->regs, MODEL_NPT);
	check_walk(g, &mode);
}

static void ept(struct given *g)
{
	const struct model_cpuid *cpuid = &g->model_cpuid;
	uint64_t eptp = g->regs.cr3;
	struct rhz_ept_mode mode;
	struct rhz_ept_walk w;
	struct model_walk m;

	g->model_regs = to_model(&g->regs, MODEL_EPT);
	must((rhz_ept_mode_init(&mode, eptp, g->cpuid.maxphyaddr, cpuid->ept_execute_only,
	                        cpuid->ept_1g, cpuid->nested_levels == 5, false) == RHZ_OK) ==
	     !model_nested_faults(cpuid, &g->model_regs));
	if (!mode.levels)
		return;
	g->access &= RHZ_ACCESS_WRITE | RHZ_ACCESS_FETCH;
	if (g->access & RHZ_ACCESS_FETCH)
		g->access &= ~(unsigned)RHZ_ACCESS_WRITE;
	model_mmu_walk(cpuid, &g->model_regs, g->gva, g->access, model_read_entry, &g->memory, &m);
	rhz_ept_walk(&mode, eptp, (rhz_ngpa){ g->gva }, g->access, read_entry, &g->memory, &w);
	must((w.outcome == RHZ_EPT_TABLE) == g->memory.hit_missing);
	if (w.outcome == RHZ_EPT_TABLE)
		return;
	must((w.outcome == RHZ_EPT_OK) == (m.outcome == MODEL_OK));
	must((w.outcome == RHZ_EPT_MISCONFIG) == m.broken);
	if (w.outcome == RHZ_EPT_VIOLATION)
		must(w.qualification == model_exit_info(&g->model_regs, &m, g->access, false));
	if (m.exists)
		must(w.gpa.v == m.gpa && w.page_shift == m.shift &&
		     w.memory_type == (m.type & 7) && w.ignore_pat == (m.type >> 3 & 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	unsigned what = (unsigned)take(&input, 1);
	struct rhz_regs other;
	struct given g;

	memset(&g, 0, sizeof(g));
	take_cpuid(&input, &g);
	g.regs = take_regs(&input);
	g.gva = take(&input, 8);
	g.access = (unsigned)take(&input, 1) % RHZ_ACCESSES;
	if (g.access & RHZ_ACCESS_FETCH) /* an access is one of the three */
		g.access &= ~(unsigned)RHZ_ACCESS_WRITE;
	if (g.access & RHZ_ACCESS_IMPLICIT) /* and a supervisor's if it is implicit */
		g.access &= ~(unsigned)RHZ_ACCESS_USER;
	g.memory.missing = (unsigned)take(&input, 1);
	if (what % 3 == 0)
		other = take_regs(&input);
	for (unsigned i = 0; what % 3 == 0 && i < 4; i++)
		g.regs.pdpte[i] = take(&input, 8);
	g.memory.words = input;
	if (what % 3 == 0)
		check_load(&g, &other, what / 3 % 4);
	if (what % 3 == 0)
		linear(&g);
	else if (what % 3 == 1)
		nested(&g);
	else
		ept(&g);
	return 0;
}
