/* SPDX-License-Identifier: MIT */
/* The walk, by the manuals, through what we believe the tables to hold. */
#include "torture/arena.h"
#include "torture/machine.h"
#include "torture/paging.h"

/* Reserved on every processor: at least four bits above any physical address there is. */
#define HIGHEST (0xfull << 48)
/* Reserved on some, addresses on others. */
#define HIGH (0xffffull << 32)
#define PAE_IGNORED (0x7ffull << 52)

enum { KERNEL_32 = KERNEL_END >> 22, APIC_32 = APIC_GVA >> 22 };

unsigned paging_page_shift(unsigned level)
{
	return 12 + cpu.format->index_bits * (level - 1);
}

static unsigned index_of(uint64_t gva, unsigned level)
{
	return (unsigned)(gva >> paging_page_shift(level)) & ((1u << cpu.format->index_bits) - 1);
}

static bool is_leaf(uint64_t entry, unsigned level)
{
	if (level == 1)
		return true;
	if (!(entry & ENTRY_PS))
		return false;
	if (cpu.mode == MODE_32)
		return cpu.pse;
	return level == 2 || (level == 3 && cpu.mode >= MODE_4 && features.gib);
}

/* GOOD: no reserved bit. UNKNOWN: processors differ. [SDM3 4.3, 4.4.2, 4.5] [APM2 5.3, 5.4] */
static enum verdict reserved(uint64_t entry, unsigned level, bool leaf)
{
	const uint64_t below = (1ull << paging_page_shift(level)) - 1;

	if (cpu.mode == MODE_32) {
		if (!leaf || level == 1)
			return GOOD;
		if (entry & 1u << 21)
			return FAULT;
		return entry & 0x1fe000 ? UNKNOWN : GOOD;
	}
	if (cpu.mode == MODE_PAE && level == 3) /* a register's, loaded with CR3 */
		return entry & ~(0xfffff019ull | 0xe00) ? UNKNOWN : GOOD;
	if ((entry & ENTRY_NX && !cpu.nxe) || entry & HIGHEST ||
	    (cpu.mode == MODE_PAE && entry & PAE_IGNORED))
		return FAULT;
	if (leaf && level > 1 && entry & below & ~0x1fffull)
		return FAULT;
	if (!leaf && entry & ENTRY_PS)
		return FAULT;
	if (level >= 4 && entry & ENTRY_G) /* must be zero on AMD alone */
		return UNKNOWN;
	return entry & HIGH ? UNKNOWN : GOOD;
}

static bool is_canonical(uint64_t gva)
{
	const unsigned sign = cpu.mode == MODE_5 ? 56 : 47;
	const uint64_t top = gva >> sign;

	return cpu.mode < MODE_4 || top == 0 || top == (1ull << (64 - sign)) - 1;
}

/* The kernel's addresses: its own memory onto itself; nothing else of its part is touched. */
static enum verdict walk_kernel(uint64_t gva, struct walk *walk)
{
	walk->identity = true;
	walk->pa = gva;
	walk->outside = !arena_has(gva, 1);
	walk->writable = true;
	walk->user = !cpu.paged;
	walk->error = ERROR_P;
	return GOOD;
}

static bool is_kernel(uint64_t gva)
{
	const unsigned top = index_of(gva, cpu.format->levels);

	if (cpu.mode == MODE_32)
		return top < KERNEL_32 || top == APIC_32;
	return top == 0;
}

/* The leaf's page. */
static void finish(struct walk *walk, uint64_t entry, unsigned level)
{
	const uint64_t offset = (1ull << paging_page_shift(level)) - 1;
	const uint64_t address = cpu.mode == MODE_32 ? 0xfffff000 : 0xfffffffff000;

	walk->leaf_level = level;
	walk->pa = (entry & address & ~offset) | (walk->gva & offset);
	walk->outside = !arena_has(walk->pa, 1);
	walk->key = (unsigned)(entry >> 59) & 15;
	walk->error = ERROR_P;
}

enum verdict paging_walk(uint64_t gva, struct walk *walk)
{
	uint64_t table = cpu.root_pa[cpu.root];

	*walk = (struct walk){ .gva = gva, .writable = true, .user = true };
	if (!cpu.paged)
		return walk_kernel(gva, walk);
	if (!is_canonical(gva))
		return UNKNOWN;
	if (is_kernel(gva))
		return gva < KERNEL_END ? walk_kernel(gva, walk) : UNKNOWN;
	for (unsigned level = cpu.format->levels; level > 0; level--) {
		const bool pdpte = cpu.mode == MODE_PAE && level == 3;
		const uint64_t pa = table + index_of(gva, level) * cpu.format->entry_bytes;
		enum verdict bits;
		uint64_t entry;
		bool leaf;

		if (!arena_has(pa, 8))
			return UNKNOWN;
		/* Page-directory pointers are no ordinary table: A and D would be reserved bits. */
		if (cpu.mode == MODE_PAE && level < 3 && pa < ARENA + ROOTS_MAX * PAGE)
			return UNKNOWN;
		entry = arena_entry(pa);
		walk->entry_pa[walk->steps++] = pa;
		walk->error = 0;
		if (!(entry & ENTRY_P))
			return FAULT;
		leaf = !pdpte && is_leaf(entry, level);
		bits = reserved(entry, level, leaf);
		walk->error = ERROR_P | ERROR_RSVD;
		if (bits != GOOD)
			return bits;
		if (!pdpte) {
			walk->writable = walk->writable && entry & ENTRY_W;
			walk->user = walk->user && entry & ENTRY_U;
			walk->no_execute = walk->no_execute || (cpu.mode != MODE_32 &&
			                                        entry & ENTRY_NX);
		}
		if (leaf) {
			finish(walk, entry, level);
			return GOOD;
		}
		table = entry & (cpu.mode == MODE_32 ? 0xfffff000 : 0xfffffffff000);
	}
	return UNKNOWN;
}

/* The kernel's entries of a root; under PAE whole tables of page-directory pointers. */
static bool is_kernels_entry(uint64_t root, uint64_t pa)
{
	const uint32_t entry = (uint32_t)(pa - root) / cpu.format->entry_bytes;

	if (pa < root || pa >= root + PAGE)
		return false;
	if (cpu.mode == MODE_32)
		return entry < KERNEL_32 || entry == APIC_32;
	return entry == 0;
}

bool paging_is_protected(uint64_t pa, unsigned bytes)
{
	if (cpu.mode == MODE_NONE)
		return false;
	if (cpu.mode == MODE_PAE)
		return pa < ARENA + ROOTS_MAX * PAGE;
	for (unsigned i = 0; i < cpu.roots; i++) {
		if (is_kernels_entry(cpu.root_pa[i], pa) ||
		    is_kernels_entry(cpu.root_pa[i], pa + bytes - 1))
			return true;
	}
	return false;
}
