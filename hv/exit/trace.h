/* SPDX-License-Identifier: MIT */
/* What happens to roots, told to a port of its own as it happens; `rhizome run` makes a file. */
#ifndef HV_EXIT_TRACE_H
#define HV_EXIT_TRACE_H

#include <stdbool.h>
#include <stdint.h>

struct rhz_event;

/* True if the port is the trace's, so that the guest may not have it. */
bool trace_owns(uint16_t port);

/* Begins the trace, if the options ask for one. */
void trace_init(void);

/* The library's callback. */
void trace_event(void *ctx, const struct rhz_event *event);

/* An exit begins: what it asks for is asked for now. */
void trace_exit(void);

/* The guest is about to be entered: what was asked for is done. */
void trace_entry(void);

#endif
