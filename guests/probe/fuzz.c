/* SPDX-License-Identifier: MIT */
/*
 * Random MSR, APIC, I/O APIC, port and memory accesses. None may take the machine: whoever is still
 * there afterwards has won. Faults are survived; interrupts stay off meanwhile.
 */
#include "probe/fuzz.h"

#include "probe/machine.h"

enum { ROUNDS = 4000 };

static uint32_t state;

/* Xorshift with shifts 13, 17, 5; its state is never 0. */
static uint32_t draw(uint32_t limit)
{
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state % limit;
}

static uint64_t draw_value(void)
{
	const uint64_t value = (uint64_t)draw(~0u) << 32 | draw(~0u);

	switch (draw(4)) {
	case 0:
		return 1ull << draw(64);
	case 1:
		return value & 0xffff;
	case 2:
		return 0;
	default:
		return value;
	}
}

static void touch_msr(void)
{
	static const uint32_t first[] = { 0x200, 0x800, 0x1b, 0xc0000080, 0xc0010000, 0xc0010110,
	                                  0x2f0, 0x4b564d00 };
	const uint32_t msr = first[draw(8)] + draw(draw(2) ? 2 : 0x30);
	uint64_t value;

	/* NXE and SCE may change; the others of EFER need paging to be kept true to. */
	if (msr == 0xc0000080)
		write_msr(msr, draw_value() & ~0x500ull);
	else if (draw(2))
		read_msr(msr, &value);
	else
		write_msr(msr, draw_value());
}

static void touch_port(void)
{
	static const uint16_t ports[] = { 0x92, 0x64, 0xcf9, 0xe9, 0x60 };
	const uint16_t port = ports[draw(5)];
	uint8_t value = (uint8_t)draw_value();

	/* Not what resets the machine: that is an end, and has tests of its own. */
	if (port == 0x92)
		value &= 0xfe;
	if (port == 0xcf9)
		value &= 0xfb;
	if (port == 0x64)
		value = draw(2) ? 0xdd : 0xd1;
	if (port == 0x60)
		value |= 1;
	if (draw(2))
		in8(port);
	else
		out8(port, value);
}

void fuzz(uint32_t seed)
{
	uint64_t base;

	state = seed * 2654435761u | 1;
	read_msr(0x1b, &base);
	for (unsigned i = 0; i < ROUNDS; i++) {
		switch (draw(4)) {
		case 0:
			touch_msr();
			break;
		case 1:
			apic_write(0x10 * draw(0x54), (uint32_t)draw_value());
			break;
		case 2:
			ioapic_write(draw(0x40), (uint32_t)draw_value() | 1 << 16);
			break;
		default:
			touch_port();
		}
	}
	write_msr(0x1b, base);
	for (uint32_t lvt = 0x320; lvt <= 0x370; lvt += 0x10)
		apic_write(lvt, 1 << 16);
	machine_init();
	apic_write(0x80, 0);
	drain_interrupts();
}
