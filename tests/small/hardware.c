/* SPDX-License-Identifier: MIT */
/* Host callbacks, guest memory, entries, and the worst of all processors. */
#include "small.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Frames lie from here on, in guest and host memory; the hole behind them. */
enum { FIRST_GFN = 16 };
#define RAM_HPA 0x100000000ull
#define POOL_HPA 0x10000000ull /* below 4 GiB: any page may be a PAE root */
#define PRESENT 1ull
#define WRITE 2ull
#define LARGE 0x80ull
#define ADDRESS 0x000ffffffffff000ull
#define FLAGS 0x65ull /* P, U, A, D */

struct world world;
const struct plan *plan;
struct rhz_vm *vm;
struct rhz_vcpu *vcpu[VCPUS];
uint8_t *pool, *ram;
static void *vm_memory, *vcpu_memory[VCPUS], *ram_memory;

/* ---- the host ---- */

static void *page_alloc(void *ctx, enum rhz_page_zone zone, rhz_hpa *hpa)
{
	unsigned n = (unsigned)__builtin_ctzll(~world.pages);

	(void)ctx;
	(void)zone;
	if (!~world.pages)
		return NULL;
	world.pages |= 1ull << n;
	hpa->v = POOL_HPA + n * 4096ull;
	return pool + n * 4096ull;
}

/* A tag that has a freed page among its cached levels must not be entered without a flush. */
static void page_free(void *ctx, void *page, rhz_hpa hpa)
{
	uint64_t bit = 1ull << (hpa.v - POOL_HPA) / 4096;

	(void)ctx;
	(void)page;
	world.pages &= ~bit;
	for (unsigned v = 0; v < plan->vcpus; v++) {
		const struct seat *seat = &world.seat[v];

		if (seat->running && seat->entry.root.v == hpa.v)
			fail("the root in use was freed");
		for (unsigned t = 0; t < TAGS; t++) {
			for (unsigned place = 0; place < PLACES; place++) {
				if (!(seat->tag[t].tables[place] & bit))
					continue;
				if (seat->running && seat->entry.tag == t)
					fail("a table in use was freed");
				world.seat[v].tag[t].dangling = true;
			}
		}
	}
}

static void kick(void *ctx, uint64_t set)
{
	(void)ctx;
	for (unsigned v = 0; v < plan->vcpus; v++)
		if (set >> v & 1)
			world.seat[v].running = false;
}

/* ---- guest memory ---- */

static unsigned entry_bytes(void)
{
	return plan->mode == RHZ_PAGING_32 ? 4 : 8;
}

/* The first and the last of a table. */
static unsigned entry_index(unsigned index)
{
	return index ? 4096 / entry_bytes() - 1 : 0;
}

uint64_t address_of(unsigned place)
{
	unsigned bits = plan->mode == RHZ_PAGING_32 ? 10 : 9;
	uint64_t upper = entry_index(place / ENTRIES), lower = entry_index(place % ENTRIES);

	return upper << (12 + bits) | lower << 12;
}

uint64_t entry_gpa(unsigned frame, unsigned index)
{
	return (FIRST_GFN + frame) * 4096ull + entry_index(index) * entry_bytes();
}

static void put(uint64_t gpa, uint64_t word)
{
	memcpy(ram + gpa - FIRST_GFN * 4096ull, &word, entry_bytes());
}

static uint64_t word_of(value v)
{
	return v ? (FIRST_GFN + FRAME_OF(v)) * 4096ull | FLAGS | (IS_WRITABLE(v) ? WRITE : 0) : 0;
}

void memory_set(unsigned frame, unsigned index, value v)
{
	world.memory[frame][index] = v;
	put(entry_gpa(frame, index), word_of(v));
	oracle_changed();
}

/* Fixed frames: from FRAMES + 1 on, so that the hole lies between. */
static uint64_t fixed_gpa(unsigned n)
{
	return (FIRST_GFN + HOLE_FRAME + 1 + n) * 4096ull;
}

uint64_t cr3_of(unsigned n)
{
	if (plan->mode == RHZ_PAGING_32)
		return (FIRST_GFN + n) * 4096ull;
	return plan->mode == RHZ_PAGING_PAE ? fixed_gpa(0) + n * 32 : fixed_gpa(n);
}

/* Upper tables that lead to directory n alone. */
static void fixed_tables(unsigned n)
{
	uint64_t directory = (FIRST_GFN + n) * 4096ull;

	if (plan->mode == RHZ_PAGING_PAE)
		put(cr3_of(n), directory | PRESENT);
	if (plan->mode != RHZ_PAGING_4LEVEL)
		return;
	put(fixed_gpa(n), fixed_gpa(CR3S + n) | FLAGS | WRITE);
	put(fixed_gpa(CR3S + n), directory | FLAGS | WRITE);
}

