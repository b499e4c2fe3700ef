/* SPDX-License-Identifier: MIT */
/* The virtual machines of this host: processes that hold a VM of KVM's, and their threads. */
#ifndef LAB_VMS_H
#define LAB_VMS_H

#include "lab.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { VMS_NAME_SIZE = 64 };

struct vms_vm {
	pid_t process;
	unsigned vcpus;
	char name[VMS_NAME_SIZE]; /* as the guest was named (-name), else the program's */
};

/* All of them, in order of their processes. Returns how many; *vms is to be freed. */
size_t vms_list(struct vms_vm **vms);
/* The threads of a process, appended to *tasks. False: there is no such process. */
bool vms_add_tasks(pid_t process, pid_t **tasks, size_t *count);
/* The process that a thread belongs to; 0: it has gone. */
pid_t vms_process_of(pid_t task);

#endif
