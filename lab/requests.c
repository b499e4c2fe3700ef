/* SPDX-License-Identifier: MIT */
/*
 * Turns the events of a trace into requests for roots.
 *
 * A vCPU is a thread; threads of different files are different vCPUs. KVM announces a nested entry
 * or exit before it asks for the root, so each vCPU's context is known when its request comes.
 *
 * Where kvm_mmu_new_pgd was not recorded, nested entries and exits and writes to CR3 stand in for
 * it, as far as they were recorded: a vCPU that loads the value it already has asks for nothing.
 */
#include "requests.h"
#include "input.h"
#include "kvm.h"
#include "line.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 1024, NO_ROOT = -1, MAX_VCPUS_A_FILE = 4096 };

struct vcpu {
	uint32_t task;
	enum rhz_context context;
	uint64_t table[RHZ_CONTEXTS]; /* last asked for; what was not seen yet is one root, 0 */
	struct lab_kvm_array kvm;
};

/* One file while it is read. */
struct reader {
	struct lab_requests *requests;
	const char *path;
	struct vcpu *vcpus;
	uint32_t count, latest;
	uint32_t first_vcpu;
	size_t first_request;
	bool named;  /* new_pgd was seen: nothing need be inferred */
	bool direct; /* an exit was seen that only two-dimensional paging causes */
	bool cr3_seen;
};

static size_t hash(const struct rhz_root_key *key, uint32_t vcpu)
{
	uint64_t mixed = key->table ^ (uint64_t)key->context << 52 ^ (uint64_t)vcpu << 32;

	return (size_t)(mixed * 0x9e3779b97f4a7c15u >> 32);
}

static void rehash(struct lab_requests *r, size_t buckets)
{
	r->bucket = lab_realloc(r->bucket, buckets, sizeof(*r->bucket));
	r->buckets = buckets;
	memset(r->bucket, 0xff, buckets * sizeof(*r->bucket));
	for (size_t i = 0; i < r->distinct; i++) {
		uint32_t *head = &r->bucket[hash(&r->roots[i].key, r->roots[i].vcpu) % buckets];

		r->roots[i].next = *head;
		*head = (uint32_t)i;
	}
}

static uint32_t intern(struct lab_requests *r, const struct rhz_root_key *key, uint32_t vcpu)
{
	size_t bucket;

	if (r->distinct >= r->buckets)
		rehash(r, r->buckets ? r->buckets * 4 : FIRST_ROOM);
	bucket = hash(key, vcpu) % r->buckets;
	for (uint32_t i = r->bucket[bucket]; i != (uint32_t)NO_ROOT; i = r->roots[i].next)
		if (r->roots[i].vcpu == vcpu && r->roots[i].key.table == key->table &&
		    r->roots[i].key.context == key->context)
			return i;
	if (r->distinct == r->roots_room) {
		r->roots_room = r->roots_room ? r->roots_room * 2 : FIRST_ROOM;
		r->roots = lab_realloc(r->roots, r->roots_room, sizeof(*r->roots));
	}
	r->roots[r->distinct] = (struct lab_root){
		.key = *key, .vcpu = vcpu, .next = r->bucket[bucket],
	};
	r->bucket[bucket] = (uint32_t)r->distinct;
	return (uint32_t)r->distinct++;
}

static void append(struct lab_requests *r, uint32_t root)
{
	if (r->count == r->room) {
		r->room = r->room ? r->room * 2 : FIRST_ROOM;
		r->root = lab_realloc(r->root, r->room, sizeof(*r->root));
	}
	r->root[r->count++] = root;
}

static struct vcpu *find_vcpu(struct reader *reader, uint32_t task)
{
	if (reader->count && reader->vcpus[reader->latest].task == task)
		return &reader->vcpus[reader->latest];
	for (uint32_t i = 0; i < reader->count; i++) {
		if (reader->vcpus[i].task == task) {
			reader->latest = i;
			return &reader->vcpus[i];
		}
	}
	if (reader->count == MAX_VCPUS_A_FILE)
		return NULL;
	reader->vcpus = lab_realloc(reader->vcpus, reader->count + 1, sizeof(*reader->vcpus));
	reader->vcpus[reader->count] = (struct vcpu){ .task = task, .context = RHZ_CONTEXT_L1 };
	reader->latest = reader->count;
	return &reader->vcpus[reader->count++];
}

