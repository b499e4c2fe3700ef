/* SPDX-License-Identifier: MIT */
/* Making VMs and vCPUs: every status by its name; several VMs side by side; traces and names. */
#include "fixture.h"

static void *no_alloc(void *ctx, enum rhz_page_zone zone, rhz_hpa *hpa)
{
	(void)ctx;
	(void)zone;
	(void)hpa;
	return NULL;
}

static void no_free(void *ctx, void *page, rhz_hpa hpa)
{
	(void)ctx;
	(void)page;
	(void)hpa;
}

static void no_lock(void *ctx)
{
	(void)ctx;
}

/* The status of a creation, which must agree with rhz_vm_size. */
static enum rhz_status create(const struct rhz_vm_config *config)
{
	static uint8_t memory[1 << 20] __attribute__((aligned(16)));
	struct rhz_vm *vm;
	enum rhz_status status = rhz_vm_create(memory, sizeof(memory), config, &vm);

	assert_int_equal(status == RHZ_OK, rhz_vm_size(config) != 0 &&
	                                   rhz_vm_size(config) <= sizeof(memory));
	return status;
}

static void test_create_statuses(void **state)
{
	static uint8_t memory[1 << 20] __attribute__((aligned(16)));
	struct rhz_host host = { .page_alloc = no_alloc, .page_free = no_free };
	struct rhz_vm_config good, config;
	struct rhz_vm *vm;

	(void)state;
	world_default_config(&(struct setup){ .quota = RHZ_MIN_SHADOW_PAGES }, &good);
	good.host = &host;
	assert_status(create(&good), RHZ_OK);
#define BAD(change, status) \
	do { \
		config = good; \
		change; \
		assert_status(create(&config), status); \
	} while (0)
	BAD(config.quota = RHZ_MIN_SHADOW_PAGES - 1, RHZ_ERR_QUOTA);
	BAD(config.quota = 0, RHZ_ERR_QUOTA);
	BAD(config.quota = RHZ_MAX_SHADOW_PAGES + 1, RHZ_ERR_QUOTA);
	BAD(config.host = NULL, RHZ_ERR_ARGUMENT);
	BAD(config.kind = (enum rhz_paging_kind)77, RHZ_ERR_ARGUMENT);
	BAD(config.cpuid.maxphyaddr = 31, RHZ_ERR_FEATURE);
	BAD(config.cpuid.maxphyaddr = 53, RHZ_ERR_FEATURE);
	BAD(config.host_cpu.maxphyaddr = 31, RHZ_ERR_FEATURE);
	BAD(config.host_cpu.maxphyaddr = 53, RHZ_ERR_FEATURE);
	BAD(config.host_cpu.nx = false, RHZ_ERR_FEATURE);
	BAD(config.cpuid.pae = false, RHZ_ERR_FEATURE);
	host.lock = no_lock;
	assert_status(create(&good), RHZ_ERR_ARGUMENT);
	host.unlock = no_lock;
	assert_status(create(&good), RHZ_OK);
	host.page_alloc = NULL;
	assert_status(create(&good), RHZ_ERR_ARGUMENT);
	host.page_alloc = no_alloc;
	host.page_free = NULL;
	assert_status(create(&good), RHZ_ERR_ARGUMENT);
	host.page_free = no_free;
	assert_status(rhz_vm_create(memory, rhz_vm_size(&good) - 1, &good, &vm),
	              RHZ_ERR_MEMORY_SIZE);
	assert_status(rhz_vm_create(memory + 8, sizeof(memory) - 8, &good, &vm), RHZ_ERR_ARGUMENT);
	assert_status(rhz_vm_create(NULL, 1 << 20, &good, &vm), RHZ_ERR_ARGUMENT);
	assert_status(rhz_vm_create(memory, 1 << 20, NULL, &vm), RHZ_ERR_ARGUMENT);
	assert_status(rhz_vm_create(memory, 1 << 20, &good, NULL), RHZ_ERR_ARGUMENT);
	assert_int_equal(rhz_vm_size(NULL), 0);
}

/* At most 200 bytes beside each shadow page, 4 for each frame. */
static void test_sizes(void **state)
{
	struct rhz_host host = { .page_alloc = no_alloc, .page_free = no_free };
	struct rhz_vm_config config;
	size_t small, large;

	(void)state;
	world_default_config(&(struct setup){ .quota = 1 << 10 }, &config);
	config.host = &host;
	small = rhz_vm_size(&config);
	config.quota = 1 << 20;
	large = rhz_vm_size(&config);
	assert_true((large - small) / ((1 << 20) - (1 << 10)) <= 200);
	assert_true(rhz_ram_size(1ull << 36) <= (1ull << 24) * 4 + (1 << 17));
}

