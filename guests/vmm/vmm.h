/* SPDX-License-Identifier: MIT */
/* A small user of /dev/kvm: a processor, memory from 0, a serial line, two ways to be loaded. */
#ifndef GUESTS_VMM_VMM_H
#define GUESTS_VMM_VMM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmm {
	int vm, vcpu;
	uint8_t *memory; /* of the guest's physical address 0 */
	size_t bytes;
	struct kvm_regs regs;   /* at the guest's first instruction */
	struct kvm_sregs sregs;
};

/* Ends the program with status 2 and one line that says why. */
__attribute__((noreturn, format(printf, 1, 2))) void vmm_fail(const char *format, ...);

/* A whole file; fails if it cannot be read. */
uint8_t *vmm_read_file(const char *path, size_t *bytes);

/* Copies into guest memory; fails with 'what' if it does not fit. */
void vmm_put(struct vmm *vmm, uint64_t at, const void *from, size_t bytes, const char *what);

/* Flat segments: code of 32 or 64 bits, and data, under these selectors. */
void vmm_set_flat(struct vmm *vmm, unsigned code, unsigned data, bool is_64bit);

/* Linux by its 64-bit boot protocol; a Multiboot 1 kernel. initrd may be null. */
void linux_load(struct vmm *vmm, const char *kernel, const char *initrd, const char *arguments);
void multiboot_load(struct vmm *vmm, const char *kernel, const char *arguments);

/* Where interrupts go, for a guest without ACPI. */
void mptable_put(struct vmm *vmm);

/* The 16550 at 3F8h: what is sent goes to standard output; nothing is ever received. */
enum { UART_PORT = 0x3f8, UART_PORTS = 8, UART_LINE = 4 };
uint8_t uart_read(struct vmm *vmm, unsigned offset);
void uart_write(struct vmm *vmm, unsigned offset, uint8_t value);

#endif
