/* SPDX-License-Identifier: MIT */
/*
 * rhizome run: boots a guest on the hypervisor in QEMU or Bochs. Here are the sub-command and what
 * its machines have in common: a command line and a few files.
 */
#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
"Usage: rhizome run --kernel FILE [--initrd FILE] [--append STRING] [OPTIONS] [-- QEMU...]\n"
"       rhizome run --multiboot FILE [--append STRING] [--module FILE]... [OPTIONS] ...\n"
"\n"
"Boots a Linux bzImage or a Multiboot kernel on the hypervisor. The guest's first serial line\n"
"is the terminal's; Ctrl-A X quits. What the hypervisor itself has to say, and its statistics\n"
"at the end, go to standard error.\n"
"\n"
"  --kernel FILE       a Linux bzImage\n"
"  --initrd FILE       its initial RAM disk\n"
"  --append STRING     the guest's command line\n"
"  --multiboot FILE    a Multiboot 1 kernel; has pc-testdev, and isa-debug-exit at 0xf4\n"
"  --module 'FILE ...' a module for it, its own command line behind a space\n"
"\n"
"  --paging KIND       nested (default): the processor walks the guest's tables and ours;\n"
"                      shadow: it walks ours alone\n"
"  --roots N           cached roots beside the current one, 0 to 64 (default 32)\n"
"  --root-policy P     none, victim, current-first (default), at-creation, random-4, pinned\n"
"  --no-X              without one of the tricks: prefetch, unsync, root-reuse, tags,\n"
"                      large-pages, mmio-cache, exec-large, lists, quick-fill; nested:\n"
"                      the guest gets no SVM of its own\n"
"\n"
"  --machine M         qemu (default) or bochs\n"
"  --memory SIZE       in MiB, or with G (default 512)\n"
"  --cpus N            processors of the machine (default 1); the guest gets one\n"
"  --icount            emulated instructions are the clock: repeatable figures\n"
"  --timeout SECONDS   end the run then, with 124\n"
"  --bare              the same guest without the hypervisor\n"
"\n"
"  --stats FILE        writes the statistics as JSON; - is standard output\n"
"  --live SECONDS      how often they are renewed for \"rhizome top\"; 0: never\n"
"                      (default 1; with --icount 0, since it takes instructions)\n"
"  --trace FILE        what happens to roots, for \"rhizome replay\"\n"
"  --marks             a byte that the guest writes to port 0xe9 marks the statistics of that\n"
"                      moment; --stats has them all as \"marks\"\n"
"  --dry-run           prints the machine's command line and runs nothing\n"
"  --help              prints this\n"
"\n"
"Exit status: 0 the guest powered off or reset, (v << 1) | 1 it left with v by\n"
"isa-debug-exit, 70 it died, 124 time-out, 2 bad arguments or files, 1 the machine failed.\n";

void run_add(struct run_command *command, const char *first, const char *second)
{
	const char *const both[] = { first, second };

	for (unsigned i = 0; i < 2 && both[i]; i++) {
		command->argument = lab_realloc(command->argument, command->arguments + 2,
		                                sizeof(command->argument[0]));
		command->argument[command->arguments++] = lab_copy(both[i]);
		command->argument[command->arguments] = NULL;
	}
}

static void choose_prefix(struct run_command *command)
{
	const char *temporary = getenv("TMPDIR");

	snprintf(command->prefix, sizeof(command->prefix), "%s/rhizome-%ld",
	         temporary && *temporary ? temporary : "/tmp", (long)getpid());
	run_name_file(command, "console", command->console);
}

void run_name_file(const struct run_command *command, const char *which, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%.*s.%s", PATH_MAX - 16, command->prefix, which);
}

void run_free(struct run_command *command)
{
	static const char *const files[] = { "console", "trace", "iso", "bochs", "debugger",
	                                     "log" };
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		run_name_file(command, files[i], path);
		unlink(path);
	}
	if (command->pty)
		close(command->pty);
	for (size_t i = 0; i < command->arguments; i++)
		free(command->argument[i]);
	free(command->argument);
}

static void print_quoted(const char *s)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	                            "0123456789-_./,:=+@%";

	if (*s && s[strspn(s, plain)] == '\0') {
		fputs(s, stdout);
		return;
	}
	putchar('\'');
	for (; *s; s++) {
		if (*s == '\'')
			fputs("'\\''", stdout);
		else
			putchar(*s);
	}
	putchar('\'');
}

void run_print(const struct run_command *command)
{
	for (size_t i = 0; i < command->arguments; i++) {
		if (i)
			putchar(' ');
		print_quoted(command->argument[i]);
	}
	putchar('\n');
}

enum lab_exit run_guest(int argc, char **argv, const char *help)
{
	struct run_command command = { .argument = NULL };
	struct run_options options;
	enum lab_exit status;

	if (!run_options_read(&options, argc, argv, help, &status))
		return status;
	choose_prefix(&command);
	status = options.bochs ? run_bochs_command(&command, &options)
	                       : run_qemu_command(&command, &options);
	if (!status && options.dry_run) {
		run_print(&command);
		status = lab_finish();
	} else if (!status) {
		status = run_watch(&command, &options);
	}
	run_free(&command);
	return status;
}

enum lab_exit lab_run(int argc, char **argv)
{
	return run_guest(argc, argv, usage);
}
