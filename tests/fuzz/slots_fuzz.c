/* SPDX-License-Identifier: MIT */
/*
 * Slots and reclaim: any slots that an embedder may ask for, legal or not, and all that is done to
 * them, between accesses of vCPUs. A plain list of slots says which call must succeed and where an
 * access must lead. After every step the audit is clean, what running vCPUs can reach lies in
 * slots, and RAM outside of all slots was not touched (AddressSanitizer watches it).
 */
#include "fuzz.h"

#include <sys/mman.h>

#include <rhizome/rhizome.h>

enum { PAGE = 4096, RAMS = 2, SLOTS = 12, VCPUS = 2, POOL = 512, LOW = 64, WIDTH = 36,
       STEPS_MAX = 250 };

static const uint64_t ram_bytes[RAMS] = { 4 << 20, 32 * PAGE };
static const uint64_t ram_hpa[RAMS] = { 0x100000000ull, 0x140003000ull };

struct place {
	bool used;
	unsigned id;
	struct rhz_slot as;
	uint64_t dirty[1024 / 64];
};

struct host {
	struct rhz_host callbacks;
	struct rhz_vm_config config;
	struct rhz_vm *vm;
	void *vm_memory, *ram_memory[RAMS], *vcpu_memory[VCPUS];
	struct rhz_vcpu *vcpu[VCPUS];
	struct rhz_entry entry[VCPUS];
	unsigned space[VCPUS];
	bool running[VCPUS], paging[VCPUS];
	struct rhz_cpu cpu;
	struct place place[SLOTS];
	bool page_used[POOL];
	unsigned pages, fail_in; /* the how-manieth allocation fails; 0: none */
	bool failed;
	uint64_t gone, gone_end; /* what the host has just taken, in host-physical addresses */
};

static _Alignas(PAGE) uint8_t pool[POOL][PAGE];
static uint8_t *ram_at[RAMS];

void __asan_poison_memory_region(void const volatile *at, size_t size) __attribute__((weak));
void __asan_unpoison_memory_region(void const volatile *at, size_t size) __attribute__((weak));

/* ---- what the library is given ---- */

static uint64_t page_hpa(unsigned page)
{
	return (page < LOW ? 0x1000000ull : 0x800000000ull) + page * (uint64_t)PAGE;
}

static uint64_t *page_at(uint64_t hpa)
{
	uint64_t page = hpa >> 32 ? (hpa - 0x800000000ull) / PAGE : (hpa - 0x1000000) / PAGE;

	must(page < POOL && page_hpa((unsigned)page) == (hpa & ~0xfffull));
	return (uint64_t *)(void *)(pool[page] + (hpa & 0xfe0));
}

static void *page_alloc(void *ctx, enum rhz_page_zone zone, rhz_hpa *hpa)
{
	struct host *h = ctx;
	unsigned page = zone == RHZ_PAGE_BELOW_4G ? 0 : LOW;

	if (h->fail_in && !--h->fail_in) {
		h->failed = true;
		return NULL;
	}
	while (page < POOL && h->page_used[page])
		page++;
	must(page < POOL && (zone != RHZ_PAGE_BELOW_4G || page < LOW));
	h->page_used[page] = true;
	h->pages++;
	hpa->v = page_hpa(page);
	return pool[page];
}

static void page_free(void *ctx, void *at, rhz_hpa hpa)
{
	struct host *h = ctx;
	size_t page = (size_t)((uint8_t *)at - pool[0]) / PAGE;

	must(page < POOL && h->page_used[page] && hpa.v == page_hpa((unsigned)page));
	for (unsigned i = 0; i < VCPUS; i++)
		must(!h->running[i] || (h->entry[i].root.v & ~0xfffull) != hpa.v);
	memset(at, 0xa5, PAGE);
	h->page_used[page] = false;
	h->pages--;
}

static void kick(void *ctx, uint64_t vcpus)
{
	struct host *h = ctx;

	for (unsigned i = 0; i < VCPUS; i++)
		if (h->vcpu[i] && vcpus >> rhz_vcpu_id(h->vcpu[i]) & 1)
			h->running[i] = false;
}

/* ---- the plain list ---- */

static struct place *place_at(struct host *h, unsigned space, uint64_t gpa)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		struct place *p = &h->place[i];

		if (p->used && p->as.address_space == space && gpa - p->as.gpa.v < p->as.bytes)
			return p;
	}
	return NULL;
}

