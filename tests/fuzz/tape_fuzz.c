/* SPDX-License-Identifier: MIT */
/*
 * What the hypervisor tells of a run (lab/run_trace.c), byte by byte as the machine may have been
 * stopped: it becomes a compact file, which can be read to its end, or is refused.
 */
#include "lab_fuzz.h"

#include "run.h"
#include "source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run_options options = { .trace = "trace" };
	char path[PATH_SIZE];
	int fd = file_of("", 0, path);
	FILE *in = fmemopen((void *)(uintptr_t)(size ? data : (const uint8_t *)""), size + !size,
	                    "r");
	enum lab_exit status;

	hush();
	must(in);
	status = run_convert_trace(in, fd, &options);
	fclose(in);
	must(status == LAB_EXIT_OK || status == LAB_EXIT_FAILED);
	if (status == LAB_EXIT_OK) {
		struct lab_source *source = lab_source_open(path);
		struct lab_event event;
		enum lab_line line;

		do
			line = lab_source_next(source, &event);
		while (line == LAB_LINE_EVENT || line == LAB_LINE_LOST);
		must(line == LAB_LINE_END && lab_source_whole(source));
		lab_source_close(source);
	}
	close(fd);
	return 0;
}
