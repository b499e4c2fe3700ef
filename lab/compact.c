/* SPDX-License-Identifier: MIT */
/* The compact form's reader. What it is handed may be anything: every length is checked. */
#include "compact.h"
#include "compact_form.h"
#include "lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

struct thread {
	uint32_t task, vm, vcpu;
};

struct lab_compact_reader {
	lab_compact_pull pull;
	void *from;
	uint64_t ticks_per_second;
	uint64_t offset; /* of the byte behind data in the file */
	uint64_t ticks;  /* of the event before */
	const uint8_t *at, *end; /* what of data is not yet decoded */
	struct thread *threads;
	uint32_t threads_count;
	unsigned facts_count;
	bool whole, failed;
	char error[160];
	char fact[LAB_COMPACT_FACTS_MAX][LAB_COMPACT_FACT_SIZE];
	uint8_t data[LAB_COMPACT_BLOCK_MAX];
};

static bool fail(struct lab_compact_reader *reader, uint64_t offset, const char *what)
{
	if (!reader->failed)
		snprintf(reader->error, sizeof(reader->error), "byte %llu: %s",
		         (unsigned long long)offset, what);
	reader->failed = true;
	return false;
}

static bool fail_here(struct lab_compact_reader *reader, const char *what)
{
	return fail(reader, reader->offset - (uint64_t)(reader->end - reader->at), what);
}

/* Reads count bytes into data; how many there were. */
static size_t fetch(struct lab_compact_reader *reader, size_t count)
{
	size_t have = 0, got = 1;

	while (have < count && got) {
		got = reader->pull(reader->from, reader->data + have, count - have);
		have += got;
	}
	reader->offset += have;
	reader->at = reader->data;
	reader->end = reader->data + have;
	return have;
}

static bool take_varint(struct lab_compact_reader *reader, uint64_t *value)
{
	const uint8_t *at = reader->at;
	uint64_t result = 0;

	for (unsigned shift = 0; at < reader->end && shift < 64; shift += 7) {
		uint8_t byte = *at++;

		if (shift == 63 && byte > 1)
			return fail_here(reader, "a number of more than 64 bits");
		result |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			reader->at = at;
			*value = result;
			return true;
		}
	}
	return fail_here(reader, "a number without an end");
}

static bool take_fact(struct lab_compact_reader *reader)
{
	char *fact = reader->fact[reader->facts_count];
	uint64_t length;

	if (!take_varint(reader, &length))
		return false;
	if (length >= LAB_COMPACT_FACT_SIZE || length > (uint64_t)(reader->end - reader->at))
		return fail_here(reader, "a fact is too long");
	memcpy(fact, reader->at, length);
	fact[length] = '\0';
	reader->at += length;
	reader->facts_count++;
	return true;
}

/* A block's heading and its payload into data. False at the end, too. */
static bool next_block(struct lab_compact_reader *reader)
{
	uint64_t start = reader->offset;
	size_t got = fetch(reader, FORM_BLOCK_HEAD);
	uint32_t length, sum;

	if (!got)
		return false; /* the recorder was stopped: what it wrote is good */
	if (got < FORM_BLOCK_HEAD)
		return fail(reader, start, "the file ends within a block");
	length = form_u32(reader->data);
	sum = form_u32(reader->data + 4);
	if (length == 0 && sum == FORM_END_SUM) {
		reader->whole = true;
		return false;
	}
	if (length == 0 || length > LAB_COMPACT_BLOCK_MAX)
		return fail(reader, start, "a block whose length is wrong");
	if (fetch(reader, length) < length)
		return fail(reader, start, "the file ends within a block");
	if (crc32(0, reader->data, length) != sum)
		return fail(reader, start, "a block whose check sum is wrong");
	reader->ticks = 0;
	return true;
}

static bool take_heading(struct lab_compact_reader *reader)
{
	uint64_t facts;

	if (fetch(reader, 8) < 8 || memcmp(reader->data, LAB_COMPACT_MAGIC, 8))
		return fail(reader, 0, "no compact trace");
	if (fetch(reader, 4) < 4)
		return fail(reader, 8, "the file ends within its heading");
	if (form_u32(reader->data) != LAB_COMPACT_VERSION)
		return fail(reader, 8, "a version of the compact form that this program does not "
		            "know");
	if (!next_block(reader))
		return fail(reader, 12, "the file ends within its heading");
	if (!take_varint(reader, &reader->ticks_per_second) || !take_varint(reader, &facts))
		return false;
	if (!reader->ticks_per_second)
		return fail(reader, 20, "no ticks in a second");
	if (facts > LAB_COMPACT_FACTS_MAX)
		return fail_here(reader, "too many facts");
	while (facts-- > 0)
		if (!take_fact(reader))
			return false;
	reader->at = reader->end; /* later versions may say more */
	return true;
}

