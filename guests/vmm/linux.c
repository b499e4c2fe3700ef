/* SPDX-License-Identifier: MIT */
/* Linux by its 64-bit boot protocol: tables that map 4 GiB to themselves, and the zero page. */
#include <asm/bootparam.h>
#include <string.h>

#include "vmm.h"

enum {
	GDT_AT = 0x500,
	ZERO_PAGE_AT = 0x7000,
	ARGUMENTS_AT = 0x8000,
	TABLES_AT = 0x9000, /* top, next, and four directories */
	SECTOR = 512,
	HEADER_AT = offsetof(struct boot_params, hdr),
	ENTRY_64 = 0x200,
	CODE = 0x10, DATA = 0x18, /* the protocol's selectors */
};

#define PAGE 4096ull
#define LARGE (2ull << 20)
#define PRESENT_WRITABLE 3ull
#define PAGE_SIZE_BIT (1ull << 7)
#define CR0_PE_PG 0x80000001ull
#define CR4_PAE (1ull << 5)
#define EFER_LME_LMA (1ull << 8 | 1ull << 10)

static void make_tables(struct vmm *vmm)
{
	uint64_t *top = (void *)(vmm->memory + TABLES_AT);
	uint64_t *next = top + 512, *directory = next + 512;

	memset(top, 0, 6 * PAGE);
	top[0] = (TABLES_AT + PAGE) | PRESENT_WRITABLE;
	for (unsigned i = 0; i < 4; i++)
		next[i] = (TABLES_AT + (2 + i) * PAGE) | PRESENT_WRITABLE;
	for (uint64_t i = 0; i < 4 * 512; i++)
		directory[i] = i * LARGE | PRESENT_WRITABLE | PAGE_SIZE_BIT;
}

static void enter_long_mode(struct vmm *vmm)
{
	static const uint64_t gdt[] = { 0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff };

	vmm_put(vmm, GDT_AT, gdt, sizeof(gdt), "descriptors");
	make_tables(vmm);
	vmm_set_flat(vmm, CODE, DATA, true);
	vmm->sregs.gdt.base = GDT_AT;
	vmm->sregs.gdt.limit = sizeof(gdt) - 1;
	vmm->sregs.cr3 = TABLES_AT;
	vmm->sregs.cr4 = CR4_PAE;
	vmm->sregs.efer = EFER_LME_LMA;
	vmm->sregs.cr0 |= CR0_PE_PG;
}

static void add_initrd(struct vmm *vmm, struct boot_params *zero, const char *initrd)
{
	size_t bytes;
	uint8_t *file;
	uint64_t at;

	if (!initrd)
		return;
	file = vmm_read_file(initrd, &bytes);
	if (bytes > vmm->bytes)
		vmm_fail("%s: more than the guest's memory", initrd);
	at = (vmm->bytes - bytes) & -PAGE;
	vmm_put(vmm, at, file, bytes, initrd);
	zero->hdr.ramdisk_image = (uint32_t)at;
	zero->hdr.ramdisk_size = (uint32_t)bytes;
}

void linux_load(struct vmm *vmm, const char *kernel, const char *initrd, const char *arguments)
{
	struct boot_params zero = { 0 };
	size_t bytes, setup;
	const uint8_t *file = vmm_read_file(kernel, &bytes);
	const struct setup_header *header = (const void *)(file + HEADER_AT);

	if (bytes < sizeof(zero) || header->header != 0x53726448 || header->version < 0x20c ||
	    !(header->xloadflags & XLF_KERNEL_64))
		vmm_fail("%s: no Linux with a 64-bit entry", kernel);
	zero.hdr = *header;
	setup = ((header->setup_sects ? header->setup_sects : 4) + 1u) * SECTOR;
	if (setup >= bytes || header->pref_address + header->init_size > vmm->bytes)
		vmm_fail("%s: does not fit into the guest's memory", kernel);
	vmm_put(vmm, header->pref_address, file + setup, bytes - setup, kernel);
	zero.hdr.type_of_loader = 0xff;
	zero.hdr.cmd_line_ptr = ARGUMENTS_AT;
	vmm_put(vmm, ARGUMENTS_AT, arguments, strlen(arguments) + 1, "the command line");
	add_initrd(vmm, &zero, initrd);
	zero.e820_table[0] = (struct boot_e820_entry){ 0, 0x9f000, 1 };
	zero.e820_table[1] = (struct boot_e820_entry){ 0x100000, vmm->bytes - 0x100000, 1 };
	zero.e820_entries = 2;
	vmm_put(vmm, ZERO_PAGE_AT, &zero, sizeof(zero), "the zero page");
	mptable_put(vmm);
	enter_long_mode(vmm);
	vmm->regs.rip = header->pref_address + ENTRY_64;
	vmm->regs.rsi = ZERO_PAGE_AT;
}
