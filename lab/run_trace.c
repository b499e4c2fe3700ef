/* SPDX-License-Identifier: MIT */
/* The hypervisor's trace, as it left the machine byte by byte, made into a compact file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rhizome/rhizome.h>

#include "compact.h"
#include "run.h"

/* As hv/exit/trace.c has them. */
enum record { RECORD_BEGIN = 1, RECORD_SWITCH, RECORD_DROPPED, RECORD_ENTRY, RECORD_PAGE_NEW,
	      RECORD_PAGE_ZAPPED, RECORD_SYNC, RECORD_FLUSH };

enum { VERSION = 1, THE_VCPU = 1, THE_VM = 1 };

struct tape {
	FILE *in;
	uint64_t bytes, tick, table, role;
	bool cut; /* it ends in the middle of a record */
};

static bool take_byte(struct tape *tape, uint8_t *byte)
{
	const int c = getc(tape->in);

	*byte = (uint8_t)c;
	tape->bytes += c != EOF;
	return c != EOF;
}

/* A number in groups of seven bits, the lowest first; 0 and cut if it is not whole. */
static uint64_t take(struct tape *tape)
{
	uint64_t value = 0;
	uint8_t byte = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (!take_byte(tape, &byte))
			break;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return value;
	}
	tape->cut = true;
	return 0;
}

static uint64_t rol12(uint64_t value)
{
	return value << 12 | value >> 52;
}

static void take_key(struct tape *tape, struct lab_event *event)
{
	const uint64_t detail = take(tape);
	uint64_t guest_asid;

	tape->table ^= rol12(take(tape));
	tape->role ^= take(tape);
	event->value = tape->table;
	event->role = tape->role;
	guest_asid = take(tape);
	event->guest_asid = (uint32_t)guest_asid;
	event->context = (uint8_t)((detail & 3) + 1);
	if (event->kind == LAB_EVENT_NEW_PGD) {
		event->answer = (uint8_t)((detail >> 2 & 3) + 1);
		event->cause = (uint8_t)(detail >> 4);
	}
	/* what none of ours writes was damaged on its way */
	tape->cut |= (detail & 3) == 3 || (detail >> 2 & 3) == 3 || detail >> 4 >= LAB_CAUSES ||
	             guest_asid > UINT32_MAX;
}

/* Reads one record. False: no more, or one that is none of the hypervisor's. */
static bool take_record(struct tape *tape, struct lab_event *event)
{
	static const enum lab_event_kind kinds[] = {
		[RECORD_SWITCH] = LAB_EVENT_NEW_PGD, [RECORD_DROPPED] = LAB_EVENT_ROOT_GONE,
		[RECORD_ENTRY] = LAB_EVENT_ENTRY, [RECORD_PAGE_NEW] = LAB_EVENT_PAGE_NEW,
		[RECORD_PAGE_ZAPPED] = LAB_EVENT_PAGE_ZAP, [RECORD_SYNC] = LAB_EVENT_SYNC_ROOTS,
		[RECORD_FLUSH] = LAB_EVENT_FLUSH,
	};
	uint8_t record;
	uint64_t since;

	if (!take_byte(tape, &record))
		return false;
	if (record <= RECORD_BEGIN || record > RECORD_FLUSH) {
		tape->cut = true;
		return false;
	}
	since = take(tape);
	tape->tick += since >> 1 ^ -(since & 1);
	*event = (struct lab_event){ .kind = kinds[record], .task = THE_VCPU, .vm = THE_VM,
		                     .time_ns = tape->tick };
	if (record == RECORD_SWITCH || record == RECORD_DROPPED) {
		take_key(tape, event);
	} else if (record == RECORD_PAGE_NEW || record == RECORD_PAGE_ZAPPED) {
		event->value = take(tape);
		event->role = take(tape);
	} else if (record == RECORD_FLUSH) {
		event->value = take(tape);
	}
	return !tape->cut;
}

/* What it begins with: when, in which form, and ticks in a second. 0: it is no trace. */
static uint64_t take_beginning(struct tape *tape)
{
	uint8_t record;
	uint64_t since;

	if (!take_byte(tape, &record) || record != RECORD_BEGIN)
		return 0;
	since = take(tape);
	tape->tick = since >> 1 ^ -(since & 1);
	return take(tape) == VERSION ? take(tape) : 0;
}

static struct lab_compact_writer *create(int fd, const struct run_options *options, uint64_t hz)
{
	const char *policy = options->policy ? options->policy : "current-first";
	unsigned long capacity = options->roots_given ? options->roots : RHZ_DEFAULT_CACHED_ROOTS;
	const bool shadow = options->paging && !strcmp(options->paging, "shadow");
	char facts[3][64];
	const char *const fact[] = { "recorder=rhizome run", shadow ? "mmu=shadow" : "mmu=direct",
	                             facts[0], facts[1], facts[2] };

	for (unsigned i = 0; i < options->tricks; i++) {
		if (!strcmp(options->trick[i], "no-root-reuse"))
			policy = "none";
	}
	if (!strcmp(policy, "none"))
		capacity = 0;
	else if (!strcmp(policy, "pinned"))
		capacity = RHZ_MAX_CACHED_ROOTS;
	snprintf(facts[0], sizeof(facts[0]), "policy=%s", policy);
	snprintf(facts[1], sizeof(facts[1]), "capacity=%lu", capacity);
	snprintf(facts[2], sizeof(facts[2]), "tsc_khz=%llu", (unsigned long long)(hz / 1000));
	return lab_compact_create(fd, hz, fact, sizeof(fact) / sizeof(fact[0]));
}

enum lab_exit run_convert_trace(FILE *in, int fd, const struct run_options *options)
{
	struct tape tape = { .in = in };
	const uint64_t hz = take_beginning(&tape);
	struct lab_compact_writer *writer;
	struct lab_event event;
	bool well = true;

	if (!hz)
		return lab_complain(LAB_EXIT_FAILED, "%s: no trace: the hypervisor told nothing",
		                    options->trace);
	writer = create(fd, options, hz);
	while (well && take_record(&tape, &event))
		well = lab_compact_write(writer, &event);
	if (tape.cut)
		lab_compact_lost(writer, 0); /* the machine was ended in the middle of a word */
	well &= lab_compact_close(writer);
	return well ? LAB_EXIT_OK : lab_complain(LAB_EXIT_FAILED, "%s: %s", options->trace,
	                                         strerror(errno));
}

enum lab_exit run_write_trace(const struct run_command *command, const struct run_options *options)
{
	char raw[PATH_MAX];
	enum lab_exit status;
	FILE *in;
	int fd;

	run_name_file(command, "trace", raw);
	in = fopen(raw, "r");
	if (!in)
		return lab_complain(LAB_EXIT_FAILED, "%s: no trace: %s", options->trace,
		                    strerror(errno));
	fd = open(options->trace, O_WRONLY | O_CREAT | O_TRUNC, 0666);
	if (fd < 0) {
		fclose(in);
		return lab_complain(LAB_EXIT_BAD, "%s: %s", options->trace, strerror(errno));
	}
	status = run_convert_trace(in, fd, options);
	fclose(in);
	if (close(fd) && !status)
		status = lab_complain(LAB_EXIT_FAILED, "%s: %s", options->trace, strerror(errno));
	return status;
}
