/* SPDX-License-Identifier: MIT */
/* What the targets over the lab's readers share: inputs as files, and what is printed to nobody. */
#ifndef LAB_FUZZ_H
#define LAB_FUZZ_H

#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

enum { PATH_SIZE = 32 };

/* A file of its own in memory with these bytes, and its path. Closed by whoever asked for it. */
static inline int file_of(const void *data, size_t size, char path[PATH_SIZE])
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET))
		wrong("no room for an input of %zu bytes", size);
	snprintf(path, PATH_SIZE, "/proc/self/fd/%d", fd);
	return fd;
}

/* Commands of the program print; nobody reads it. What is wrong is told where it ever was. */
static inline void hush(void)
{
	if (fuzz_errors)
		return;
	fuzz_errors = stderr;
	stdout = stderr = fopen("/dev/null", "w");
	must(stdout);
}

#endif
