/* SPDX-License-Identifier: MIT */
/*
 * The guest's physical memory as the library's RAMs and slots.
 *
 * RAM 0 is everything below 4 GiB, devices included, since a device's registers need a translation
 * as memory does. Slots end where the memory map changes, so that no large page mixes memory types
 * [APM2 7.7.4]. Above 4 GiB each available range is a RAM; device memory there is found when it is
 * touched, and gets a window of 1 GiB. What remains, our own memory foremost, leads to one sink
 * frame: what the guest writes there nobody else reads.
 */
#include "mem/guest.h"

#include "boot/info.h"
#include "cpu/acpi.h"
#include "cpu/apic.h"
#include "cpu/end.h"
#include "cpu/features.h"
#include "exit/trace.h"
#include "exit/step.h"
#include "mem/frames.h"
#include "mem/layout.h"
#include "mem/map.h"
#include "mem/move.h"
#include "mem/string.h"
#include "svm/guest.h"

enum {
	CUTS_MAX = 2 * MAP_MAX + 2 * IOAPICS_MAX + 8,
	WINDOWS_MAX = 8,  /* of device memory above 4 GiB; each costs 1 MiB when it is opened */
	SINKS_MAX = 64,   /* pages that lead to the sink at a time */
	SPARE_PAGES = 768, /* of nested tables beyond those for all RAM in 4 KiB pages */
};

struct span { uint64_t from, to; };

static struct span high_ram[RHZ_MAX_RAMS];
static unsigned high_rams, windows;
static unsigned low_ram, sink_slot[SINKS_MAX];
static uint64_t sink, sinks;

static void check(enum rhz_status status)
{
	if (status != RHZ_OK)
		end(END_REFUSED, rhz_status_name(status));
}

static void *needed(void *at)
{
	if (!at)
		end(END_REFUSED, "too little memory for the library");
	return at;
}

/* For the library, which clears what it must of its memory. */
static void *keep(size_t bytes)
{
	return needed(frames_keep_as_is(bytes));
}

static void *page_alloc(void *ctx, enum rhz_page_zone zone, rhz_hpa *hpa)
{
	void *page = frame_take();

	(void)ctx;
	(void)zone; /* all our memory lies below 4 GiB */
	if (page)
		hpa->v = direct_pa(page);
	return page;
}

static void page_free(void *ctx, void *page, rhz_hpa hpa)
{
	(void)ctx;
	(void)hpa;
	frame_give(page);
}

static const struct rhz_host host = { .page_alloc = page_alloc, .page_free = page_free };
static const struct rhz_host traced_host = {
	.page_alloc = page_alloc, .page_free = page_free, .trace = trace_event,
};

/*
 * Under nested paging every page's table, and it is enough for ever. Under shadow paging a guest
 * has as many tables as it has processes: one page in 32 of memory, and reclaim beyond.
 */
static uint32_t quota(uint64_t top)
{
	uint64_t pages = boot_info.options.shadow ? top / PAGE_BYTES / 32 : top / LARGE_BYTES;

	if (features.nested)
		pages += top / PAGE_BYTES / 64; /* for its own guests */
	return (uint32_t)(pages + SPARE_PAGES);
}

static struct rhz_vm_config vm_config(void)
{
	const uint64_t top = map_top(&machine_map, UINT64_MAX);
	const enum rhz_paging_kind nested = features.guest.la57 ? RHZ_NPT_5LEVEL : RHZ_NPT_4LEVEL;

	return (struct rhz_vm_config){
		.kind = boot_info.options.shadow ? RHZ_SHADOW : nested,
		.nested = features.nested && features.nested_paging ? nested : RHZ_SHADOW,
		.host_cpu = features.host,
		.cpuid = features.guest,
		.quota = quota(top),
		.options = boot_info.options.tricks_off,
		.host = boot_info.options.trace ? &traced_host : &host,
	};
}

