/* SPDX-License-Identifier: MIT */
/* Tells the forms of traces apart by their first bytes, and reads each with its own reader. */
#include "source.h"
#include "compact.h"
#include "datfile.h"
#include "input.h"
#include "lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lab_source {
	struct lab_input *input;
	struct lab_compact_reader *compact; /* null: text */
	struct lab_datfile *datfile;        /* whose events come in the compact form */
	uint64_t count;
	const char *error;
};

static size_t pull_input(void *from, void *to, size_t room)
{
	return lab_input_bytes(from, to, room);
}

static size_t pull_datfile(void *from, void *to, size_t room)
{
	return lab_datfile_bytes(from, to, room);
}

static bool begins(struct lab_input *input, const char *magic, size_t length)
{
	const char *data;

	return lab_input_peek(input, length, &data) >= length && !memcmp(data, magic, length);
}

static struct lab_source *choose(struct lab_input *input, bool file)
{
	struct lab_source *source = lab_realloc(NULL, 1, sizeof(*source));

	*source = (struct lab_source){ .input = input };
	if (begins(input, LAB_COMPACT_MAGIC, 8)) {
		source->compact = lab_compact_open(pull_input, input);
	} else if (begins(input, "\x17\x08\x44tracing", 10) && file) {
		source->datfile = lab_datfile_open(input);
		source->compact = lab_compact_open(pull_datfile, source->datfile);
	} else if (begins(input, "PERFILE2", 8)) {
		source->error = "this is a binary perf.data: give me the output of "
		                "\"perf script\" instead";
	}
	return source;
}

struct lab_source *lab_source_open(const char *path)
{
	return choose(lab_input_open(path), true);
}

struct lab_source *lab_source_memory(const void *data, size_t length)
{
	return choose(lab_input_memory(data, length), false);
}

static enum lab_line next_compact(struct lab_source *source, struct lab_event *event)
{
	enum lab_compact_result result = lab_compact_read(source->compact, event);

	if (result == LAB_COMPACT_EVENT) {
		source->count++;
		return LAB_LINE_EVENT;
	}
	return result == LAB_COMPACT_LOST ? LAB_LINE_LOST :
	       result == LAB_COMPACT_END && !lab_source_error(source) ? LAB_LINE_END :
	                                                                LAB_LINE_ERROR;
}

enum lab_line lab_source_next(struct lab_source *source, struct lab_event *event)
{
	const char *line;
	size_t length;

	if (source->error)
		return LAB_LINE_ERROR;
	if (source->compact)
		return next_compact(source, event);
	switch (lab_input_line(source->input, &line, &length)) {
	case LAB_INPUT_LINE:
		source->count++;
		return lab_line_read(line, length, event);
	case LAB_INPUT_END:
		return LAB_LINE_END;
	case LAB_INPUT_ERROR:
		break;
	}
	return LAB_LINE_ERROR;
}

const char *lab_source_place(const struct lab_source *source, char text[LAB_PLACE_SIZE])
{
	snprintf(text, LAB_PLACE_SIZE, "%s %llu", source->compact ? "event" : "line",
	         (unsigned long long)source->count);
	return text;
}

uint64_t lab_source_count(const struct lab_source *source)
{
	return source->count;
}

const char *lab_source_unit(const struct lab_source *source)
{
	return source->compact ? "events" : "lines";
}

const char *lab_source_error(const struct lab_source *source)
{
	if (source->error)
		return source->error;
	if (lab_input_error(source->input))
		return lab_input_error(source->input);
	if (source->datfile && lab_datfile_error(source->datfile))
		return lab_datfile_error(source->datfile);
	return source->compact ? lab_compact_error(source->compact) : NULL;
}

const char *lab_source_fact(const struct lab_source *source, const char *key)
{
	return source->compact ? lab_compact_fact(source->compact, key) : NULL;
}

bool lab_source_whole(const struct lab_source *source)
{
	return !source->compact || lab_compact_whole(source->compact);
}

void lab_source_progress(const struct lab_source *source, uint64_t *done, uint64_t *total)
{
	if (source->datfile)
		lab_datfile_progress(source->datfile, done, total);
	else
		lab_input_progress(source->input, done, total);
}

void lab_source_close(struct lab_source *source)
{
	if (source->compact)
		lab_compact_release(source->compact);
	if (source->datfile)
		lab_datfile_close(source->datfile);
	lab_input_close(source->input);
	free(source);
}
