/* SPDX-License-Identifier: MIT */
/* rhizome iso: an image that GRUB boots from a CD or a USB stick, made by grub-mkrescue. */
#include "iso.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char usage[] =
"Usage: rhizome iso --output FILE --kernel FILE [--initrd FILE] [--append STRING] [OPTIONS]\n"
"       rhizome iso --output FILE --multiboot FILE [--append STRING] [--module FILE]... ...\n"
"\n"
"Makes an image that boots the hypervisor and the guest from a CD or a USB stick by GRUB: on a\n"
"PC, in QEMU (-cdrom), in Bochs. Needs grub-mkrescue (packages grub-common, grub-pc-bin,\n"
"xorriso).\n"
"\n"
"  --output FILE       the image\n"
"  --console C         the hypervisor's console: com2 (default) or e9\n"
"\n"
"The guest's and the hypervisor's options are those of \"rhizome run\": --kernel, --initrd,\n"
"--append, --multiboot, --module, --paging, --roots, --root-policy, --no-X, --marks, --bare, and\n"
"--live SECONDS, which is 0 here unless given. At its end the hypervisor halts, so that its\n"
"words can be read.\n"
"\n"
"Exit status: 0 done, 2 bad arguments or files, 1 the image could not be made.\n";

/* GRUB's shell and its quoting of arguments leave these as they are in no way. */
static const char unquotable[] = "'\"\\\n";

enum { GRAFTS_MAX = RUN_MODULES_MAX + 4, GRUB_WORDS_MAX = 64 };

/* The image in the making: GRUB's script, and the arguments of the program that makes it. */
struct image {
	FILE *script;
	char script_path[PATH_MAX];
	char graft[GRAFTS_MAX][PATH_MAX + 32]; /* "path in the image=file" */
	unsigned grafts;
	bool wrong; /* a word could not be quoted */
};

/* The words of a command line, each between single quotes. */
static void put_words(struct image *image, const char *words)
{
	for (words += strspn(words, " "); *words; words += strspn(words, " ")) {
		const int length = (int)strcspn(words, " ");

		fprintf(image->script, " '%.*s'", length, words);
		words += length;
	}
}

/* Puts a file into the image and a line into the script that loads it with a command line. */
static void put_file(struct image *image, const char *command, const char *file, int length,
                     const char *name_in_line, const char *words)
{
	snprintf(image->graft[image->grafts], sizeof(image->graft[0]), "boot/file%u=%.*s",
	         image->grafts, length, file);
	fprintf(image->script, "%s /boot/file%u", command, image->grafts++);
	if (name_in_line)
		fprintf(image->script, " '%.*s'", length, name_in_line);
	put_words(image, words);
	fputc('\n', image->script);
}

/* The first word of a Multiboot string is the file's name: QEMU puts it there, GRUB does not. */
static void put_multiboot(struct image *image, const char *command, const char *file,
                          const char *words)
{
	put_file(image, command, file, (int)strcspn(file, " "), file, words);
}

static void put_script(struct image *image, const struct run_options *options, const char *words)
{
	const char *append = options->append ? options->append : "";

	if (!options->bare) {
		put_multiboot(image, "multiboot", run_find_hypervisor(), words);
		put_multiboot(image, "module", options->guest, append);
	} else if (options->kernel) {
		put_file(image, "linux", options->kernel, (int)strlen(options->kernel), NULL,
		         append);
	} else {
		put_multiboot(image, "multiboot", options->multiboot, append);
	}
	if (options->initrd && options->bare)
		put_file(image, "initrd", options->initrd, (int)strlen(options->initrd), NULL, "");
	else if (options->initrd)
		put_multiboot(image, "module", options->initrd, "");
	for (unsigned i = 0; i < options->modules; i++) {
		const char *module = options->module[i];

		put_multiboot(image, "module", module, module + strcspn(module, " "));
	}
	fprintf(image->script, "boot\n");
}

static enum lab_exit refuse_unquotable(const struct run_options *options)
{
	const char *bad = options->append && strpbrk(options->append, unquotable)
	                  ? options->append : NULL;

	for (unsigned i = 0; i < options->modules && !bad; i++)
		bad = strpbrk(options->module[i], unquotable) ? options->module[i] : NULL;
	if (!bad && strpbrk(options->guest, "'\"\\\n="))
		bad = options->guest;
	if (!bad && options->initrd && strpbrk(options->initrd, "'\"\\\n="))
		bad = options->initrd;
	if (bad)
		return lab_complain(LAB_EXIT_BAD, "%s: GRUB cannot be given quotes, backslashes or "
		                                  "new lines, nor file names with =", bad);
	return LAB_EXIT_OK;
}

