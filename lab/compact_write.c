/* SPDX-License-Identifier: MIT */
/* The compact form's writer: gathers a block, and writes it when it is full. */
#include "compact.h"
#include "compact_form.h"
#include "lab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum { BUCKETS = LAB_COMPACT_THREADS_MAX * 2 };

struct thread {
	uint32_t task, vm, vcpu;
};

struct lab_compact_writer {
	int fd;
	int error;       /* errno of the first failure; nothing is written after it */
	uint64_t ticks;  /* of the event before */
	size_t used;     /* of block, its heading included */
	uint32_t threads_count;
	uint32_t latest; /* the thread of the event before */
	struct thread thread[LAB_COMPACT_THREADS_MAX];
	uint16_t bucket[BUCKETS]; /* a thread's index plus one; open addressing */
	uint8_t block[FORM_BLOCK_HEAD + LAB_COMPACT_BLOCK_MAX];
};

static void put_u32(uint8_t *to, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(value >> 8 * i);
}

static void write_all(struct lab_compact_writer *writer, const uint8_t *data, size_t length)
{
	while (length && !writer->error) {
		ssize_t written = write(writer->fd, data, length);

		if (written > 0) {
			data += written;
			length -= (size_t)written;
		} else if (written == 0 || errno != EINTR) {
			writer->error = written ? errno : EIO;
		}
	}
}

bool lab_compact_flush(struct lab_compact_writer *writer)
{
	size_t length = writer->used - FORM_BLOCK_HEAD;

	if (length) {
		put_u32(writer->block, (uint32_t)length);
		put_u32(writer->block + 4,
		        (uint32_t)crc32(0, writer->block + FORM_BLOCK_HEAD, (uInt)length));
		write_all(writer, writer->block, writer->used);
	}
	writer->used = FORM_BLOCK_HEAD;
	writer->ticks = 0;
	errno = writer->error;
	return !writer->error;
}

static void reserve(struct lab_compact_writer *writer, size_t length)
{
	if (writer->used + length > sizeof(writer->block))
		lab_compact_flush(writer);
}

static void put_varint(struct lab_compact_writer *writer, uint64_t value)
{
	uint8_t *to = writer->block + writer->used;

	for (; value >= 0x80; value >>= 7)
		*to++ = (uint8_t)(value | 0x80);
	*to++ = (uint8_t)value;
	writer->used = (size_t)(to - writer->block);
}

static void put_head(struct lab_compact_writer *writer, unsigned kind, unsigned values)
{
	writer->block[writer->used++] = (uint8_t)(values << FORM_KIND_BITS | kind);
}

struct lab_compact_writer *lab_compact_create(int fd, uint64_t ticks_per_second,
                                              const char *const *facts, size_t facts_count)
{
	struct lab_compact_writer *writer = lab_realloc(NULL, 1, sizeof(*writer));
	uint8_t magic[12] = LAB_COMPACT_MAGIC;

	memset(writer, 0, sizeof(*writer));
	writer->fd = fd;
	writer->used = FORM_BLOCK_HEAD;
	put_u32(magic + 8, LAB_COMPACT_VERSION);
	write_all(writer, magic, sizeof(magic));
	if (facts_count > LAB_COMPACT_FACTS_MAX)
		facts_count = LAB_COMPACT_FACTS_MAX;
	put_varint(writer, ticks_per_second);
	put_varint(writer, facts_count);
	for (size_t i = 0; i < facts_count; i++) {
		size_t length = strnlen(facts[i], LAB_COMPACT_FACT_SIZE - 1);

		put_varint(writer, length);
		memcpy(writer->block + writer->used, facts[i], length);
		writer->used += length;
	}
	lab_compact_flush(writer);
	return writer;
}

/* The index of the event's thread; written down when it is new. False: there are too many. */
static bool find_thread(struct lab_compact_writer *writer, const struct lab_event *event)
{
	struct thread thread = { event->task, event->vm, event->vcpu };
	uint32_t mixed = (thread.task * 31 + thread.vm) * 31 + thread.vcpu;
	uint32_t bucket = mixed * 0x9e3779b1u >> 19;

	_Static_assert(BUCKETS == 1 << 13, "a bucket is 13 bits of 32");
	if (writer->threads_count &&
	    !memcmp(&writer->thread[writer->latest], &thread, sizeof(thread)))
		return true;
	for (; writer->bucket[bucket]; bucket = (bucket + 1) % BUCKETS) {
		writer->latest = writer->bucket[bucket] - 1u;
		if (!memcmp(&writer->thread[writer->latest], &thread, sizeof(thread)))
			return true;
	}
	if (writer->threads_count == LAB_COMPACT_THREADS_MAX)
		return false;
	writer->latest = writer->threads_count++;
	writer->thread[writer->latest] = thread;
	writer->bucket[bucket] = (uint16_t)writer->threads_count;
	reserve(writer, FORM_EVENT_MAX);
	put_head(writer, FORM_THREAD, 3);
	put_varint(writer, thread.task);
	put_varint(writer, thread.vm);
	put_varint(writer, thread.vcpu + 1u); /* LAB_NO_VCPU wraps to 0 */
	return true;
}

bool lab_compact_write(struct lab_compact_writer *writer, const struct lab_event *event)
{
	uint64_t value[] = {
		event->value, event->role, event->guest_asid,
		event->context | (uint64_t)event->cause << 3 | (uint64_t)event->answer << 7 |
			(uint64_t)event->nested_paging << 9,
	};
	unsigned count = sizeof(value) / sizeof(value[0]);

	if (!find_thread(writer, event)) {
		errno = E2BIG;
		return false;
	}
	while (count && !value[count - 1])
		count--;
	reserve(writer, FORM_EVENT_MAX);
	put_head(writer, event->kind, count);
	put_varint(writer, writer->latest);
	put_varint(writer, form_zigzag(event->time_ns - writer->ticks));
	for (unsigned i = 0; i < count; i++)
		put_varint(writer, value[i]);
	writer->ticks = event->time_ns;
	errno = writer->error;
	return !writer->error;
}

bool lab_compact_lost(struct lab_compact_writer *writer, uint64_t count)
{
	reserve(writer, FORM_EVENT_MAX);
	put_head(writer, FORM_LOST, 1);
	put_varint(writer, count);
	errno = writer->error;
	return !writer->error;
}

bool lab_compact_close(struct lab_compact_writer *writer)
{
	uint8_t end[FORM_BLOCK_HEAD] = { 0 };
	int error;

	lab_compact_flush(writer);
	put_u32(end + 4, FORM_END_SUM);
	write_all(writer, end, sizeof(end));
	error = writer->error;
	free(writer);
	errno = error;
	return !error;
}