static uint64_t hpa_of(const struct place *p, uint64_t gpa)
{
	return ram_hpa[p->as.ram] + p->as.offset + (gpa - p->as.gpa.v);
}

static uint64_t *dirty_bit(struct place *p, uint64_t gpa, unsigned *shift)
{
	uint64_t page = (gpa - p->as.gpa.v) / PAGE;

	*shift = page % 64;
	return &p->dirty[page / 64];
}

static bool is_dirty(struct place *p, uint64_t gpa)
{
	unsigned shift;

	return *dirty_bit(p, gpa, &shift) >> shift & 1;
}

static bool fits(const struct host *h, const struct rhz_slot *s, const struct place *except)
{
	const uint64_t limit = 1ull << WIDTH;

	if ((s->gpa.v | s->bytes | s->offset) % PAGE || !s->bytes || s->bytes > limit ||
	    s->gpa.v > limit - s->bytes || s->address_space >= RHZ_MAX_ADDRESS_SPACES ||
	    s->ram >= RAMS || s->offset > ram_bytes[s->ram] ||
	    s->bytes > ram_bytes[s->ram] - s->offset || s->flags >> 2 ||
	    (s->flags & RHZ_SLOT_DIRTY_LOG && !s->dirty))
		return false;
	for (unsigned i = 0; i < SLOTS; i++) {
		const struct place *p = &h->place[i];

		if (p->used && p != except && p->as.address_space == s->address_space &&
		    p->as.gpa.v < s->gpa.v + s->bytes && s->gpa.v < p->as.gpa.v + p->as.bytes)
			return false;
	}
	return true;
}

/* What no slot shows is nobody's. */
static void watch_ram(const struct host *h)
{
	if (!__asan_poison_memory_region)
		return;
	for (unsigned i = 0; i < RAMS; i++)
		__asan_poison_memory_region(ram_at[i], ram_bytes[i]);
	for (unsigned i = 0; i < SLOTS; i++)
		if (h->place[i].used)
			__asan_unpoison_memory_region(ram_at[h->place[i].as.ram] +
			                              h->place[i].as.offset, h->place[i].as.bytes);
}

/* ---- what holds after every step ---- */

/* A leaf lies within a slot of the vCPU's space that gives as much as it does. */
static void check_leaf(struct host *h, unsigned n, uint64_t address, uint64_t hpa, uint64_t bytes,
                       bool write)
{
	must(hpa >= h->gone_end || hpa + bytes <= h->gone);
	for (unsigned i = 0; i < SLOTS; i++) {
		struct place *p = &h->place[i];
		uint64_t first = p->used ? ram_hpa[p->as.ram] + p->as.offset : 0, gpa;
		bool logged = true;

		if (!p->used || p->as.address_space != h->space[n] || hpa < first ||
		    hpa + bytes > first + p->as.bytes)
			continue;
		gpa = p->as.gpa.v + (hpa - first);
		if (!h->paging[n] && gpa != address)
			continue;
		for (uint64_t at = 0; at < bytes && p->as.flags & RHZ_SLOT_DIRTY_LOG; at += PAGE)
			logged &= is_dirty(p, gpa + at);
		if (!write || (logged && !(p->as.flags & RHZ_SLOT_READ_ONLY)))
			return;
	}
	wrong("vcpu %u: address %#llx leads to hpa %#llx, %#llx bytes%s: no slot allows it", n,
	      (unsigned long long)address, (unsigned long long)hpa, (unsigned long long)bytes,
	      write ? ", for writing" : "");
}

static void check_table(struct host *h, unsigned n, uint64_t table, unsigned level,
                        uint64_t address, bool write)
{
	const bool ept = h->config.kind >= RHZ_EPT_4LEVEL;
	const uint64_t *entry = page_at(table), bytes = 1ull << (12 + 9 * (level - 1));
	unsigned count = level == 3 && h->entry[n].levels == 3 ? 4 : 512;

	for (unsigned i = 0; i < count; i++) {
		uint64_t frame = entry[i] & 0xffffffffff000ull;
		bool leaf = level == 1 || (entry[i] & 128 && level < 4 && count == 512);
		bool writes = write && (entry[i] & 2 || count == 4);

		if (!(entry[i] & (ept ? 7 : 1)))
			continue;
		if (leaf)
			check_leaf(h, n, address + i * bytes, frame & ~(bytes - 1), bytes, writes);
		else
			check_table(h, n, frame, level - 1, address + i * bytes, writes);
	}
}

