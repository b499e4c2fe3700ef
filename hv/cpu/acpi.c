/* SPDX-License-Identifier: MIT */
/* Finds the FADT and the MADT [ACPI 5.2]. Tables above 4 GiB are not looked at. */
#include "cpu/acpi.h"

#include "cpu/console.h"
#include "mem/layout.h"
#include "mem/string.h"

struct acpi acpi;

struct __attribute__((packed)) rsdp {
	char signature[8];
	uint8_t checksum, oem[6], revision;
	uint32_t rsdt;
};

struct __attribute__((packed)) table {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	uint8_t oem[26];
};

/* Offsets in the FADT [ACPI 5.2.9] and the FACS [ACPI 5.2.10]. */
enum { FADT_FACS = 36, FADT_PM1A_CONTROL = 64, FADT_PM1B_CONTROL = 68, FADT_MIN = 72 };
enum { FACS_WAKING_VECTOR = 12, FACS_X_WAKING_VECTOR = 24 };

/* The MADT's entries [ACPI 5.2.12]. */
enum { MADT_ENTRIES = 44, MADT_LOCAL_APIC = 0, MADT_IOAPIC = 1, MADT_LOCAL_X2APIC = 9 };
#define MADT_USABLE 3u /* enabled, or may be enabled later */

static struct table *madt;

static uint32_t read32(const void *table, unsigned offset)
{
	uint32_t value;

	memcpy(&value, (const char *)table + offset, sizeof(value));
	return value;
}

static uint8_t sum(const void *at, uint64_t bytes)
{
	uint8_t total = 0;

	for (uint64_t i = 0; i < bytes; i++)
		total += ((const uint8_t *)at)[i];
	return total;
}

/* The RSDP stands in the extended BIOS data area or in the last 128 KiB below 1 MiB. */
static const struct rsdp *find_rsdp(uint64_t from, uint64_t bytes)
{
	for (uint64_t at = from; at + 36 <= from + bytes; at += 16) {
		const struct rsdp *rsdp = direct(at);

		if (!memcmp(rsdp->signature, "RSD PTR ", 8) && sum(rsdp, 20) == 0)
			return rsdp;
	}
	return NULL;
}

/* The MADT's entry at an offset, which moves on behind it; null: no more. */
static uint8_t *next_entry(unsigned *at)
{
	uint8_t *entry;

	if (!madt || *at + 8 > madt->length)
		return NULL;
	entry = (uint8_t *)madt + *at;
	if (entry[1] < 2)
		return NULL;
	*at += entry[1];
	return entry;
}

static void read_ioapics(void)
{
	unsigned at = MADT_ENTRIES;

	for (const uint8_t *entry; (entry = next_entry(&at));) {
		if (entry[0] == MADT_IOAPIC && acpi.ioapics < IOAPICS_MAX)
			acpi.ioapic[acpi.ioapics++] = read32(entry, 4) & -PAGE_BYTES;
	}
}

static void read_table(struct table *table)
{
	if (table->length < sizeof(*table) || sum(table, table->length))
		return;
	if (!memcmp(table->signature, "APIC", 4)) {
		madt = table;
	} else if (!memcmp(table->signature, "FACP", 4) && table->length >= FADT_MIN) {
		acpi.facs = read32(table, FADT_FACS);
		acpi.sleep_port[0] = (uint16_t)read32(table, FADT_PM1A_CONTROL);
		acpi.sleep_port[1] = (uint16_t)read32(table, FADT_PM1B_CONTROL);
	}
}

void acpi_read(void)
{
	uint16_t ebda;
	const struct rsdp *rsdp;
	const struct table *rsdt;

	memcpy(&ebda, direct(0x40e), sizeof(ebda));
	rsdp = find_rsdp((uint64_t)ebda << 4, 1024);
	if (!rsdp)
		rsdp = find_rsdp(0xe0000, 0x20000);
	if (!rsdp || !rsdp->rsdt)
		return;
	rsdt = direct(rsdp->rsdt);
	for (unsigned at = sizeof(*rsdt); at + 4 <= rsdt->length; at += 4)
		read_table(direct(read32(rsdt, at)));
	read_ioapics();
}

void acpi_hide_processors(uint8_t apic_id)
{
	unsigned hidden = 0, at = MADT_ENTRIES;

	for (uint8_t *entry; (entry = next_entry(&at));) {
		if (entry[0] == MADT_LOCAL_APIC && entry[3] != apic_id &&
		    (entry[4] & MADT_USABLE)) {
			entry[4] &= (uint8_t)~MADT_USABLE;
			hidden++;
		} else if (entry[0] == MADT_LOCAL_X2APIC && read32(entry, 4) != apic_id) {
			entry[8] &= (uint8_t)~MADT_USABLE;
			hidden++;
		}
	}
	if (!hidden)
		return;
	madt->checksum = (uint8_t)(madt->checksum - sum(madt, madt->length));
	print("rhizome: %u other processors wait; this version gives the guest one\n", hidden);
}

bool acpi_would_wake(void)
{
	const char *facs = direct(acpi.facs);

	if (!acpi.facs || acpi.facs >= FOUR_GIB)
		return false;
	return read32(facs, FACS_WAKING_VECTOR) || read32(facs, FACS_X_WAKING_VECTOR) ||
	       read32(facs, FACS_X_WAKING_VECTOR + 4);
}
