/* SPDX-License-Identifier: MIT */
/* The Multiboot 1 interface, both sides of it: our loader's and the one we play for a guest. */
#ifndef HV_BOOT_MULTIBOOT_H
#define HV_BOOT_MULTIBOOT_H

#include <stdint.h>

#define MULTIBOOT_LOADED 0x2badb002u        /* EAX at the kernel's entry */
#define MULTIBOOT_HEADER_MAGIC 0x1badb002u
#define MULTIBOOT_HEADER_SEARCH 8192u

/* Flags of a kernel's header. Bits 0 to 15 are demands that a loader must know. */
#define MULTIBOOT_WANT_ALIGNED (1u << 0)
#define MULTIBOOT_WANT_MEMORY (1u << 1)
#define MULTIBOOT_WANT_VIDEO (1u << 2)
#define MULTIBOOT_DEMANDS 0xffffu
#define MULTIBOOT_ADDRESSES (1u << 16)

struct multiboot_header {
	uint32_t magic, flags, checksum;
	uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

/* Flags of the information block. */
#define MULTIBOOT_HAS_MEMORY (1u << 0)
#define MULTIBOOT_HAS_COMMAND_LINE (1u << 2)
#define MULTIBOOT_HAS_MODULES (1u << 3)
#define MULTIBOOT_HAS_MAP (1u << 6)
#define MULTIBOOT_HAS_LOADER_NAME (1u << 9)

struct multiboot_info {
	uint32_t flags;
	uint32_t mem_lower, mem_upper; /* KiB below 640 KiB and from 1 MiB on */
	uint32_t boot_device;
	uint32_t cmdline;
	uint32_t mods_count, mods_addr;
	uint32_t symbols[4];
	uint32_t mmap_length, mmap_addr;
	uint32_t drives_length, drives_addr;
	uint32_t config_table;
	uint32_t boot_loader_name;
	uint32_t apm_table;
	uint32_t vbe[4];
};

struct multiboot_module { uint32_t start, end, string, reserved; };

struct __attribute__((packed)) multiboot_range {
	uint32_t size; /* of what follows */
	uint64_t base, length;
	uint32_t type;
};

#endif
