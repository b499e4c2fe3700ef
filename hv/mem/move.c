/* SPDX-License-Identifier: MIT */
/*
 * The move. The image runs at virtual addresses of its own, so moving it is: new tables that map
 * them to the new place, a copy, a new CR3. Text is not writable, data not executable, and the page
 * under the stack is missing.
 */
#include "mem/move.h"

#include "boot/info.h"
#include "cpu/end.h"
#include "cpu/x86.h"
#include "mem/frames.h"
#include "mem/layout.h"
#include "mem/map.h"
#include "mem/string.h"

/* [APM2 5.3] */
#define PTE_P (1ull << 0)
#define PTE_W (1ull << 1)
#define PTE_PWT (1ull << 3)
#define PTE_PCD (1ull << 4)
#define PTE_PS (1ull << 7)
#define PTE_NX (1ull << 63)
#define PTE_FRAME 0x000ffffffffff000ull

struct own_memory own_memory;

extern char image_start[], image_rodata[], image_data[], image_end[];
extern char boot_stack_guard[];

/* The entry for va at level 1 (4 KiB) or 2 (2 MiB), tables on the way made; null: no memory. */
static uint64_t *entry_for(uint64_t *top, unsigned levels, uint64_t va, unsigned level)
{
	uint64_t *table = top;

	for (unsigned at = levels; at > level; at--) {
		uint64_t *entry = &table[va >> (12 + 9 * (at - 1)) & 511];

		if (!*entry) {
			void *page = frames_keep(PAGE_BYTES);

			if (!page)
				return NULL;
			*entry = direct_pa(page) | PTE_P | PTE_W;
		}
		table = direct(*entry & PTE_FRAME);
	}
	return &table[va >> (12 + 9 * (level - 1)) & 511];
}

static void set_entry(uint64_t *top, unsigned levels, uint64_t va, unsigned level, uint64_t value)
{
	uint64_t *entry = entry_for(top, levels, va, level);

	if (!entry)
		end(END_REFUSED, "too little memory for the hypervisor's tables");
	*entry = value;
}

static void map_image(uint64_t *top, unsigned levels, uint64_t pa)
{
	const uint64_t last = (uint64_t)image_end;

	for (uint64_t at = (uint64_t)image_start; at < last; at += PAGE_BYTES, pa += PAGE_BYTES) {
		uint64_t entry = pa | PTE_P | PTE_W | PTE_NX;

		if (at < (uint64_t)image_rodata)
			entry = pa | PTE_P;
		else if (at < (uint64_t)image_data)
			entry = pa | PTE_P | PTE_NX;
		else if (at == (uint64_t)boot_stack_guard)
			entry = 0;
		set_entry(top, levels, at, 1, entry);
	}
}

/* All physical memory from 0 to 'last': the MTRRs say what of it may be cached. */
static void map_direct(uint64_t *top, unsigned levels, uint64_t last)
{
	for (uint64_t pa = 0; pa < last; pa += LARGE_BYTES)
		set_entry(top, levels, DIRECT_BASE + pa, 2, pa | PTE_P | PTE_W | PTE_PS | PTE_NX);
}

bool move_map_device(uint64_t from, uint64_t to)
{
	const unsigned levels = read_cr4() & CR4_LA57 ? 5 : 4;
	uint64_t *top = direct(read_cr3() & PTE_FRAME);

	if (to > -DIRECT_BASE)
		return false;
	for (uint64_t pa = from & -LARGE_BYTES; pa < to; pa += LARGE_BYTES) {
		uint64_t *entry = entry_for(top, levels, DIRECT_BASE + pa, 2);

		if (!entry)
			return false;
		if (!*entry)
			*entry = pa | PTE_P | PTE_W | PTE_PWT | PTE_PCD | PTE_PS | PTE_NX;
	}
	return true;
}

/* Copies the image and runs on in the copy. Nothing may write to the image in between. */
static __attribute__((noinline)) void copy_and_switch(uint64_t to, uint64_t bytes, uint64_t cr3)
{
	void *from = image_start, *at = direct(to);

	__asm__ volatile("rep movsb\n\tmov %3, %%cr3"
	                 : "+D"(at), "+S"(from), "+c"(bytes) : "r"(cr3) : "memory");
}

/* What the loader put into memory must not lie where we move to. */
static void check_modules(void)
{
	for (unsigned i = 0; i < boot_info.modules; i++) {
		const struct module *module = &boot_info.module[i];

		if (module->at < own_memory.base + own_memory.bytes &&
		    own_memory.base < module->at + module->bytes)
			end(END_REFUSED, "too little memory: a module lies at the top of it");
	}
}

void move_to_top(uint64_t more)
{
	const uint64_t image = (uint64_t)image_end - (uint64_t)image_start;
	const unsigned levels = read_cr4() & CR4_LA57 ? 5 : 4;
	const uint64_t low_top = map_top(&machine_map, FOUR_GIB);
	uint64_t high_top = map_top(&machine_map, UINT64_MAX), bytes, base;
	uint64_t *top;

	if (high_top < FOUR_GIB)
		high_top = FOUR_GIB;
	/* A page of tables per GiB mapped directly, per 512 GiB another, and those of the image. */
	bytes = more + image + (high_top / GIB + high_top / (512 * GIB) + 16) * PAGE_BYTES;
	bytes = align_up(bytes, LARGE_BYTES);
	if (low_top < bytes + 16 * LARGE_BYTES)
		end(END_REFUSED, "too little memory for the hypervisor");
	base = (low_top - bytes) & -LARGE_BYTES;
	bytes = low_top - base; /* no rest above us, too small for anything */
	if (!map_is_available(&machine_map, base, bytes))
		end(END_REFUSED, "too little memory for the hypervisor below 4 GiB");
	own_memory = (struct own_memory){ base, bytes };
	check_modules();
	guest_map = machine_map;
	map_carve(&guest_map, base, bytes, MAP_RESERVED);

	frames_init(base + image, base + bytes);
	top = frames_keep(PAGE_BYTES);
	map_image(top, levels, base);
	map_direct(top, levels, high_top);
	copy_and_switch(base, image, direct_pa(top));
	memset(direct((uint64_t)image_start - IMAGE_OFFSET), 0, image);
}
