/* SPDX-License-Identifier: MIT */
/*
 * Bochs: an image to boot from, a configuration, a line for its debugger to go on. The guest's
 * serial line is a pseudo-terminal, the hypervisor's console the second one, written to a file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "iso.h"
#include "run.h"
#include "terminal.h"

static const char panic_mark[] = ">>PANIC<<";

static void print_configuration(FILE *out, const struct run_command *command,
                                const struct run_options *options, const char *serial)
{
	char image[PATH_MAX], log[PATH_MAX];

	run_name_file(command, "iso", image);
	run_name_file(command, "log", log);
	fprintf(out, "romimage: file=/usr/share/bochs/BIOS-bochs-latest\n"
	             "vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest\n");
	fprintf(out, "megs: %lu\n", options->memory_mib);
	fprintf(out, "cpu: model=ryzen, count=%lu, ips=4000000, reset_on_triple_fault=0, "
	             "ignore_bad_msrs=0\n", options->cpus);
	/* Its clock counts instructions in any case: what --icount asks for. */
	fprintf(out, "clock: sync=none\nmagic_break: enabled=1\nport_e9_hack: enabled=0\n");
	fprintf(out, "ata0-master: type=cdrom, path=%s, status=inserted\nboot: cdrom\n", image);
	fprintf(out, "com1: enabled=1, mode=term, dev=%s\n", serial);
	if (!options->bare)
		fprintf(out, "com2: enabled=1, mode=file, dev=%s\n", command->console);
	/* The display goes nowhere, but there must be one. */
	fprintf(out, "display_library: term\nsound: waveoutdrv=dummy\n");
	fprintf(out, "log: %s\npanic: action=fatal\nerror: action=report\ninfo: action=ignore\n"
	             "debug: action=ignore\n", log);
}

static FILE *make_file(const struct run_command *command, const char *which, char path[PATH_MAX])
{
	int fd;
	FILE *out;

	run_name_file(command, which, path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	out = fd < 0 ? NULL : fdopen(fd, "w");
	if (!out)
		lab_complain(LAB_EXIT_FAILED, "%s: %s", path, strerror(errno));
	return out;
}

static enum lab_exit make_files(struct run_command *command, const struct run_options *options)
{
	char serial[PATH_MAX], path[PATH_MAX];
	FILE *out;

	run_name_file(command, "iso", path);
	if (iso_make(options, run_options_words(options, "com2", "halt"), path))
		return LAB_EXIT_FAILED;
	command->pty = terminal_open(serial);
	if (!command->pty)
		return lab_complain(LAB_EXIT_FAILED, "no pseudo-terminal: %s", strerror(errno));
	out = make_file(command, "bochs", path);
	if (!out)
		return LAB_EXIT_FAILED;
	print_configuration(out, command, options, serial);
	if (fclose(out))
		return lab_complain(LAB_EXIT_FAILED, "%s: %s", path, strerror(errno));
	out = make_file(command, "debugger", path);
	if (!out)
		return LAB_EXIT_FAILED;
	fprintf(out, "c\nquit\n");
	if (fclose(out))
		return lab_complain(LAB_EXIT_FAILED, "%s: %s", path, strerror(errno));
	return LAB_EXIT_OK;
}

enum lab_exit run_bochs_command(struct run_command *command, const struct run_options *options)
{
	char path[PATH_MAX];

	command->package = "bochs";
	run_add(command, "bochs", "-q");
	run_name_file(command, "bochs", path);
	run_add(command, "-f", path);
	run_name_file(command, "debugger", path);
	run_add(command, "-rc", path);
	if (!options->dry_run)
		return make_files(command, options);
	print_configuration(stdout, command, options, "/dev/pts/N");
	return LAB_EXIT_OK;
}

/* Bochs does not tell the hypervisor of a triple fault, and ends. */
static const char triple_fault[] = "3rd (";

enum lab_exit run_bochs_judge(const struct run_command *command)
{
	char path[PATH_MAX], line[512], last[512] = "no reason in its log\n";
	FILE *log;

	run_name_file(command, "log", path);
	log = fopen(path, "r");
	while (log && fgets(line, sizeof(line), log)) {
		const char *panic = strstr(line, panic_mark);

		if (panic)
			snprintf(last, sizeof(last), "%s", panic + strlen(panic_mark) + 1);
	}
	if (log)
		fclose(log);
	last[strcspn(last, "\n")] = '\0';
	if (strstr(last, triple_fault))
		return lab_complain((enum lab_exit)RUN_DIED, "the guest died: triple fault");
	return lab_complain(LAB_EXIT_FAILED, "Bochs ended: %s", last);
}
