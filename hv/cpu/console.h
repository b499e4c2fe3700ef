/* SPDX-License-Identifier: MIT */
/* The hypervisor's own console: port E9h or the second serial line, never the guest's. */
#ifndef HV_CPU_CONSOLE_H
#define HV_CPU_CONSOLE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

enum console { CONSOLE_E9, CONSOLE_COM2 };

#define PORT_E9 0xe9u
#define PORT_COM2 0x2f8u

/* Switches to a console; before the first call it is port E9h. */
void console_select(enum console console);

/* True if the port belongs to the console in use, so that the guest may not have it. */
bool console_owns(uint16_t port);

/* Waits until the last character has gone out, for when the machine is about to end. */
void console_drain(void);

/*
 * Prints by format: %s string, %c character, %u unsigned, %x hexadecimal; l before u and x for 64
 * bits; 0 and a width before these for leading zeros.
 */
__attribute__((format(printf, 1, 2))) void print(const char *format, ...);

#endif
