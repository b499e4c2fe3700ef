/* SPDX-License-Identifier: MIT */
/* What all kinds of guests have in common. */
#include "load/load.h"

#include "boot/info.h"
#include "cpu/console.h"
#include "cpu/end.h"
#include "mem/layout.h"
#include "mem/map.h"
#include "mem/string.h"

static uint64_t parked;

uint64_t load_parked(void)
{
	return parked;
}

void load_copy(uint64_t to, const void *from, uint64_t bytes, uint64_t room, const char *what)
{
	const uint64_t all = bytes + room;

	if (all < bytes || !map_is_available(&guest_map, to, all) || to + all > parked) {
		print("rhizome: no guest memory for %s: %lx bytes at %lx\n", what, all, to);
		end(END_REFUSED, "the guest does not fit into its memory");
	}
	memmove(direct(to), from, bytes);
}

/*
 * The loader put the modules where a kernel may want to go. Their new place is right below ours,
 * and below 2 GiB, where every Linux takes an initrd. The last goes first, to the highest address,
 * so that none is overwritten before it has moved.
 */
static void park_modules(void)
{
	uint64_t highest = 0;

	parked = map_top(&guest_map, 2 * GIB) & -PAGE_BYTES;
	for (unsigned i = 0; i < boot_info.modules; i++) {
		const struct module *module = &boot_info.module[i];

		if (module->at + module->bytes > highest)
			highest = module->at + module->bytes;
	}
	for (unsigned i = boot_info.modules; i-- > 0;) {
		struct module *module = &boot_info.module[i];

		if (parked < highest + module->bytes + PAGE_BYTES)
			end(END_REFUSED, "too little memory for the modules");
		parked = (parked - module->bytes) & -PAGE_BYTES;
		if (!map_is_available(&guest_map, parked, module->bytes))
			end(END_REFUSED, "too little memory for the modules");
		memcpy(direct(parked), direct(module->at), module->bytes);
		module->at = parked;
	}
}

void load_guest(struct guest *g)
{
	const struct module *kernel = &boot_info.module[0];

	park_modules();
	if (linux_is(kernel))
		linux_load(g);
	else if (multiboot_is(kernel))
		multiboot_load(g);
	else
		end(END_REFUSED, "the guest is neither a Linux bzImage nor a Multiboot kernel");
}
