/* SPDX-License-Identifier: MIT */
/* Reads trace.dat by libtracecmd in a child process; see datfile.h. */
#define _GNU_SOURCE /* MAP_ANONYMOUS, cpu_set_t */
#include "datfile.h"
#include "compact.h"
#include "lab.h"
#include "line.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event-parse.h>
#include <trace-cmd.h>
#include <trace-seq.h>

enum { BUFFERS_MAX = 64, EVENTS_MAX = 1 << 16, CHILD_CANNOT_OPEN = 3, CHILD_CANNOT_WRITE = 4 };

/* What the child tells while it works. */
struct shared {
	uint64_t bytes, records;
};

struct lab_datfile {
	int pipe;
	pid_t child;
	const char *error;
	struct shared *shared;
	uint64_t total;
};

/* The child's. */
struct reading {
	struct lab_compact_writer *writer;
	struct shared *shared;
	struct trace_seq text;
	/* by the event's number: 0 not looked at yet, 1 of no use, else its kind + 1 */
	uint8_t known[EVENTS_MAX];
};

static unsigned kind_of(struct reading *reading, struct tep_event *event)
{
	enum lab_event_kind kind;
	uint8_t *known = &reading->known[event->id & (EVENTS_MAX - 1)];

	if (!*known)
		*known = lab_line_kind(event->name, &kind) ? (uint8_t)(kind + 1) : 1;
	return *known - 1u;
}

static uint64_t field(struct tep_event *event, const char *name, struct tep_record *record,
                      uint64_t otherwise)
{
	unsigned long long value;

	return tep_get_field_val(NULL, event, name, record, &value, 0) ? otherwise : value;
}

/* What an exit was for: SVM's and VMX's numbers. [APM2 appendix C] [SDM3 appendix C] */
static void read_exit(struct tep_event *event, struct tep_record *record,
                      struct lab_event *result)
{
	enum { SVM = 2, SVM_WRITE_CR3 = 0x13, SVM_NPF = 0x400,
	       VMX_CR_ACCESS = 28, VMX_EPT_VIOLATION = 48, VMX_EPT_MISCONFIG = 49 };
	bool svm = field(event, "isa", record, 0) == SVM;
	uint64_t reason = field(event, "exit_reason", record, 0);

	if (svm ? reason == SVM_NPF : reason == VMX_EPT_VIOLATION || reason == VMX_EPT_MISCONFIG)
		result->kind = LAB_EVENT_TWO_DIMENSIONAL;
	if (reason == (svm ? SVM_WRITE_CR3 : VMX_CR_ACCESS))
		result->cause = LAB_CAUSE_CR3;
}

/* Fields where they say all, which is quick; else what trace-cmd report would print. */
static bool read_record(struct reading *reading, struct tep_event *event,
                        struct tep_record *record, struct lab_event *result)
{
	enum { ROLE_LEVEL = 0xf }; /* the lowest bits of KVM's role */

	result->vcpu = (uint32_t)field(event, "vcpu_id", record, LAB_NO_VCPU);
	if (result->kind == LAB_EVENT_ENTRY)
		return true;
	if (result->kind == LAB_EVENT_EXIT) {
		read_exit(event, record, result);
		return true;
	}
	if (result->kind == LAB_EVENT_PAGE_NEW || result->kind == LAB_EVENT_PAGE_ZAP) {
		result->value = field(event, "gfn", record, 0);
		result->role = field(event, "role", record, 0) & ROLE_LEVEL;
		if (result->kind == LAB_EVENT_PAGE_NEW && !field(event, "created", record, 1))
			result->kind = LAB_EVENT_PAGE_FOUND;
		return true;
	}
	trace_seq_reset(&reading->text);
	tep_print_event(event->tep, &reading->text, record, "%s", TEP_PRINT_INFO);
	return lab_line_arguments(reading->text.buffer, reading->text.len, result) ==
	       LAB_LINE_EVENT;
}

static int take_record(struct tracecmd_input *handle, struct tep_record *record, int cpu,
                       void *data)
{
	struct reading *reading = data;
	struct tep_event *event = tep_find_event_by_record(tracecmd_get_tep(handle), record);
	struct lab_event result = { .vcpu = LAB_NO_VCPU, .time_ns = record->ts };
	bool written = true;

	(void)cpu;
	reading->shared->records++;
	reading->shared->bytes += (uint64_t)record->record_size;
	if (record->missed_events)
		written = lab_compact_lost(reading->writer, record->missed_events > 0 ?
		                           (uint64_t)record->missed_events : 0);
	if (!event)
		return !written;
	result.kind = (enum lab_event_kind)kind_of(reading, event);
	if (!result.kind)
		return !written;
	result.task = (uint32_t)tep_data_pid(event->tep, record);
	if (read_record(reading, event, record, &result))
		written &= lab_compact_write(reading->writer, &result);
	return !written;
}

