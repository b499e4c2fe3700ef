/* SPDX-License-Identifier: MIT */
/* Memory beside the table pages: bytes for a shadow page, for a guest frame, for a mapping. */
#include "fixture.h"

/* What the VM's memory grows by, for each shadow page that the quota grows by. */
static double page_bytes(const struct bench_row *row)
{
	struct rhz_host host = { .page_alloc = (void *(*)(void *, enum rhz_page_zone, rhz_hpa *))1,
		                 .page_free = (void (*)(void *, void *, rhz_hpa))1 };
	struct rhz_vm_config config = {
		.kind = RHZ_SHADOW,
		.host_cpu = { .maxphyaddr = 48, .nx = true },
		.cpuid = { .maxphyaddr = 48, .pae = true, .nx = true },
		.quota = (uint32_t)bench_parameter(row, "quota"),
		.host = &host,
	};
	size_t all = rhz_vm_size(&config), least;
	double pages = config.quota - RHZ_MIN_SHADOW_PAGES;

	config.quota = RHZ_MIN_SHADOW_PAGES;
	least = rhz_vm_size(&config);
	bench_require(all > least, "no such VM");
	return (double)(all - least) / pages;
}

/* What the VM takes before the first shadow page, and a vCPU. */
static double vm_bytes(const struct bench_row *row)
{
	struct fixture_config config = { .kind = RHZ_SHADOW, .paging = RHZ_PAGING_4LEVEL,
		                         .quota = RHZ_MIN_SHADOW_PAGES };

	(void)row;
	return (double)fixture_make(&config)->vm_bytes;
}

static double vcpu_bytes(const struct bench_row *row)
{
	(void)row;
	return (double)rhz_vcpu_size();
}

static double frame_bytes(const struct bench_row *row)
{
	uint64_t bytes = (uint64_t)bench_parameter(row, "gib") << 30;

	return (double)rhz_ram_size(bytes) / (double)(bytes / RHZ_PAGE_SIZE);
}

/*
 * One frame mapped again and again, in 64 tables. What the host gives meanwhile, once the tables
 * and the reserves are there, holds nothing but the nodes of the reverse map.
 */
static double mapping_bytes(const struct bench_row *row)
{
	enum { WARM = 9, TABLES = 64 };
	struct fixture_config config = { .kind = RHZ_SHADOW, .paging = RHZ_PAGING_4LEVEL,
		                         .options = RHZ_NO_PREFETCH };
	struct fixture *f = fixture_make(&config);
	uint64_t nodes = 0, given = 0, pages = 0;

	(void)row;
	for (uint64_t i = 0; i < 512 * TABLES; i++) {
		uint64_t gva = USER_AT + i % TABLES * LEAF_TABLE_BYTES + i / TABLES * RHZ_PAGE_SIZE;

		if (i == WARM * TABLES) {
			nodes = f->vm_stats->rmap_nodes;
			given = f->pages_out;
			pages = f->vm_stats->mmu_shadow_pages;
		}
		guest_map(f, f->kernel, gva, fixture_data(0));
		fixture_touch(f, gva, false);
	}
	nodes = f->vm_stats->rmap_nodes - nodes;
	bench_require(nodes == (512 - WARM) * TABLES && f->vm_stats->mmu_shadow_pages == pages,
	              "not as many nodes as mappings");
	return (double)((f->pages_out - given) * RHZ_PAGE_SIZE) / (double)nodes;
}

#define MEASURE(function) .measure = function, .unit = "bytes"

static const struct bench_row rows[] = {
	/* hash tables double: right at a power of two they are full, just above it half empty */
	{ "shadow_page", { { "quota", 1 << 20 } }, .target = 200, MEASURE(page_bytes) },
	{ "shadow_page", { { "quota", (1 << 19) + 1 } }, .target = 200, MEASURE(page_bytes) },
	{ "shadow_page", { { "quota", 8192 } }, .target = 200, MEASURE(page_bytes) },
	{ "guest_frame", { { "gib", 1 } }, .target = 4, MEASURE(frame_bytes) },
	{ "guest_frame", { { "gib", 64 } }, .target = 4, MEASURE(frame_bytes) },
	{ "mapping_beyond_first", .target = 8, MEASURE(mapping_bytes) },
	{ "vm", MEASURE(vm_bytes) },
	{ "vcpu", MEASURE(vcpu_bytes) },
};

BENCH_SUITE("memory", rows)