static void check_all(struct host *h)
{
	struct rhz_audit found;

	if (rhz_vm_audit(h->vm, &found))
		wrong("invariant %u: %s: table %#llx index %u entry %#llx, not %#llx",
		      found.invariant, found.what, (unsigned long long)found.table.v, found.index,
		      (unsigned long long)found.entry, (unsigned long long)found.expected);
	for (unsigned i = 0; i < VCPUS; i++)
		if (h->running[i])
			check_table(h, i, h->entry[i].root.v, h->entry[i].levels, 0, true);
}

/* ---- the input's choices ---- */

/* One of few, near the beginnings of 2 MiB: so that pages meet again. */
static uint64_t take_page(struct input *input)
{
	uint64_t n = take(input, 2);

	return ((n & 15) + ((n >> 8 & 7) << 9)) * PAGE;
}

static uint64_t take_bytes(struct input *input)
{
	uint64_t n = take(input, 1);

	return (n >> 7 ? ((n & 3) + 1) << 9 : n & 31) * PAGE;
}

static struct place *take_place(struct host *h, struct input *input)
{
	return &h->place[take(input, 1) % SLOTS];
}

/* ---- what is done to slots ---- */

static void add(struct host *h, struct input *input)
{
	struct place *p = take_place(h, input);
	unsigned how = (unsigned)take(input, 1), id;
	struct rhz_slot slot = { .dirty = how & 8 ? NULL : p->dirty };
	enum rhz_status status;

	if (p->used)
		return;
	slot.gpa.v = take_page(input) + (how & 16 ? 1ull << 35 : 0) + (how >> 5 == 5);
	slot.bytes = take_bytes(input);
	slot.offset = take_page(input);
	slot.ram = how >> 5 == 6 ? 2 : how >> 5 & 1;
	slot.flags = how & 7;
	slot.address_space = (unsigned)take(input, 1) % 8 < 6 ? 0 : (unsigned)input->left % 5;
	memset(p->dirty, 0, sizeof(p->dirty));
	status = rhz_slot_add(h->vm, &slot, &id);
	must((status == RHZ_OK) == fits(h, &slot, NULL));
	if (status == RHZ_OK)
		*p = (struct place){ .used = true, .id = id, .as = slot };
	if (!(slot.flags & RHZ_SLOT_DIRTY_LOG))
		p->as.dirty = NULL;
}

static void change(struct host *h, struct input *input, unsigned what)
{
	struct place *p = take_place(h, input);
	unsigned id = p->used ? p->id : 100 + (unsigned)take(input, 2), how;
	struct rhz_slot slot = p->as, got;

	if (what == 0) {
		must((rhz_slot_delete(h->vm, id) == RHZ_OK) == p->used);
		p->used = false;
	} else if (what == 1) {
		slot.gpa.v = take_page(input) + (take(input, 1) == 0xff);
		must((rhz_slot_move(h->vm, id, slot.gpa) == RHZ_OK) ==
		     (p->used && fits(h, &slot, p)));
		if (p->used && fits(h, &slot, p))
			p->as = slot;
	} else if (what == 2) {
		how = (unsigned)take(input, 1);
		slot.flags = how & 7;
		slot.dirty = how & 8 || !(how & RHZ_SLOT_DIRTY_LOG) ? NULL : p->dirty;
		if (slot.flags & ~p->as.flags & RHZ_SLOT_DIRTY_LOG)
			memset(p->dirty, 0, sizeof(p->dirty));
		must((rhz_slot_set_flags(h->vm, id, slot.flags, slot.dirty) == RHZ_OK) ==
		     (p->used && fits(h, &slot, p)));
		if (p->used && fits(h, &slot, p))
			p->as = slot;
	} else {
		must((rhz_slot_collapse(h->vm, id) == RHZ_OK) == p->used);
	}
	must((rhz_slot_get(h->vm, id, &got) == RHZ_OK) == p->used);
	must(!p->used || (got.gpa.v == p->as.gpa.v && got.bytes == p->as.bytes &&
	                  got.flags == p->as.flags && got.offset == p->as.offset));
}

