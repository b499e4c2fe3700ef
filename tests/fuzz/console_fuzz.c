/* SPDX-License-Identifier: MIT */
/*
 * The file that the hypervisor's console is written to (lab/console.c), and its statistics (lab/
 * counters.c, lab/run_report.c). The first byte says in pieces of what length the file grows.
 */
#include "lab_fuzz.h"

#include "counters.h"
#include "run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run_options options = { .stats = "/dev/null" };
	struct console console = { .fd = -1 };
	struct counters counters;
	char path[PATH_SIZE];
	size_t piece = size ? 1 + data[0] * 4u : 1;

	hush();
	console.fd = file_of("", 0, path);
	for (size_t at = 1, more; at < size; at += more) {
		more = size - at < piece ? size - at : piece;
		must(pwrite(console.fd, data + at, more, (off_t)at - 1) == (ssize_t)more);
		console_read(&console);
		must(console.done == at - 1 + more);
	}
	if (console.stats && counters_read(&counters, console.stats)) {
		must(counters.count <= COUNTERS_MAX);
		for (unsigned i = 0; i < counters.count; i++)
			must(strlen(counters.counter[i].name) < COUNTER_NAME_MAX);
	}
	must(run_report(&console, &options) == LAB_EXIT_OK);
	console_print_words(&console);
	console_free(&console);
	return 0;
}
