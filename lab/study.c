/* SPDX-License-Identifier: MIT */
/*
 * Turns the events of a trace into requests for roots.
 *
 * Where kvm_mmu_new_pgd was not recorded, nested entries and exits and writes to CR3 stand in for
 * it, as far as they were recorded: a vCPU that loads the value it already has asks for nothing.
 * Two things are known late: that new_pgd was recorded (then what was inferred so far is
 * forgotten), and that L1's MMU is direct, one root whatever its CR3 (so both readings are kept
 * until the end of the file).
 */
#include "study.h"
#include "progress.h"
#include "source.h"

#include <stdlib.h>
#include <string.h>

/* A bit of a write to CR3 that CR3 does not keep. [SDM3 4.10.4.1] */
#define NO_FLUSH (1ull << 63)

enum {
	MAX_VCPUS_A_FILE = 4096,
	BUCKETS = 2 * MAX_VCPUS_A_FILE,
	SHOW_EVERY = 1 << 14,
	PAGED = 0, DIRECT = 1, READINGS = 2,
};

/* What is kept of a thread while its file is read, beside its struct lab_vcpu. */
struct thread {
	enum rhz_context context;
	enum lab_cause cause;         /* of the next request, if it comes at once */
	uint64_t table[RHZ_CONTEXTS]; /* last asked for; what was not seen yet is one root, 0 */
	bool waits;                   /* a request on its way to the entry */
	bool loaded;                  /* an MMU load whose first page has not been seen */
	enum lab_answer answer;
	uint64_t asked_ns;
	struct lab_view *view[READINGS];
};

/* One file while it is read. */
struct reading {
	struct lab_study *study;
	const char *path;
	size_t first; /* of the study's vCPUs: this file's */
	struct thread *threads;
	uint32_t count, latest;
	uint32_t *bucket; /* a thread's index plus one, by task; open addressing */
	bool named;       /* new_pgd was seen: nothing need be inferred */
	bool direct;      /* something was seen that only two-dimensional paging causes */
	bool cr3_seen, asked;
	uint64_t first_ns, last_ns; /* of its requests */
};

static struct lab_vcpu *vcpu_of(struct reading *reading, uint32_t thread)
{
	return &reading->study->vcpus[reading->first + thread];
}

static struct lab_view *new_view(const struct reading *reading, uint32_t thread)
{
	struct lab_view *view = lab_realloc(NULL, 1, sizeof(*view));

	lab_view_init(view, reading->study->random,
	              reading->study->seed + reading->first + thread);
	return view;
}

static void free_view(struct lab_view *view)
{
	if (view)
		lab_view_free(view);
	free(view);
}

static bool add_thread(struct reading *reading, uint32_t task)
{
	struct lab_study *study = reading->study;
	struct lab_vcpu *vcpu;
	struct thread *thread;

	if (reading->count == MAX_VCPUS_A_FILE)
		return false;
	study->vcpus = lab_realloc(study->vcpus, study->vcpus_count + 1, sizeof(*vcpu));
	reading->threads = lab_realloc(reading->threads, reading->count + 1, sizeof(*thread));
	vcpu = &study->vcpus[study->vcpus_count++];
	*vcpu = (struct lab_vcpu){
		.task = task, .number = LAB_NO_VCPU, .file = (uint32_t)study->paths_count,
	};
	vcpu->check = lab_realloc(NULL, 1, sizeof(*vcpu->check));
	memset(vcpu->check, 0, sizeof(*vcpu->check));
	thread = &reading->threads[reading->count];
	*thread = (struct thread){ .context = RHZ_CONTEXT_L1 };
	for (unsigned i = 0; i < READINGS; i++)
		thread->view[i] = new_view(reading, reading->count);
	reading->count++;
	return true;
}

static bool find_thread(struct reading *reading, uint32_t task)
{
	uint32_t at = task * 0x9e3779b1u >> 19;

	_Static_assert(BUCKETS == 1 << 13, "a bucket is 13 bits of 32");
	if (reading->count && vcpu_of(reading, reading->latest)->task == task)
		return true;
	for (; reading->bucket[at]; at = (at + 1) % BUCKETS) {
		reading->latest = reading->bucket[at] - 1;
		if (vcpu_of(reading, reading->latest)->task == task)
			return true;
	}
	if (!add_thread(reading, task))
		return false;
	reading->latest = reading->count - 1;
	reading->bucket[at] = reading->count;
	return true;
}

