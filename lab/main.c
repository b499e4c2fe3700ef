/* SPDX-License-Identifier: MIT */
/* The program: finds the sub-command and runs it. Each sub-command has a file of its own. */
#include "lab.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#ifndef RHIZOME_VERSION
#define RHIZOME_VERSION "0.1.0"
#endif

static const struct {
	const char *name;
	enum lab_exit (*run)(int argc, char **argv);
	const char *purpose;
} commands[] = {
	{ "compare", lab_compare, "sets two traces or two runs side by side" },
	{ "iso", lab_iso, "makes an image that boots hypervisor and guest from a CD" },
	{ "profile", lab_profile, "what a guest's exits cost, by their reasons" },
	{ "record", lab_record, "the moments of a KVM host that concern roots" },
	{ "replay", lab_replay, "what another root cache would have made of a trace" },
	{ "run", lab_run, "boots a guest on the hypervisor, in QEMU or Bochs" },
	{ "top", lab_top, "shows a run's statistics while it runs" },
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static enum lab_exit help(void)
{
	puts("Usage: rhizome COMMAND [OPTIONS]\n\n"
	     "The root cache of a hypervisor's MMU, measured on traces of real hosts.\n\n"
	     "Commands:");
	for (unsigned i = 0; i < COMMANDS; i++)
		printf("  %-10s %s\n", commands[i].name, commands[i].purpose);
	puts("\n\"rhizome COMMAND --help\" explains a command; so does rhizome(1).");
	return lab_finish();
}

int main(int argc, char **argv)
{
	/* A reader that leaves early must not kill us while a file is being written. */
	signal(SIGPIPE, SIG_IGN);
	if (argc < 2)
		return lab_complain(LAB_EXIT_BAD, "no command given; see \"rhizome --help\"");
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return help();
	if (!strcmp(argv[1], "--version")) {
		puts("rhizome " RHIZOME_VERSION);
		return lab_finish();
	}
	for (unsigned i = 0; i < COMMANDS; i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	return lab_complain(LAB_EXIT_BAD, "no command \"%s\"; see \"rhizome --help\"", argv[1]);
}
