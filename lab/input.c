/* SPDX-License-Identifier: MIT */
/* Reads, unpacks and cuts into lines. Memory is two buffers, whatever the length of the input. */
#include "input.h"
#include "lab.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum { RAW_SIZE = 256 << 10, TEXT_SIZE = LAB_LINE_MAX + (256 << 10) };

struct lab_input {
	int fd;
	const char *memory; /* in place of fd */
	const char *error;
	uint64_t line;
	/* Fills text from raw; returns how much, 0 at the end or on error. */
	size_t (*unpack)(struct lab_input *input, char *to, size_t room);
	ZSTD_DCtx *zstd;
	z_stream gzip;
	bool inside; /* a compressed frame or member has begun and not ended */
	bool skip;   /* the line before was cut: leave out what is left of it */
	bool raw_end;
	uint64_t raw_read, raw_total; /* bytes; total 0: not known */
	size_t raw_start, raw_end_at;
	size_t text_start, text_end;
	char raw[RAW_SIZE];
	char text[TEXT_SIZE];
};

/* Reads from the file or the memory; 0 at the end, less than 0 on an error, which is noted. */
static ssize_t raw_read(struct lab_input *input, char *to, size_t room)
{
	ssize_t got;

	if (input->memory) {
		got = (ssize_t)(input->raw_total - input->raw_read);
		if ((size_t)got > room)
			got = (ssize_t)room;
		memcpy(to, input->memory + input->raw_read, (size_t)got);
	} else {
		do
			got = read(input->fd, to, room);
		while (got < 0 && errno == EINTR);
		if (got < 0)
			input->error = strerror(errno);
	}
	if (got > 0)
		input->raw_read += (uint64_t)got;
	return got;
}

/* Makes sure that there is something in raw, unless the input has ended. */
static bool raw_fill(struct lab_input *input)
{
	ssize_t got;

	if (input->raw_start < input->raw_end_at)
		return true;
	if (input->raw_end)
		return false;
	got = raw_read(input, input->raw, RAW_SIZE);
	if (got <= 0) {
		input->raw_end = true;
		return false;
	}
	input->raw_start = 0;
	input->raw_end_at = (size_t)got;
	return true;
}

static size_t unpack_plain(struct lab_input *input, char *to, size_t room)
{
	size_t have;

	if (!raw_fill(input))
		return 0;
	have = input->raw_end_at - input->raw_start;
	if (have > room)
		have = room;
	memcpy(to, input->raw + input->raw_start, have);
	input->raw_start += have;
	return have;
}

static size_t unpack_zstd(struct lab_input *input, char *to, size_t room)
{
	ZSTD_outBuffer out = { to, room, 0 };

	while (out.pos == 0) {
		ZSTD_inBuffer in = { input->raw, input->raw_end_at, input->raw_start };
		bool more = raw_fill(input);
		size_t left;

		if (!more && !input->inside)
			return 0;
		in.size = input->raw_end_at;
		in.pos = input->raw_start;
		left = ZSTD_decompressStream(input->zstd, &out, &in);
		if (ZSTD_isError(left)) {
			input->error = "the zstd data are damaged";
			return 0;
		}
		input->raw_start = in.pos;
		input->inside = left != 0;
		if (!more && out.pos == 0 && input->inside) {
			if (!input->error)
				input->error = "the zstd data end too early";
			return 0;
		}
	}
	return out.pos;
}

static size_t unpack_gzip(struct lab_input *input, char *to, size_t room)
{
	z_stream *z = &input->gzip;

	z->next_out = (Bytef *)to;
	z->avail_out = (uInt)room;
	while (z->avail_out == room) {
		int result;

		if (!raw_fill(input)) {
			if (input->inside && !input->error)
				input->error = "the gzip data end too early";
			return 0;
		}
		z->next_in = (Bytef *)input->raw + input->raw_start;
		z->avail_in = (uInt)(input->raw_end_at - input->raw_start);
		input->inside = true;
		result = inflate(z, Z_NO_FLUSH);
		input->raw_start = input->raw_end_at - z->avail_in;
		if (result == Z_STREAM_END) {
			input->inside = false;
			inflateReset(z); /* another member may follow */
		} else if (result != Z_OK) {
			input->error = "the gzip data are damaged";
			return 0;
		}
	}
	return room - z->avail_out;
}

static bool begins_with(const struct lab_input *input, const char *magic, size_t length)
{
	return input->raw_end_at >= length && !memcmp(input->raw, magic, length);
}