static void harvest(struct host *h, struct input *input)
{
	struct place *p = take_place(h, input);
	uint64_t out[1024 / 64 + 1] = { 0 }, was[1024 / 64], found, total = p->as.bytes / PAGE;
	uint64_t first = take(input, 1) % 20 * 32, pages = 1 + take(input, 2) % 1024, count = 0;
	bool fine = p->used && p->as.flags & RHZ_SLOT_DIRTY_LOG && first % 64 == 0 &&
	            first < total && pages <= total - first;

	memcpy(was, p->dirty, sizeof(was));
	must((rhz_slot_harvest(h->vm, p->used ? p->id : 99, first, pages, out, &found) == RHZ_OK) ==
	     fine);
	for (uint64_t n = 0; fine && n < pages; n++) {
		bool dirty = was[(first + n) / 64] >> (first + n) % 64 & 1;

		must((out[n / 64] >> n % 64 & 1) == dirty);
		must(!(p->dirty[(first + n) / 64] >> (first + n) % 64 & 1));
		count += dirty;
	}
	must(!fine || found == count);
}

/* The host takes, ages, or asks for pages back; the embedder writes. */
static void reclaim(struct host *h, struct input *input, unsigned what)
{
	unsigned ram = (unsigned)take(input, 1) % 3;
	uint64_t at = take_page(input), bytes = take_bytes(input), young, left;
	bool fine = ram < RAMS && bytes && at < ram_bytes[ram] && bytes <= ram_bytes[ram] - at;
	enum rhz_status status = RHZ_OK;
	uint8_t *seen;

	if (what == 0) {
		status = rhz_ram_invalidate(h->vm, ram, at, bytes);
	} else if (what == 1) {
		status = rhz_ram_age(h->vm, ram, at, bytes, &young);
	} else if (what == 2) {
		left = rhz_vm_shrink(h->vm, (uint32_t)(at / PAGE) % 64);
		must(left >= rhz_vm_stats(h->vm)->mmu_shadow_pages); /* and what is still held */
	} else if (what == 3) {
		rhz_vm_unshadow(h->vm, ram, (rhz_gpa){ at });
	} else if (what == 4) {
		rhz_vm_wrote(h->vm, ram, (rhz_gpa){ at + 8 }, take(input, 8) >> ram * 20);
	} else {
		struct place *p = place_at(h, ram, at);

		seen = rhz_vm_at(h->vm, ram, (rhz_gpa){ at }, &left);
		must((seen != NULL) == (p != NULL));
		if (p)
			must(seen == ram_at[p->as.ram] + (hpa_of(p, at) - ram_hpa[p->as.ram]) &&
			     left == p->as.gpa.v + p->as.bytes - at);
	}
	if (fine)
		must(status == RHZ_OK);
	if (fine && what == 0) {
		h->gone = ram_hpa[ram] + at;
		h->gone_end = h->gone + bytes;
	}
}

/* ---- vCPUs ---- */

static void make_vcpu(struct host *h, unsigned n)
{
	struct rhz_vcpu_config config = { .cached_roots = 3 };

	h->vcpu_memory[n] = aligned_alloc(64, (rhz_vcpu_size() + 63) / 64 * 64);
	must(h->vcpu_memory[n]);
	must(rhz_vcpu_create(h->vm, h->vcpu_memory[n], rhz_vcpu_size(), &config, &h->vcpu[n]) ==
	     RHZ_OK);
	h->paging[n] = false;
	h->space[n] = 0;
}

static void end_vcpu(struct host *h, unsigned n)
{
	h->running[n] = false;
	if (h->vcpu[n])
		rhz_vcpu_destroy(h->vcpu[n]);
	free(h->vcpu_memory[n]);
	h->vcpu[n] = h->vcpu_memory[n] = NULL;
}

static void enter(struct host *h, unsigned n)
{
	h->running[n] = true;
	while (rhz_vcpu_enter(h->vcpu[n], &h->cpu, &h->entry[n]) != RHZ_ENTER_OK) {
		h->running[n] = false;
		if (rhz_vcpu_prepare(h->vcpu[n]) != RHZ_LOAD_OK) {
			must(h->failed);
			return;
		}
		h->running[n] = true;
	}
}

