/* SPDX-License-Identifier: MIT */
/* Tracepoints and kprobes by name, made, switched on and read; probes_remove.c takes them away. */
#include "probes.h"
#include "probes_remove.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tracefs.h>
#include <unistd.h>

enum {
	FUNCTIONS_MAX = 2,
	SVM_NPF = 0x400, /* [APM2 C] */
	VMX_EPT_VIOLATION = 48,
	VMX_EPT_MISCONFIG = 49,
	ISA_VMX = 1,
	CR_WRITE = 1,
	LEVEL_MASK = 0xf, /* of a shadow page's role in KVM */
};

struct probe_source {
	const char *name;
	const char *system; /* of a tracepoint; null: a kprobe */
	/* Of a kprobe: the first that this kernel has, and the arguments to fetch. The second
	   argument of a function is in RSI, the third in RDX [System V ABI 3.2.3]. */
	const char *function[FUNCTIONS_MAX];
	const char *fetch;
	const char *vcpu, *value, *more, *flag; /* names of fields */
	const char *instead_of; /* left out if an event of this name could be had */
	enum lab_event_kind kind;
	bool optional; /* kernels and processors differ: its absence is no news */
};

static const struct probe_source sources[] = {
	{ .name = "new_pgd", .function = { "__kvm_mmu_new_pgd", "kvm_mmu_new_pgd" },
	  .fetch = "pgd=%si:x64", .value = "pgd", .kind = LAB_EVENT_NEW_PGD },
	{ .name = "mmu_load", .function = { "kvm_mmu_load" }, .kind = LAB_EVENT_MMU_LOAD },
	{ .name = "sync_roots", .function = { "kvm_mmu_sync_roots" },
	  .kind = LAB_EVENT_SYNC_ROOTS },
	{ .name = "free_roots", .function = { "kvm_mmu_free_roots" }, .fetch = "which=%dx:x64",
	  .value = "which", .kind = LAB_EVENT_FREE_ROOTS },
	{ .name = "invlpg", .function = { "kvm_mmu_invlpg" }, .fetch = "gva=%si:x64",
	  .value = "gva", .kind = LAB_EVENT_INVALIDATE },
	{ .name = "invpcid_gva", .function = { "kvm_mmu_invpcid_gva" }, .fetch = "gva=%si:x64",
	  .value = "gva", .kind = LAB_EVENT_INVALIDATE, .optional = true },
	{ .name = "invalidate_pcid", .function = { "kvm_invalidate_pcid" },
	  .kind = LAB_EVENT_INVALIDATE, .optional = true },
	{ .name = "set_cr3", .function = { "kvm_set_cr3" }, .fetch = "cr3=%si:x64",
	  .value = "cr3", .kind = LAB_EVENT_CR3_WRITE },
	{ .name = "kvm_cr", .system = "kvm", .value = "val", .more = "cr", .flag = "rw",
	  .kind = LAB_EVENT_CR3_WRITE, .instead_of = "set_cr3" },
	{ .name = "kvm_invlpga", .system = "kvm", .value = "address",
	  .kind = LAB_EVENT_INVALIDATE, .optional = true },
	{ .name = "kvm_nested_vmenter", .system = "kvm", .value = "guest_pgd",
	  .flag = "tdp_enabled", .kind = LAB_EVENT_NESTED_ENTER, .optional = true },
	{ .name = "kvm_nested_vmrun", .system = "kvm", .value = "vmcb", .flag = "npt",
	  .kind = LAB_EVENT_NESTED_ENTER, .instead_of = "kvm_nested_vmenter" },
	{ .name = "kvm_nested_vmexit_inject", .system = "kvm", .kind = LAB_EVENT_NESTED_EXIT },
	{ .name = "kvm_mmu_get_page", .system = "kvmmmu", .value = "gfn", .more = "role",
	  .flag = "created", .kind = LAB_EVENT_PAGE_NEW },
	{ .name = "kvm_mmu_prepare_zap_page", .system = "kvmmmu", .value = "gfn", .more = "role",
	  .kind = LAB_EVENT_PAGE_ZAP },
	{ .name = "kvm_exit", .system = "kvm", .vcpu = "vcpu_id", .value = "exit_reason",
	  .more = "isa", .kind = LAB_EVENT_EXIT },
	{ .name = "kvm_entry", .system = "kvm", .vcpu = "vcpu_id", .kind = LAB_EVENT_ENTRY },
};

enum { SOURCES = sizeof(sources) / sizeof(sources[0]) };
_Static_assert((int)SOURCES <= (int)PROBES_MAX, "every source may become a probe");

enum lab_exit probes_allowed(void)
{
	char path[512];
	const char *folder;

