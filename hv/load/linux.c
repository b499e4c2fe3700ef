/* SPDX-License-Identifier: MIT */
/*
 * Linux by its boot protocol [Linux Documentation/arch/x86/boot.rst]: 64-bit where the kernel has
 * that entry, else 32-bit. Our own part, below 640 KiB:
 *
 *   0x10000  boot_params   0x11000  command line   0x12000  GDT   0x13000 ...  identity map, 4 GiB
 */
#include "boot/info.h"
#include "cpu/console.h"
#include "cpu/end.h"
#include "load/load.h"
#include "mem/layout.h"
#include "mem/map.h"
#include "mem/string.h"
#include "svm/guest.h"
#include "svm/svm.h"

enum { AT_PARAMS = 0x10000, AT_COMMAND_LINE = 0x11000, AT_GDT = 0x12000, AT_TABLES = 0x13000,
       AT_END = AT_TABLES + 6 * 4096 };
enum { SELECTOR_CODE = 0x10, SELECTOR_DATA = 0x18 };

/* boot_params and the set-up header in it, by offset; the same in the file. */
enum {
	P_E820_ENTRIES = 0x1e8,
	P_SETUP_SECTS = 0x1f1,
	P_HEADER_JUMP = 0x201, /* its operand tells the header's length */
	P_MAGIC = 0x202,
	P_VERSION = 0x206,
	P_LOADER = 0x210,
	P_CODE32_START = 0x214,
	P_RAMDISK_IMAGE = 0x218,
	P_RAMDISK_SIZE = 0x21c,
	P_COMMAND_LINE = 0x228,
	P_RAMDISK_MAX = 0x22c,
	P_ALIGNMENT = 0x230,
	P_RELOCATABLE = 0x234,
	P_XLOADFLAGS = 0x236,
	P_COMMAND_LINE_SIZE = 0x238,
	P_PREFERRED = 0x258,
	P_INIT_SIZE = 0x260,
	P_E820 = 0x2d0,
	E820_MAX = 128,
	E820_BYTES = 20,
};
#define HEADER_MAGIC 0x53726448u /* "HdrS" */
#define VERSION_MIN 0x20au       /* preferred address and init_size: 2.6.37 */
#define LOADER_OTHER 0xffu
#define XLOAD_64 1u
#define XLOAD_ABOVE_4G 2u

static uint64_t get(const void *at, unsigned offset, unsigned bytes)
{
	uint64_t value = 0;

	memcpy(&value, (const char *)at + offset, bytes);
	return value;
}

static void put(void *at, unsigned offset, unsigned bytes, uint64_t value)
{
	memcpy((char *)at + offset, &value, bytes);
}

bool linux_is(const struct module *kernel)
{
	return kernel->bytes > 0x400 && get(direct(kernel->at), P_MAGIC, 4) == HEADER_MAGIC;
}

static void put_e820(void *params)
{
	unsigned n = 0;

	for (unsigned i = 0; i < guest_map.ranges && n < E820_MAX; i++, n++) {
		const struct map_range *range = &guest_map.range[i];
		const unsigned at = P_E820 + n * E820_BYTES;

		put(params, at, 8, range->base);
		put(params, at + 8, 8, range->bytes);
		put(params, at + 16, 4, range->type);
	}
	put(params, P_E820_ENTRIES, 1, n);
}

static void put_command_line(void *params, const char *line)
{
	uint64_t bytes = 0, most = get(params, P_COMMAND_LINE_SIZE, 4);

	while (line[bytes])
		bytes++;
	if (bytes > most || bytes >= PAGE_BYTES)
		end(END_REFUSED, "the guest's command line is longer than its kernel takes");
	memcpy(direct(AT_COMMAND_LINE), line, bytes + 1);
	put(params, P_COMMAND_LINE, 4, AT_COMMAND_LINE);
}

static void put_initrd(void *params, bool is64)
{
	const struct module *initrd = &boot_info.module[1];
	const bool anywhere = is64 && (get(params, P_XLOADFLAGS, 2) & XLOAD_ABOVE_4G);

	if (boot_info.modules > 2)
		end(END_REFUSED, "Linux takes one initrd, and no other module");
	if (boot_info.modules < 2)
		return;
	if (!anywhere && initrd->at + initrd->bytes - 1 > get(params, P_RAMDISK_MAX, 4))
		end(END_REFUSED, "the initrd lies higher than this kernel takes it");
	put(params, P_RAMDISK_IMAGE, 4, initrd->at);
	put(params, P_RAMDISK_SIZE, 4, initrd->bytes);
}

