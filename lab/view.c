/* SPDX-License-Identifier: MIT */
/* Takes down requests as they come, in bounded memory; see view.h. */
#include "view.h"
#include "kvm.h"
#include "lab.h"

#include <stdlib.h>
#include <string.h>

enum { KNOWN_FIRST = 64, KNOWN_MAX = 1 << 20 };

void lab_view_init(struct lab_view *view, bool random, uint64_t seed)
{
	memset(view, 0, sizeof(*view));
	lab_whatif_init(&view->whatif, random, seed);
}

void lab_view_free(struct lab_view *view)
{
	lab_whatif_free(&view->whatif);
	free(view->known.place);
	free(view->known.number);
	view->known = (struct lab_known){ .count = 0 };
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
	x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
	return x ^ x >> 32;
}

/* 62 bits of the key: two of a million roots have the same with a chance of one in a million. */
static lab_root root_of(const struct lab_root_name *name)
{
	uint64_t rest = name->role ^ (uint64_t)name->guest_asid << 32;
	uint64_t root = mix(name->table ^ (rest ? mix(rest) : 0)) << 2 | name->context;

	return root ? root : 4;
}

static void known_grow(struct lab_known *known)
{
	struct lab_known larger = {
		.size = known->size ? known->size * 4 : KNOWN_FIRST,
		.count = known->count,
	};

	larger.place = lab_realloc(NULL, larger.size, sizeof(*larger.place));
	larger.number = lab_realloc(NULL, larger.size, sizeof(*larger.number));
	memset(larger.place, 0, larger.size * sizeof(*larger.place));
	for (uint64_t i = 0; i < known->size; i++) {
		uint64_t at = known->place[i] >> 2;

		if (!known->place[i])
			continue;
		while (larger.place[at & (larger.size - 1)])
			at++;
		larger.place[at & (larger.size - 1)] = known->place[i];
		larger.number[at & (larger.size - 1)] = known->number[i];
	}
	free(known->place);
	free(known->number);
	*known = larger;
}

/* The root's number in the order of the first times; UINT32_MAX if there is no more room. */
static uint32_t known_number(struct lab_known *known, lab_root root, bool *first)
{
	uint64_t at = root >> 2;

	*first = false;
	if (known->count * 2 >= known->size && known->count < KNOWN_MAX)
		known_grow(known);
	for (; known->place[at & (known->size - 1)]; at++)
		if (known->place[at & (known->size - 1)] == root)
			return known->number[at & (known->size - 1)];
	if (known->count == KNOWN_MAX) {
		known->full = true;
		return UINT32_MAX;
	}
	*first = true;
	known->place[at & (known->size - 1)] = root;
	known->number[at & (known->size - 1)] = (uint32_t)known->count;
	return (uint32_t)known->count++;
}

static void halve(struct lab_timeline *timeline)
{
	for (unsigned i = 0; i < LAB_BINS; i++) {
		struct lab_bin bin = { .roots = 0 };

		for (unsigned k = 2 * i; k < 2 * i + 2 && k < LAB_BINS; k++) {
			bin.roots |= timeline->bin[k].roots;
			bin.requests += timeline->bin[k].requests;
			bin.missed += timeline->bin[k].missed;
		}
		timeline->bin[i] = bin;
	}
	timeline->bin_ns *= 2;
}

static void timeline_add(struct lab_timeline *timeline, uint32_t number, uint64_t time_ns,
                         bool missed)
{
	uint64_t since;
	struct lab_bin *bin;

	if (!timeline->bin_ns) {
		timeline->bin_ns = 1000;
		timeline->start_ns = time_ns;
	}
	since = time_ns > timeline->start_ns ? time_ns - timeline->start_ns : 0;
	while (since / timeline->bin_ns >= LAB_BINS && timeline->bin_ns < 1ull << 62)
		halve(timeline);
	bin = &timeline->bin[since / timeline->bin_ns % LAB_BINS];
	bin->roots |= 1ull << (number < LAB_TIMELINE_ROOTS ? number : LAB_TIMELINE_ROOTS);
	bin->requests++;
	bin->missed += missed;
}

static void isolation_add(struct lab_isolation *isolation, const struct lab_root_name *name,
                          unsigned position)
{
	struct lab_root_name pair = *name;
	unsigned at = LAB_CURRENT;
	lab_root root;

	if ((name->table ^ isolation->last[name->context]) == 0x1000) {
		isolation->flips++;
		isolation->flips_at[position]++;
	}
	isolation->last[name->context] = name->table;
	pair.table &= ~0x1000ull;
	root = root_of(&pair);
	if (isolation->current[name->context] != root) {
		at = lab_stack_find(&isolation->joined, root);
		lab_stack_move(&isolation->joined, at, isolation->current[name->context]);
		isolation->current[name->context] = root;
	}
	isolation->joined_at[at]++;
}

unsigned lab_view_request(struct lab_view *view, const struct lab_root_name *name,
                          enum lab_cause cause, uint64_t time_ns)
{
	lab_root root = root_of(name);
	unsigned position = lab_whatif_request(&view->whatif, root);
	bool missed = position != LAB_CURRENT && position >= LAB_KVM_CAPACITY, first;
	uint32_t number = known_number(&view->known, root, &first);

	if (first && number < LAB_TIMELINE_ROOTS) {
		view->timeline.table[number] = name->table;
		view->timeline.context[number] = (uint8_t)name->context;
	}
	view->requests++;
	view->at[cause][position]++;
	isolation_add(&view->isolation, name, position);
	timeline_add(&view->timeline, number, time_ns, missed);
	return position;
}

void lab_view_gone(struct lab_view *view, const struct lab_root_name *name)
{
	lab_whatif_gone(&view->whatif, root_of(name));
}