static void request(struct reader *reader, struct vcpu *vcpu, uint64_t table, uint64_t time_ns)
{
	struct lab_requests *r = reader->requests;
	struct rhz_root_key key = { .table = table, .context = vcpu->context };

	vcpu->table[vcpu->context] = table;
	append(r, intern(r, &key, reader->first_vcpu + (uint32_t)(vcpu - reader->vcpus)));
	if (reader->first_request == 0) {
		if (r->count == 1)
			r->first_ns = time_ns;
		r->last_ns = time_ns;
	}
}

/* Only now is it known that nothing need be inferred: forgets what was. */
static void use_named(struct reader *reader)
{
	struct lab_requests *r = reader->requests;

	reader->named = true;
	r->count = reader->first_request;
	while (r->distinct && r->roots[r->distinct - 1].vcpu >= reader->first_vcpu)
		r->distinct--;
	if (r->buckets)
		rehash(r, r->buckets);
}

static bool take(struct reader *reader, const struct lab_event *event)
{
	struct lab_requests *r = reader->requests;
	struct vcpu *vcpu = find_vcpu(reader, event->task);

	if (!vcpu)
		return false;
	switch (event->kind) {
	case LAB_EVENT_NEW_PGD:
		if (!reader->named)
			use_named(reader);
		request(reader, vcpu, event->value, event->time_ns);
		r->kvm_array_misses += !lab_kvm_load(&vcpu->kvm, event->value);
		break;
	case LAB_EVENT_NESTED_ENTER:
		vcpu->context = event->nested_paging ? RHZ_CONTEXT_L2_NESTED : RHZ_CONTEXT_L2;
		reader->direct |= event->nested_paging;
		r->nested = true;
		if (!reader->named)
			request(reader, vcpu, event->value, event->time_ns);
		break;
	case LAB_EVENT_NESTED_EXIT:
		vcpu->context = RHZ_CONTEXT_L1;
		if (!reader->named)
			request(reader, vcpu, vcpu->table[RHZ_CONTEXT_L1], event->time_ns);
		break;
	case LAB_EVENT_CR3_WRITE:
		reader->cr3_seen = true;
		/* Bit 63 asks for no flush and is not kept. A nested guest on nested tables loads
		   its CR3 without KVM. [SDM3 4.10.4.1] */
		if (!reader->named && vcpu->context != RHZ_CONTEXT_L2_NESTED &&
		    vcpu->table[vcpu->context] != (event->value & ~(1ull << 63)))
			request(reader, vcpu, event->value & ~(1ull << 63), event->time_ns);
		break;
	case LAB_EVENT_TWO_DIMENSIONAL:
		reader->direct = true;
		break;
	case LAB_EVENT_MMU_LOAD:
		r->kvm_mmu_loads++;
		break;
	case LAB_EVENT_SYNC_ROOTS:
		r->kvm_root_syncs++;
		break;
	case LAB_EVENT_FREE_ROOTS:
		r->kvm_root_frees++;
		r->kvm_dropped += lab_kvm_drop(&vcpu->kvm, event->value);
		break;
	case LAB_EVENT_EXIT:
	case LAB_EVENT_ENTRY:
	case LAB_EVENT_PAGE_NEW:
	case LAB_EVENT_PAGE_FOUND:
	case LAB_EVENT_PAGE_ZAP:
	case LAB_EVENT_INVALIDATE:
	case LAB_EVENT_ROOT_GONE:
	case LAB_EVENT_FLUSH:
		break;
	}
	return true;
}

static void note_broken(struct reader *reader, uint64_t line)
{
	struct lab_requests *r = reader->requests;

	if (!r->broken++) {
		r->broken_file = reader->path;
		r->broken_line = line;
	}
}