/* A pipe may hand over a byte at a time: gathers enough for the magic numbers. */
static void read_magic(struct lab_input *input)
{
	while (input->raw_end_at < 16) {
		ssize_t got = raw_read(input, input->raw + input->raw_end_at,
		                       RAW_SIZE - input->raw_end_at);

		if (got <= 0) {
			input->raw_end = true;
			return;
		}
		input->raw_end_at += (size_t)got;
	}
}

static void choose_unpacker(struct lab_input *input)
{
	input->unpack = unpack_plain;
	if (begins_with(input, "\x28\xb5\x2f\xfd", 4)) {
		input->unpack = unpack_zstd;
		input->zstd = ZSTD_createDCtx();
		if (!input->zstd)
			input->error = "there is no memory to unpack zstd";
	} else if (begins_with(input, "\x1f\x8b", 2)) {
		input->unpack = unpack_gzip;
		if (inflateInit2(&input->gzip, 15 + 16) != Z_OK)
			input->error = "there is no memory to unpack gzip";
	}
}

static struct lab_input *new_input(void)
{
	struct lab_input *input = lab_realloc(NULL, 1, sizeof(*input));

	/* The buffers need no clearing. */
	memset(input, 0, offsetof(struct lab_input, raw));
	return input;
}

struct lab_input *lab_input_open(const char *path)
{
	struct lab_input *input = new_input();
	struct stat stat;

	input->fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	if (input->fd < 0) {
		input->error = strerror(errno);
		return input;
	}
	if (!fstat(input->fd, &stat) && S_ISREG(stat.st_mode))
		input->raw_total = (uint64_t)stat.st_size;
	read_magic(input);
	if (!input->error)
		choose_unpacker(input);
	return input;
}

struct lab_input *lab_input_memory(const void *data, size_t length)
{
	struct lab_input *input = new_input();

	input->fd = -1;
	input->memory = data;
	input->raw_total = length;
	read_magic(input);
	choose_unpacker(input);
	return input;
}

/* Moves what is left to the front and adds to it. False if nothing could be added. */
static bool text_fill(struct lab_input *input)
{
	size_t left = input->text_end - input->text_start;
	size_t got;

	memmove(input->text, input->text + input->text_start, left);
	input->text_start = 0;
	input->text_end = left;
	got = input->unpack(input, input->text + left, TEXT_SIZE - left);
	input->text_end += got;
	return got > 0;
}

size_t lab_input_peek(struct lab_input *input, size_t count, const char **data)
{
	while (!input->error && input->text_end - input->text_start < count && text_fill(input))
		;
	*data = input->text + input->text_start;
	return input->text_end - input->text_start;
}

size_t lab_input_bytes(struct lab_input *input, void *to, size_t room)
{
	const char *data;
	size_t have = lab_input_peek(input, 1, &data);

	if (have > room)
		have = room;
	memcpy(to, data, have);
	input->text_start += have;
	return have;
}

int lab_input_plain_fd(const struct lab_input *input)
{
	return input->raw_total && input->unpack == unpack_plain ? input->fd : -1;
}

void lab_input_progress(const struct lab_input *input, uint64_t *done, uint64_t *total)
{
	*done = input->raw_read;
	*total = input->raw_total;
}

/* Finds the end of the line at text_start; the end of the input ends a line as well. */
static bool find_line(struct lab_input *input, size_t *length, bool *whole)
{
	size_t seen = 0;

	for (;;) {
		char *start = input->text + input->text_start;
		size_t have = input->text_end - input->text_start;
		char *newline = memchr(start + seen, '\n', have - seen);

		*whole = newline != NULL;
		*length = newline ? (size_t)(newline - start) : have;
		if (newline || have >= LAB_LINE_MAX)
			return true;
		seen = have;
		if (!text_fill(input))
			return have > 0 && !input->error;
	}
}

enum lab_input_result lab_input_line(struct lab_input *input, const char **line, size_t *length)
{
	bool whole = true;

	if (input->error)
		return LAB_INPUT_ERROR;
	do {
		if (!find_line(input, length, &whole))
			return input->error ? LAB_INPUT_ERROR : LAB_INPUT_END;
		*line = input->text + input->text_start;
		input->text_start += *length + whole;
		if (!input->skip)
			break;
		input->skip = !whole;
	} while (1);
	input->skip = !whole;
	input->line++;
	return LAB_INPUT_LINE;
}

uint64_t lab_input_line_number(const struct lab_input *input)
{
	return input->line;
}

const char *lab_input_error(const struct lab_input *input)
{
	return input->error;
}

void lab_input_close(struct lab_input *input)
{
	if (input->fd > STDERR_FILENO)
		close(input->fd);
	if (input->zstd)
		ZSTD_freeDCtx(input->zstd);
	if (input->unpack == unpack_gzip)
		inflateEnd(&input->gzip);
	free(input);
}