uint64_t guest_memory_needs(void)
{
	const struct rhz_vm_config config = vm_config();
	uint64_t bytes = rhz_vm_size(&config) + rhz_vcpu_size() + config.quota * PAGE_BYTES;

	bytes += rhz_ram_size(FOUR_GIB) + rhz_ram_size(PAGE_BYTES) + 2 * rhz_ram_size(GIB);
	for (unsigned i = 0; i < machine_map.ranges; i++) {
		const struct map_range *range = &machine_map.range[i];

		if (range->base >= FOUR_GIB && range->type == MAP_AVAILABLE)
			bytes += rhz_ram_size(range->bytes) + PAGE_BYTES;
	}
	/* Control blocks, permission maps, the sink, a step, and each size rounded to a page. */
	return bytes + (64 + STEP_FRAMES) * PAGE_BYTES;
}

static unsigned add_ram(struct guest *g, uint64_t from, uint64_t bytes)
{
	const size_t size = rhz_ram_size(bytes);
	unsigned ram;

	check(rhz_vm_add_ram(g->vm, keep(size), size, (rhz_hpa){ from }, direct(from), bytes,
	                     &ram));
	return ram;
}

static unsigned add_slot(struct guest *g, struct span span, unsigned ram, uint64_t offset,
                         unsigned flags)
{
	const struct rhz_slot slot = {
		.gpa = { span.from },
		.bytes = span.to - span.from,
		.ram = ram,
		.offset = offset,
		.flags = flags,
	};
	unsigned id;

	check(rhz_slot_add(g->vm, &slot, &id));
	return id;
}

/* Inserts a cut below 4 GiB into the sorted list. */
static unsigned cut(uint64_t *cuts, unsigned n, uint64_t at)
{
	unsigned i = n;

	if (at >= FOUR_GIB)
		return n;
	while (i > 0 && cuts[i - 1] >= at)
		i--;
	if (i < n && cuts[i] == at)
		return n;
	memmove(&cuts[i + 1], &cuts[i], (n - i) * sizeof(cuts[0]));
	cuts[i] = at;
	return n + 1;
}

/* What the guest reads but writes through us: the local APIC and the I/O APICs. */
static unsigned trapped_spans(void)
{
	return 1 + acpi.ioapics;
}

static struct span trapped_span(unsigned i)
{
	const uint64_t from = i == 0 ? apic_page() : acpi.ioapic[i - 1];

	return (struct span){ from, from + (i == 0 ? APIC_BYTES : PAGE_BYTES) };
}

static bool is_trapped(uint64_t at)
{
	for (unsigned i = 0; i < trapped_spans(); i++) {
		if (at >= trapped_span(i).from && at < trapped_span(i).to)
			return true;
	}
	return false;
}

static void add_low_slots(struct guest *g)
{
	const uint64_t own_end = own_memory.base + own_memory.bytes;
	uint64_t cuts[CUTS_MAX];
	unsigned n = 0;

	low_ram = add_ram(g, 0, FOUR_GIB);

	for (unsigned i = 0; i < machine_map.ranges; i++) {
		const struct map_range *range = &machine_map.range[i];

		n = cut(cuts, n, range->base & -PAGE_BYTES);
		n = cut(cuts, n, align_up(range->base + range->bytes, PAGE_BYTES));
	}
	/* Fixed-range MTRRs end at 1 MiB; what lies from 640 KiB on is not RAM [APM2 7.7.2]. */
	n = cut(cuts, n, 0);
	n = cut(cuts, n, 0xa0000);
	n = cut(cuts, n, 0x100000);
	n = cut(cuts, n, own_memory.base);
	n = cut(cuts, n, own_end);
	for (unsigned i = 0; i < trapped_spans(); i++) {
		n = cut(cuts, n, trapped_span(i).from);
		n = cut(cuts, n, trapped_span(i).to);
	}
	cuts[n] = FOUR_GIB;
	for (unsigned i = 0; i < n; i++) {
		const struct span span = { cuts[i], cuts[i + 1] };

		if (span.from >= own_memory.base && span.from < own_end)
			continue;
		add_slot(g, span, low_ram, span.from,
		         is_trapped(span.from) ? RHZ_SLOT_READ_ONLY : 0);
	}
}

