/* SPDX-License-Identifier: MIT */
/* What a seed makes: which frame is a table of which level, and random entries for it. */
#ifndef GUESTS_TORTURE_WORLD_H
#define GUESTS_TORTURE_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "torture/paging.h"

struct world {
	bool globals;    /* leaves get G */
	unsigned faulty; /* percent of entries with something wrong */
	unsigned wild;   /* percent of tables at a level that is not theirs */
	uint8_t level[64]; /* of each frame that is a table; roots have the top level */
};
extern struct world world;

/* Fills the arena and the registers for a seed. */
void world_build(void);

/* A frame's level: 0 if it holds data. */
unsigned world_level(uint64_t pa);

/* One of the level's tables. */
uint64_t world_table(unsigned level);

/* An entry for a table of this level; level 0: something for data. */
uint64_t world_entry(unsigned level);

/* An index of the level's tables that tests use. */
unsigned world_index(unsigned level);

/* A page that tests use, one of data by its physical address, an offset in either. */
uint64_t world_page(void);
uint64_t world_data_page(void);
unsigned world_offset(void);

#endif
