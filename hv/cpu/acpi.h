/* SPDX-License-Identifier: MIT */
/* The few things of ACPI that matter: where the machine sleeps, which processors it names. */
#ifndef HV_CPU_ACPI_H
#define HV_CPU_ACPI_H

#include <stdbool.h>
#include <stdint.h>

enum { IOAPICS_MAX = 8 };

struct acpi {
	uint16_t sleep_port[2]; /* PM1a and PM1b control registers; 0: none */
	uint64_t facs;          /* physical address; 0: none */
	unsigned ioapics;
	uint64_t ioapic[IOAPICS_MAX]; /* physical addresses of their pages */
};
extern struct acpi acpi;

/* Reads the tables, if there are any. */
void acpi_read(void);

/* Marks all processors but this one as unusable in the table that the guest will read. */
void acpi_hide_processors(uint8_t apic_id);

/* True if the firmware would hand the machine to the guest on waking: it must not sleep. */
bool acpi_would_wake(void);

#endif
