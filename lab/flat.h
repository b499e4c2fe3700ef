/* SPDX-License-Identifier: MIT */
/* JSON as a flat list of figures and strings, each with its path: "cost_ns.missed.p50",
   "what_if[3].policy". */
#ifndef LAB_FLAT_H
#define LAB_FLAT_H

#include <stdbool.h>
#include <stddef.h>

enum { LAB_FLAT_NAME = 128, LAB_FLAT_DEPTH = 16 };

struct lab_flat_item {
	char name[LAB_FLAT_NAME];
	double number;
	char *string; /* null: a number; true is 1, false 0 */
};

struct lab_flat {
	struct lab_flat_item *item;
	size_t count, room;
	size_t *index; /* by a hash of the name: the item's number plus one, 0 for none */
	size_t index_room;
};

/* Reads an object; what follows it is left out. Null members are left out too. False: it is none,
   and *at is the byte where that shows. */
bool lab_flat_read(struct lab_flat *flat, const char *text, size_t length, size_t *at);
/* To be called when items were given other names, before the next search. */
void lab_flat_index(struct lab_flat *flat);
/* The item of a name, the first of several, or null. */
const struct lab_flat_item *lab_flat_find(const struct lab_flat *flat, const char *name);
void lab_flat_free(struct lab_flat *flat);

#endif
