/* SPDX-License-Identifier: MIT */
/* The hypervisor's GDT, TSS and IDT. */
#ifndef HV_BOOT_DESCRIPTORS_H
#define HV_BOOT_DESCRIPTORS_H

/* Loads all three, and the segment registers. */
void descriptors_load(void);

#endif