/* Only now is it known that nothing need be inferred: forgets what was. */
static void use_named(struct reading *reading)
{
	reading->named = true;
	reading->asked = false;
	for (uint32_t i = 0; i < reading->count; i++) {
		vcpu_of(reading, i)->first_ns = 0;
		for (unsigned k = 0; k < READINGS; k++) {
			lab_view_free(reading->threads[i].view[k]);
			lab_view_init(reading->threads[i].view[k], reading->study->random,
			              reading->study->seed + reading->first + i);
		}
	}
}

static void note_time(struct reading *reading, struct lab_vcpu *vcpu, uint64_t time_ns)
{
	if (!reading->asked)
		reading->first_ns = reading->last_ns = time_ns;
	if (!vcpu->first_ns)
		vcpu->first_ns = vcpu->last_ns = time_ns;
	reading->asked = true;
	if (time_ns < reading->first_ns)
		reading->first_ns = time_ns;
	if (time_ns > reading->last_ns)
		reading->last_ns = time_ns;
	if (time_ns > vcpu->last_ns)
		vcpu->last_ns = time_ns;
}

/* Returns the request's position on the reading that is likelier now. */
static unsigned request(struct reading *reading, const struct lab_event *event, uint64_t table)
{
	struct thread *thread = &reading->threads[reading->latest];
	struct lab_vcpu *vcpu = vcpu_of(reading, reading->latest);
	struct lab_root_name name = {
		.table = table, .role = event->role, .guest_asid = event->guest_asid,
		.context = thread->context,
	};
	enum lab_cause cause = event->cause ? (enum lab_cause)event->cause : thread->cause;
	unsigned position[READINGS];

	thread->cause = LAB_CAUSE_UNKNOWN;
	thread->table[name.context] = table;
	note_time(reading, vcpu, event->time_ns);
	position[PAGED] = lab_view_request(thread->view[PAGED], &name, cause, event->time_ns);
	if (name.context == RHZ_CONTEXT_L1)
		name.table = 0;
	position[DIRECT] = lab_view_request(thread->view[DIRECT], &name, cause, event->time_ns);
	return position[reading->direct ? DIRECT : PAGED];
}

static void take_request(struct reading *reading, const struct lab_event *event)
{
	struct thread *thread = &reading->threads[reading->latest];
	struct lab_vcpu *vcpu = vcpu_of(reading, reading->latest);
	unsigned position;

	if (!reading->named)
		use_named(reading);
	if (event->context)
		thread->context = (enum rhz_context)(event->context - 1);
	position = request(reading, event, event->value);
	lab_kvm_check_request(vcpu->check, event->value,
	                      position != LAB_CURRENT && position >= LAB_KVM_CAPACITY);
	thread->waits = true;
	thread->asked_ns = event->time_ns;
	thread->answer = position == LAB_CURRENT ? LAB_ANSWER_CURRENT : LAB_ANSWER_CACHED;
	if (event->answer) {
		thread->answer = (enum lab_answer)(event->answer - 1);
		vcpu->answers[thread->answer]++;
		reading->study->loads_known++;
	}
}

static void take_load(struct reading *reading)
{
	struct thread *thread = &reading->threads[reading->latest];
	struct lab_vcpu *vcpu = vcpu_of(reading, reading->latest);

	vcpu->did.mmu_loads++;
	reading->study->loads_known++;
	thread->loaded = true;
	thread->answer = LAB_ANSWER_MISSED;
	lab_kvm_check_loaded(vcpu->check);
}

/* The processor enters the guest: what was asked for is done. */
static void take_entry(struct reading *reading, const struct lab_event *event)
{
	struct thread *thread = &reading->threads[reading->latest];
	struct lab_vcpu *vcpu = vcpu_of(reading, reading->latest);
	struct lab_spread **cost = &vcpu->cost[thread->answer];

	reading->study->entries++;
	lab_kvm_check_entered(vcpu->check);
	thread->cause = LAB_CAUSE_UNKNOWN;
	if (!thread->waits || event->time_ns < thread->asked_ns)
		return;
	thread->waits = false;
	if (!*cost) {
		*cost = lab_realloc(NULL, 1, sizeof(**cost));
		memset(*cost, 0, sizeof(**cost));
	}
	lab_spread_add(*cost, event->time_ns - thread->asked_ns);
}

