/* SPDX-License-Identifier: MIT */
/*
 * The trace's bytes: some eight for a switch of roots, since each costs an OUT. A record is a byte
 * for its kind, the ticks since the last one, then what docs/formats.md says; numbers are in groups
 * of seven bits, the lowest first, and keys are told by how they differ from the key before.
 */
#include "exit/trace.h"

#include "boot/info.h"
#include "cpu/clock.h"
#include "cpu/x86.h"
#include "exit/stats.h"
#include "svm/guest.h"

#define PORT_TRACE 0xeau

enum record { RECORD_BEGIN = 1, RECORD_SWITCH, RECORD_DROPPED, RECORD_ENTRY, RECORD_PAGE_NEW,
	      RECORD_PAGE_ZAPPED, RECORD_SYNC, RECORD_FLUSH };

enum { VERSION = 1 };

/* Why a root was asked for, as lab/event.h numbers it. */
enum cause { CAUSE_UNKNOWN = 0, CAUSE_CR3 = 1, CAUSE_MODE = 4 };

static bool on, asked;
static uint64_t last_tick, exit_tick, last_table, last_role;

bool trace_owns(uint16_t port)
{
	return boot_info.options.trace && port == PORT_TRACE;
}

static void put(uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		out8(PORT_TRACE, (uint8_t)(value | 0x80));
	out8(PORT_TRACE, (uint8_t)value);
}

static void begin(enum record kind, uint64_t tick)
{
	out8(PORT_TRACE, (uint8_t)kind);
	/* A request is as old as its exit, which may be older than the record before. */
	put((tick - last_tick) << 1 ^ -((tick - last_tick) >> 63));
	last_tick = tick;
}

void trace_init(void)
{
	if (!boot_info.options.trace)
		return;
	on = true;
	guest.watched = true;
	begin(RECORD_BEGIN, rdtsc());
	put(VERSION);
	put(clock_measure());
}

static enum cause cause_of_exit(void)
{
	const uint32_t code = (uint32_t)guest.vmcb->exit_code;

	if (!stats_exits(&guest))
		return CAUSE_UNKNOWN;
	if (code == EXIT_CR_WRITE + 3)
		return CAUSE_CR3;
	return code == EXIT_CR_WRITE || code == EXIT_CR_WRITE + 4 || code == EXIT_CR0_SEL_WRITE ||
	       code == EXIT_MSR ? CAUSE_MODE : CAUSE_UNKNOWN;
}

static uint64_t ror12(uint64_t value)
{
	return value >> 12 | value << 52;
}

static void put_key(const struct rhz_root_key *key, uint64_t detail)
{
	put(detail << 2 | key->context);
	put(ror12(key->table ^ last_table));
	put(key->role ^ last_role);
	put(key->guest_asid);
	last_table = key->table;
	last_role = key->role;
}

void trace_event(void *ctx, const struct rhz_event *event)
{
	(void)ctx;
	switch (event->kind) {
	case RHZ_EVENT_ROOT_SWITCH:
		begin(RECORD_SWITCH, exit_tick);
		put_key(event->root, event->value | (uint64_t)cause_of_exit() << 2);
		asked = true;
		break;
	case RHZ_EVENT_ROOT_DROPPED:
		begin(RECORD_DROPPED, rdtsc());
		put_key(event->root, 0);
		break;
	case RHZ_EVENT_GET_PAGE:
	case RHZ_EVENT_ZAP_PAGE:
		begin(event->kind == RHZ_EVENT_GET_PAGE ? RECORD_PAGE_NEW : RECORD_PAGE_ZAPPED,
		      rdtsc());
		put(event->address);
		put(event->level);
		break;
	case RHZ_EVENT_SYNC_PAGE:
		begin(RECORD_SYNC, rdtsc());
		break;
	case RHZ_EVENT_FLUSH:
		begin(RECORD_FLUSH, rdtsc());
		put(event->value == RHZ_FLUSH_ALL ? 0 : event->address);
		break;
	case RHZ_EVENT_ROOT_BUILT:
	case RHZ_EVENT_ROOT_FREED:
	case RHZ_EVENT_PAGE_FAULT:
	case RHZ_EVENT_SET_SPTE:
	case RHZ_EVENT_UNSYNC_PAGE:
	case RHZ_EVENT_INVALIDATE:
		break; /* no news about roots, or told already */
	}
}

void trace_exit(void)
{
	if (on)
		exit_tick = rdtsc();
}

void trace_entry(void)
{
	if (!asked)
		return;
	asked = false;
	begin(RECORD_ENTRY, rdtsc());
}
