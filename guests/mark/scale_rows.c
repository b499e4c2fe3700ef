/* SPDX-License-Identifier: MIT */
/* Exits that are no MMU work, for scale. */
#include "mark/machine.h"
#include "mark/rows.h"

enum { OPS = 512 };

static unsigned cpuid_alone(unsigned ops, unsigned roots)
{
	uint32_t out[4];

	(void)roots;
	for (unsigned i = 0; i < ops; i++)
		cpuid(0, out);
	return ops;
}

/* The legacy interrupt controller's mask: a port that hypervisors keep in their kernel. */
static unsigned in_port(unsigned ops, unsigned roots)
{
	(void)roots;
	for (unsigned i = 0; i < ops; i++)
		in8(PORT_PIC1_MASK);
	return ops;
}

static unsigned self_ipi(unsigned ops, unsigned roots)
{
	(void)roots;
	__asm__ volatile("sti");
	for (unsigned i = 0; i < ops; i++)
		self_interrupt();
	__asm__ volatile("cli");
	return ops;
}

static unsigned cr0_wp(unsigned ops, unsigned roots)
{
	(void)roots;
	for (unsigned i = 0; i < ops; i++)
		write_cr0(read_cr0() ^ CR0_WP);
	return ops;
}

const struct row scale_rows[] = {
	{ "cpuid", OPS, false, 0, cpuid_alone },
	{ "in_port", OPS, false, 0, in_port },
	{ "self_ipi", OPS, false, 0, self_ipi },
	{ "cr0_wp", OPS, false, 0, cr0_wp },
	{ .op = 0 },
};