/* ---- making and ending ---- */

static void must(enum rhz_status status)
{
	if (status == RHZ_OK)
		return;
	fprintf(stderr, "small: %s\n", rhz_status_name(status));
	exit(1);
}

static void vm_make(void)
{
	static const struct rhz_host host = { .page_alloc = page_alloc, .page_free = page_free,
		                              .kick = kick };
	struct rhz_vm_config config = {
		.kind = RHZ_SHADOW, .host = &host, .options = plan->options,
		.quota = plan->quota ? plan->quota : 40,
		.host_cpu = { .maxphyaddr = 46, .nx = true },
		.cpuid = { .maxphyaddr = 40, .pse = true, .pae = true, .pge = true, .pat = true,
			   .nx = true },
	};
	struct rhz_slot slot = { .gpa = { FIRST_GFN * 4096 }, .bytes = FRAMES * 4096 };
	uint64_t bytes = (FRAMES + 1 + FIXED) * 4096;
	size_t size = rhz_vm_size(&config);
	unsigned id;

	vm_memory = aligned_alloc(64, (size + 63) & ~63ull);
	must(rhz_vm_create(vm_memory, size, &config, &vm));
	ram_memory = aligned_alloc(64, (rhz_ram_size(bytes) + 63) & ~63ull);
	must(rhz_vm_add_ram(vm, ram_memory, rhz_ram_size(bytes), (rhz_hpa){ RAM_HPA }, ram, bytes,
	                    &slot.ram));
	must(rhz_slot_add(vm, &slot, &id));
	slot.offset = (FRAMES + 1) * 4096;
	slot.gpa.v = fixed_gpa(0);
	slot.bytes = FIXED * 4096;
	must(rhz_slot_add(vm, &slot, &id));
}

static void vcpu_make(unsigned v)
{
	struct rhz_vcpu_config config = { .policy = RHZ_ROOTS_CURRENT_FIRST, .cached_roots = 3 };
	struct rhz_regs regs = {
		.cr0 = RHZ_CR0_PE | RHZ_CR0_WP | RHZ_CR0_PG, .cr3 = cr3_of(0),
		.cr4 = plan->mode == RHZ_PAGING_32 ? RHZ_CR4_PSE : RHZ_CR4_PAE,
		.efer = plan->mode == RHZ_PAGING_4LEVEL ? RHZ_EFER_LME | RHZ_EFER_LMA : 0,
	}, off = { .cr0 = RHZ_CR0_PE, .cr4 = regs.cr4, .efer = regs.efer & RHZ_EFER_LME };

	vcpu_memory[v] = aligned_alloc(64, (rhz_vcpu_size() + 63) & ~63ull);
	must(rhz_vcpu_create(vm, vcpu_memory[v], rhz_vcpu_size(), &config, &vcpu[v]));
	rhz_cpu_init(&world.cpu[v], v, 1, TAGS - 1, !plan->no_flush_by_tag);
	if (rhz_vcpu_load_regs(vcpu[v], &off) != RHZ_LOAD_OK ||
	    rhz_vcpu_load_regs(vcpu[v], &regs) != RHZ_LOAD_OK) {
		fprintf(stderr, "small: the registers are refused\n");
		exit(1);
	}
	oracle_flush(v);
}

/* Both directories lead to table 2, which shows all frames, and to each other. */
void hardware_init(void)
{
	memset(&world, 0, sizeof(world));
	memset(ram, 0, (FRAMES + 1 + FIXED) * 4096);
	vm_make();
	for (unsigned n = 0; n < CR3S; n++)
		fixed_tables(n);
	for (unsigned n = 0; n < CR3S; n++) {
		memory_set(n, 0, VALUE(2, 1));
		memory_set(n, 1, VALUE(!n, 1));
	}
	memory_set(2, 0, VALUE(2, 1));
	memory_set(2, 1, VALUE(0, 1));
	for (unsigned v = 0; v < plan->vcpus; v++)
		vcpu_make(v);
	enter_all();
}

void hardware_end(void)
{
	for (unsigned v = 0; v < plan->vcpus; v++)
		world.seat[v].running = false;
	for (unsigned v = 0; v < plan->vcpus; v++) {
		rhz_vcpu_destroy(vcpu[v]);
		free(vcpu_memory[v]);
	}
	rhz_vm_destroy(vm);
	free(vm_memory);
	free(ram_memory);
}

/* ---- the processor ---- */

static uint64_t *table_at(uint64_t hpa)
{
	uint64_t n = (hpa - POOL_HPA) / 4096;

	if (n >= POOL || !(world.pages >> n & 1))
		fail("a walk goes through a page that is not the library's: %#llx",
		     (unsigned long long)hpa);
	return (uint64_t *)(pool + n * 4096);
}

