/* SPDX-License-Identifier: MIT */
/* The VM as a whole: making and destroying it, writes from outside, shrinking. */
#include "core/flush.h"
#include "core/frame.h"
#include "core/mem.h"
#include "core/rmap.h"
#include "nested/nested.h"
#include "root/registers.h"
#include "root/roots.h"
#include "shadow/sync.h"

/* Where the parts of a VM lie in its memory. */
struct layout {
	size_t pages, buckets, hpa_buckets, chunks, size;
	unsigned hash_bits;
	uint32_t chunk_count;
};

static size_t align16(size_t size)
{
	return (size + 15) & ~(size_t)15;
}

static struct layout layout_of(uint32_t quota)
{
	struct layout layout = { .hash_bits = 4 };
	size_t buckets;

	while (1u << layout.hash_bits < quota)
		layout.hash_bits++;
	buckets = (size_t)1 << layout.hash_bits;
	/* at most a node for every entry of every page, and some in reserve */
	layout.chunk_count = quota + 2;
	layout.pages = align16(sizeof(struct rhz_vm));
	layout.buckets = align16(layout.pages + ((size_t)quota + 1) * sizeof(struct page));
	layout.hpa_buckets = layout.buckets + buckets * sizeof(uint32_t);
	layout.chunks = align16(layout.hpa_buckets + buckets * sizeof(uint32_t));
	layout.size = layout.chunks + layout.chunk_count * sizeof(struct chunk);
	return layout;
}

/* The processor runs L2 as it runs L1, or L1 under shadow tables. */
static bool nested_fits(const struct rhz_vm_config *config)
{
	if (config->nested > RHZ_EPT_5LEVEL)
		return false;
	return config->nested == RHZ_SHADOW || config->kind == RHZ_SHADOW ||
	       config->kind == config->nested;
}

static enum rhz_status config_check(const struct rhz_vm_config *config)
{
	const struct rhz_cpuid *cpuid = &config->cpuid;
	bool large_phys = config->host_cpu.maxphyaddr >= 32 && config->host_cpu.maxphyaddr <= 52 &&
	                  cpuid->maxphyaddr >= 32 && cpuid->maxphyaddr <= 52;
	bool shadows = config->kind == RHZ_SHADOW || config->nested != RHZ_SHADOW;

	if (!config->host || !config->host->page_alloc || !config->host->page_free ||
	    config->kind > RHZ_EPT_5LEVEL || !config->host->lock != !config->host->unlock)
		return RHZ_ERR_ARGUMENT;
	if (config->quota < RHZ_MIN_SHADOW_PAGES || config->quota > RHZ_MAX_SHADOW_PAGES)
		return RHZ_ERR_QUOTA;
	if (!large_phys || (cpuid->pks && !cpuid->pae) || (cpuid->la57 && !cpuid->pae) ||
	    (shadows && cpuid->nx && !config->host_cpu.nx) || !nested_fits(config))
		return RHZ_ERR_FEATURE;
	return RHZ_OK;
}

size_t rhz_vm_size(const struct rhz_vm_config *config)
{
	if (!config || config_check(config) != RHZ_OK)
		return 0;
	return layout_of(config->quota).size;
}

enum rhz_status rhz_vm_create(void *memory, size_t size, const struct rhz_vm_config *config,
                              struct rhz_vm **out)
{
	uint8_t *at = memory;
	struct layout layout;
	enum rhz_status status;
	struct rhz_vm *vm = memory;

	if (!memory || (uintptr_t)memory % 16 || !config || !out)
		return RHZ_ERR_ARGUMENT;
	status = config_check(config);
	if (status != RHZ_OK)
		return status;
	layout = layout_of(config->quota);
	if (size < layout.size)
		return RHZ_ERR_MEMORY_SIZE;
	memset(vm, 0, sizeof(*vm));
	memset(at + layout.pages, 0, sizeof(struct page)); /* PAGE_NIL: its own list is empty */
	memset(at + layout.buckets, 0, layout.chunks - layout.buckets);
	vm->config = *config;
	vm->host = *config->host;
	vm->config.host = NULL;
	vm->removed[0] = vm->removed[1] = 1; /* a stamp of 0 is always out of date */
	vm->page = (struct page *)(at + layout.pages);
	vm->bucket = (uint32_t *)(at + layout.buckets);
	vm->hpa_bucket = (uint32_t *)(at + layout.hpa_buckets);
	vm->chunk = (struct chunk *)(at + layout.chunks);
	vm->chunks_most = layout.chunk_count;
	vm->hash_shift = 32 - layout.hash_bits;
	vm->give_up_root = roots_give_up_one;
	for (unsigned i = 0; i < RHZ_MAX_ADDRESS_SPACES; i++) {
		vm->space[i].slots = vm->slot;
		vm->space[i].hint = &vm->no_slot;
	}
	vm->nx = config->host_cpu.nx ? PTE_NX : 0;
	modes_init(vm);
	nested_init(vm);
	*out = vm;
	return RHZ_OK;
}

void rhz_vm_destroy(struct rhz_vm *vm)
{
	vm_lock(vm);
	pages_reclaim(vm, 0);
	vm_settle(vm);
	pages_give_back(vm);
	vm_unlock(vm);
}

