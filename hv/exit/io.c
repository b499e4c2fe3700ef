/* SPDX-License-Identifier: MIT */
/*
 * Ports by which a guest could take the machine, or end the run unseen. All others are the guest's
 * without an exit. An access that only touches such a port is done byte by byte, as the ISA bus
 * would do it.
 */
#include "boot/info.h"
#include "cpu/acpi.h"
#include "cpu/console.h"
#include "cpu/end.h"
#include "cpu/x86.h"
#include "exit/event.h"
#include "exit/exit.h"
#include "exit/stats.h"
#include "exit/trace.h"
#include "svm/guest.h"
#include "svm/permission.h"

enum {
	PORT_KEYBOARD_DATA = 0x60,
	PORT_KEYBOARD_COMMAND = 0x64,
	PORT_SYSTEM_CONTROL = 0x92,
	PORT_PCI_ADDRESS = 0xcf8,
	PORT_RESET_CONTROL = 0xcf9,
};

#define SYSTEM_CONTROL_RESET 1u
#define SYSTEM_CONTROL_A20 2u
#define RESET_CONTROL_GO 4u
#define OUTPUT_PORT_NO_RESET 1u
#define OUTPUT_PORT_A20 2u
#define KEYBOARD_WRITE_OUTPUT_PORT 0xd1u
#define KEYBOARD_A20_OFF 0xddu
#define KEYBOARD_A20_ON 0xdfu
#define KEYBOARD_PULSE 0xf0u
#define PM1_SLEEP_ENABLE (1u << 13)

static bool output_port_next; /* the next byte to port 60h goes to the 8042's output port */

static __attribute__((noreturn)) void guest_resets(struct guest *g, const char *how)
{
	stats_print(g);
	end(END_RESET, how);
}

static void write_keyboard_command(struct guest *g, uint8_t value)
{
	/* What is swallowed leaves the controller where it was, waiting for a byte or not. */
	if (value == KEYBOARD_A20_OFF || value == KEYBOARD_A20_ON)
		return;
	if (value >= KEYBOARD_PULSE) {
		/* A zero in the low bits pulses that line; line 0 is the processor's reset. */
		if (!(value & OUTPUT_PORT_NO_RESET))
			guest_resets(g, "the guest reset the machine by the keyboard controller");
		return;
	}
	output_port_next = value == KEYBOARD_WRITE_OUTPUT_PORT;
	permission_port(PORT_KEYBOARD_DATA, output_port_next);
	out8(PORT_KEYBOARD_COMMAND, value);
}

static void write_keyboard_data(struct guest *g, uint8_t value)
{
	if (output_port_next) {
		if (!(value & OUTPUT_PORT_NO_RESET))
			guest_resets(g, "the guest reset the machine by the keyboard controller");
		value |= OUTPUT_PORT_A20;
		output_port_next = false;
		permission_port(PORT_KEYBOARD_DATA, false);
	}
	out8(PORT_KEYBOARD_DATA, value);
}

static void write_byte(struct guest *g, uint16_t port, uint8_t value)
{
	if (trace_owns(port))
		return;
	if (console_owns(port)) {
		if (boot_info.options.marks)
			stats_mark(g, value);
		return;
	}
	switch (port) {
	case PORT_KEYBOARD_COMMAND:
		write_keyboard_command(g, value);
		break;
	case PORT_KEYBOARD_DATA:
		write_keyboard_data(g, value);
		break;
	case PORT_SYSTEM_CONTROL:
		if (value & SYSTEM_CONTROL_RESET)
			guest_resets(g, "the guest reset the machine by port 92h");
		out8(port, value | SYSTEM_CONTROL_A20);
		break;
	case PORT_RESET_CONTROL:
		if (value & RESET_CONTROL_GO)
			guest_resets(g, "the guest reset the machine by port CF9h");
		out8(port, value);
		break;
	default:
		out8(port, value);
	}
}

static void write_whole(uint16_t port, unsigned bytes, uint32_t value)
{
	if (bytes == 1)
		out8(port, (uint8_t)value);
	else if (bytes == 2)
		out16(port, (uint16_t)value);
	else
		out32(port, value);
}

