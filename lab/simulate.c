/* SPDX-License-Identifier: MIT */
/* A root cache for each vCPU, empty at first, fed with the requests in their order. */
#include "simulate.h"

#include <stdlib.h>
#include <string.h>

/* What a vCPU has: its cache, and each context's current root as an index into roots. */
struct vcpu {
	struct rhz_root_cache cache;
	uint32_t current[RHZ_CONTEXTS];
};

static void build(struct vcpu *vcpu, const struct rhz_root_key *key, uint32_t root,
                  struct lab_row *row)
{
	uint32_t evicted[2];
	unsigned left = rhz_root_cache_insert(&vcpu->cache, key, root, evicted);
	bool twice = vcpu->current[key->context] == root;

	for (unsigned i = 0; i < left; i++)
		twice &= evicted[i] != root;
	row->duplicates += twice;
	row->missed++;
}

struct lab_row lab_simulate(const struct lab_requests *requests, enum rhz_root_policy policy,
                            unsigned capacity, uint64_t seed)
{
	struct lab_row row = { .policy = policy, .capacity = capacity };
	struct vcpu *vcpus = lab_realloc(NULL, requests->vcpus, sizeof(*vcpus));

	for (uint32_t i = 0; i < requests->vcpus; i++) {
		rhz_root_cache_init(&vcpus[i].cache, policy, capacity, seed + i);
		memset(vcpus[i].current, 0xff, sizeof(vcpus[i].current));
	}
	for (size_t i = 0; i < requests->count; i++) {
		const struct lab_root *root = &requests->roots[requests->root[i]];
		struct vcpu *vcpu = &vcpus[root->vcpu];
		unsigned position = 0;

		switch (rhz_root_cache_find(&vcpu->cache, &root->key, &position)) {
		case RHZ_ROOT_CURRENT:
			row.current++;
			break;
		case RHZ_ROOT_CACHED:
			row.cached++;
			row.positions += position;
			break;
		case RHZ_ROOT_MISSED:
			build(vcpu, &root->key, requests->root[i], &row);
			break;
		}
		vcpu->current[root->key.context] = requests->root[i];
	}
	free(vcpus);
	return row;
}
