/* SPDX-License-Identifier: MIT */
/* One entry of ours: what counts as a removal, what a protected leaf keeps, the reverse map. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/entry.h"
#include "core/page.h"

#define RAM_HPA 0x200000000ull
#define KEY(n) ((uint64_t)(n) << PTE_KEY_SHIFT)
enum { RAM = 0x10000 };

static struct rhz_vm *vm;
static struct page *page;
static void *vm_memory, *ram_memory, *ram;
static int live;

static void *page_alloc(void *ctx, enum rhz_page_zone zone, rhz_hpa *hpa)
{
	void *at = aligned_alloc(RHZ_PAGE_SIZE, RHZ_PAGE_SIZE);

	(void)ctx;
	(void)zone;
	hpa->v = (uintptr_t)at & PTE_FRAME;
	live++;
	return at;
}

static void page_free(void *ctx, void *at, rhz_hpa hpa)
{
	(void)ctx;
	(void)hpa;
	free(at);
	live--;
}

static const struct rhz_host host = { .page_alloc = page_alloc, .page_free = page_free };

/* A VM with a page of level 1. */
static void begin(enum rhz_paging_kind kind, enum role_host format)
{
	struct rhz_vm_config config = { .kind = kind, .host = &host, .quota = 64,
		.host_cpu = { .maxphyaddr = 48, .nx = true, .ept_ad = true },
		.cpuid = { .maxphyaddr = 40, .pae = true, .nx = true } };
	union role role = { 0 };
	unsigned id;

	vm_memory = aligned_alloc(64, (rhz_vm_size(&config) + 63) & ~(size_t)63);
	assert_int_equal(rhz_vm_create(vm_memory, rhz_vm_size(&config), &config, &vm), RHZ_OK);
	ram = aligned_alloc(RHZ_PAGE_SIZE, RAM);
	ram_memory = malloc(rhz_ram_size(RAM));
	assert_int_equal(rhz_vm_add_ram(vm, ram_memory, rhz_ram_size(RAM), (rhz_hpa){ RAM_HPA },
	                                ram, RAM, &id), RHZ_OK);
	role.level = 1;
	role.host = format;
	role.rights = RHZ_RIGHT_ALL;
	assert_true(pages_reserve(vm, 1));
	page = page_make(vm, 0, role);
}

static void end(void)
{
	page_zap(vm, page);
	vm_settle(vm);
	rhz_vm_destroy(vm);
	assert_int_equal(live, 0);
	free(vm_memory);
	free(ram_memory);
	free(ram);
}

/* Whether a change from one leaf to another of the same frame counts as a removal. */
static bool is_removal(uint64_t before, uint64_t after)
{
	uint64_t count, stat;
	bool raised;

	assert_true(entry_set_leaf(vm, page, 7, RAM_HPA | before));
	count = vm->removed[0];
	stat = vm->stats.removals;
	entry_change_leaf(vm, page, 7, RAM_HPA | after);
	raised = vm->removed[0] != count;
	assert_int_equal(vm->stats.removals - stat, raised);
	assert_int_equal(page->table[7], RAM_HPA | after);
	entry_clear(vm, page, 7);
	return raised;
}

static void test_what_is_weaker(void **state)
{
	const uint64_t all = PTE_P | PTE_W | PTE_U | PTE_A | PTE_D;
	const uint64_t types[] = { PTE_PWT, PTE_PCD, PTE_PAT_4K, PTE_PAT_LARGE };
	begin(RHZ_SHADOW, ROLE_HOST_LONG);

	(void)state;
	assert_false(is_removal(all, all));
	assert_true(is_removal(all, all & ~PTE_W));
	assert_false(is_removal(all & ~PTE_W, all));
	/* less for users, or what SMEP and SMAP forbid the supervisor */
	assert_true(is_removal(all, all & ~PTE_U));
	assert_true(is_removal(all & ~PTE_U, all));
	assert_true(is_removal(all, all | PTE_NX));
	assert_false(is_removal(all | PTE_NX, all));
	assert_true(is_removal(all, all | KEY(3)));
	assert_true(is_removal(all | KEY(3), all | KEY(1)));
	assert_false(is_removal(all & ~PTE_A, all));
	for (unsigned i = 0; i < 3; i++)
		assert_true(is_removal(all, all | types[i]));
	end();
}