/* Of what grub-mkrescue said, the line that tells what is wrong, or else the last. */
static enum lab_exit explain(FILE *said, const char *output)
{
	char line[512], told[512] = "grub-mkrescue says nothing";
	bool found = false;

	while (!found && said && fgets(line, sizeof(line), said)) {
		found = strstr(line, "FAILURE") || strstr(line, "error") || strstr(line, "No such");
		if (found || strlen(line) > 2)
			snprintf(told, sizeof(told), "%s", line);
	}
	told[strcspn(told, "\n")] = '\0';
	return lab_complain(LAB_EXIT_FAILED, "%s: no image: %s", output, told);
}

static __attribute__((noreturn)) void become_mkrescue(struct image *image, const char *output,
                                                      int log)
{
	char *argument[GRAFTS_MAX + 16] = {
		(char *)"grub-mkrescue", (char *)"--directory=/usr/lib/grub/i386-pc",
		(char *)"--fonts=", (char *)"--locales=", (char *)"--themes=", (char *)"-o",
		(char *)output,
	};
	unsigned n = 7;

	for (unsigned i = 0; i < image->grafts; i++)
		argument[n++] = image->graft[i];
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	execvp(argument[0], argument);
	dprintf(log, "%s: %s (packages grub-common, grub-pc-bin, xorriso)\n", argument[0],
	        strerror(errno));
	_exit(127);
}

/* Runs grub-mkrescue, quietly; what it said is shown only if it failed. */
static enum lab_exit make(struct image *image, const char *output)
{
	enum lab_exit result = LAB_EXIT_OK;
	FILE *log = tmpfile();
	pid_t child;
	int status;

	if (!log)
		return lab_complain(LAB_EXIT_FAILED, "no temporary file: %s", strerror(errno));
	fflush(stdout);
	child = fork();
	if (child == 0)
		become_mkrescue(image, output, fileno(log));
	if (child < 0 || waitpid(child, &status, 0) != child) {
		result = lab_complain(LAB_EXIT_FAILED, "fork: %s", strerror(errno));
	} else if (status) {
		rewind(log);
		result = explain(log, output);
	}
	fclose(log);
	return result;
}

/* The image's file must be one that we may write. */
static enum lab_exit check_output(const char *output)
{
	FILE *out = fopen(output, "a");

	if (!out)
		return lab_complain(LAB_EXIT_BAD, "%s: %s", output, strerror(errno));
	fclose(out);
	return LAB_EXIT_OK;
}

enum lab_exit iso_make(const struct run_options *options, const char *words, const char *output)
{
	const char *temporary = getenv("TMPDIR");
	struct image image = { .grafts = 0 };
	enum lab_exit status = refuse_unquotable(options);
	int fd;

	if (!status && !options->bare && !run_find_hypervisor())
		status = LAB_EXIT_BAD;
	if (!status)
		status = check_output(output);
	if (status)
		return status;
	snprintf(image.script_path, sizeof(image.script_path), "%.*s/rhizome-grub-XXXXXX",
	         PATH_MAX - 32, temporary && *temporary ? temporary : "/tmp");
	fd = mkstemp(image.script_path);
	image.script = fd < 0 ? NULL : fdopen(fd, "w");
	if (!image.script)
		return lab_complain(LAB_EXIT_FAILED, "%s: %s", image.script_path, strerror(errno));
	put_script(&image, options, words);
	snprintf(image.graft[image.grafts++], sizeof(image.graft[0]), "boot/grub/grub.cfg=%s",
	         image.script_path);
	if (fclose(image.script))
		status = lab_complain(LAB_EXIT_FAILED, "%s: %s", image.script_path,
		                      strerror(errno));
	else
		status = make(&image, output);
	unlink(image.script_path);
	return status;
}

enum lab_exit lab_iso(int argc, char **argv)
{
	struct run_options options;
	enum lab_exit status;

	if (!run_options_read(&options, argc, argv, usage, &status))
		return status;
	if (!options.output)
		return lab_complain(LAB_EXIT_BAD, "give --output FILE");
	return iso_make(&options, run_options_words(&options, options.console ? options.console
	                                                                      : "com2", "halt"),
	                options.output);
}
