/* SPDX-License-Identifier: MIT */
/* The reference MMU: see mmu.h. Bits are written as numbers, beside what the manual calls them. */
#include "mmu.h"

#include <string.h>

static uint64_t bit(unsigned n)
{
	return 1ull << n;
}

/* Bits high to low, both included; none if high < low. */
static uint64_t bits(unsigned high, unsigned low)
{
	return high < low ? 0 : (~0ull >> (63 - high)) & (~0ull << low);
}

/* The paging mode [SDM3 4.1.1]. */
void model_mode_of(struct model_mode *mode, const struct model_cpuid *cpuid,
                   const struct model_regs *regs)
{
	bool pg = regs->cr0 & bit(31), pae = regs->cr4 & bit(5);
	bool lma = regs->efer & bit(10), la57 = regs->cr4 & bit(12);

	memset(mode, 0, sizeof(*mode));
	mode->nested = regs->kind != MODEL_LINEAR;
	if (regs->kind == MODEL_EPT) { /* EPTP [SDM3 24.6.11] */
		mode->levels = (regs->cr3 >> 3 & 7) + 1;
		mode->paging = mode->levels == 5 ? MODEL_EPT5 : MODEL_EPT4;
		mode->ad = regs->cr3 & bit(6);
		mode->execute_only = cpuid->ept_execute_only;
		mode->gbpages = cpuid->ept_1g;
		mode->maxphyaddr = cpuid->maxphyaddr;
		return;
	}
	mode->pse = regs->cr4 & bit(4);
	mode->pge = regs->cr4 & bit(7);
	mode->nxe = regs->efer & bit(11);
	mode->pse36 = cpuid->pse36;
	mode->amd = cpuid->amd;
	mode->gbpages = cpuid->gbpages;
	mode->maxphyaddr = cpuid->maxphyaddr;
	if (!pg) {
		mode->paging = MODEL_NONE;
	} else if (!pae) {
		mode->paging = MODEL_32;
		mode->levels = 2;
	} else if (!lma) {
		mode->paging = MODEL_PAE;
		mode->levels = 3;
	} else {
		mode->paging = la57 ? MODEL_5LEVEL : MODEL_4LEVEL;
		mode->levels = la57 ? 5 : 4;
	}
}

unsigned model_top_level(const struct model_mode *mode)
{
	return mode->levels;
}

unsigned model_entry_bytes(const struct model_mode *mode)
{
	return mode->paging == MODEL_32 ? 4 : 8;
}

unsigned model_index(const struct model_mode *mode, unsigned level, uint64_t gva)
{
	if (mode->paging == MODEL_32) /* [SDM3 4.3] */
		return gva >> (level == 1 ? 12 : 22) & 1023;
	if (mode->paging == MODEL_PAE && level == 3) /* [SDM3 4.4] */
		return gva >> 30 & 3;
	return gva >> (12 + 9 * (level - 1)) & 511;
}

uint64_t model_root(const struct model_mode *mode, uint64_t cr3)
{
	if (mode->paging == MODEL_32)
		return cr3 & bits(31, 12);
	if (mode->paging == MODEL_PAE)
		return cr3 & bits(31, 5);
	return cr3 & bits(mode->maxphyaddr - 1, 12);
}

/* The address is one that nested tables of this depth can map. */
static bool in_reach(const struct model_mode *mode, uint64_t ngpa)
{
	unsigned width = mode->levels >= 4 ? 12 + 9 * mode->levels : 32;

	return ngpa >> width == 0;
}

/* Bits 47 (or 56) and above are all equal [SDM3 4.5.2]; no question of nested tables. */
bool model_canonical(const struct model_mode *mode, uint64_t gva)
{
	uint64_t high;

	if (mode->nested)
		return true;
	if (mode->paging != MODEL_4LEVEL && mode->paging != MODEL_5LEVEL)
		return true;
	high = gva >> (mode->paging == MODEL_4LEVEL ? 47 : 56);
	return high == 0 || high == ~0ull >> (mode->paging == MODEL_4LEVEL ? 47 : 56);
}