static value value_of(uint64_t spte)
{
	uint64_t frame = ((spte & ADDRESS) - RAM_HPA) / 4096;

	if (!(spte & PRESENT))
		return 0;
	if (frame >= FRAMES)
		fail("a leaf maps %#llx", (unsigned long long)(spte & ADDRESS));
	return VALUE(frame, !!(spte & WRITE));
}

/* The leaf table that the tables at an entry's root have for an address; 0: none. */
static uint64_t leaf_table(const struct rhz_entry *entry, uint64_t gva)
{
	uint64_t hpa = entry->root.v;

	for (unsigned level = entry->levels; level > 1; level--) {
		unsigned index = gva >> (12 + 9 * (level - 1)) & (level == 3 &&
		                 entry->levels == 3 ? 3 : 511);
		uint64_t spte = table_at(hpa)[index];

		if (!(spte & PRESENT))
			return 0;
		if (level < 3 && spte & LARGE)
			fail("a large leaf");
		hpa = spte & ADDRESS;
	}
	table_at(hpa);
	return hpa;
}

value table_gives(unsigned v, unsigned place)
{
	uint64_t gva = address_of(place), hpa = leaf_table(&world.seat[v].entry, gva);

	return hpa ? value_of(table_at(hpa)[gva >> 12 & 511]) : 0;
}

/* Loads all that can be loaded under the tag at hand. */
static void load_all(unsigned v)
{
	struct seat *seat = &world.seat[v];
	struct tag *tag = &seat->tag[seat->entry.tag];

	for (unsigned place = 0; place < PLACES; place++) {
		uint64_t gva = address_of(place), hpa = leaf_table(&seat->entry, gva);

		if (hpa)
			tag->tables[place] |= 1ull << (hpa - POOL_HPA) / 4096;
		for (uint64_t set = tag->tables[place]; set; set &= set - 1) {
			uint64_t n = (unsigned)__builtin_ctzll(set);
			value found = value_of(table_at(POOL_HPA + n * 4096)[gva >> 12 & 511]);

			if (found)
				tag->tlb[place] |= BIT(found);
		}
	}
}

static void flush(unsigned v, enum rhz_flush what)
{
	struct seat *seat = &world.seat[v];

	for (unsigned t = 0; t < TAGS; t++)
		if (what == RHZ_FLUSH_ALL || (what == RHZ_FLUSH_TAG && t == seat->entry.tag))
			seat->tag[t] = (struct tag){ 0 };
}

/* One address, and all cached upper levels of the tag. */
void flush_address(unsigned v, unsigned place)
{
	struct tag *tag = &world.seat[v].tag[world.seat[v].entry.tag];

	tag->tlb[place] = 0;
	memset(tag->tables, 0, sizeof(tag->tables));
	tag->dangling = false;
}

static void enter(unsigned v)
{
	struct seat *seat = &world.seat[v];

	for (unsigned tries = 0; rhz_vcpu_enter(vcpu[v], &world.cpu[v], &seat->entry); tries++) {
		if (tries == 3 || rhz_vcpu_prepare(vcpu[v]) != RHZ_LOAD_OK)
			fail("vcpu %u cannot enter", v);
	}
	if (seat->entry.tag >= TAGS)
		fail("tag %u", seat->entry.tag);
	flush(v, seat->entry.flush);
	if (seat->tag[seat->entry.tag].dangling)
		fail("vcpu %u: a tag whose cached tables were freed is entered without a flush", v);
	seat->running = true;
}

void enter_all(void)
{
	for (unsigned v = 0; v < plan->vcpus; v++) {
		if (!world.seat[v].running)
			enter(v);
		load_all(v);
	}
}

/* A value is allowed if it is, or with more rights. */
static bool is_allowed(uint8_t set, value v)
{
	return set & (BIT(v) | BIT(VALUE(FRAME_OF(v), 1)));
}

void check_all(void)
{
	for (unsigned v = 0; v < plan->vcpus; v++) {
		const struct seat *seat = &world.seat[v];

		for (unsigned place = 0; place < PLACES; place++) {
			uint8_t held = seat->tag[seat->entry.tag].tlb[place];

			for (value found = 1; found < VALUE(HOLE_FRAME, 0); found++) {
				if (held & BIT(found) &&
				    !is_allowed(seat->allowed.leaf[place], found))
					fail("vcpu %u place %u: frame %u%s may be used, allowed "
					     "are %#x", v, place, FRAME_OF(found),
					     IS_WRITABLE(found) ? " writable" : "",
					     seat->allowed.leaf[place]);
			}
		}
	}
}
