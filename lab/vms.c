/* SPDX-License-Identifier: MIT */
/* Finds VMs by what their processes hold open: KVM's file of a VM has a name of its own. */
#include "vms.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char vm_file[] = "anon_inode:kvm-vm";
static const char vcpu_file[] = "anon_inode:kvm-vcpu:";

static pid_t number_of(const char *name)
{
	return isdigit((unsigned char)name[0]) ? (pid_t)strtol(name, NULL, 10) : 0;
}

/* Counts the VM's and vCPUs' files that a process holds open. */
static bool holds_vm(pid_t process, unsigned *vcpus)
{
	char path[64], target[64];
	struct dirent *entry;
	bool found = false;
	DIR *folder;

	*vcpus = 0;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)process);
	folder = opendir(path);
	while (folder && (entry = readdir(folder))) {
		ssize_t length = readlinkat(dirfd(folder), entry->d_name, target,
		                            sizeof(target) - 1);

		if (length < 0)
			continue;
		target[length] = '\0';
		found |= !strcmp(target, vm_file);
		*vcpus += !strncmp(target, vcpu_file, strlen(vcpu_file));
	}
	if (folder)
		closedir(folder);
	return found;
}

/* Reads a small file of a process whole; its length, 0 if there is none. */
static size_t read_file(pid_t process, const char *name, char *text, size_t size)
{
	char path[64];
	size_t length = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)process, name);
	file = fopen(path, "re");
	if (file) {
		length = fread(text, 1, size - 1, file);
		fclose(file);
	}
	text[length] = '\0';
	return length;
}

/* QEMU's "-name NAME", "-name guest=NAME,…"; else the program's own name. */
static void name_vm(struct vms_vm *vm)
{
	char line[8192];
	size_t length = read_file(vm->process, "cmdline", line, sizeof(line));
	const char *name = NULL, *argument = line;

	for (; argument < line + length; argument += strlen(argument) + 1)
		if (!strcmp(argument, "-name") && argument + 6 < line + length)
			name = argument + 6;
	if (!name) {
		read_file(vm->process, "comm", line, sizeof(line));
		name = line;
	}
	if (!strncmp(name, "guest=", 6))
		name += 6;
	snprintf(vm->name, sizeof(vm->name), "%.*s", (int)strcspn(name, ",\n"), name);
}

static int compare(const void *left, const void *right)
{
	const struct vms_vm *a = left, *b = right;

	return a->process < b->process ? -1 : a->process > b->process;
}

size_t vms_list(struct vms_vm **vms)
{
	DIR *folder = opendir("/proc");
	struct vms_vm vm = { .process = 0 };
	struct dirent *entry;
	size_t count = 0;

	*vms = NULL;
	while (folder && (entry = readdir(folder))) {
		vm.process = number_of(entry->d_name);
		if (!vm.process || !holds_vm(vm.process, &vm.vcpus))
			continue;
		name_vm(&vm);
		*vms = lab_realloc(*vms, count + 1, sizeof(vm));
		(*vms)[count++] = vm;
	}
	if (folder)
		closedir(folder);
	if (count)
		qsort(*vms, count, sizeof(vm), compare);
	return count;
}

bool vms_add_tasks(pid_t process, pid_t **tasks, size_t *count)
{
	char path[64];
	struct dirent *entry;
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)process);
	folder = opendir(path);
	if (!folder)
		return false;
	while ((entry = readdir(folder))) {
		if (!number_of(entry->d_name))
			continue;
		*tasks = lab_realloc(*tasks, *count + 1, sizeof(**tasks));
		(*tasks)[(*count)++] = number_of(entry->d_name);
	}
	closedir(folder);
	return true;
}

pid_t vms_process_of(pid_t task)
{
	char status[2048];
	const char *line;

	if (!read_file(task, "status", status, sizeof(status)))
		return 0;
	line = strstr(status, "\nTgid:");
	return line ? (pid_t)strtol(line + 6, NULL, 10) : 0;
}
