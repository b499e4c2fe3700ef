/* SPDX-License-Identifier: MIT */
/*
 * A Multiboot 1 kernel: its segments where it wants them, then its modules, then the information
 * block, each on a page of its own [Multiboot 0.6.96].
 */
#include "boot/multiboot.h"

#include "boot/info.h"
#include "cpu/console.h"
#include "cpu/end.h"
#include "load/load.h"
#include "mem/layout.h"
#include "mem/map.h"
#include "mem/string.h"
#include "svm/guest.h"
#include "svm/svm.h"

enum { SELECTOR_CODE = 8, SELECTOR_DATA = 16 };

/* ELF, as much of it as a kernel needs. */
#define ELF_MAGIC 0x464c457fu
enum { ELF_CLASS32 = 1, ELF_LITTLE = 1, ELF_386 = 3, PT_LOAD = 1 };

struct elf_header {
	uint32_t magic;
	uint8_t class, order, rest[10];
	uint16_t type, machine;
	uint32_t version, entry, phoff, shoff, flags;
	uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct elf_segment { uint32_t type, offset, vaddr, paddr, filesz, memsz, flags, align; };

/* Where the next thing goes: upwards from the end of the kernel. */
static uint64_t next;

static const struct multiboot_header *find_header(const struct module *kernel)
{
	const uint64_t bytes = kernel->bytes < MULTIBOOT_HEADER_SEARCH ? kernel->bytes
	                                                               : MULTIBOOT_HEADER_SEARCH;

	for (uint64_t at = 0; at + 12 <= bytes; at += 4) {
		const struct multiboot_header *header = direct(kernel->at + at);

		if (header->magic == MULTIBOOT_HEADER_MAGIC &&
		    header->magic + header->flags + header->checksum == 0)
			return header;
	}
	return NULL;
}

bool multiboot_is(const struct module *kernel)
{
	return find_header(kernel);
}

static void put_segment(uint64_t to, const void *from, uint64_t bytes, uint64_t all)
{
	load_copy(to, from, bytes, all - bytes, "a segment of the Multiboot kernel");
	memset(direct(to + bytes), 0, all - bytes);
	if (to + all > next)
		next = to + all;
}

static uint32_t put_elf(const struct module *kernel)
{
	const struct elf_header *elf = direct(kernel->at);
	const uint64_t table = (uint64_t)elf->phnum * sizeof(struct elf_segment);

	if (kernel->bytes < sizeof(*elf) || elf->magic != ELF_MAGIC || elf->class != ELF_CLASS32 ||
	    elf->order != ELF_LITTLE || elf->machine != ELF_386 ||
	    elf->phentsize != sizeof(struct elf_segment) || elf->phoff > kernel->bytes ||
	    kernel->bytes - elf->phoff < table)
		end(END_REFUSED, "the Multiboot kernel is no 32-bit x86 ELF file");
	for (unsigned i = 0; i < elf->phnum; i++) {
		const struct elf_segment *segment =
			(const struct elf_segment *)((const char *)elf + elf->phoff) + i;

		if (segment->type != PT_LOAD || !segment->memsz)
			continue;
		if (segment->filesz > segment->memsz || segment->offset > kernel->bytes ||
		    kernel->bytes - segment->offset < segment->filesz)
			end(END_REFUSED, "the Multiboot kernel's file is cut off");
		put_segment(segment->paddr, (const char *)elf + segment->offset, segment->filesz,
		            segment->memsz);
	}
	return elf->entry;
}

/* A header with addresses of its own ("a.out kludge"). */
static uint32_t put_flat(const struct module *kernel, const struct multiboot_header *header)
{
	const char *file = direct(kernel->at);
	const uint64_t offset = (uint64_t)((const char *)header - file) -
	                        (header->header_addr - header->load_addr);
	uint64_t bytes, all;

	if (header->header_addr < header->load_addr || offset > kernel->bytes)
		end(END_REFUSED, "the Multiboot header's addresses make no sense");
	bytes = header->load_end_addr ? (uint64_t)header->load_end_addr - header->load_addr
	                              : kernel->bytes - offset;
	all = header->bss_end_addr ? (uint64_t)header->bss_end_addr - header->load_addr : bytes;
	if (bytes > kernel->bytes - offset || all < bytes)
		end(END_REFUSED, "the Multiboot header's addresses make no sense");
	put_segment(header->load_addr, file + offset, bytes, all);
	return header->entry_addr;
}

/* Puts something behind what is there; returns its address. */
static uint32_t put(const void *from, uint64_t bytes, uint64_t unit, const char *what)
{
	const uint64_t at = align_up(next, unit);

	load_copy(at, from, bytes, 0, what);
	next = at + bytes;
	return (uint32_t)at;
}

static uint32_t put_string(const char *s)
{
	uint64_t bytes = 1;

	while (s[bytes - 1])
		bytes++;
	return put(s, bytes, 1, "a command line");
}

static void put_modules(struct multiboot_info *info)
{
	struct multiboot_module list[MODULES_MAX];
	const unsigned n = boot_info.modules - 1;

	for (unsigned i = 0; i < n; i++) {
		const struct module *module = &boot_info.module[i + 1];

		list[i].start = put(direct(module->at), module->bytes, PAGE_BYTES, "a module");
		list[i].end = list[i].start + (uint32_t)module->bytes;
		list[i].reserved = 0;
	}
	next = align_up(next, PAGE_BYTES);
	for (unsigned i = 0; i < n; i++)
		list[i].string = put_string(boot_info.module[i + 1].string);
	info->mods_count = n;
	info->mods_addr = put(list, n * sizeof(list[0]), 16, "the list of modules");
	info->flags |= MULTIBOOT_HAS_MODULES;
}

static void put_map(struct multiboot_info *info)
{
	struct multiboot_range list[MAP_MAX];

	for (unsigned i = 0; i < guest_map.ranges; i++) {
		const struct map_range *range = &guest_map.range[i];

		list[i] = (struct multiboot_range){ sizeof(list[0]) - 4, range->base, range->bytes,
		                                    range->type };
		if (range->type != MAP_AVAILABLE)
			continue;
		if (range->base == 0)
			info->mem_lower = (uint32_t)(range->bytes / 1024);
		if (range->base == 1 << 20)
			info->mem_upper = (uint32_t)(range->bytes / 1024);
	}
	info->mmap_length = (uint32_t)(guest_map.ranges * sizeof(list[0]));
	info->mmap_addr = put(list, info->mmap_length, 16, "the memory map");
	info->flags |= MULTIBOOT_HAS_MAP | MULTIBOOT_HAS_MEMORY;
}

void multiboot_load(struct guest *g)
{
	const struct module *kernel = &boot_info.module[0];
	const struct multiboot_header *header = find_header(kernel);
	const uint32_t known = MULTIBOOT_WANT_ALIGNED | MULTIBOOT_WANT_MEMORY;
	struct multiboot_info info = { .flags = MULTIBOOT_HAS_COMMAND_LINE |
	                                        MULTIBOOT_HAS_LOADER_NAME };
	uint32_t entry;

	if (!header || header->flags & MULTIBOOT_DEMANDS & ~known)
		end(END_REFUSED, "the Multiboot kernel demands what this loader cannot give");
	entry = header->flags & MULTIBOOT_ADDRESSES ? put_flat(kernel, header) : put_elf(kernel);
	put_modules(&info);
	info.cmdline = put_string(kernel->string);
	info.boot_loader_name = put_string("rhizome");
	put_map(&info);
	svm_set_flat32(g, SELECTOR_CODE, SELECTOR_DATA);
	g->reg[REG_RAX] = MULTIBOOT_LOADED;
	g->reg[REG_RBX] = put(&info, sizeof(info), 16, "the Multiboot information");
	g->vmcb->rip = entry;
	print("rhizome: Multiboot kernel, entry %x, command line: %s\n", entry,
	      module_arguments(kernel));
}
