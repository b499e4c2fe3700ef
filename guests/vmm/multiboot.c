/* SPDX-License-Identifier: MIT */
/* A Multiboot 1 kernel: an ELF file of 32 bits, its command line, and how much memory there is. */
#include <elf.h>
#include <string.h>

#include "vmm.h"

enum { INFO_AT = 0x500, ARGUMENTS_AT = 0x600, MAP_AT = 0x580 };

#define LOADER_MAGIC 0x2badb002u
#define INFO_MEMORY (1u << 0)
#define INFO_ARGUMENTS (1u << 2)
#define INFO_MAP (1u << 6)

struct range { uint32_t size; uint64_t base, length; uint32_t type; } __attribute__((packed));

static void load_segments(struct vmm *vmm, const uint8_t *file, size_t bytes, const char *path)
{
	const Elf32_Ehdr *elf = (const void *)file;
	const Elf32_Phdr *segment;

	if (bytes < sizeof(*elf) || memcmp(elf->e_ident, ELFMAG, SELFMAG) ||
	    elf->e_ident[EI_CLASS] != ELFCLASS32 ||
	    elf->e_phoff + (uint64_t)elf->e_phnum * sizeof(*segment) > bytes)
		vmm_fail("%s: not an ELF file of 32 bits", path);
	segment = (const void *)(file + elf->e_phoff);
	for (unsigned i = 0; i < elf->e_phnum; i++, segment++) {
		if (segment->p_type != PT_LOAD)
			continue;
		if ((uint64_t)segment->p_offset + segment->p_filesz > bytes)
			vmm_fail("%s: a segment lies behind the file's end", path);
		vmm_put(vmm, segment->p_paddr, file + segment->p_offset, segment->p_filesz, path);
	}
	vmm->regs.rip = elf->e_entry;
}

void multiboot_load(struct vmm *vmm, const char *kernel, const char *arguments)
{
	const struct range map[] = {
		{ sizeof(map[0]) - 4, 0, 0x9f000, 1 },
		{ sizeof(map[0]) - 4, 0x100000, vmm->bytes - 0x100000, 1 },
	};
	uint32_t info[22] = {
		[0] = INFO_MEMORY | INFO_ARGUMENTS | INFO_MAP,
		/* KiB below and above 1 MiB */
		[1] = 636, [2] = (uint32_t)((vmm->bytes >> 10) - 1024),
		[4] = ARGUMENTS_AT,
		[11] = sizeof(map), [12] = MAP_AT,
	};
	size_t bytes;
	const uint8_t *file = vmm_read_file(kernel, &bytes);
	char line[1024];

	load_segments(vmm, file, bytes, kernel);
	vmm_put(vmm, INFO_AT, info, sizeof(info), "Multiboot information");
	vmm_put(vmm, MAP_AT, map, sizeof(map), "the memory map");
	if (strlen(kernel) + strlen(arguments) + 2 > sizeof(line))
		vmm_fail("the command line is too long");
	strcpy(line, kernel);
	strcat(line, " ");
	strcat(line, arguments);
	vmm_put(vmm, ARGUMENTS_AT, line, strlen(line) + 1, "the command line");
	vmm_set_flat(vmm, 0x08, 0x10, false);
	vmm->regs.rax = LOADER_MAGIC;
	vmm->regs.rbx = INFO_AT;
}