	if (geteuid() != 0)
		return lab_complain(LAB_EXIT_BAD, "recording needs root (try sudo)");
	folder = tracefs_tracing_dir();
	if (!folder)
		return lab_complain(LAB_EXIT_BAD, "there is no tracefs: it is not in this kernel "
		                                  "or cannot be mounted at /sys/kernel/tracing");
	snprintf(path, sizeof(path), "%s/events/kvm/kvm_entry", folder);
	if (access("/sys/module/kvm", F_OK) != 0 || access(path, F_OK) != 0)
		return lab_complain(LAB_EXIT_BAD,
		                    "this kernel has no KVM, or its module is not loaded");
	return LAB_EXIT_OK;
}

/* Adds to the sentence of what could not be had; the last pieces of a long one are cut. */
static void add_missing(struct probes *probes, const char *name, const char *why)
{
	size_t used = strlen(probes->missing);

	snprintf(probes->missing + used, sizeof(probes->missing) - used, "%s%s (%s)",
	         used ? ", " : "", name, why);
}

static bool have(const struct probes *probes, const char *name)
{
	for (unsigned i = 0; i < probes->count; i++)
		if (!strcmp(probes->probe[i].source->name, name))
			return true;
	return false;
}

/* Finds "field:TYPE NAME;  offset:N;  size:N;" in an event's format. */
static struct probe_field find_field(const char *format, const char *name)
{
	struct probe_field field = { 0, 0 };
	char pattern[64];
	const char *at;

	if (!name)
		return field;
	snprintf(pattern, sizeof(pattern), " %s;", name);
	at = strstr(format, pattern);
	if (!at || sscanf(at + strlen(pattern), " offset:%hu; size:%hu;", &field.offset,
	                  &field.size) != 2)
		field.size = 0;
	return field;
}

/* Reads an event's format. False: there is no such event, or it lacks what we need of it. */
static bool read_format(struct probes *probes, const struct probe_source *source,
                        const char *system)
{
	struct probe *probe = &probes->probe[probes->count];
	char path[128];
	char *format;
	const char *id;
	bool good;

	snprintf(path, sizeof(path), "events/%s/%s/format", system, source->name);
	format = tracefs_instance_file_read(NULL, path, NULL);
	if (!format)
		return false;
	*probe = (struct probe){ .source = source };
	id = strstr(format, "\nID: ");
	good = id && sscanf(id, "\nID: %hu", &probe->id) == 1;
	probe->vcpu = find_field(format, source->vcpu);
	probe->value = find_field(format, source->value);
	probe->more = find_field(format, source->more);
	probe->flag = find_field(format, source->flag);
	free(format);
	return good && (!source->value || probe->value.size);
}

/* Makes the kprobe event. Returns 0, or an errno that says why not. */
static int make_kprobe(const struct probes *probes, const struct probe_source *source)
{
	const char *module = access("/sys/module/kvm/initstate", F_OK) == 0 ? "kvm:" : "";
	char line[200];
	int error = ENOENT;

	for (int i = 0; i < FUNCTIONS_MAX && source->function[i]; i++) {
		snprintf(line, sizeof(line), "p:%s/%s %s%s %s\n", probes->group, source->name,
		         module, source->function[i], source->fetch ? source->fetch : "");
		errno = 0;
		if (tracefs_instance_file_append(NULL, "kprobe_events", line) >= 0)
			return 0;
		error = errno ? errno : EIO;
	}
	return error;
}

static void add_source(struct probes *probes, const struct probe_source *source)
{
	const char *system = source->system ? source->system : probes->group;
	const char *why = "this kernel has no such tracepoint";

	if (source->instead_of && have(probes, source->instead_of))
		return;
	if (!source->system && !probes->kprobes)
		return;
	if (!source->system) {
		int error = make_kprobe(probes, source);

		why = error == ENOENT || error == EADDRNOTAVAIL || error == EILSEQ ?
		              "this kernel has no such function" :
		              strerror(error);
		if (error) {
			if (!source->optional)
				add_missing(probes, source->name, why);
			return;
		}
		why = "its format is not understood";
	}
	if (!read_format(probes, source, system)) {
		if (!source->optional && !source->instead_of)
			add_missing(probes, source->name, why);
		return;
	}
	if (tracefs_event_enable(probes->instance, system, source->name) != 0) {
		add_missing(probes, source->name, strerror(errno));
		return;
	}
	probes->requests |= source->kind == LAB_EVENT_NEW_PGD;
	probes->count++;
}

/* Writes to a file of the instance, or complains. */
static enum lab_exit set(const struct probes *probes, const char *file, const char *value)
{
	errno = 0;
	if (tracefs_instance_file_write(probes->instance, file, value) >= 0)
		return LAB_EXIT_OK;
	return lab_complain(LAB_EXIT_FAILED, "cannot set tracefs' %s to %.20s: %s", file, value,
	                    strerror(errno ? errno : EIO));
}

/* The threads to be recorded; those that they start later come along. */
static enum lab_exit set_tasks(const struct probes *probes, const pid_t *tasks, size_t count)
{
	char *list, *to;
	enum lab_exit status;