/* Paging off, by PAE's tables or by 4-level ones, wherever they are. */
static void load(struct host *h, unsigned n, struct input *input)
{
	unsigned how = (unsigned)take(input, 1) % 4;
	struct rhz_regs regs = { .cr0 = RHZ_CR0_PE | RHZ_CR0_WP, .cr3 = take_page(input) };
	enum rhz_load_result result;

	h->running[n] = false;
	if (how == 3) {
		result = rhz_vcpu_set_address_space(h->vcpu[n], (unsigned)regs.cr3 / PAGE % 3);
		if (result == RHZ_LOAD_OK)
			h->space[n] = (unsigned)regs.cr3 / PAGE % 3;
	} else if (h->config.kind == RHZ_SHADOW) {
		regs.cr0 |= how ? RHZ_CR0_PG : 0;
		regs.cr4 |= how ? RHZ_CR4_PAE : 0;
		regs.efer |= how == 2 ? RHZ_EFER_LME | RHZ_EFER_LMA | RHZ_EFER_NXE : 0;
		result = rhz_vcpu_load_regs(h->vcpu[n], &regs);
		if (result == RHZ_LOAD_OK)
			h->paging[n] = how;
	} else {
		return;
	}
	must(result != RHZ_LOAD_NO_MEMORY || h->failed);
}

/* Where the access must end with paging off or under the direct MMU. */
static void check_end(struct host *h, unsigned n, uint64_t gpa, unsigned access,
                      enum rhz_fault_result result, const struct rhz_fault *fault)
{
	struct place *p = place_at(h, h->space[n], gpa);
	bool write = access & RHZ_ACCESS_WRITE, refused;

	refused = !p || (write && p->as.flags & RHZ_SLOT_READ_ONLY);
	must((result == RHZ_FAULT_MMIO) == refused);
	if (refused)
		must(fault->gpa.v == gpa && fault->read_only == (p != NULL));
	if (result == RHZ_FAULT_TRACKED)
		must(write && h->config.kind == RHZ_SHADOW && fault->gpa.v == gpa);
	if (result == RHZ_FAULT_RESUME && write && p->as.flags & RHZ_SLOT_DIRTY_LOG)
		must(is_dirty(p, gpa));
}

/* As the processor pushes it where nothing is mapped. */
static uint32_t code_of(unsigned access)
{
	return (access & RHZ_ACCESS_WRITE ? RHZ_PF_W : 0) |
	       (access & RHZ_ACCESS_FETCH ? RHZ_PF_I : 0);
}

static void access_of(struct host *h, unsigned n, struct input *input)
{
	static const unsigned kinds[] = { 0, RHZ_ACCESS_WRITE, RHZ_ACCESS_FETCH, RHZ_ACCESS_WRITE };
	unsigned access = kinds[take(input, 1) % 4];
	uint64_t gpa = take_page(input) + (take(input, 1) << 4);
	enum rhz_walk_outcome outcome = RHZ_WALK_OK;
	enum rhz_fault_result result;
	struct rhz_fault fault;
	struct rhz_walk walk;

	enter(h, n);
	if (!h->running[n])
		return;
	if (h->paging[n])
		outcome = rhz_vcpu_translate(h->vcpu[n], (rhz_gva){ gpa }, access, &walk);
	if (h->config.kind == RHZ_SHADOW)
		result = rhz_vcpu_page_fault(h->vcpu[n], (rhz_gva){ gpa },
		                             code_of(access), 0, &fault);
	else
		result = rhz_vcpu_nested_fault(h->vcpu[n], (rhz_gpa){ gpa }, access, &fault);
	must(result != RHZ_FAULT_NO_MEMORY || h->failed);
	if (result != RHZ_FAULT_NO_MEMORY && result != RHZ_FAULT_RETRY && outcome != RHZ_WALK_TABLE)
		must((result == RHZ_FAULT_REFLECT) == (outcome != RHZ_WALK_OK));
	if (!h->paging[n] && result != RHZ_FAULT_NO_MEMORY && result != RHZ_FAULT_RETRY)
		check_end(h, n, gpa, access, result, &fault);
	enter(h, n);
}

/* The guest's kernel writes an entry somewhere. */
static void store(struct host *h, struct input *input)
{
	uint64_t gpa = take_page(input) + take(input, 1) % 4 * 8;
	uint64_t entry = take_page(input) | (take(input, 1) & 0xe7) | 1;
	struct place *p = place_at(h, 0, gpa);

	if (!p)
		return;
	memcpy(ram_at[p->as.ram] + (hpa_of(p, gpa) - ram_hpa[p->as.ram]), &entry, sizeof(entry));
	rhz_vm_wrote(h->vm, 0, (rhz_gpa){ gpa }, sizeof(entry));
	if (p->as.flags & RHZ_SLOT_DIRTY_LOG)
		must(is_dirty(p, gpa));
}

