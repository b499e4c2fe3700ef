/* SPDX-License-Identifier: MIT */
/* Loading a guest: kernel and modules into its memory, its processor to the first instruction. */
#ifndef HV_LOAD_LOAD_H
#define HV_LOAD_LOAD_H

#include <stdbool.h>
#include <stdint.h>

struct guest;
struct module;

/* Parks the modules at the top of guest memory, then loads the first as what it is. */
void load_guest(struct guest *g);

/* True if the file is of that kind. */
bool linux_is(const struct module *kernel);
bool multiboot_is(const struct module *kernel);

/* Load a kernel with its modules; what cannot be loaded ends the run with a message. */
void linux_load(struct guest *g);
void multiboot_load(struct guest *g);

/* The lowest byte of the parked modules: loaded things end below it. */
uint64_t load_parked(void);

/*
 * Copies to guest memory that is available and not parked in, as are 'room' more bytes behind it.
 * 'what' names it in the message if there is no such memory.
 */
void load_copy(uint64_t to, const void *from, uint64_t bytes, uint64_t room, const char *what);

#endif
