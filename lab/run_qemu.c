/* SPDX-License-Identifier: MIT */
/* QEMU's command line: the hypervisor as its kernel, the guest's files as the modules. */
#include <stdio.h>
#include <stdlib.h>

#include "run.h"

/* Text that grows. */
struct text { char *at; size_t length; };

/* Commas separate the items of QEMU's lists; one that belongs to an item is doubled. */
static void add(struct text *text, const char *s, bool double_commas)
{
	for (; *s; s++) {
		text->at = lab_realloc(text->at, text->length + 3, 1);
		text->at[text->length++] = *s;
		if (double_commas && *s == ',')
			text->at[text->length++] = ',';
		text->at[text->length] = '\0';
	}
}

static void add_modules(struct text *list, const struct run_options *options)
{
	for (unsigned i = 0; i < options->modules; i++) {
		if (list->at)
			add(list, ",", false);
		add(list, options->module[i], true);
	}
}

/* The hypervisor's modules as -initrd: the guest with its command line, then what belongs to it. */
static void add_guest_as_modules(struct run_command *command, const struct run_options *options)
{
	struct text list = { NULL, 0 };

	add(&list, options->guest, true);
	if (options->append && *options->append) {
		add(&list, " ", false);
		add(&list, options->append, true);
	}
	if (options->initrd) {
		add(&list, ",", false);
		add(&list, options->initrd, true);
	}
	add_modules(&list, options);
	run_add(command, "-initrd", list.at);
	free(list.at);
}

static void add_hypervisor(struct run_command *command, const struct run_options *options,
                           const char *hypervisor)
{
	char chardev[PATH_MAX + 32], file[PATH_MAX];

	snprintf(chardev, sizeof(chardev), "file,id=rhizome,path=%s", command->console);
	run_add(command, "-chardev", chardev);
	run_add(command, "-device", "isa-debugcon,iobase=0xe9,chardev=rhizome");
	if (options->trace) {
		run_name_file(command, "trace", file);
		snprintf(chardev, sizeof(chardev), "file,id=trace,path=%s", file);
		run_add(command, "-chardev", chardev);
		run_add(command, "-device", "isa-debugcon,iobase=0xea,chardev=trace");
	}
	run_add(command, "-kernel", hypervisor);
	run_add(command, "-append", run_options_words(options, "e9", "reset"));
	add_guest_as_modules(command, options);
}

static void add_guest(struct run_command *command, const struct run_options *options)
{
	struct text list = { NULL, 0 };

	run_add(command, "-kernel", options->guest);
	if (options->initrd)
		run_add(command, "-initrd", options->initrd);
	add_modules(&list, options);
	if (list.at)
		run_add(command, "-initrd", list.at);
	free(list.at);
	if (options->append)
		run_add(command, "-append", options->append);
}

enum lab_exit run_qemu_command(struct run_command *command, const struct run_options *options)
{
	const char *hypervisor = options->bare ? NULL : run_find_hypervisor();
	char memory[32], cpus[32];

	if (!options->bare && !hypervisor)
		return LAB_EXIT_BAD;
	snprintf(memory, sizeof(memory), "%luM", options->memory_mib);
	snprintf(cpus, sizeof(cpus), "%lu", options->cpus);
	command->package = "qemu-system-x86";
	run_add(command, "qemu-system-x86_64", NULL);
	run_add(command, "-accel", "tcg");
	run_add(command, "-cpu", "max");
	run_add(command, "-m", memory);
	run_add(command, "-smp", cpus);
	run_add(command, "-display", "none");
	run_add(command, "-nic", "none");
	run_add(command, "-no-reboot", NULL);
	run_add(command, "-serial", "mon:stdio");
	if (options->icount)
		run_add(command, "-icount", "shift=0,sleep=off");
	if (options->multiboot) {
		run_add(command, "-device", "pc-testdev");
		run_add(command, "-device", "isa-debug-exit,iobase=0xf4,iosize=4");
	}
	if (options->bare)
		add_guest(command, options);
	else
		add_hypervisor(command, options, hypervisor);
	for (char **more = options->qemu; *more; more++)
		run_add(command, *more, NULL);
	return LAB_EXIT_OK;
}