static void read_lines(struct reader *reader, struct lab_input *input)
{
	struct lab_requests *r = reader->requests;
	struct lab_event event;
	const char *line;
	size_t length;

	while (lab_input_line(input, &line, &length) == LAB_INPUT_LINE) {
		r->lines++;
		switch (lab_line_read(line, length, &event)) {
		case LAB_LINE_EVENT:
			r->events++;
			if (!take(reader, &event))
				note_broken(reader, lab_input_line_number(input));
			break;
		case LAB_LINE_OTHER:
			r->events++;
			break;
		case LAB_LINE_SILENT:
			break;
		case LAB_LINE_LOST:
			r->lost += event.value;
			break;
		case LAB_LINE_BROKEN:
			note_broken(reader, lab_input_line_number(input));
			break;
		}
	}
}

/* With a direct MMU every CR3 of L1 has the same root. Known only at the end of the file. */
static void join_direct_roots(struct reader *reader)
{
	struct lab_requests *r = reader->requests;
	struct lab_root *before = lab_realloc(NULL, r->distinct + 1, sizeof(*before));

	memcpy(before, r->roots, r->distinct * sizeof(*before));
	while (r->distinct && r->roots[r->distinct - 1].vcpu >= reader->first_vcpu)
		r->distinct--;
	rehash(r, r->buckets);
	for (size_t i = reader->first_request; i < r->count; i++) {
		struct lab_root root = before[r->root[i]];

		if (root.key.context == RHZ_CONTEXT_L1)
			root.key.table = 0;
		r->root[i] = intern(r, &root.key, root.vcpu);
	}
	free(before);
}

static const char *shown(const char *path)
{
	return strcmp(path, "-") ? path : "standard input";
}

static enum lab_exit judge(const struct reader *reader, const struct lab_input *input,
                           uint64_t events)
{
	const char *path = shown(reader->path);
	unsigned long long line = lab_input_line_number(input);

	if (lab_input_error(input) && !line)
		return lab_complain(LAB_EXIT_BAD, "%s: %s", path, lab_input_error(input));
	if (lab_input_error(input))
		return lab_complain(LAB_EXIT_BAD, "%s: after line %llu: %s", path, line,
		                    lab_input_error(input));
	if (reader->requests->count > reader->first_request)
		return LAB_EXIT_OK;
	if (!line)
		return lab_complain(LAB_EXIT_BAD, "%s: line 0: the file is empty", path);
	if (!events)
		return lab_complain(LAB_EXIT_BAD, "%s: lines 1 to %llu: not one trace event; what "
		                    "is read is the text of tracefs' trace, trace-cmd report or "
		                    "perf script", path, line);
	return lab_complain(LAB_EXIT_BAD, "%s: lines 1 to %llu: no request for a root among %llu "
	                    "events; needed: a kprobe event new_pgd on kvm_mmu_new_pgd with its "
	                    "pgd=, or the tracepoints kvm_nested_vmenter and "
	                    "kvm_nested_vmexit_inject, or kvm_cr", path, line,
	                    (unsigned long long)events);
}

enum lab_exit lab_requests_read(struct lab_requests *requests, const char *path)
{
	struct reader reader = {
		.requests = requests,
		.path = path,
		.first_vcpu = requests->vcpus,
		.first_request = requests->count,
	};
	struct lab_input *input = lab_input_open(path);
	uint64_t events = requests->events;
	enum lab_exit status;

	read_lines(&reader, input);
	status = judge(&reader, input, requests->events - events);
	lab_input_close(input);
	if (status == LAB_EXIT_OK) {
		if (reader.direct)
			join_direct_roots(&reader);
		requests->direct |= reader.direct;
		requests->vcpus += reader.count;
		requests->sources |= reader.named ? LAB_SOURCE_NEW_PGD : LAB_SOURCE_INFERRED;
		requests->cr3_missing |= !reader.named && !reader.cr3_seen;
	}
	free(reader.vcpus);
	return status;
}

void lab_requests_free(struct lab_requests *requests)
{
	free(requests->root);
	free(requests->roots);
	free(requests->bucket);
	*requests = (struct lab_requests){ .count = 0 };
}
