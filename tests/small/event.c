/* SPDX-License-Identifier: MIT */
/* What can happen in the small world. */
#include "small.h"

#include <stdio.h>
#include <string.h>

/* The values that entries take, the telling ones first: a plan may leave out the last. */
static const value value_order[VALUES] = {
	0, VALUE(2, 1), VALUE(0, 1), VALUE(1, 1), VALUE(2, 0), VALUE(0, 0), VALUE(HOLE_FRAME, 1),
	VALUE(1, 0), VALUE(HOLE_FRAME, 0),
};

static const char *const kind_names[KINDS] = {
	[LOAD] = "load", [READ] = "read", [STORE] = "store", [STALE_STORE] = "stale store",
	[INVLPG] = "invlpg", [WROTE] = "wrote", [INVALIDATE] = "invalidate",
	[UNSHADOW] = "unshadow", [SHRINK] = "shrink", [FLUSH] = "flush",
};

/* How many vCPUs, places, indices and values each kind is asked for with; 0: none is named. */
static struct event reach(enum kind kind)
{
	uint8_t values = (uint8_t)plan->values, vcpus = (uint8_t)plan->vcpus;

	switch (kind) {
	case LOAD:
		return (struct event){ kind, vcpus, CR3S, 0, 0 };
	case READ:
	case INVLPG:
		return (struct event){ kind, vcpus, PLACES, 0, 0 };
	case STORE:
	case STALE_STORE:
		return (struct event){ kind, vcpus, PLACES, ENTRIES, values };
	case WROTE:
		return (struct event){ kind, 0, FRAMES, ENTRIES, values };
	case INVALIDATE:
	case UNSHADOW:
		return (struct event){ kind, 0, FRAMES, 0, 0 };
	case FLUSH:
		return (struct event){ kind, vcpus, 0, 0, 0 };
	case SHRINK:
	case KINDS:
		break;
	}
	return (struct event){ kind, 0, 0, 0, 0 };
}

static unsigned at_least_one(unsigned n)
{
	return n ? n : 1;
}

unsigned event_list(struct event *events, unsigned most)
{
	unsigned count = 0;

	for (enum kind kind = 0; kind < KINDS; kind++) {
		struct event end = reach(kind);
		unsigned total = at_least_one(end.vcpu) * at_least_one(end.place) *
		                 at_least_one(end.index) * at_least_one(end.value);

		if (!(plan->events >> kind & 1))
			continue;
		for (unsigned n = 0; n < total && count < most; n++) {
			unsigned rest = n;
			struct event *event = &events[count++];

			event->kind = kind;
			event->vcpu = (uint8_t)(rest % at_least_one(end.vcpu));
			rest /= at_least_one(end.vcpu);
			event->place = (uint8_t)(rest % at_least_one(end.place));
			rest /= at_least_one(end.place);
			event->index = (uint8_t)(rest % at_least_one(end.index));
			event->value = value_order[rest / at_least_one(end.index)];
		}
	}
	return count;
}

void event_print(const struct event *event)
{
	printf("  %-11s vcpu %u, %s %u, entry %u", kind_names[event->kind], event->vcpu,
	       event->kind == LOAD ? "cr3" : event->kind >= WROTE ? "frame" : "place",
	       event->place, event->index);
	if (event->kind != STORE && event->kind != STALE_STORE && event->kind != WROTE)
		putchar('\n');
	else if (!event->value)
		printf(" := 0\n");
	else
		printf(" := %s %u%s\n",
		       FRAME_OF(event->value) == HOLE_FRAME ? "hole" : "frame",
		       FRAME_OF(event->value), IS_WRITABLE(event->value) ? " writable" : "");
}

/* The embedder's write. */
static void wrote(unsigned frame, unsigned index, value v)
{
	memory_set(frame, index, v);
	rhz_vm_wrote(vm, 0, (rhz_gpa){ entry_gpa(frame, index) },
	             plan->mode == RHZ_PAGING_32 ? 4 : 8);
}

/* A fault is reflected if and only if memory says so now, with its error code. */
static void check_reflected(unsigned v, unsigned place, bool write, const struct rhz_fault *fault)
{
	value now = oracle_walk(v, place);
	uint32_t code = RHZ_PF_U | (write ? RHZ_PF_W : 0) | (now ? RHZ_PF_P : 0);

	if (now && (!write || IS_WRITABLE(now)))
		fail("a fault that the tables do not justify");
	if (fault->vector != 14 || fault->error_code != code)
		fail("error code %#x, expected %#x", fault->error_code, code);
}

/* Somewhere outside memory: an allowed translation leads there. */
static void check_mmio(unsigned v, unsigned place, bool write)
{
	uint8_t set = world.seat[v].allowed.leaf[place];

	if (!(set & BIT(VALUE(HOLE_FRAME, 1))) && (write || !(set & BIT(VALUE(HOLE_FRAME, 0)))))
		fail("MMIO where no chain leads");
}

enum end { DONE, ENDED };

