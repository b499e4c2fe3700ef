/* SPDX-License-Identifier: MIT */
/* The guest's command line: words, some of them name=value. */
#ifndef GUESTS_TORTURE_ARGUMENT_H
#define GUESTS_TORTURE_ARGUMENT_H

#include <stdint.h>

/* Copies the line from Multiboot's information, which the guest's memory may overwrite. */
void argument_init(unsigned long info);

const char *argument_line(void);

/* The text behind "name=" (behind a word that has no value), or null. */
const char *argument(const char *name);

uint32_t argument_number(const char *name, uint32_t otherwise);

#endif