/* 32-bit paging [SDM3 4.3, tables 4-4 to 4-6]. */
static void decode_32(const struct model_mode *mode, unsigned level, uint64_t value,
                      struct model_entry *e)
{
	unsigned width = mode->maxphyaddr < 40 ? mode->maxphyaddr : 40;

	e->leaf = level == 1 || (mode->pse && value & bit(7));
	if (level == 2 && e->leaf) {
		e->shift = 22;
		e->next = value & bits(31, 22);
		if (mode->pse36 && width > 32) { /* bits 39:32 stand in 20:13 */
			e->next |= (value & bits(width - 20, 13)) << 19;
			e->reserved = value & bits(21, width - 19);
		} else {
			e->reserved = value & bits(21, 13);
		}
	} else {
		e->shift = 12;
		e->next = value & bits(31, 12);
	}
}

/* PAE, 4-level and 5-level paging [SDM3 4.4, 4.5] [APM2 5.3]. */
static void decode_64(const struct model_mode *mode, unsigned level, uint64_t value,
                      struct model_entry *e)
{
	bool pae = mode->paging == MODEL_PAE;
	uint64_t reserved = bits(pae ? 62 : 51, mode->maxphyaddr);

	if (!mode->nxe)
		reserved |= bit(63);
	e->leaf = level == 1 || ((level == 2 || (level == 3 && mode->gbpages)) && value & bit(7));
	e->shift = level == 1 ? 12 : level == 2 ? 21 : 30;
	e->next = value & bits(mode->maxphyaddr - 1, 12);
	if (e->leaf && level > 1) {
		reserved |= bits(e->shift - 1, 13);
		e->next &= ~bits(e->shift - 1, 12);
	}
	if (level >= 4 || (level == 3 && !mode->gbpages))
		reserved |= bit(7); /* PS where there is no page of that size */
	if (mode->amd && level >= 4)
		reserved |= bit(8); /* [APM2 5.3.3]: MBZ in PML5E and PML4E, ignored in PDPE */
	e->reserved = value & reserved;
	e->nx = mode->nxe && value & bit(63);
	if (!pae)
		e->key = value >> 59 & 15;
}

/* [SDM3 28.3.2]; 'reserved' is a misconfiguration [SDM3 28.3.3.1]. */
static void decode_ept(const struct model_mode *mode, unsigned level, uint64_t value,
                       struct model_entry *e)
{
	unsigned type = value >> 3 & 7;

	e->present = value & 7;
	e->read = value & bit(0);
	e->write = value & bit(1);
	e->nx = !(value & bit(2));
	e->user = true;
	e->leaf = level == 1 || ((level == 2 || level == 3) && value & bit(7));
	e->shift = 12 + 9 * (level - 1);
	e->next = value & bits(mode->maxphyaddr - 1, 12);
	e->reserved = value & bits(51, mode->maxphyaddr);
	if (e->leaf) {
		e->next &= ~bits(e->shift - 1, 0);
		e->reserved |= level > 1 && value & bits(e->shift - 1, 12);
		e->reserved |= level == 3 && !mode->gbpages;
		e->reserved |= type == 2 || type == 3 || type == 7;
		e->type = type | (value & bit(6) ? 8 : 0);
	} else {
		e->reserved |= value & bits(6, 3) || (level >= 4 && value & bit(7));
	}
	e->reserved |= (value & 3) == 2 || ((value & 7) == 4 && !mode->execute_only) ||
	               (value & 7) == 6;
	e->accessed = !mode->ad || value & bit(8);
	e->dirty = !mode->ad || value & bit(9);
}

