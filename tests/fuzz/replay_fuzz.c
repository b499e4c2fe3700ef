/* SPDX-License-Identifier: MIT */
/*
 * rhizome replay over a file of any form: text, the compact form, gzip, zstd; then every report.
 * The first byte chooses the options. Whatever the file holds, the command ends by returning a
 * status that it documents. trace.dat has a target of its own (dat).
 */
#include "lab_fuzz.h"

#include <getopt.h>

#include "lab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[PATH_SIZE], *words[16] = { "replay", "--quiet" };
	unsigned how = size ? data[0] : 0;
	enum lab_exit status;
	int count = 2, fd;

	if (!size)
		return 0;
	hush();
	fd = file_of(data + 1, size - 1, path);
	if (how & 1)
		words[count++] = "--csv";
	if (how & 2)
		words[count++] = "--json=/dev/null";
	if (how & 4)
		words[count++] = "--html=/dev/null";
	if (how & 8)
		words[count++] = "--contexts=separate";
	if (how & 16)
		words[count++] = "--capacity=3,8-11";
	if (how & 32)
		words[count++] = "--policy=random-4,current-first";
	words[count++] = path;
	if (how & 64) /* two files, the same one */
		words[count++] = path;
	optind = 0;
	status = lab_replay(count, words);
	must(status == LAB_EXIT_OK || status == LAB_EXIT_BAD);
	close(fd);
	return 0;
}