/* Nested entries and exits, and writes to CR3. */
static void take_switch(struct reading *reading, const struct lab_event *event)
{
	struct thread *thread = &reading->threads[reading->latest];
	uint64_t table = event->value & ~NO_FLUSH;
	enum lab_cause cause = event->kind == LAB_EVENT_NESTED_ENTER ? LAB_CAUSE_NESTED_ENTER :
	                       event->kind == LAB_EVENT_NESTED_EXIT  ? LAB_CAUSE_NESTED_EXIT :
	                                                               LAB_CAUSE_CR3;

	thread->cause = cause;
	if (event->kind == LAB_EVENT_NESTED_ENTER) {
		thread->context = event->nested_paging ? RHZ_CONTEXT_L2_NESTED : RHZ_CONTEXT_L2;
		reading->direct |= event->nested_paging;
		reading->study->nested = true;
		if (!reading->named)
			request(reading, event, event->value);
	} else if (event->kind == LAB_EVENT_NESTED_EXIT) {
		thread->context = RHZ_CONTEXT_L1;
		if (!reading->named)
			request(reading, event, thread->table[RHZ_CONTEXT_L1]);
	} else {
		reading->cr3_seen = true;
		/* A nested guest on nested tables loads its CR3 without KVM. */
		if (!reading->named && thread->context != RHZ_CONTEXT_L2_NESTED &&
		    thread->table[thread->context] != table)
			request(reading, event, table);
	}
	/* What was inferred used it up; new_pgd may come yet. */
	thread->cause = cause;
}

static void take_gone(struct reading *reading, const struct lab_event *event)
{
	struct thread *thread = &reading->threads[reading->latest];
	struct lab_root_name name = {
		.table = event->value, .role = event->role, .guest_asid = event->guest_asid,
		.context = event->context ? (enum rhz_context)(event->context - 1) :
		                            thread->context,
	};

	lab_view_gone(thread->view[PAGED], &name);
	if (name.context == RHZ_CONTEXT_L1)
		name.table = 0;
	lab_view_gone(thread->view[DIRECT], &name);
}

static bool take(struct reading *reading, const struct lab_event *event)
{
	struct lab_kvm_did *did;
	struct lab_vcpu *vcpu;
	struct thread *thread;

	if (!find_thread(reading, event->task))
		return false;
	thread = &reading->threads[reading->latest];
	vcpu = vcpu_of(reading, reading->latest);
	did = &vcpu->did;
	vcpu->vm = event->vm ? event->vm : vcpu->vm;
	vcpu->number = event->vcpu != LAB_NO_VCPU ? event->vcpu : vcpu->number;
	switch (event->kind) {
	case LAB_EVENT_NEW_PGD:
		take_request(reading, event);
		break;
	case LAB_EVENT_NESTED_ENTER:
	case LAB_EVENT_NESTED_EXIT:
	case LAB_EVENT_CR3_WRITE:
		take_switch(reading, event);
		break;
	case LAB_EVENT_TWO_DIMENSIONAL:
	case LAB_EVENT_EXIT:
		reading->direct |= event->kind == LAB_EVENT_TWO_DIMENSIONAL;
		thread->cause = (enum lab_cause)event->cause;
		thread->waits = false;
		break;
	case LAB_EVENT_ENTRY:
		take_entry(reading, event);
		break;
	case LAB_EVENT_MMU_LOAD:
		take_load(reading);
		break;
	case LAB_EVENT_SYNC_ROOTS:
		did->root_syncs++;
		break;
	case LAB_EVENT_FREE_ROOTS:
		did->frees++;
		did->frees_current += event->value & 1;
		lab_kvm_check_drop(vcpu->check, event->value);
		break;
	case LAB_EVENT_PAGE_NEW:
	case LAB_EVENT_PAGE_FOUND:
		did->roots_new += thread->loaded && event->kind == LAB_EVENT_PAGE_NEW;
		did->roots_found += thread->loaded && event->kind == LAB_EVENT_PAGE_FOUND;
		thread->loaded = false;
		break;
	case LAB_EVENT_ROOT_GONE:
		take_gone(reading, event);
		break;
	case LAB_EVENT_PAGE_ZAP:
	case LAB_EVENT_INVALIDATE:
	case LAB_EVENT_FLUSH:
		break;
	}
	return true;
}

static void note_broken(struct reading *reading, const struct lab_source *source)
{
	struct lab_study *study = reading->study;

	if (!study->broken++) {
		study->broken_file = reading->path;
		study->broken_place = lab_source_count(source);
	}
}

/* Returns how many events there were, of any kind. */
static uint64_t read_events(struct reading *reading, struct lab_source *source)
{
	struct lab_study *study = reading->study;
	struct lab_progress progress;
	struct lab_event event;
	uint64_t events = 0, count = 0, done, total;
	enum lab_line what;

	lab_progress_begin(&progress, reading->path, study->quiet);
	while ((what = lab_source_next(source, &event)) < LAB_LINE_END) {
		events += what == LAB_LINE_EVENT || what == LAB_LINE_OTHER;
		if (what == LAB_LINE_LOST) {
			study->lost += event.value;
			study->lost_unknown |= !event.value;
		} else if (what == LAB_LINE_BROKEN ||
		           (what == LAB_LINE_EVENT && !take(reading, &event))) {
			note_broken(reading, source);
		}
		if (++count % SHOW_EVERY == 0) {
			lab_source_progress(source, &done, &total);
			lab_progress_show(&progress, done, total);
		}
	}
	lab_progress_end(&progress);
	return events;
}

