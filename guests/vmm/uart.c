/* SPDX-License-Identifier: MIT */
/* A serial port that has always sent what it was given. Its one interrupt says so. */
#include <stdio.h>
#include <sys/ioctl.h>

#include "vmm.h"

enum { DATA, ENABLE, IDENTIFY, LINE_CONTROL, MODEM_CONTROL, LINE_STATUS, MODEM_STATUS, SCRATCH };

#define ENABLE_SENT 2u
#define IDENTIFY_NONE 1u
#define IDENTIFY_SENT 2u
#define LINE_CONTROL_DIVISOR 0x80u
#define LINE_STATUS_EMPTY 0x60u
#define MODEM_STATUS_READY 0xb0u

static uint8_t registers[UART_PORTS], divisor[2];
static bool sent; /* and not yet told */

static void set_line(struct vmm *vmm)
{
	struct kvm_irq_level level = { .irq = UART_LINE };

	level.level = sent && registers[ENABLE] & ENABLE_SENT;
	if (ioctl(vmm->vm, KVM_IRQ_LINE, &level) < 0)
		vmm_fail("KVM_IRQ_LINE: %m");
}

static bool is_divisor(unsigned offset)
{
	return offset <= ENABLE && registers[LINE_CONTROL] & LINE_CONTROL_DIVISOR;
}

uint8_t uart_read(struct vmm *vmm, unsigned offset)
{
	uint8_t value = registers[offset];

	if (is_divisor(offset))
		return divisor[offset];
	switch (offset) {
	case DATA:
		return 0;
	case IDENTIFY:
		value = sent && registers[ENABLE] & ENABLE_SENT ? IDENTIFY_SENT : IDENTIFY_NONE;
		sent = false;
		set_line(vmm);
		return value;
	case LINE_STATUS:
		return LINE_STATUS_EMPTY;
	case MODEM_STATUS:
		return MODEM_STATUS_READY;
	default:
		return value;
	}
}

void uart_write(struct vmm *vmm, unsigned offset, uint8_t value)
{
	if (is_divisor(offset)) {
		divisor[offset] = value;
		return;
	}
	if (offset == DATA) {
		putchar(value);
		if (value == '\n')
			fflush(stdout);
		sent = true;
	} else {
		sent |= offset == ENABLE && value & ~registers[ENABLE] & ENABLE_SENT;
		registers[offset] = value;
	}
	set_line(vmm);
}