struct lab_compact_reader *lab_compact_open(lab_compact_pull pull, void *from)
{
	struct lab_compact_reader *reader = lab_realloc(NULL, 1, sizeof(*reader));

	memset(reader, 0, offsetof(struct lab_compact_reader, data));
	reader->pull = pull;
	reader->from = from;
	reader->threads = lab_realloc(NULL, LAB_COMPACT_THREADS_MAX, sizeof(*reader->threads));
	take_heading(reader);
	return reader;
}

static bool take_thread(struct lab_compact_reader *reader, const uint64_t *value, unsigned count)
{
	if (count < 3 || value[0] > UINT32_MAX || value[1] > UINT32_MAX || value[2] > UINT32_MAX)
		return fail_here(reader, "a thread that is none");
	if (reader->threads_count == LAB_COMPACT_THREADS_MAX)
		return fail_here(reader, "too many threads");
	/* The vCPU's number is written plus one, 0 for none: LAB_NO_VCPU wraps to it. */
	reader->threads[reader->threads_count++] = (struct thread){
		.task = (uint32_t)value[0],
		.vm = (uint32_t)value[1],
		.vcpu = (uint32_t)value[2] - 1,
	};
	return true;
}

static uint64_t nanoseconds(const struct lab_compact_reader *reader)
{
	uint64_t rate = reader->ticks_per_second;
	unsigned __int128 ns;

	if (rate == 1000000000)
		return reader->ticks;
	ns = (unsigned __int128)reader->ticks * 1000000000u / rate;
	return ns > UINT64_MAX ? UINT64_MAX : (uint64_t)ns;
}

static bool take_event(struct lab_compact_reader *reader, struct lab_event *event,
                       unsigned kind, unsigned count)
{
	uint64_t value[FORM_VALUES_MAX] = { 0 };
	uint64_t thread, ticks;

	if (!take_varint(reader, &thread) || !take_varint(reader, &ticks))
		return false;
	if (thread >= reader->threads_count)
		return fail_here(reader, "an event of a thread that is not known");
	for (unsigned i = 0; i < count; i++)
		if (!take_varint(reader, &value[i]))
			return false;
	reader->ticks += form_unzigzag(ticks);
	*event = (struct lab_event){
		.kind = (enum lab_event_kind)kind,
		.task = reader->threads[thread].task,
		.vm = reader->threads[thread].vm,
		.vcpu = reader->threads[thread].vcpu,
		.time_ns = nanoseconds(reader),
		.value = value[0],
		.role = value[1],
		.guest_asid = (uint32_t)value[2],
		.context = (uint8_t)(value[3] & 7),
		.cause = (uint8_t)(value[3] >> 3 & 15),
		.answer = (uint8_t)(value[3] >> 7 & 3),
		.nested_paging = value[3] >> 9 & 1,
	};
	if (value[2] > UINT32_MAX || event->context > 3 || event->cause >= LAB_CAUSES)
		return fail_here(reader, "an event whose values are none");
	return true;
}

enum lab_compact_result lab_compact_read(struct lab_compact_reader *reader,
                                         struct lab_event *event)
{
	uint64_t value[FORM_VALUES_MAX] = { 0 };
	bool fine = !reader->failed;

	while (fine && !reader->whole && (reader->at < reader->end || next_block(reader))) {
		unsigned head = *reader->at++;
		unsigned kind = head & FORM_KIND_MASK, count = head >> FORM_KIND_BITS;

		if (kind != FORM_THREAD && kind != FORM_LOST) {
			fine = take_event(reader, event, kind, count);
			if (fine && kind < LAB_EVENT_KINDS)
				return LAB_COMPACT_EVENT;
			continue; /* a kind of a later program's */
		}
		for (unsigned i = 0; fine && i < count; i++)
			fine = take_varint(reader, &value[i]);
		if (fine && kind == FORM_THREAD)
			fine = take_thread(reader, value, count);
		if (fine && kind == FORM_LOST) {
			*event = (struct lab_event){ .value = value[0] };
			return LAB_COMPACT_LOST;
		}
	}
	return reader->failed ? LAB_COMPACT_ERROR : LAB_COMPACT_END;
}

const char *lab_compact_error(const struct lab_compact_reader *reader)
{
	return reader->failed ? reader->error : NULL;
}

const char *lab_compact_fact(const struct lab_compact_reader *reader, const char *key)
{
	size_t length = strlen(key);

	for (unsigned i = 0; i < reader->facts_count; i++)
		if (!strncmp(reader->fact[i], key, length) && reader->fact[i][length] == '=')
			return reader->fact[i] + length + 1;
	return NULL;
}

bool lab_compact_whole(const struct lab_compact_reader *reader)
{
	return reader->whole;
}

void lab_compact_release(struct lab_compact_reader *reader)
{
	free(reader->threads);
	free(reader);
}
