/* SPDX-License-Identifier: MIT */
/*
 * One vCPU's requests under every policy and every capacity, in one pass and bounded memory.
 * Policies by which the oldest leaves are read off stacks; random-4 runs the library's own cache,
 * one for each capacity that has ever been full.
 */
#ifndef LAB_WHATIF_H
#define LAB_WHATIF_H

#include "stack.h"

#include <rhizome/root.h>

/* Who shares a pool. */
enum lab_contexts {
	LAB_SHARED,   /* one pool for all contexts of a vCPU, a current root for each */
	LAB_SEPARATE, /* KVM: an MMU for L1 and for L2 on L1's own kind of tables, another for L2's
	                 nested tables; each has one current root and cached ones */
};
enum { LAB_CONTEXTS = 2 };

struct lab_row {
	enum rhz_root_policy policy;
	unsigned capacity;
	enum lab_contexts contexts;
	uint64_t current, cached, missed; /* together: all requests */
	uint64_t duplicates; /* misses that built a second copy of a root still held */
	uint64_t positions;  /* sum of the positions of all cached roots found */
};

struct lab_pool;

struct lab_whatif {
	struct lab_pool *shared;
	struct lab_pool *mmu[2];  /* separate; null while only one context asked */
	unsigned contexts;        /* that asked: a bit for each */
	bool random;              /* random-4 is wanted */
	uint64_t seed;            /* of random-4 */
};

void lab_whatif_init(struct lab_whatif *whatif, bool random, uint64_t seed);
/*
 * A request. The root's position among the shared cached roots under current-first: 0 the most
 * recently cached; LAB_STACK_NONE: not among them; LAB_CURRENT: it is the current one.
 */
enum { LAB_CURRENT = LAB_STACK_NONE + 1 };
unsigned lab_whatif_request(struct lab_whatif *whatif, lab_root root);
/* The root is not there any more, wherever it was held: whatever the capacity. */
void lab_whatif_gone(struct lab_whatif *whatif, lab_root root);
/* Adds the result under row's policy, capacity and contexts to row. */
void lab_whatif_add(const struct lab_whatif *whatif, struct lab_row *row);
/* Switches to another root, and how many of them find it among the 'tags' roots last used. */
void lab_whatif_tags(const struct lab_whatif *whatif, unsigned tags, uint64_t *switches,
                     uint64_t *kept);
/* Adds the requests by how many different roots were asked for since the same one was: 0 to 63;
   [64]: more, or it is the first time. */
void lab_whatif_distances(const struct lab_whatif *whatif, uint64_t to[LAB_STACK_SIZE + 1]);
void lab_whatif_free(struct lab_whatif *whatif);

#endif