static const char *shown(const char *path)
{
	return strcmp(path, "-") ? path : "standard input";
}

static enum lab_exit judge(const struct reading *reading, const struct lab_source *source,
                           uint64_t events)
{
	const char *path = shown(reading->path), *unit = lab_source_unit(source);
	unsigned long long count = lab_source_count(source);
	char place[LAB_PLACE_SIZE];

	if (lab_source_error(source) && !count)
		return lab_complain(LAB_EXIT_BAD, "%s: %s", path, lab_source_error(source));
	if (lab_source_error(source))
		return lab_complain(LAB_EXIT_BAD, "%s: after %s: %s", path,
		                    lab_source_place(source, place), lab_source_error(source));
	if (reading->asked)
		return LAB_EXIT_OK;
	if (!count)
		return lab_complain(LAB_EXIT_BAD, "%s: %s: the %s is empty", path,
		                    lab_source_place(source, place),
		                    unit[0] == 'l' ? "file" : "trace");
	if (!events)
		return lab_complain(LAB_EXIT_BAD, "%s: %s 1 to %llu: not one trace event; what is "
		                    "read is trace.dat, our own compact form, and the text of "
		                    "tracefs' trace, trace-cmd report or perf script", path, unit,
		                    count);
	return lab_complain(LAB_EXIT_BAD, "%s: %s 1 to %llu: no request for a root among %llu "
	                    "events; needed: a kprobe event new_pgd on kvm_mmu_new_pgd with its "
	                    "pgd=, or the tracepoints kvm_nested_vmenter and "
	                    "kvm_nested_vmexit_inject, or kvm_cr; \"rhizome record\" has them all",
	                    path, unit, count, (unsigned long long)events);
}

static void take_facts(struct reading *reading, const struct lab_source *source)
{
	struct lab_study *study = reading->study;
	const char *policy = lab_source_fact(source, "policy");
	const char *capacity = lab_source_fact(source, "capacity");
	const char *mmu = lab_source_fact(source, "mmu");

	study->recorded_capacity = -1;
	study->recorded_policy[0] = '\0';
	if (policy && capacity) {
		strncpy(study->recorded_policy, policy, sizeof(study->recorded_policy) - 1);
		study->recorded_capacity = atoi(capacity);
	}
	reading->direct |= mmu && !strcmp(mmu, "direct");
	study->stopped |= !lab_source_whole(source);
}

/* The file's end: which reading holds is known. */
static void settle(struct reading *reading, bool good)
{
	struct lab_study *study = reading->study;
	unsigned chosen = reading->direct ? DIRECT : PAGED;

	for (uint32_t i = 0; i < reading->count; i++) {
		struct lab_vcpu *vcpu = vcpu_of(reading, i);

		vcpu->view = reading->threads[i].view[chosen];
		free_view(reading->threads[i].view[!chosen]);
		lab_kvm_check_end(vcpu->check);
	}
	study->paths_count++;
	if (!good)
		return;
	study->direct |= reading->direct;
	study->from |= reading->named ? LAB_FROM_NEW_PGD : LAB_FROM_INFERRED;
	study->cr3_missing |= !reading->named && !reading->cr3_seen;
	study->seconds += (double)(reading->last_ns - reading->first_ns) / 1e9;
}

enum lab_exit lab_study_read(struct lab_study *study, const char *path)
{
	struct reading reading = {
		.study = study, .path = path, .first = study->vcpus_count,
		.threads = lab_realloc(NULL, 1, sizeof(*reading.threads)), /* the first, if any */
		.bucket = lab_realloc(NULL, BUCKETS, sizeof(*reading.bucket)),
	};
	struct lab_source *source = lab_source_open(path);
	enum lab_exit status;
	uint64_t events;

	memset(reading.bucket, 0, BUCKETS * sizeof(*reading.bucket));
	study->paths = lab_realloc(study->paths, study->paths_count + 1, sizeof(*study->paths));
	study->paths[study->paths_count] = lab_copy(path);
	events = read_events(&reading, source);
	study->events += events;
	study->read += lab_source_count(source);
	status = judge(&reading, source, events);
	take_facts(&reading, source);
	settle(&reading, status == LAB_EXIT_OK);
	lab_source_close(source);
	free(reading.threads);
	free(reading.bucket);
	return status;
}
