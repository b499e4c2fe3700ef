/* SPDX-License-Identifier: MIT */
/*
 * The compact form (lab/compact.c), from memory. The first byte says what the rest is: the file
 * itself, or what its blocks hold, to which lengths and check sums are made here; no fuzzer would
 * guess these. All that is read is written and read again: it must be the same.
 */
#include "lab_fuzz.h"

#include <zlib.h>

#include "compact.h"

enum { EVENTS_MAX = 4096, BLOCK_HEAD = 8 };

/* So many bytes are handed over at a time, 0: as many as are wanted. */
struct bytes {
	const uint8_t *at;
	size_t left, piece;
};

static size_t pull(void *from, void *to, size_t room)
{
	struct bytes *bytes = from;
	size_t count = bytes->left < room ? bytes->left : room;

	if (bytes->piece && count > bytes->piece)
		count = bytes->piece;
	if (count)
		memcpy(to, bytes->at, count);
	bytes->at += count;
	bytes->left -= count;
	return count;
}

/* Each 0xff of the input ends a block but the last. */
static size_t wrap(const uint8_t *data, size_t size, uint8_t *file)
{
	size_t length = 12;

	memcpy(file, LAB_COMPACT_MAGIC "\1\0\0\0", 12);
	while (size) {
		const uint8_t *end = memchr(data, 0xff, size);
		uint32_t count = (uint32_t)(end ? (size_t)(end - data) : size);
		uint32_t sum = (uint32_t)crc32(0, data, count);

		memcpy(file + length, &count, 4);
		memcpy(file + length + 4, &sum, 4);
		memcpy(file + length + BLOCK_HEAD, data, count);
		length += BLOCK_HEAD + count;
		data += count + (end != NULL);
		size -= count + (end != NULL);
	}
	return length;
}

static size_t read_all(struct bytes bytes, struct lab_event *events, bool *good)
{
	struct lab_compact_reader *reader = lab_compact_open(pull, &bytes);
	enum lab_compact_result result = LAB_COMPACT_END;
	size_t count = 0;

	memset(events, 0, EVENTS_MAX * sizeof(*events));
	while (count < EVENTS_MAX) {
		result = lab_compact_read(reader, &events[count]);
		if (result == LAB_COMPACT_END || result == LAB_COMPACT_ERROR)
			break;
		must(result == LAB_COMPACT_LOST || ((unsigned)events[count].kind - 1 <
		     LAB_EVENT_KINDS - 1 && events[count].context <= 3));
		count++;
	}
	must((result == LAB_COMPACT_ERROR) == (lab_compact_error(reader) != NULL));
	lab_compact_fact(reader, "policy");
	*good = lab_compact_whole(reader);
	lab_compact_release(reader);
	return count;
}

/* Written and read, events are the same; a gap has no kind. */
static void check_again(const struct lab_event *events, size_t count)
{
	static struct lab_event again[EVENTS_MAX];
	static uint8_t file[EVENTS_MAX * 128];
	char path[PATH_SIZE];
	int fd = file_of("", 0, path);
	struct lab_compact_writer *writer = lab_compact_create(fd, 1000000000, NULL, 0);
	ssize_t size;
	bool good;

	for (size_t i = 0; i < count; i++)
		must(events[i].kind ? lab_compact_write(writer, &events[i]) :
		     lab_compact_lost(writer, events[i].value));
	must(lab_compact_close(writer));
	size = pread(fd, file, sizeof(file), 0);
	close(fd);
	must(size > 0);
	must(read_all((struct bytes){ file, (size_t)size, 0 }, again, &good) == count && good);
	must(!memcmp(again, events, count * sizeof(*events)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct lab_event events[EVENTS_MAX], pieces[EVENTS_MAX];
	uint8_t *file;
	size_t count;
	struct bytes bytes;
	bool good, same;

	if (!size)
		return 0;
	file = malloc(12 + size * (BLOCK_HEAD + 1));
	must(file);
	bytes = (struct bytes){ file, size - 1, 0 };
	if (data[0] & 1)
		bytes.left = wrap(data + 1, size - 1, file);
	else
		memcpy(file, data + 1, size - 1);
	count = read_all(bytes, events, &good);
	bytes.piece = 1 + data[0] / 2 % 16;
	must(read_all(bytes, pieces, &same) == count && same == good);
	must(!memcmp(events, pieces, sizeof(events)));
	check_again(events, count);
	free(file);
	return 0;
}
