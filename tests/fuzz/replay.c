/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzz target over files, and all files of directories, without a fuzzer: its corpus in the
 * test suite, and what a fuzzer has found. Each input is handed over in memory of its exact size.
 *
 * usage: fuzz_replay_TARGET [--empty] FILE|DIRECTORY...
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

static unsigned passed, failed;

/* The name comes first: if the target ends us, it is the last that was said. */
static void run(const char *path)
{
	FILE *file = fopen(path, "rb");
	struct stat stat;
	uint8_t *data;
	size_t size;

	puts(path);
	if (!file || fstat(fileno(file), &stat)) {
		printf("%s: %s\n", path, strerror(errno));
		failed++;
		if (file)
			fclose(file);
		return;
	}
	size = (size_t)stat.st_size;
	data = malloc(size ? size : 1);
	if (!data || fread(data, 1, size, file) != size) {
		printf("%s: cannot be read\n", path);
		failed++;
	} else {
		LLVMFuzzerTestOneInput(data, size);
		passed++;
	}
	free(data);
	fclose(file);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* In the order of names, so that a run says the same everywhere. */
static void run_all(const char *path)
{
	struct dirent **entry;
	int count = scandir(path, &entry, NULL, by_name);

	if (count < 0) {
		run(path);
		return;
	}
	for (int i = 0; i < count; i++) {
		char name[4096];

		snprintf(name, sizeof(name), "%s/%s", path, entry[i]->d_name);
		if (entry[i]->d_name[0] != '.')
			run(name);
		free(entry[i]);
	}
	free(entry);
}

int main(int count, char **words)
{
	FILE *out = stdout; /* a target may have another one */

	setvbuf(out, NULL, _IOLBF, 0);
	for (int i = 1; i < count; i++)
		run_all(words[i]);
	fprintf(out, "%u passed, %u failed\n", passed, failed);
	return failed || !passed;
}