/* All that the child does. Its result is its exit status. */
static int read_all(int fd, int to, struct shared *shared)
{
	static const char *const facts[] = { "recorder=trace-cmd" };
	struct tracecmd_input *handles[BUFFERS_MAX];
	struct reading *reading = lab_realloc(NULL, 1, sizeof(*reading));
	int buffers, failed;

	tracecmd_set_loglevel(TEP_LOG_NONE);
	tep_set_loglevel(TEP_LOG_NONE);
	memset(reading, 0, sizeof(*reading));
	handles[0] = tracecmd_open_fd(fd, TRACECMD_FL_LOAD_NO_PLUGINS);
	if (!handles[0])
		return CHILD_CANNOT_OPEN;
	buffers = tracecmd_buffer_instances(handles[0]);
	if (buffers < 0 || buffers >= BUFFERS_MAX)
		buffers = buffers < 0 ? 0 : BUFFERS_MAX - 1;
	for (int i = 0; i < buffers; i++)
		handles[1 + i] = tracecmd_buffer_instance_handle(handles[0], i);
	trace_seq_init(&reading->text);
	reading->shared = shared;
	reading->writer = lab_compact_create(to, 1000000000, facts, 1);
	failed = tracecmd_iterate_events_multi(handles, 1 + buffers, take_record, reading);
	if (!lab_compact_close(reading->writer) || failed)
		return CHILD_CANNOT_WRITE;
	return 0;
}

/* A descriptor that can be sought in; unpacked, or from a pipe, the input is laid into a file. */
static int seekable(struct lab_input *input, uint64_t *length)
{
	int fd = lab_input_plain_fd(input);
	char piece[1 << 14];
	size_t got;
	FILE *copy;

	if (fd < 0) {
		copy = tmpfile();
		while (copy && (got = lab_input_bytes(input, piece, sizeof(piece))) > 0)
			fwrite(piece, 1, got, copy);
		if (!copy)
			return -1;
		if (!fflush(copy) && !ferror(copy))
			fd = dup(fileno(copy));
		fclose(copy);
	}
	*length = (uint64_t)lseek(fd, 0, SEEK_END);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static void become_child(int fd, int to, struct shared *shared)
{
	int nowhere = open("/dev/null", O_WRONLY);

	/* The library complains by itself, of things that the parent says better. */
	dup2(nowhere, STDOUT_FILENO);
	dup2(nowhere, STDERR_FILENO);
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	_exit(read_all(fd, to, shared));
}

struct lab_datfile *lab_datfile_open(struct lab_input *input)
{
	struct lab_datfile *datfile = lab_realloc(NULL, 1, sizeof(*datfile));
	int ends[2], fd;

	*datfile = (struct lab_datfile){ .pipe = -1, .child = -1 };
	datfile->shared = mmap(NULL, sizeof(*datfile->shared), PROT_READ | PROT_WRITE,
	                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	fd = seekable(input, &datfile->total);
	if (datfile->shared == MAP_FAILED || fd < 0 || pipe2(ends, O_CLOEXEC)) {
		datfile->error = "there is no room to read trace.dat";
		return datfile;
	}
	fflush(NULL);
	datfile->child = fork();
	if (!datfile->child) {
		close(ends[0]);
		become_child(fd, ends[1], datfile->shared);
	}
	close(ends[1]);
	if (fd > STDERR_FILENO && fd != lab_input_plain_fd(input))
		close(fd);
	datfile->pipe = ends[0];
	if (datfile->child < 0)
		datfile->error = "no process can be made to read trace.dat";
	return datfile;
}

/* The child is at its end: what became of it? */
static void judge(struct lab_datfile *datfile)
{
	int status;

	if (datfile->child < 0)
		return;
	while (waitpid(datfile->child, &status, 0) < 0 && errno == EINTR)
		;
	datfile->child = -1;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	datfile->error = WIFEXITED(status) && WEXITSTATUS(status) == CHILD_CANNOT_OPEN ?
	                 "trace-cmd's library cannot open this trace.dat" :
	                 "trace-cmd's library gave up within this trace.dat: it is damaged";
}

size_t lab_datfile_bytes(struct lab_datfile *datfile, void *to, size_t room)
{
	ssize_t got;

	if (datfile->error)
		return 0;
	do
		got = read(datfile->pipe, to, room);
	while (got < 0 && errno == EINTR);
	if (got > 0)
		return (size_t)got;
	if (got < 0)
		datfile->error = strerror(errno);
	judge(datfile);
	return 0;
}

const char *lab_datfile_error(const struct lab_datfile *datfile)
{
	return datfile->error;
}

void lab_datfile_progress(const struct lab_datfile *datfile, uint64_t *done, uint64_t *total)
{
	*total = datfile->total;
	*done = datfile->shared->bytes < *total ? datfile->shared->bytes : *total;
}

void lab_datfile_close(struct lab_datfile *datfile)
{
	if (datfile->pipe >= 0)
		close(datfile->pipe); /* a child that still writes finds out */
	judge(datfile);
	if (datfile->shared != MAP_FAILED)
		munmap(datfile->shared, sizeof(*datfile->shared));
	free(datfile);
}