static void test_what_is_weaker_in_ept(void **state)
{
	const uint64_t all = EPT_R | EPT_W | EPT_X | EPT_XU | 6ull << EPT_MT_SHIFT;
	const uint64_t rights[] = { EPT_R, EPT_W, EPT_X, EPT_XU };
	begin(RHZ_EPT_4LEVEL, ROLE_HOST_EPT);

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		assert_true(is_removal(all, all & ~rights[i]));
		assert_false(is_removal(all & ~rights[i], all));
	}
	assert_true(is_removal(all, all & ~EPT_MT));
	assert_true(is_removal(all, all | EPT_IPAT));
	end();
}

/* It is writable or neither writable nor dirty. */
static void test_protected(void **state)
{
	(void)state;
	for (unsigned ept = 0; ept < 2; ept++) {
		begin(ept ? RHZ_EPT_4LEVEL : RHZ_SHADOW,
		                            ept ? ROLE_HOST_EPT : ROLE_HOST_LONG);
		uint64_t leaf = RAM_HPA | (ept ? EPT_R | EPT_W | EPT_A | EPT_D :
		                                 PTE_P | PTE_W | PTE_A | PTE_D);
		uint64_t count = vm->removed[0];

		assert_true(entry_set_leaf(vm, page, 1, leaf));
		assert_true(entry_write_protect(vm, page, 1));
		assert_int_equal(page->table[1], leaf & ~(SPTE_W | (ept ? EPT_D : PTE_D)));
		assert_int_equal(vm->removed[0], count + 1);
		assert_false(entry_write_protect(vm, page, 1));
		assert_int_equal(vm->removed[0], count + 1);
		end();
	}
}

/* A leaf that gets another frame: under the new one, not under the old one, and flushed. */
static void test_replaced(void **state)
{
	begin(RHZ_SHADOW, ROLE_HOST_LONG);
	uint64_t old = RAM_HPA | PTE_P | PTE_A, new = (RAM_HPA + 0x5000) | PTE_P | PTE_A, count;

	(void)state;
	assert_true(entry_set_leaf(vm, page, 2, old));
	count = vm->removed[0];
	entry_replace_leaf(vm, page, 2, new, leaf_head(vm, new, 1));
	assert_int_equal(vm->removed[0], count + 1);
	assert_int_equal(page->table[2], new);
	assert_true(link_empty(*leaf_head(vm, old, 1)));
	assert_int_equal(*leaf_head(vm, new, 1), entry_id(vm, page, 2));
	end();
}

/* Nodes go back: three mappings of one frame take two of them, and none when they are gone. */
static void test_nodes(void **state)
{
	static const uint8_t order[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 },
		                             { 2, 0, 1 }, { 2, 1, 0 } };
	begin(RHZ_SHADOW, ROLE_HOST_LONG);
	uint64_t leaf = RAM_HPA | PTE_P | PTE_A;
	uint32_t free = vm->nodes_free;

	(void)state;
	for (unsigned n = 0; n < 6; n++) {
		frame_set_tracked(vm, 1, n & 1);
		for (unsigned i = 0; i < 3; i++)
			assert_true(entry_set_leaf(vm, page, i, leaf));
		assert_int_equal(vm->stats.rmap_nodes, 2);
		assert_int_equal(vm->nodes_free, free - 2);
		for (unsigned i = 0; i < 3; i++)
			entry_clear(vm, page, order[n][i]);
		assert_int_equal(vm->stats.rmap_nodes, 0);
		assert_int_equal(vm->nodes_free, free);
		assert_int_equal(frame_is_tracked(vm, 1), n & 1);
		assert_true(link_empty(*leaf_head(vm, leaf, 1)));
	}
	frame_set_tracked(vm, 1, false);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_weaker),
		cmocka_unit_test(test_what_is_weaker_in_ept),
		cmocka_unit_test(test_protected),
		cmocka_unit_test(test_replaced),
		cmocka_unit_test(test_nodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