void model_decode(const struct model_mode *mode, unsigned level, uint64_t value,
                  struct model_entry *e)
{
	memset(e, 0, sizeof(*e));
	if (mode->paging >= MODEL_EPT4) {
		decode_ept(mode, level, value, e);
		return;
	}
	e->present = value & bit(0);
	if (!e->present)
		return;
	e->read = true;
	e->write = value & bit(1);
	e->user = value & bit(2);
	e->accessed = value & bit(5);
	if (mode->paging == MODEL_PAE && level == 3) {
		/* a PDPTE register: no rights, no A bit, judged when it was loaded; L1's nested
		 * tables have it in memory, judged when it is read */
		e->write = e->user = e->accessed = true;
		e->next = value & bits(mode->maxphyaddr - 1, 12);
		e->reserved = mode->nested && (value & 0x1e6 || value >> mode->maxphyaddr);
		return;
	}
	if (mode->paging == MODEL_32)
		decode_32(mode, level, value, e);
	else
		decode_64(mode, level, value, e);
	if (e->leaf) {
		e->dirty = value & bit(6);
		e->global = mode->pge && value & bit(8);
		e->type = value >> 3 & 3;
		if (value & (e->shift == 12 ? bit(7) : bit(12)))
			e->type |= 4;
	}
}

/* Rights without keys [SDM3 4.6.1]. */
bool model_rights_allow(const struct model_regs *regs, const struct model_rights *rights,
                        unsigned access)
{
	bool wp = regs->cr0 & bit(16), smep = regs->cr4 & bit(20), smap = regs->cr4 & bit(21);
	bool write = rights->write, user = rights->user, nx = rights->nx;

	if (regs->kind != MODEL_LINEAR) /* all are a user's accesses [APM2 15.25.5] */
		return user && (access & MODEL_FETCH ? !nx : access & MODEL_WRITE ? write :
		                rights->read);
	if (!(regs->cr0 & bit(31)))
		return true;
	if (access & MODEL_FETCH) {
		if (nx)
			return false;
		return access & MODEL_USER ? user : !(user && smep);
	}
	if (access & MODEL_USER)
		return user && (write || !(access & MODEL_WRITE));
	if (user && smap && (!(access & MODEL_AC) || access & MODEL_IMPLICIT))
		return false;
	return write || !wp || !(access & MODEL_WRITE);
}

/* Protection keys [SDM3 4.6.2]: data accesses in long mode only. */
bool model_key_allows(const struct model_regs *regs, bool user, unsigned key, unsigned access)
{
	uint32_t rights;
	bool wp = regs->cr0 & bit(16);

	if (!(regs->cr0 & bit(31)) || !(regs->efer & bit(10)) || access & MODEL_FETCH ||
	    regs->kind != MODEL_LINEAR)
		return true;
	if (!(regs->cr4 & (user ? bit(22) : bit(24)))) /* PKE, PKS */
		return true;
	rights = (user ? regs->pkru : regs->pkrs) >> (2 * key);
	if (rights & 1) /* AD */
		return false;
	if (rights & 2 && access & MODEL_WRITE) /* WD */
		return !(access & MODEL_USER || wp);
	return true;
}

unsigned model_ability_access(unsigned ability)
{
	static const unsigned what[3] = { 0, MODEL_WRITE, MODEL_FETCH };
	static const unsigned who[3] = { MODEL_USER, 0, MODEL_AC };

	return what[ability % 3] | who[ability / 3];
}

unsigned model_abilities(const struct model_regs *regs, const struct model_rights *rights,
                         unsigned key)
{
	unsigned set = 0;

	for (unsigned i = 0; i < MODEL_ABILITIES; i++) {
		unsigned access = model_ability_access(i);

		if (model_rights_allow(regs, rights, access) &&
		    model_key_allows(regs, rights->user, key, access))
			set |= 1u << i;
	}
	return set;
}

/* The bits of an error code that the access alone decides [SDM3 4.7]. */
static uint32_t error_of_access(const struct model_regs *regs, unsigned access)
{
	uint32_t error = 0;

	bool smep = regs->cr4 & bit(20) && regs->kind == MODEL_LINEAR;

	if (access & MODEL_WRITE)
		error |= 2;
	if (access & MODEL_USER || regs->kind != MODEL_LINEAR)
		error |= 4;
	if (access & MODEL_FETCH && (smep || (regs->cr4 & bit(5) && regs->efer & bit(11))))
		error |= 16;
	return error;
}