static void step(struct host *h, struct input *input)
{
	unsigned what = (unsigned)take(input, 1) % 24, n = what & 1;

	h->failed = false;
	if (what < 3)
		add(h, input);
	else if (what < 7)
		change(h, input, what - 3);
	else if (what == 7)
		harvest(h, input);
	else if (what < 14)
		reclaim(h, input, what - 8);
	else if (what == 14)
		h->fail_in = 1 + (unsigned)take(input, 1) % 8;
	else if (what == 15)
		store(h, input);
	else if (what < 18 && h->vcpu[n])
		load(h, n, input);
	else if (what < 23 && h->vcpu[n])
		access_of(h, n, input);
	else if (h->vcpu[n])
		end_vcpu(h, n);
	else
		make_vcpu(h, n);
	watch_ram(h);
	for (unsigned i = 0; i < VCPUS && h->gone_end; i++)
		if (h->vcpu[i])
			enter(h, i); /* by what is left of its tables */
	check_all(h);
	h->gone = h->gone_end = 0;
}

static void make(struct host *h, struct input *input)
{
	unsigned kind = (unsigned)take(input, 1), id;
	size_t size;

	h->callbacks = (struct rhz_host){ .ctx = h, .page_alloc = page_alloc,
	                                  .page_free = page_free, .kick = kick };
	h->config = (struct rhz_vm_config){
		.kind = (enum rhz_paging_kind)(kind % 8 < 4 ? RHZ_SHADOW : kind % 8 - 3),
		.host_cpu = { .maxphyaddr = 46, .pages_1g = kind & 8, .nx = true,
		              .ept_ad = kind & 16, .ept_execute_only = kind & 32 },
		.cpuid = { .vendor = RHZ_VENDOR_AMD, .maxphyaddr = WIDTH, .pse = true, .pae = true,
		           .pat = true, .nx = true, .gbpages = true },
		.quota = 16 + (uint32_t)take(input, 1) % 64,
		.options = (uint32_t)take(input, 2) & 0x1ff,
		.host = &h->callbacks,
	};
	size = rhz_vm_size(&h->config);
	must(size);
	h->vm_memory = aligned_alloc(64, (size + 63) / 64 * 64);
	must(h->vm_memory && rhz_vm_create(h->vm_memory, size, &h->config, &h->vm) == RHZ_OK);
	for (unsigned i = 0; i < RAMS; i++) {
		size = rhz_ram_size(ram_bytes[i]);
		h->ram_memory[i] = aligned_alloc(64, (size + 63) / 64 * 64);
		must(h->ram_memory[i]);
		must(rhz_vm_add_ram(h->vm, h->ram_memory[i], size, (rhz_hpa){ ram_hpa[i] },
		                    ram_at[i], ram_bytes[i], &id) == RHZ_OK && id == i);
	}
	rhz_cpu_init(&h->cpu, 0, 1, 3, kind & 64);
	make_vcpu(h, 0);
}

static void end(struct host *h)
{
	for (unsigned i = 0; i < VCPUS; i++)
		end_vcpu(h, i);
	rhz_vm_destroy(h->vm);
	must(!h->pages);
	for (unsigned i = 0; i < RAMS; i++) {
		if (__asan_unpoison_memory_region)
			__asan_unpoison_memory_region(ram_at[i], ram_bytes[i]);
		free(h->ram_memory[i]);
	}
	free(h->vm_memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct host host;
	struct input input = { data, size };

	memset(&host, 0, sizeof(host));
	for (unsigned i = 0; i < RAMS; i++) {
		if (!ram_at[i])
			ram_at[i] = mmap(NULL, ram_bytes[i], PROT_READ | PROT_WRITE,
			                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		must(ram_at[i] != MAP_FAILED);
		must(!madvise(ram_at[i], ram_bytes[i], MADV_DONTNEED)); /* zero again */
	}
	make(&host, &input);
	watch_ram(&host);
	for (unsigned steps = 0; input.left && steps < STEPS_MAX; steps++)
		step(&host, &input);
	end(&host);
	return 0;
}
