/* SPDX-License-Identifier: MIT */
/* The I/O and MSR permission maps. What the bits mean for the guest is in exit/io.c and msr.c. */
#include "svm/permission.h"

#include "cpu/end.h"
#include "mem/frames.h"
#include "mem/layout.h"
#include "svm/vmcb.h"

enum { IOPM_BYTES = 3 * 4096, MSRPM_BYTES = 2 * 4096 };

static uint8_t *iopm, *msrpm;

void permission_init(struct vmcb *vmcb)
{
	iopm = frames_keep(IOPM_BYTES);
	msrpm = frames_keep(MSRPM_BYTES);
	if (!iopm || !msrpm)
		end(END_REFUSED, "too little memory for the permission maps");
	vmcb->iopm = direct_pa(iopm);
	vmcb->msrpm = direct_pa(msrpm);
}

void permission_port(uint16_t port, bool exits)
{
	const uint8_t mask = (uint8_t)(1u << port % 8);

	if (exits)
		iopm[port / 8] |= mask;
	else
		iopm[port / 8] &= (uint8_t)~mask;
}

/* Sets bit 0 (read) or 1 (write) of an MSR's pair. MSRs outside the map's ranges always exit. */
static void set(uint32_t msr, unsigned which)
{
	const uint32_t first[] = { 0, 0xc0000000, 0xc0010000 };

	for (unsigned i = 0; i < 3; i++) {
		const uint32_t n = msr - first[i];

		if (n < 0x2000)
			msrpm[i * 0x800 + n / 4] |= (uint8_t)(1u << (n % 4 * 2 + which));
	}
}

void permission_msr_read(uint32_t msr)
{
	set(msr, 0);
}

void permission_msr_write(uint32_t msr)
{
	set(msr, 1);
}