static void test_vcpu_statuses(void **state)
{
	struct world *world = world_make(&(struct setup){ .bare = true });
	struct rhz_vcpu_config good = { .policy = RHZ_ROOTS_CURRENT_FIRST }, config = good;
	static uint8_t memory[RHZ_MAX_VCPUS + 1][1 << 14] __attribute__((aligned(16)));
	struct rhz_vcpu *vcpus[RHZ_MAX_VCPUS + 1];
	struct rhz_vm *vm = world->vm;

	(void)state;
	assert_true(rhz_vcpu_size() <= sizeof(memory[0]));
	assert_status(rhz_vcpu_create(vm, memory[0], rhz_vcpu_size() - 1, &good, &vcpus[0]),
	              RHZ_ERR_MEMORY_SIZE);
	assert_status(rhz_vcpu_create(vm, memory[0] + 4, rhz_vcpu_size(), &good, &vcpus[0]),
	              RHZ_ERR_ARGUMENT);
	assert_status(rhz_vcpu_create(NULL, memory[0], rhz_vcpu_size(), &good, &vcpus[0]),
	              RHZ_ERR_ARGUMENT);
	assert_status(rhz_vcpu_create(vm, NULL, rhz_vcpu_size(), &good, &vcpus[0]),
	              RHZ_ERR_ARGUMENT);
	assert_status(rhz_vcpu_create(vm, memory[0], rhz_vcpu_size(), NULL, &vcpus[0]),
	              RHZ_ERR_ARGUMENT);
	config.cached_roots = RHZ_MAX_CACHED_ROOTS + 1;
	assert_status(rhz_vcpu_create(vm, memory[0], rhz_vcpu_size(), &config, &vcpus[0]),
	              RHZ_ERR_TOO_MANY_ROOTS);
	config = good;
	config.policy = (enum rhz_root_policy)RHZ_ROOT_POLICIES;
	assert_status(rhz_vcpu_create(vm, memory[0], rhz_vcpu_size(), &config, &vcpus[0]),
	              RHZ_ERR_POLICY);
	for (unsigned i = 0; i < RHZ_MAX_VCPUS; i++) {
		assert_status(rhz_vcpu_create(vm, memory[i], rhz_vcpu_size(), &good, &vcpus[i]),
		              RHZ_OK);
		assert_int_equal(rhz_vcpu_id(vcpus[i]), i);
		assert_int_equal(rhz_vcpu_prepare(vcpus[i]), RHZ_LOAD_OK);
	}
	assert_status(rhz_vcpu_create(vm, memory[RHZ_MAX_VCPUS], rhz_vcpu_size(), &good,
	                              &vcpus[RHZ_MAX_VCPUS]), RHZ_ERR_TOO_MANY_VCPUS);
	audit(world);
	/* a number given back is used again */
	rhz_vcpu_destroy(vcpus[17]);
	assert_status(rhz_vcpu_create(vm, memory[RHZ_MAX_VCPUS], rhz_vcpu_size(), &good,
	                              &vcpus[17]), RHZ_OK);
	assert_int_equal(rhz_vcpu_id(vcpus[17]), 17);
	for (unsigned i = 0; i < RHZ_MAX_VCPUS; i++)
		rhz_vcpu_destroy(vcpus[i]);
	audit(world);
	world_end(world);
}

/* After reset: paging off, no root until it is prepared. */
static void test_fresh_vcpu(void **state)
{
	struct world *world = world_make(&(struct setup){ .mode = RHZ_PAGING_4LEVEL });
	struct rhz_entry entry;
	struct rhz_fault fault;

	(void)state;
	assert_int_equal(rhz_vcpu_enter(world->vcpu[0], &world->cpu[0].cpu, &entry),
	                 RHZ_ENTER_PREPARE);
	assert_int_equal(rhz_vcpu_page_fault(world->vcpu[0], (rhz_gva){ 0 }, 0, 0, &fault),
	                 RHZ_FAULT_RETRY);
	assert_int_equal(rhz_vcpu_invlpg(world->vcpu[0], (rhz_gva){ 0 }), RHZ_FLUSH_NONE);
	rhz_vcpu_flush_guest(world->vcpu[0]);
	assert_false(rhz_vcpu_regs(world->vcpu[0])->cr0 & (RHZ_CR0_PG | RHZ_CR0_PE));
	audit(world);
	world->no_memory = true;
	assert_int_equal(rhz_vcpu_prepare(world->vcpu[0]), RHZ_LOAD_NO_MEMORY);
	assert_int_equal(rhz_vcpu_enter(world->vcpu[0], &world->cpu[0].cpu, &entry),
	                 RHZ_ENTER_PREPARE);
	world->no_memory = false;
	reaches(world, 0x1000, WRITE, 0x1000);
	world_end(world);
}