static uint32_t read_whole(uint16_t port, unsigned bytes)
{
	if (bytes == 1)
		return in8(port);
	return bytes == 2 ? in16(port) : in32(port);
}

static bool is_sleep_port(uint16_t port)
{
	return port && (port == acpi.sleep_port[0] || port == acpi.sleep_port[1]);
}

static void write_sleep(struct guest *g, uint16_t port, unsigned bytes, uint32_t value)
{
	if (bytes > 1 && (value & PM1_SLEEP_ENABLE)) {
		/* Waking would start the guest's code without us. */
		if (acpi_would_wake()) {
			print("rhizome: the guest may not suspend the machine\n");
			return;
		}
		stats_print(g);
		print("rhizome: end 0 the guest powered the machine off\n");
		console_drain();
	}
	write_whole(port, bytes, value);
}

/* Registers that are wider than a byte and must be written whole. */
static bool is_whole(uint16_t port, unsigned bytes)
{
	return (port == PORT_PCI_ADDRESS && bytes == 4) || is_sleep_port(port) ||
	       (port && port == boot_info.options.exit_port);
}

static void write_port(struct guest *g, uint16_t port, unsigned bytes, uint32_t value)
{
	if (!is_whole(port, bytes)) {
		for (unsigned i = 0; i < bytes; i++)
			write_byte(g, (uint16_t)(port + i), (uint8_t)(value >> 8 * i));
	} else if (is_sleep_port(port)) {
		write_sleep(g, port, bytes, value);
	} else {
		if (port == boot_info.options.exit_port) {
			stats_print(g);
			print("rhizome: left with %u\n", value);
			console_drain();
		}
		write_whole(port, bytes, value);
	}
}

/* Ports of ours, which the guest finds empty. */
static bool is_hidden(uint16_t port)
{
	return console_owns(port) || trace_owns(port);
}

static uint32_t read_port(uint16_t port, unsigned bytes)
{
	uint32_t value = 0;

	if (is_whole(port, bytes))
		return read_whole(port, bytes);
	for (unsigned i = 0; i < bytes; i++) {
		const uint16_t at = (uint16_t)(port + i);

		value |= (uint32_t)(is_hidden(at) ? 0xff : in8(at)) << 8 * i;
	}
	return value;
}

void exit_io(struct guest *g)
{
	const uint64_t info = g->vmcb->exit_info1;
	const uint16_t port = (uint16_t)(info >> 16);
	const unsigned bytes = info & IO_SIZE8 ? 1 : info & IO_SIZE16 ? 2 : 4;
	uint64_t *rax = &g->reg[REG_RAX];

	if (info & IO_STRING) {
		/* No system has a reason for these; docs/hypervisor.md names the limit. */
		event_gp(g);
		return;
	}
	if (!(info & IO_IN)) {
		write_port(g, port, bytes, (uint32_t)*rax);
	} else if (bytes == 4) {
		*rax = read_port(port, bytes);
	} else {
		const uint64_t mask = (1ull << 8 * bytes) - 1;

		*rax = (*rax & ~mask) | read_port(port, bytes);
	}
	event_skip_to(g, g->vmcb->exit_info2);
}

void exit_io_init(void)
{
	static const uint16_t ports[] = { PORT_KEYBOARD_COMMAND, PORT_SYSTEM_CONTROL,
	                                  PORT_RESET_CONTROL };

	for (unsigned i = 0; i < sizeof(ports) / sizeof(ports[0]); i++)
		permission_port(ports[i], true);
	for (unsigned i = 0; i < 2; i++) {
		if (acpi.sleep_port[i]) {
			permission_port(acpi.sleep_port[i], true);
			permission_port((uint16_t)(acpi.sleep_port[i] + 1), true);
		}
	}
	if (boot_info.options.exit_port)
		permission_port(boot_info.options.exit_port, true);
	for (uint32_t port = 0; port <= 0xffff; port++) {
		if (is_hidden((uint16_t)port))
			permission_port((uint16_t)port, true);
	}
}