static void add_high_slots(struct guest *g)
{
	for (unsigned i = 0; i < machine_map.ranges; i++) {
		const struct map_range *range = &machine_map.range[i];
		const struct span span = { range->base, range->base + range->bytes };

		if (span.from < FOUR_GIB || range->type != MAP_AVAILABLE)
			continue;
		if (high_rams + WINDOWS_MAX + 2 == RHZ_MAX_RAMS)
			end(END_REFUSED, "too many ranges of memory above 4 GiB");
		add_slot(g, span, add_ram(g, span.from, range->bytes), 0, 0);
		high_ram[high_rams++] = span;
	}
}

void guest_memory_init(struct guest *g)
{
	const struct rhz_vm_config config = vm_config();
	const struct rhz_vcpu_config vcpu_config = {
		.policy = boot_info.options.policy,
		.cached_roots = boot_info.options.roots,
		.seed = 1,
	};
	const size_t bytes = rhz_vm_size(&config);

	sink = direct_pa(needed(frames_keep(PAGE_BYTES))); /* the guest reads it */
	check(rhz_vm_create(keep(bytes), bytes, &config, &g->vm));
	add_low_slots(g);
	add_high_slots(g);
	check(rhz_vcpu_create(g->vm, keep(rhz_vcpu_size()), rhz_vcpu_size(), &vcpu_config,
	                      &g->mmu));
	g->vm_stats = rhz_vm_stats(g->vm);
	rhz_cpu_init(&g->cpu, 0, 1, features.asids - 1, features.flush_by_asid);
}

/* Opens a window of up to 1 GiB, clear of RAM; false if there can be no more. */
static bool open_window(struct guest *g, uint64_t gpa)
{
	struct span span = { gpa & -GIB, (gpa & -GIB) + GIB };
	const size_t size = rhz_ram_size(GIB);
	unsigned ram;
	void *memory;

	if (gpa < FOUR_GIB || windows == WINDOWS_MAX)
		return false;
	for (unsigned i = 0; i < high_rams; i++) {
		if (high_ram[i].to <= gpa && high_ram[i].to > span.from)
			span.from = high_ram[i].to;
		if (high_ram[i].from > gpa && high_ram[i].from < span.to)
			span.to = high_ram[i].from;
	}
	if (!move_map_device(span.from, span.to))
		return false;
	memory = frames_keep_as_is(size);
	if (!memory || rhz_vm_add_ram(g->vm, memory, size, (rhz_hpa){ span.from },
	                              direct(span.from), span.to - span.from, &ram) != RHZ_OK)
		return false;
	add_slot(g, span, ram, 0, 0);
	windows++;
	return true;
}

/* The oldest of the pages that lead to the sink gives way to a new one. */
static void map_sink(struct guest *g, uint64_t gpa)
{
	const uint64_t page = gpa & -PAGE_BYTES;
	unsigned *slot = &sink_slot[sinks % SINKS_MAX];

	if (sinks >= SINKS_MAX)
		check(rhz_slot_delete(g->vm, *slot));
	*slot = add_slot(g, (struct span){ page, page + PAGE_BYTES }, low_ram, sink, 0);
	sinks++;
}

void guest_memory_fill(struct guest *g, uint64_t gpa)
{
	if (!open_window(g, gpa))
		map_sink(g, gpa);
}

/* Not of devices, where reading may act: RAM, and the firmware's ROM. */
static bool is_readable(uint64_t gpa, uint64_t bytes)
{
	return map_is_available(&guest_map, gpa, bytes) ||
	       (gpa >= 0xc0000 && gpa + bytes <= 0x100000);
}

void *guest_memory_at(struct guest *g, uint64_t gpa, uint64_t bytes)
{
	uint64_t left;
	void *at = rhz_vm_at(g->vm, 0, (rhz_gpa){ gpa }, &left);

	return at && left >= bytes && is_readable(gpa, bytes) ? at : NULL;
}

bool guest_memory_read(struct guest *g, uint64_t gpa, void *to, uint64_t bytes)
{
	const void *at = guest_memory_at(g, gpa, bytes);

	if (!at)
		return false;
	memcpy(to, at, bytes);
	return true;
}
