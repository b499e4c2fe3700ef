/* SPDX-License-Identifier: MIT */
/* The folder and the files that `rhizome top` reads. */
#include "live.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

bool live_folder(char folder[LIVE_PATH_SIZE], bool make)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR"), *temporary = getenv("TMPDIR");
	struct stat stat;
	int n;

	if (runtime && *runtime)
		n = snprintf(folder, LIVE_PATH_SIZE, "%s/rhizome", runtime);
	else
		n = snprintf(folder, LIVE_PATH_SIZE, "%s/rhizome-%u",
		             temporary && *temporary ? temporary : "/tmp", (unsigned)getuid());
	if (n >= LIVE_PATH_SIZE - 32)
		return false;
	if (make)
		mkdir(folder, 0700);
	/* A folder that another may write to could hold links to files of ours. */
	return lstat(folder, &stat) == 0 && S_ISDIR(stat.st_mode) && stat.st_uid == getuid() &&
	       !(stat.st_mode & (S_IWGRP | S_IWOTH));
}

bool live_file(char file[LIVE_PATH_SIZE], pid_t pid, bool make)
{
	char folder[LIVE_PATH_SIZE];

	return live_folder(folder, make) &&
	       snprintf(file, LIVE_PATH_SIZE, "%s/%ld.run", folder, (long)pid) < LIVE_PATH_SIZE;
}

void live_write(const char *file, const char *what, const char *json)
{
	char new[LIVE_PATH_SIZE + 8];
	FILE *out;

	snprintf(new, sizeof(new), "%s.new", file);
	out = fopen(new, "w");
	if (!out)
		return;
	fprintf(out, "%s\n%s\n", what, json);
	if (fclose(out) || rename(new, file))
		unlink(new);
}
