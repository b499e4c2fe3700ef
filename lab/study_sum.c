/* SPDX-License-Identifier: MIT */
/* Sums over what was read, and its end. */
#include "study.h"

#include <stdlib.h>

struct lab_row lab_study_row(const struct lab_study *study, enum rhz_root_policy policy,
                             unsigned capacity, enum lab_contexts contexts)
{
	struct lab_row row = { .policy = policy, .capacity = capacity, .contexts = contexts };

	for (size_t i = 0; i < study->vcpus_count; i++)
		lab_whatif_add(&study->vcpus[i].view->whatif, &row);
	return row;
}

uint64_t lab_study_requests(const struct lab_study *study)
{
	uint64_t requests = 0;

	for (size_t i = 0; i < study->vcpus_count; i++)
		requests += study->vcpus[i].view->requests;
	return requests;
}

uint64_t lab_study_distinct(const struct lab_study *study, bool *at_least)
{
	uint64_t distinct = 0;

	*at_least = false;
	for (size_t i = 0; i < study->vcpus_count; i++) {
		distinct += study->vcpus[i].view->known.count;
		*at_least |= study->vcpus[i].view->known.full;
	}
	return distinct;
}

void lab_study_free(struct lab_study *study)
{
	for (size_t i = 0; i < study->vcpus_count; i++) {
		lab_view_free(study->vcpus[i].view);
		free(study->vcpus[i].view);
		free(study->vcpus[i].check);
		for (unsigned k = 0; k < LAB_ANSWERS; k++)
			free(study->vcpus[i].cost[k]);
	}
	for (size_t i = 0; i < study->paths_count; i++)
		free(study->paths[i]);
	free(study->vcpus);
	free(study->paths);
	*study = (struct lab_study){ .vcpus_count = 0 };
}