/* Goes down the tables as long as there are some. False: not present, or a reserved bit. */
static bool descend(const struct model_mode *mode, const struct model_regs *regs, uint64_t gva,
                    model_read read, void *ctx, struct model_walk *walk)
{
	unsigned bytes = model_entry_bytes(mode);
	uint64_t table = model_root(mode, regs->cr3);

	walk->read = walk->write = walk->user = walk->accessed = true;
	for (unsigned level = model_top_level(mode);; level--) {
		unsigned index = model_index(mode, level, gva);
		struct model_entry e;
		uint64_t value;

		if (mode->paging == MODEL_PAE && level == 3 && !mode->nested) {
			value = regs->pdpte[index];
		} else {
			struct model_step *step = &walk->step[walk->steps++];

			step->gpa = table + (uint64_t)index * bytes;
			step->bytes = bytes;
			step->level = level;
			step->value = value = read(ctx, step->gpa, bytes);
		}
		model_decode(mode, level, value, &e);
		if (e.present && e.reserved) {
			walk->error |= 1 | 8;
			walk->broken = true;
			return false;
		}
		walk->read &= e.read;
		walk->write &= e.write;
		walk->user &= e.user;
		walk->accessed &= e.accessed;
		walk->nx |= e.nx || !e.present;
		if (!e.present)
			return false;
		table = e.next;
		if (e.leaf) {
			walk->key = e.key;
			walk->type = e.type;
			walk->shift = e.shift;
			walk->global = e.global;
			walk->dirty = e.dirty;
			walk->gpa = e.next | (gva & bits(e.shift - 1, 0));
			return true;
		}
	}
}

void model_mmu_walk(const struct model_cpuid *cpuid, const struct model_regs *regs, uint64_t gva,
                    unsigned access, model_read read, void *ctx, struct model_walk *walk)
{
	struct model_rights all;
	struct model_mode mode;
	bool rights, key;

	memset(walk, 0, sizeof(*walk));
	model_mode_of(&mode, cpuid, regs);
	if (mode.paging == MODEL_NONE) {
		walk->exists = walk->read = walk->write = walk->user = true;
		walk->accessed = walk->dirty = true;
		walk->shift = 12;
		walk->gpa = gva & bits(31, 0);
		return;
	}
	walk->outcome = MODEL_NON_CANONICAL;
	if (!model_canonical(&mode, gva))
		return;
	if (mode.levels < 4 && !mode.nested) /* what nested tables cannot reach is not mapped */
		gva &= bits(31, 0);
	walk->outcome = MODEL_FAULT;
	walk->error = error_of_access(regs, access);
	walk->nx = mode.nested;
	if (mode.nested && !in_reach(&mode, gva))
		return;
	walk->nx = false;
	if (!descend(&mode, regs, gva, read, ctx, walk))
		return;
	walk->exists = true;
	all = (struct model_rights){ walk->read, walk->write, walk->user, walk->nx };
	rights = model_rights_allow(regs, &all, access);
	key = model_key_allows(regs, walk->user, walk->key, access);
	if (rights && key) {
		walk->outcome = MODEL_OK;
		walk->error = 0;
		return;
	}
	walk->error |= 1;
	if (!key) /* whether or not another right is missing too */
		walk->error |= 32;
}

uint64_t model_exit_info(const struct model_regs *regs, const struct model_walk *walk,
                         unsigned access, bool table)
{
	uint64_t info;

	if (regs->kind == MODEL_NPT)
		return walk->error | (table ? bit(33) : bit(32));
	if (table)
		info = regs->cr3 & bit(6) ? 3 : 1; /* with A and D a table is written too */
	else
		info = access & MODEL_FETCH ? 4 : access & MODEL_WRITE ? 2 : 1;
	return info | (walk->read ? bit(3) : 0) | (walk->write ? bit(4) : 0) |
	       (walk->nx ? 0 : bit(5));
}
