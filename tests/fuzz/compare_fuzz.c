/* SPDX-License-Identifier: MIT */
/*
 * rhizome compare over two files: JSON of replay or run, or traces. The input is both, with a zero
 * byte between; the first byte chooses the options.
 */
#include "lab_fuzz.h"

#include <getopt.h>

#include "lab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[2][PATH_SIZE];
	char *words[] = { "compare", "--quiet", "--all", path[0], path[1], NULL };
	const uint8_t *end;
	size_t first;
	enum lab_exit status;
	int fd[2];

	if (!size)
		return 0;
	hush();
	end = memchr(data + 1, 0, size - 1);
	first = end ? (size_t)(end - data) - 1 : size - 1;
	fd[0] = file_of(data + 1, first, path[0]);
	fd[1] = end ? file_of(end + 1, size - first - 2, path[1]) :
	              file_of(data + 1, first, path[1]);
	if (data[0] & 1)
		words[2] = "--csv";
	else if (data[0] & 2)
		words[2] = "--quiet";
	optind = 0;
	status = lab_compare(5, words);
	must(status == LAB_EXIT_OK || status == LAB_EXIT_BAD);
	close(fd[0]);
	close(fd[1]);
	return 0;
}
