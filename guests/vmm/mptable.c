/* SPDX-License-Identifier: MIT */
/* The MultiProcessor table [MPS 1.4, 4]: processor, I/O APIC, ISA lines 0 to 15 on its pins. */
#include <string.h>

#include "vmm.h"

enum { TABLE_AT = 0xf0000, LINES = 16, IOAPIC_ID = 1 };
enum { ENTRY_PROCESSOR, ENTRY_BUS, ENTRY_IOAPIC, ENTRY_INTERRUPT, ENTRY_LOCAL };
enum { TYPE_INT, TYPE_NMI, TYPE_SMI, TYPE_EXTINT };

#define LOCAL_APIC 0xfee00000u
#define IO_APIC 0xfec00000u

struct pointer {
	char signature[4];
	uint32_t table;
	uint8_t length, revision, checksum, features[5];
} __attribute__((packed));

struct header {
	char signature[4];
	uint16_t length;
	uint8_t revision, checksum;
	char oem[8], product[12];
	uint32_t oem_table;
	uint16_t oem_length, entries;
	uint32_t local_apic;
	uint16_t extended_length;
	uint8_t extended_checksum, reserved;
} __attribute__((packed));

struct processor {
	uint8_t type, id, version, flags;
	uint32_t signature, features, reserved[2];
} __attribute__((packed));
struct bus { uint8_t type, id; char name[6]; } __attribute__((packed));
struct ioapic { uint8_t type, id, version, flags; uint32_t address; } __attribute__((packed));
struct interrupt {
	uint8_t type, kind;
	uint16_t flags;
	uint8_t bus, line, apic, pin;
} __attribute__((packed));

static struct {
	struct pointer pointer;
	struct header header;
	struct processor processor;
	struct bus bus;
	struct ioapic ioapic;
	struct interrupt line[LINES], local[2];
} __attribute__((packed)) mp = {
	.pointer = { .signature = "_MP_", .length = 1, .revision = 4 },
	.header = { .signature = "PCMP", .revision = 4, .oem = "RHIZOME ",
	            .product = "VMM         ", .entries = 3 + LINES + 2,
	            .local_apic = LOCAL_APIC },
	.processor = { ENTRY_PROCESSOR, 0, 0x14, 3, 0, 0x201, { 0, 0 } },
	.bus = { ENTRY_BUS, 0, "ISA   " },
	.ioapic = { ENTRY_IOAPIC, IOAPIC_ID, 0x11, 1, IO_APIC },
	.local = { { ENTRY_LOCAL, TYPE_EXTINT, 0, 0, 0, 0, 0 },
	           { ENTRY_LOCAL, TYPE_NMI, 0, 0, 0, 0xff, 1 } },
};

static uint8_t complement(const void *from, size_t bytes)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < bytes; i++)
		sum = (uint8_t)(sum + ((const uint8_t *)from)[i]);
	return (uint8_t)-sum;
}

void mptable_put(struct vmm *vmm)
{
	for (unsigned i = 0; i < LINES; i++)
		mp.line[i] = (struct interrupt){ ENTRY_INTERRUPT, TYPE_INT, 0, 0, (uint8_t)i,
			                         IOAPIC_ID, (uint8_t)i };
	mp.header.length = (uint16_t)(sizeof(mp) - sizeof(mp.pointer));
	mp.header.checksum = complement(&mp.header, mp.header.length);
	mp.pointer.table = TABLE_AT + sizeof(mp.pointer);
	mp.pointer.checksum = complement(&mp.pointer, sizeof(mp.pointer));
	vmm_put(vmm, TABLE_AT, &mp, sizeof(mp), "the MP table");
}