const struct rhz_vm_stats *rhz_vm_stats(const struct rhz_vm *vm)
{
	return &vm->stats;
}

/* Bytes 'from' to 'to' of a page: most pages are no tables, which the empty hash chain tells. */
RHZ_INLINE void page_wrote(struct rhz_vm *vm, struct slot *slot, uint64_t gfn, unsigned from,
                           unsigned to)
{
	uint32_t frame = slot_frame(slot, gfn);

	slot_log_dirty(vm, slot, gfn);
	if (vm->bucket[frame_hash(vm, frame)])
		frame_written(vm, frame, from, to);
}

/* The part of a run of addresses that lies in one slot. */
static void slot_wrote(struct rhz_vm *vm, struct slot *slot, uint64_t gpa, uint64_t end)
{
	uint64_t from = gpa > slot->start ? gpa : slot->start;

	if (end > slot->start + slot->bytes)
		end = slot->start + slot->bytes;
	while (from < end) {
		uint64_t gfn = from / RHZ_PAGE_SIZE, next = (gfn + 1) * RHZ_PAGE_SIZE;
		unsigned to = next < end ? RHZ_PAGE_SIZE : (end - 1) % RHZ_PAGE_SIZE + 1;

		page_wrote(vm, slot, gfn, from % RHZ_PAGE_SIZE, to);
		from = next;
	}
}

/* More than a page, or nobody's. */
static __attribute__((noinline)) void slots_wrote(struct rhz_vm *vm, struct space *space,
                                                  uint64_t gpa, uint64_t len)
{
	uint64_t end = len > UINT64_MAX - gpa ? UINT64_MAX : gpa + len;
	struct slot *slot = slot_at(space, gpa);

	if (slot && end - slot->start <= slot->bytes) {
		slot_wrote(vm, slot, gpa, end);
		return;
	}
	/* slot by slot, so that a length past all reason costs no more than the slots */
	for (unsigned i = 0; i < space->count; i++)
		slot_wrote(vm, &vm->slot[space->order[i]], gpa, end);
}

static __attribute__((noinline)) void wrote(struct rhz_vm *vm, unsigned address_space, rhz_gpa gpa,
                                            uint64_t len)
{
	uint64_t from = gpa.v % RHZ_PAGE_SIZE;
	struct space *space;
	struct slot *slot;

	vm_lock(vm);
	space = &vm->space[address_space];
	slot = slot_at(space, gpa.v);
	if (__builtin_expect(slot && len - 1 < RHZ_PAGE_SIZE - from, 1))
		page_wrote(vm, slot, gpa.v / RHZ_PAGE_SIZE, (unsigned)from, (unsigned)(from + len));
	else
		slots_wrote(vm, space, gpa.v, len);
	vm_unlock(vm);
}

/* Without a lock there is one processor alone, and what is seen stays so: no table, no log. */
RHZ_INLINE bool is_plain_page(struct rhz_vm *vm, unsigned address_space, uint64_t gpa, uint64_t len)
{
	const struct slot *slot = vm->space[address_space].hint;

	return !vm->host.lock && gpa - slot->start < slot->bytes &&
	       len - 1 < RHZ_PAGE_SIZE - gpa % RHZ_PAGE_SIZE && !slot->dirty &&
	       !vm->bucket[frame_hash(vm, slot_frame(slot, gpa / RHZ_PAGE_SIZE))];
}

void rhz_vm_wrote(struct rhz_vm *vm, unsigned address_space, rhz_gpa gpa, uint64_t len)
{
	if (__builtin_expect(address_space < RHZ_MAX_ADDRESS_SPACES, 1) &&
	    !is_plain_page(vm, address_space, gpa.v, len))
		wrote(vm, address_space, gpa, len);
}

/* Is the page, or the PAE root above it, what a vCPU runs under? */
static bool in_use_as_root(const struct rhz_vm *vm, const struct page *page)
{
	uint32_t link = page->parents;

	if (root_is_running(vm, page))
		return true;
	while (link) {
		uint32_t id = link_first(vm, link, &link);

		if (role_is_pae_root(page_at(vm, id >> 9)->role) &&
		    root_is_running(vm, page_at(vm, id >> 9)))
			return true;
	}
	return false;
}

bool rhz_vm_unshadow(struct rhz_vm *vm, unsigned address_space, rhz_gpa gpa)
{
	bool in_use = false;
	struct page *page;
	uint32_t frame;

	if (address_space >= RHZ_MAX_ADDRESS_SPACES)
		return true;
	vm_lock(vm);
	frame = frame_of_gfn(vm, address_space, gpa.v / RHZ_PAGE_SIZE);
	for (page = page_of_frame(vm, frame, NULL); page && frame && !in_use;
	     page = page_of_frame(vm, frame, page))
		in_use = in_use_as_root(vm, page);
	while (frame && !in_use && (page = page_of_frame(vm, frame, NULL))) {
		page_zap(vm, page);
		vm->stats.mmu_flooded++;
	}
	vm_unlock(vm);
	return !in_use;
}

uint32_t rhz_vm_shrink(struct rhz_vm *vm, uint32_t pages)
{
	uint32_t used;

	vm_lock(vm);
	pages_reclaim(vm, pages);
	used = vm->pages_used - vm->dead_count; /* those go with the lock */
	vm_unlock(vm);
	return used;
}