/* One fault. DONE: go on with what the tables give. *frame: for a tracked write. */
static enum end fault(unsigned v, unsigned place, bool write, unsigned *frame)
{
	bool present = table_gives(v, place);
	uint32_t code = RHZ_PF_U | (write ? RHZ_PF_W : 0) | (present ? RHZ_PF_P : 0);
	struct rhz_fault answer;
	enum rhz_fault_result result;

	world.seat[v].running = false;
	result = rhz_vcpu_page_fault(vcpu[v], (rhz_gva){ address_of(place) }, code, 0, &answer);
	*frame = FRAMES;
	switch (result) {
	case RHZ_FAULT_RESUME:
		if (answer.flush == RHZ_FLUSH_ADDRESS)
			flush_address(v, place);
		return DONE;
	case RHZ_FAULT_RETRY:
		return DONE;
	case RHZ_FAULT_REFLECT:
		check_reflected(v, place, write, &answer);
		return ENDED;
	case RHZ_FAULT_MMIO:
		check_mmio(v, place, write);
		return ENDED;
	case RHZ_FAULT_TRACKED:
		if (!write || !(world.seat[v].allowed.leaf[place] &
		                BIT(VALUE(answer.gpa.v / 4096 - entry_gpa(0, 0) / 4096, 1))))
			fail("a tracked write where no chain leads");
		*frame = (unsigned)(answer.gpa.v / 4096 - entry_gpa(0, 0) / 4096);
		return ENDED;
	case RHZ_FAULT_NO_MEMORY:
		break;
	}
	fail("no memory");
}

enum { TRIES = 6 };

static void read_one(unsigned v, unsigned place)
{
	unsigned frame;

	for (unsigned n = 0; !table_gives(v, place); n++) {
		if (n == TRIES)
			fail("a read that does not come through");
		if (fault(v, place, false, &frame) == ENDED)
			return;
		enter_all();
	}
}

static void store(const struct event *event)
{
	unsigned v = event->vcpu, frame;

	for (unsigned n = 0;; n++) {
		value now = table_gives(v, event->place);

		if (now && IS_WRITABLE(now)) {
			memory_set(FRAME_OF(now), event->index, event->value);
			return;
		}
		if (n == TRIES)
			fail("a store that does not come through");
		if (fault(v, event->place, true, &frame) == ENDED)
			break;
		enter_all();
	}
	if (frame < FRAMES)
		wrote(frame, event->index, event->value);
}

/* Through what the TLB still has and the tables do not. */
static void stale_store(const struct event *event)
{
	const struct seat *seat = &world.seat[event->vcpu];
	value now = table_gives(event->vcpu, event->place);

	for (unsigned frame = 0; frame < FRAMES; frame++) {
		value held = VALUE(frame, 1);

		if (held != now && seat->tag[seat->entry.tag].tlb[event->place] & BIT(held)) {
			memory_set(frame, event->index, event->value);
			return;
		}
	}
}

static void load(unsigned v, unsigned n)
{
	world.seat[v].running = false;
	if (rhz_vcpu_load_cr3(vcpu[v], cr3_of(n)) != RHZ_LOAD_OK)
		fail("a load that fails");
	world.seat[v].cr3 = (uint8_t)n;
	oracle_flush(v);
}

static void invlpg(unsigned v, unsigned place)
{
	world.seat[v].running = false;
	if (rhz_vcpu_invlpg(vcpu[v], (rhz_gva){ address_of(place) }) == RHZ_FLUSH_ADDRESS)
		flush_address(v, place);
	oracle_invlpg(v, place);
}

/* The host takes a frame back: no processor that runs may have it. */
static void invalidate(unsigned frame)
{
	if (rhz_ram_invalidate(vm, 0, frame * 4096, 4096) != RHZ_OK)
		fail("an invalidation that fails");
	enter_all();
	for (unsigned v = 0; v < plan->vcpus; v++) {
		const struct seat *seat = &world.seat[v];

		for (unsigned place = 0; place < PLACES; place++)
			if (seat->tag[seat->entry.tag].tlb[place] &
			    (BIT(VALUE(frame, 0)) | BIT(VALUE(frame, 1))))
				fail("vcpu %u place %u: frame %u outlived its invalidation", v,
				     place, frame);
	}
}

void event_perform(const struct event *event)
{
	switch ((enum kind)event->kind) {
	case LOAD:
		load(event->vcpu, event->place);
		break;
	case READ:
		read_one(event->vcpu, event->place);
		break;
	case STORE:
		store(event);
		break;
	case STALE_STORE:
		stale_store(event);
		break;
	case INVLPG:
		invlpg(event->vcpu, event->place);
		break;
	case WROTE:
		wrote(event->place, event->index, event->value);
		break;
	case INVALIDATE:
		invalidate(event->place);
		break;
	case UNSHADOW:
		rhz_vm_unshadow(vm, 0, (rhz_gpa){ entry_gpa(event->place, 0) });
		break;
	case SHRINK:
		rhz_vm_shrink(vm, 0);
		break;
	case FLUSH:
		world.seat[event->vcpu].running = false;
		rhz_vcpu_flush_guest(vcpu[event->vcpu]);
		oracle_flush(event->vcpu);
		break;
	case KINDS:
		break;
	}
	enter_all();
	check_all();
}