/* VMs of all kinds beside one another: what one does, no other sees. */
static void test_side_by_side(void **state)
{
	static const struct { enum rhz_paging_kind kind; enum rhz_paging mode; } vms[] = {
		{ RHZ_SHADOW, RHZ_PAGING_32 }, { RHZ_SHADOW, RHZ_PAGING_PAE },
		{ RHZ_SHADOW, RHZ_PAGING_4LEVEL }, { RHZ_SHADOW, RHZ_PAGING_5LEVEL },
		{ RHZ_NPT_4LEVEL, RHZ_PAGING_NONE }, { RHZ_EPT_5LEVEL, RHZ_PAGING_NONE },
	};
	struct world *worlds[6];
	uint64_t roots[6];

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		worlds[i] = world_make(&(struct setup){ .kind = vms[i].kind, .mode = vms[i].mode,
			                                .quota = 32, .no_lock = i & 1 });
		roots[i] = table_new(worlds[i]);
		if (vms[i].mode) {
			map(worlds[i], roots[i], 0x5000, 0x1000, PWU);
			start(worlds[i], 0, roots[i]);
		}
	}
	for (unsigned n = 0; n < 3; n++) {
		for (unsigned i = 0; i < 6; i++) {
			reaches(worlds[i], vms[i].mode ? 0x5000 : 0x1000, WRITE, 0x1000);
			if (n == 1)
				rhz_vm_shrink(worlds[i]->vm, 0);
			worlds[i]->at[0].running = false;
		}
		for (unsigned i = 0; n == 1 && i < 6; i += 2) {
			world_vcpu_remove(worlds[i], 0);
			world_vcpu_add(worlds[i], 0);
			if (vms[i].mode)
				start(worlds[i], 0, roots[i]);
		}
	}
	for (unsigned i = 0; i < 6; i++)
		world_end(worlds[i]);
}

static unsigned seen_events[16];

static void count_event(void *ctx, const struct rhz_event *event)
{
	(void)ctx;
	assert_true(event->vcpu == 0 || event->vcpu == UINT32_MAX);
	assert_true(event->kind <= RHZ_EVENT_FLUSH);
	assert_int_equal(event->root != NULL, event->kind == RHZ_EVENT_ROOT_SWITCH ||
	                                      event->kind == RHZ_EVENT_ROOT_DROPPED);
	seen_events[event->kind]++;
}

/* Every kind of event is seen in a small life; a VM with traces does what one without does. */
static void test_trace(void **state)
{
	struct setup setup = { .mode = RHZ_PAGING_4LEVEL, .given_roots = true, .cached_roots = 1,
	                       .policy = RHZ_ROOTS_CURRENT_FIRST };
	struct world *world = world_make(&(struct setup){ .bare = true });
	struct rhz_slot slot = { .bytes = RAM };
	size_t size = rhz_ram_size(RAM);
	uint64_t roots[4];

	(void)state;
	/* made anew with a trace callback: it is copied at creation */
	world->setup = setup;
	rhz_vm_destroy(world->vm);
	free(world->ram_memory[0]);
	world->host.trace = count_event;
	assert_status(rhz_vm_create(world->vm_memory, rhz_vm_size(&world->config), &world->config,
	                            &world->vm), RHZ_OK);
	world->ram_memory[0] = malloc(size);
	assert_status(rhz_vm_add_ram(world->vm, world->ram_memory[0], size, (rhz_hpa){ RAM_HPA },
	                             world->ram, RAM, &world->ram_id), RHZ_OK);
	assert_status(rhz_slot_add(world->vm, &slot, &world->slot), RHZ_OK);
	world_vcpu_add(world, 0);
	for (unsigned i = 0; i < 4; i++) {
		roots[i] = table_new(world);
		map(world, roots[i], 0x5000, i * 0x1000, PWU);
		map_window(world, roots[i]);
	}
	start(world, 0, roots[0]);
	for (unsigned i = 0; i < 4; i++) {
		load_ok(world, 0, roots[i]);
		reaches(world, 0x5000, WRITE, i * 0x1000);
		entry_store(world, 0, roots[i], 0x5000, 1, 0x7000 | PWU);
		invlpg(world, 0, 0x5000);
		load_ok(world, 0, roots[i]);
		reaches(world, 0x5000, WRITE, 0x7000);
	}
	assert_true(rhz_vm_unshadow(world->vm, 0, (rhz_gpa){ roots[2] }));
	load_ok(world, 0, roots[3]);
	rhz_vm_shrink(world->vm, 0);
	world->at[0].running = false;
	reaches(world, 0x5000, WRITE, 0x7000);
	for (unsigned i = 0; i <= RHZ_EVENT_FLUSH; i++) {
		if (!seen_events[i])
			print_error("no event %s\n", rhz_event_name(i));
		assert_true(seen_events[i]);
	}
	world_end(world);
}

static void test_names(void **state)
{
	(void)state;
	for (unsigned i = 0; i <= RHZ_ERR_ARGUMENT; i++) {
		const char *name = rhz_status_name(i);

		assert_int_equal(strncmp(name, "RHZ_", 4), 0);
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(name, rhz_status_name(j));
	}
	assert_non_null(rhz_status_name((enum rhz_status)1000));
	assert_string_equal(rhz_event_name(RHZ_EVENT_ROOT_SWITCH), "root_switch");
	for (unsigned i = 0; i <= RHZ_EVENT_FLUSH; i++)
		assert_true(strlen(rhz_event_name(i)) > 3);
	assert_non_null(rhz_event_name((enum rhz_event_kind)1000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create_statuses),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_vcpu_statuses),
		cmocka_unit_test(test_fresh_vcpu),
		cmocka_unit_test(test_side_by_side),
		cmocka_unit_test(test_trace),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