/* Copies the kernel where it prefers to be, or higher if it can be moved. Returns where. */
static uint64_t put_kernel(const void *params, const struct module *kernel, uint64_t setup)
{
	const uint64_t room = get(params, P_INIT_SIZE, 4), unit = get(params, P_ALIGNMENT, 4);
	const bool relocatable = get(params, P_RELOCATABLE, 1);
	const uint64_t bytes = kernel->bytes - setup;
	uint64_t at = get(params, P_PREFERRED, 8);

	while (relocatable && unit && at + room <= load_parked() &&
	       !map_is_available(&guest_map, at, room))
		at = align_up(at + 1, unit);
	load_copy(at, (const char *)direct(kernel->at) + setup, bytes,
	          room > bytes ? room - bytes : 0, "the Linux kernel");
	return at;
}

/* A GDT as the protocol wants it, and an identity map of 4 GiB in 2 MiB pages. */
static void put_tables(struct guest *g, bool is64)
{
	uint64_t *gdt = direct(AT_GDT), *table = direct(AT_TABLES);

	memset(gdt, 0, PAGE_BYTES);
	gdt[SELECTOR_CODE / 8] = is64 ? 0x00af9b000000ffff : 0x00cf9b000000ffff;
	gdt[SELECTOR_DATA / 8] = 0x00cf93000000ffff;
	g->vmcb->gdtr.base = AT_GDT;
	g->vmcb->gdtr.limit = SELECTOR_DATA + 7;

	memset(table, 0, 2 * PAGE_BYTES);
	table[0] = (AT_TABLES + PAGE_BYTES) | 3;
	for (uint64_t i = 0; i < 4; i++)
		table[512 + i] = (AT_TABLES + (2 + i) * PAGE_BYTES) | 3;
	for (uint64_t i = 0; i < 2048; i++)
		table[1024 + i] = i * LARGE_BYTES | 0x83;
}

void linux_load(struct guest *g)
{
	const struct module *kernel = &boot_info.module[0];
	const char *file = direct(kernel->at);
	const uint64_t sectors = get(file, P_SETUP_SECTS, 1);
	const uint64_t setup = ((sectors ? sectors : 4) + 1) * 512;
	const bool is64 = get(file, P_XLOADFLAGS, 2) & XLOAD_64;
	char *params = direct(AT_PARAMS);
	uint64_t at;

	if (get(file, P_VERSION, 2) < VERSION_MIN)
		end(END_REFUSED, "this Linux kernel is older than boot protocol 2.10");
	if (kernel->bytes < setup)
		end(END_REFUSED, "the Linux kernel's file is cut off");
	if (!map_is_available(&guest_map, AT_PARAMS, AT_END - AT_PARAMS))
		end(END_REFUSED, "no guest memory at 64 KiB for Linux' boot parameters");
	memset(params, 0, PAGE_BYTES);
	memcpy(params + P_SETUP_SECTS, file + P_SETUP_SECTS,
	       P_MAGIC + get(file, P_HEADER_JUMP, 1) - P_SETUP_SECTS);
	put(params, P_LOADER, 1, LOADER_OTHER);
	put_e820(params);
	put_command_line(params, module_arguments(kernel));
	put_initrd(params, is64);
	at = put_kernel(params, kernel, setup);
	put(params, P_CODE32_START, 4, at);
	if (is64)
		svm_set_flat64(g, SELECTOR_CODE, SELECTOR_DATA, AT_TABLES);
	else
		svm_set_flat32(g, SELECTOR_CODE, SELECTOR_DATA);
	put_tables(g, is64);
	g->reg[REG_RSI] = AT_PARAMS;
	g->vmcb->rip = at + (is64 ? 0x200 : 0);
	print("rhizome: Linux, %u-bit entry %lx, command line: %s\n", is64 ? 64u : 32u,
	      g->vmcb->rip, module_arguments(kernel));
}
