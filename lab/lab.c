/* SPDX-License-Identifier: MIT */
/* What all sub-commands share. */
#include "lab.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum lab_exit lab_complain(enum lab_exit status, const char *format, ...)
{
	va_list arguments;

	fflush(stdout);
	fputs("rhizome: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	return status;
}

void *lab_realloc(void *memory, size_t count, size_t size)
{
	size_t bytes;
	void *larger = NULL;

	if (!__builtin_mul_overflow(count, size, &bytes))
		larger = realloc(memory, bytes ? bytes : 1); /* null would be a failure */
	if (!larger)
		exit(lab_complain(LAB_EXIT_FAILED, "out of memory"));
	return larger;
}

char *lab_copy(const char *text)
{
	size_t bytes = strlen(text) + 1;

	return memcpy(lab_realloc(NULL, bytes, 1), text, bytes);
}

const char *lab_commas(uint64_t value, char text[LAB_COMMAS_SIZE])
{
	char digits[LAB_COMMAS_SIZE];
	int length = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)value);
	int to = 0;

	for (int from = 0; from < length; from++) {
		if (from && (length - from) % 3 == 0)
			text[to++] = ',';
		text[to++] = digits[from];
	}
	text[to] = '\0';
	return text;
}

/* A pipe or socket whose reader has gone. errno may long since be another's. */
static bool reader_left(void)
{
	struct pollfd out = { .fd = STDOUT_FILENO };

	return poll(&out, 1, 0) == 1 && out.revents & (POLLERR | POLLHUP);
}

enum lab_exit lab_finish(void)
{
	errno = 0;
	if ((fflush(stdout) == 0 && !ferror(stdout)) || reader_left())
		return LAB_EXIT_OK;
	return lab_complain(LAB_EXIT_FAILED, "cannot write the output: %s",
	                    errno ? strerror(errno) : "an earlier part of it failed");
}
