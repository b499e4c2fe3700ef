/* SPDX-License-Identifier: MIT */
/*
 * Sequences of events: the worlds of the property tests (tests/property), with what happens next
 * taken from the input in place of a random generator. Library and model must agree, and the audit
 * find nothing. A divergence is told step by step.
 *
 * An input is a heading and records of one size, each an action: a byte for its kind, the others
 * its choices. The mutator keeps to that form, so that a record that is moved or left out leaves
 * the others what they were.
 */
#include "fuzz.h"

#include "property/world.h"

enum { HEADING = 16, RECORD = 16, RECORDS_MAX = 400 };

static struct world world;

/* What a world has, by the heading; the rest of it follows from a seed in there. */
static struct config take_config(struct input *input)
{
	struct config config = { .audit = 6, .check = 3 };
	unsigned mode = (unsigned)take(input, 1), size = (unsigned)take(input, 1);

	config.mode = mode % MODES;
	config.plain = mode >> 7;
	config.vms = size % 8 ? 1 : 2;
	config.vcpus = 1 + size / 8 % VCPUS;
	config.cpus = 1 + size / 64 % CPUS;
	config.options = (uint32_t)take(input, 2);
	config.options_off = (uint32_t)take(input, 2);
	config.seed = take(input, 8);
	take(input, 2);
	return config;
}

/* What the bytes of a record do not decide follows from them. */
static uint64_t seed_of(const uint8_t *record)
{
	uint64_t seed = 0xcbf29ce484222325ull;

	for (unsigned i = 0; i < RECORD; i++)
		seed = (seed ^ record[i]) * 0x100000001b3ull;
	return seed ^ seed >> 32;
}

static void run(const uint8_t *data, size_t size, bool verbose)
{
	struct world *w = &world;
	struct input input = { data, size };
	struct config config = take_config(&input);
	volatile size_t count = input.left / RECORD < RECORDS_MAX ? input.left / RECORD :
	                                                            RECORDS_MAX;

	memset(w, 0, sizeof(*w));
	w->verbose = verbose;
	if (setjmp(w->failed)) {
		world_abandon(w);
		if (!verbose)
			run(data, size, true);
		wrong("step %u: %s", w->step, w->reason);
	}
	world_create(w, &config);
	for (; w->step < count; w->step++) {
		const uint8_t *record = input.at + w->step * RECORD;
		struct action action = { .seed = seed_of(record) };

		w->random = (struct random){ action.seed, record, record + 1 };
		action.kind = pick_kind(config.mode, &w->random);
		w->random.byte_end = record + RECORD;
		perform(w, &action);
		w->random.byte = w->random.byte_end;
	}
	for (unsigned i = 0; i < w->vms; i++)
		check_audit(&w->vm[i]);
	world_end(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!pool_memory)
		world_memory_init();
	run(data, size, false);
	return 0;
}

/* The fuzzer's own; not there in a replay, where nothing is mutated. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max) __attribute__((weak));
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);

/* In the form: a record is left out, said twice, moved, or changed within; or the heading is. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	struct random r = { .state = seed };
	size_t count = size > HEADING ? (size - HEADING) / RECORD : 0;
	uint8_t *records = data + HEADING, *one, *other, copy[RECORD];

	if (max < HEADING + RECORD)
		return LLVMFuzzerMutate(data, size, max);
	if (!count) {
		memset(data + size, 0, HEADING + RECORD - size);
		count = 1;
	}
	one = records + RECORD * below(&r, (unsigned)count);
	other = records + RECORD * below(&r, (unsigned)count);
	memcpy(copy, one, RECORD);
	switch (below(&r, 8)) {
	case 0:
		if (count > 1)
			memmove(one, one + RECORD, (size_t)(records + RECORD * --count - one));
		break;
	case 1:
		memcpy(one, other, RECORD);
		memcpy(other, copy, RECORD);
		break;
	case 2: case 3: case 4:
		if (HEADING + RECORD * (count + 1) > max)
			break;
		memmove(other + RECORD, other, (size_t)(records + RECORD * count++ - other));
		memcpy(other, copy, RECORD);
		one = other;
		__attribute__((fallthrough));
	case 5: case 6:
		LLVMFuzzerMutate(one, RECORD, RECORD);
		break;
	default:
		LLVMFuzzerMutate(data, HEADING, HEADING);
	}
	return HEADING + RECORD * count;
}