	if (!count)
		return LAB_EXIT_OK;
	list = lab_realloc(NULL, count, 12);
	to = list;
	for (size_t i = 0; i < count; i++)
		to += sprintf(to, "%d ", (int)tasks[i]);
	status = set(probes, "set_event_pid", list);
	free(list);
	return status ? status : set(probes, "options/event-fork", "1");
}

enum lab_exit probes_open(struct probes *probes, const pid_t *tasks, size_t tasks_count,
                          unsigned buffer_kib)
{
	char name[32], number[16];
	enum lab_exit status;

	memset(probes, 0, sizeof(*probes));
	probes->alive = -1;
	remove_names((long)getpid(), name, probes->group);
	status = remove_start(&probes->cleaner, &probes->alive);
	if (status)
		return status;
	probes->instance = tracefs_instance_create(name);
	if (!probes->instance)
		return lab_complain(LAB_EXIT_FAILED, "cannot make the tracefs instance %s: %s",
		                    name, strerror(errno));
	snprintf(number, sizeof(number), "%u", buffer_kib);
	/* The ring of each processor is read in its own time; one clock orders them. */
	status = set(probes, "tracing_on", "0");
	status = status ? status : set(probes, "trace_clock", "mono");
	status = status ? status : set(probes, "buffer_size_kb", number);
	status = status ? status : set_tasks(probes, tasks, tasks_count);
	if (status)
		return status;
	probes->kprobes = tracefs_file_exists(NULL, "kprobe_events");
	if (!probes->kprobes)
		add_missing(probes, "all that needs kprobes", "this kernel has none");
	for (unsigned i = 0; i < SOURCES; i++)
		add_source(probes, &sources[i]);
	if (!probes->count)
		return lab_complain(LAB_EXIT_FAILED, "nothing can be recorded: %s",
		                    probes->missing);
	return LAB_EXIT_OK;
}

enum lab_exit probes_switch(const struct probes *probes, bool on)
{
	return set(probes, "tracing_on", on ? "1" : "0");
}

enum lab_exit probes_close(struct probes *probes)
{
	tracefs_instance_free(probes->instance);
	return remove_wait(probes->cleaner, probes->alive);
}

static uint64_t take(const uint8_t *record, unsigned size, struct probe_field field)
{
	uint64_t value = 0;

	/* x86 is little-endian, and so are its records. */
	if (field.size <= sizeof(value) && field.offset + field.size <= size)
		memcpy(&value, record + field.offset, field.size);
	return value;
}

/* What the kind says only together with other fields. */
static bool refine(const struct probe *probe, uint64_t more, uint64_t flag,
                   struct lab_event *event)
{
	switch (event->kind) {
	case LAB_EVENT_EXIT:
		if (more == ISA_VMX ? (event->value & 0xffff) == VMX_EPT_VIOLATION ||
		                              (event->value & 0xffff) == VMX_EPT_MISCONFIG :
		                      event->value == SVM_NPF)
			event->kind = LAB_EVENT_TWO_DIMENSIONAL;
		return true;
	case LAB_EVENT_PAGE_NEW:
		if (!flag)
			event->kind = LAB_EVENT_PAGE_FOUND;
		event->role = more & LEVEL_MASK;
		return true;
	case LAB_EVENT_PAGE_ZAP:
		event->role = more & LEVEL_MASK;
		return true;
	case LAB_EVENT_NESTED_ENTER:
		event->nested_paging = flag;
		return true;
	case LAB_EVENT_CR3_WRITE:
		return !probe->more.size || (more == 3 && flag == CR_WRITE);
	case LAB_EVENT_INVALIDATE:
		if (!probe->value.size)
			event->value = UINT64_MAX;
		return true;
	case LAB_EVENT_NEW_PGD:
	case LAB_EVENT_NESTED_EXIT:
	case LAB_EVENT_MMU_LOAD:
	case LAB_EVENT_SYNC_ROOTS:
	case LAB_EVENT_FREE_ROOTS:
	case LAB_EVENT_TWO_DIMENSIONAL:
	case LAB_EVENT_ENTRY:
	case LAB_EVENT_PAGE_FOUND:
	case LAB_EVENT_ROOT_GONE:
	case LAB_EVENT_FLUSH:
		return true;
	}
	return false;
}

bool probes_decode(const struct probes *probes, const void *record, unsigned size,
                   struct lab_event *event)
{
	/* common_type and common_pid have stood at these offsets since there are formats. */
	static const struct probe_field type = { 0, 2 }, pid = { 4, 4 };
	uint64_t id = take(record, size, type);

	for (unsigned i = 0; i < probes->count; i++) {
		const struct probe *probe = &probes->probe[i];

		if (probe->id != id)
			continue;
		event->kind = probe->source->kind;
		event->task = (uint32_t)take(record, size, pid);
		event->vcpu = LAB_NO_VCPU;
		if (probe->vcpu.size)
			event->vcpu = (uint32_t)take(record, size, probe->vcpu);
		event->value = take(record, size, probe->value);
		return refine(probe, take(record, size, probe->more),
		              take(record, size, probe->flag), event);
	}
	return false;
}
