/* SPDX-License-Identifier: MIT */
/*
 * trace.dat (lab/datfile.c): its reader is trace-cmd's own library in a process of its own, which a
 * damaged file may well end. Whatever becomes of that process, the source comes to its end, says
 * what is wrong if something is, and leaves no process or descriptor behind.
 */
#include "lab_fuzz.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "source.h"

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

/* What ends the reader's process is nothing for the fuzzer to tell of. */
static void in_child(void)
{
	static const int numbers[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL };

	for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		signal(numbers[i], SIG_DFL);
	if (__sanitizer_set_death_callback)
		__sanitizer_set_death_callback(NULL);
}

static int lowest_free(void)
{
	int fd = dup(STDIN_FILENO);

	must(fd >= 0);
	close(fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[PATH_SIZE], place[LAB_PLACE_SIZE];
	int before = lowest_free(), fd = file_of(data, size, path);
	static bool prepared;
	struct lab_source *source;
	struct lab_event event;
	enum lab_line line;

	if (!prepared)
		pthread_atfork(NULL, NULL, in_child);
	prepared = true;
	source = lab_source_open(path);
	do
		line = lab_source_next(source, &event);
	while (line != LAB_LINE_END && line != LAB_LINE_ERROR);
	must((line == LAB_LINE_ERROR) == (lab_source_error(source) != NULL));
	must(strlen(lab_source_place(source, place)) < LAB_PLACE_SIZE);
	lab_source_close(source);
	close(fd);
	must(lowest_free() == before);
	must(waitpid(-1, NULL, WNOHANG) <= 0); /* a fuzzer may have a living child of its own */
	return 0;
}
