/* SPDX-License-Identifier: MIT */
/*
 * Lines of traces as text (lab/line.c): whatever stands in them, nothing beyond their end is read,
 * and an event that is reported is one that there is.
 */
#include "fuzz.h"

#include "line.h"

static void check_line(const uint8_t *text, size_t length)
{
	char *line = malloc(length ? length : 1);
	struct lab_event event;
	enum lab_line result;

	must(line);
	memcpy(line, text, length);
	memset(&event, 0, sizeof(event));
	result = lab_line_read(line, length, &event);
	must(result <= LAB_LINE_BROKEN);
	if (result == LAB_LINE_EVENT)
		must((unsigned)event.kind - 1 < LAB_EVENT_KINDS - 1 && event.cause < LAB_CAUSES &&
		     event.context <= 3);
	free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (size_t at = 0, end; at < size; at = end + 1) {
		const uint8_t *newline = memchr(data + at, '\n', size - at);

		end = newline ? (size_t)(newline - data) : size;
		check_line(data + at, end - at);
	}
	return 0;
}
