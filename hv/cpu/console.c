/* SPDX-License-Identifier: MIT */
/* The console: characters out, and a small print. Nothing is read from it. */
#include "cpu/console.h"

#include "cpu/x86.h"

enum { COM_DATA = 0, COM_INTERRUPTS = 1, COM_FIFO = 2, COM_LINE = 3, COM_MODEM = 4, COM_STATUS = 5,
       COM_PORTS = 8 };
enum { STATUS_ROOM = 0x20, STATUS_IDLE = 0x40 };

static enum console chosen = CONSOLE_E9;

void console_select(enum console console)
{
	chosen = console;
	if (console != CONSOLE_COM2)
		return;
	out8(PORT_COM2 + COM_INTERRUPTS, 0);
	out8(PORT_COM2 + COM_LINE, 0x80); /* divisor 1: 115200 baud */
	out8(PORT_COM2 + COM_DATA, 1);
	out8(PORT_COM2 + COM_INTERRUPTS, 0);
	out8(PORT_COM2 + COM_LINE, 0x03); /* 8 data bits, 1 stop bit */
	out8(PORT_COM2 + COM_FIFO, 0x07);
	out8(PORT_COM2 + COM_MODEM, 0x03);
}

bool console_owns(uint16_t port)
{
	if (chosen == CONSOLE_E9)
		return port == PORT_E9;
	return port >= PORT_COM2 && port < PORT_COM2 + COM_PORTS;
}

/* Bounded: a line that is not there reads as ready, one that hangs must not hang us. */
static void wait_for_status(uint8_t bit)
{
	for (unsigned i = 0; i < 1000000 && !(in8(PORT_COM2 + COM_STATUS) & bit); i++)
		;
}

void console_drain(void)
{
	if (chosen == CONSOLE_COM2)
		wait_for_status(STATUS_IDLE);
}

static void put(char c)
{
	if (chosen == CONSOLE_E9) {
		out8(PORT_E9, (uint8_t)c);
		return;
	}
	if (c == '\n')
		put('\r');
	wait_for_status(STATUS_ROOM);
	out8(PORT_COM2 + COM_DATA, (uint8_t)c);
}

static void put_number(uint64_t value, unsigned base, unsigned width, char fill)
{
	char digits[20];
	unsigned n = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	for (unsigned i = n; i < width; i++)
		put(fill);
	while (n)
		put(digits[--n]);
}

/* One conversion, its '%' already read; returns where the format goes on. */
static const char *convert(const char *format, va_list *arguments)
{
	char fill = ' ';
	unsigned width = 0;
	bool is_long = false;

	if (*format == '0')
		fill = *format++;
	while (*format >= '0' && *format <= '9')
		width = width * 10 + (unsigned)(*format++ - '0');
	if (*format == 'l') {
		is_long = true;
		format++;
	}
	switch (*format) {
	case 's':
		for (const char *s = va_arg(*arguments, const char *); *s; s++)
			put(*s);
		break;
	case 'c':
		put((char)va_arg(*arguments, int));
		break;
	case 'u':
	case 'x':
		put_number(is_long ? va_arg(*arguments, unsigned long)
		                   : va_arg(*arguments, unsigned),
		           *format == 'x' ? 16 : 10, width, fill);
		break;
	default:
		put(*format);
	}
	return format + 1;
}

void print(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	while (*format) {
		if (*format == '%')
			format = convert(format + 1, &arguments);
		else
			put(*format++);
	}
	va_end(arguments);
}
