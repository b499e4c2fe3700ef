/* SPDX-License-Identifier: MIT */
/*
 * Allocations that fail, in L1's faults, loads and switches, in what the host does to slots and
 * memory, and where VMs and vCPUs are made.
 */
#include "unit/api/allocation.h"

/* ---- faults and what the guest's own writes ask for ---- */

static bool run_fault(struct scene *s)
{
	return reached(s, NEW, s->world->setup.mode == RHZ_PAGING_NONE ||
	                       s->world->setup.kind != RHZ_SHADOW ? NEW : DATA);
}

static bool run_pieces(struct scene *s)
{
	/* the large page has guest tables in it */
	return reached(s, BIG + 0x12000, 0x12000);
}

static bool run_large(struct scene *s)
{
	return reached(s, s->world->setup.kind == RHZ_SHADOW ? BIG + 0x400000 : 0x612000,
	               s->world->setup.kind == RHZ_SHADOW ? 0x400000 : 0x612000);
}

static bool run_mmio(struct scene *s)
{
	return ends(s, s->world->setup.kind == RHZ_SHADOW ? MMIO : HOLE, WRITE, WAS_MMIO, HOLE);
}

/* Frames at two addresses each: the lists of their mappings take pages too. */
static uint64_t alias(unsigned i)
{
	return 0x500000 + i % (ALIASES / 2) * 0x1000;
}

static void prepare_aliases(struct scene *s)
{
	for (unsigned i = 0; i < ALIASES; i++)
		map(s->world, s->root, ALIAS + i * 0x1000ull, alias(i), PWU);
}

static bool run_aliases(struct scene *s)
{
	for (unsigned i = 0; i < ALIASES; i++)
		if (!reached(s, ALIAS + i * 0x1000ull, alias(i)))
			return false;
	return true;
}

/* A store to a leaf table that is shadowed: it goes out of sync, and is read again. */
static void prepare_store(struct scene *s)
{
	reaches(s->world, NEW, WRITE, DATA);
	reaches(s->world, WINDOW + TABLES, READ, TABLES);
}

static bool run_unsync(struct scene *s)
{
	uint64_t at = entry_at(s->world, s->root, NEW, 1);
	struct seen seen = store(s->world, 0, WINDOW + at, entry_bytes(s->world),
	                         DATA2 | PWU | A | D);

	if (seen.how == WAS_NO_MEMORY)
		return false;
	invlpg(s->world, 0, NEW);
	return reached(s, NEW, DATA2);
}

/* ... to an upper one, emulated: it leads to another table. */
static bool run_emulated(struct scene *s)
{
	uint64_t at = entry_at(s->world, s->root, NEW, 2);
	uint64_t value = entry_get(s->world, s->root, OTHER + NEW, 2);
	struct seen seen = store(s->world, 0, WINDOW + at, entry_bytes(s->world), value);

	if (seen.how == WAS_NO_MEMORY)
		return false;
	/* after a failure the table may be shadowed no more */
	assert_true(seen.how == WAS_TRACKED || !s->world->fail_at);
	invlpg(s->world, 0, NEW);
	return reached(s, NEW, DATA2);
}

static void prepare_emulated(struct scene *s)
{
	map(s->world, s->root, OTHER + NEW, DATA2, PWU | A | D);
	map(s->world, s->root, OTHER + KEPT, DATA2, PWU | A | D);
	reaches(s->world, NEW, WRITE, DATA);
}

/* ---- loads ---- */

static bool run_load(struct scene *s)
{
	if (!loaded(s, rhz_vcpu_load_cr3(leave(s), s->other)))
		return false;
	return reached(s, NEW, DATA2);
}

static void prepare_mode(struct scene *s)
{
	s->regs = *rhz_vcpu_regs(s->world->vcpu[0]);
	s->regs.cr4 ^= RHZ_CR4_SMEP;
}

static void prepare_off(struct scene *s)
{
	s->regs = regs_of(s->world->setup.mode, s->root);
	s->regs.cr0 &= ~RHZ_CR0_PG;
	s->regs.efer &= ~RHZ_EFER_LMA;
}

static void prepare_on(struct scene *s)
{
	prepare_off(s);
	regs_ok(s->world, 0, &s->regs);
	s->regs = regs_of(s->world->setup.mode, s->root);
}

static bool run_regs(struct scene *s)
{
	if (!loaded(s, rhz_vcpu_load_regs(leave(s), &s->regs)))
		return false;
	return reached(s, NEW, s->regs.cr0 & RHZ_CR0_PG ? DATA : NEW);
}

static void prepare_space(struct scene *s)
{
	struct rhz_slot slot = { .bytes = RAM, .ram = s->world->ram_id, .address_space = 1 };

	assert_status(rhz_slot_add(s->world->vm, &slot, &s->slot), RHZ_OK);
}

static bool run_space(struct scene *s)
{
	if (!loaded(s, rhz_vcpu_set_address_space(leave(s), 1)))
		return false;
	return run_fault(s);
}

/* The root has gone: an entry builds it anew. */
static void prepare_rootless(struct scene *s)
{
	s->world->at[0].running = false;
	assert_status(rhz_ram_invalidate(s->world->vm, s->world->ram_id, 0, RAM), RHZ_OK);
	s->world->at[0].running = false;
	assert_status(rhz_slot_delete(s->world->vm, s->world->slot), RHZ_OK);
	assert_status(rhz_slot_add(s->world->vm, &(struct rhz_slot){ .bytes = RAM,
	                           .ram = s->world->ram_id }, &s->world->slot), RHZ_OK);
}

static bool run_prepare(struct scene *s)
{
	if (!s->done && !loaded(s, rhz_vcpu_prepare(leave(s))))
		return false;
	s->done = true;
	return run_fault(s);
}

/* ---- contexts ---- */

static void prepare_l2(struct scene *s)
{
	s->regs = regs_of(s->world->setup.mode, s->other);
}

static bool run_switch(struct scene *s)
{
	if (!loaded(s, rhz_vcpu_switch_context(leave(s), RHZ_CONTEXT_L2, &s->regs, 1,
	                                       RHZ_GUEST_FLUSH_ASID)))
		return false;
	return reached(s, NEW, s->world->setup.kind == RHZ_SHADOW ? DATA2 : NEW);
}

static void prepare_exit(struct scene *s)
{
	prepare_l2(s);
	assert_true(run_switch(s));
	s->world->at[0].running = false;
	rhz_vm_shrink(s->world->vm, 0);
}

static bool run_exit(struct scene *s)
{
	if (!loaded(s, rhz_vcpu_switch_context(leave(s), RHZ_CONTEXT_L1, NULL, 0,
	                                       RHZ_GUEST_KEEP)))
		return false;
	return run_fault(s);
}

/* ---- slots and the host ---- */

static bool run_slot_add(struct scene *s)
{
	struct rhz_slot slot = { .gpa = { SLOT2 }, .bytes = 0x100000, .offset = 0x500000,
	                         .ram = s->world->ram_id };

	assert_status(rhz_slot_add(s->world->vm, &slot, &s->slot), RHZ_OK);
	return true;
}

static void prepare_slot(struct scene *s)
{
	run_slot_add(s);
	map(s->world, s->root, ALIAS, SLOT2, PWU);
	assert_true(reached(s, s->world->setup.kind == RHZ_SHADOW ? ALIAS : SLOT2, 0x500000));
}

static bool run_slot_move(struct scene *s)
{
	s->world->at[0].running = false;
	assert_status(rhz_slot_move(s->world->vm, s->slot, (rhz_gpa){ 2 * SLOT2 }), RHZ_OK);
	return true;
}

static bool run_slot_delete(struct scene *s)
{
	s->world->at[0].running = false;
	assert_status(rhz_slot_delete(s->world->vm, s->slot), RHZ_OK);
	return true;
}

static bool run_log(struct scene *s)
{
	uint64_t found, bits[4];

	assert_status(rhz_slot_set_flags(s->world->vm, s->slot, RHZ_SLOT_DIRTY_LOG, s->dirty),
	              RHZ_OK);
	rhz_vm_wrote(s->world->vm, 0, (rhz_gpa){ SLOT2 }, 8);
	assert_status(rhz_slot_harvest(s->world->vm, s->slot, 0, 256, bits, &found), RHZ_OK);
	assert_int_equal(found, 1);
	assert_status(rhz_slot_set_flags(s->world->vm, s->slot, 0, NULL), RHZ_OK);
	assert_status(rhz_slot_collapse(s->world->vm, s->slot), RHZ_OK);
	return true;
}

/* After the log is on, a store finds its page write-protected. */
static void prepare_logged(struct scene *s)
{
	prepare_slot(s);
	assert_status(rhz_slot_set_flags(s->world->vm, s->slot, RHZ_SLOT_DIRTY_LOG, s->dirty),
	              RHZ_OK);
}

static bool run_logged(struct scene *s)
{
	uint64_t base = s->world->setup.kind == RHZ_SHADOW ? ALIAS : SLOT2;

	if (!reached(s, base, 0x500000))
		return false;
	assert_true(s->dirty[0] & 1);
	return s->world->setup.kind == RHZ_SHADOW || reached(s, base + 0x3000, 0x503000);
}

static bool run_host(struct scene *s)
{
	uint64_t young;

	s->world->at[0].running = false;
	assert_status(rhz_ram_age(s->world->vm, s->world->ram_id, 0, RAM, &young), RHZ_OK);
	assert_status(rhz_ram_invalidate(s->world->vm, s->world->ram_id, 0x1000, 0x5000), RHZ_OK);
	rhz_vm_unshadow(s->world->vm, 0, (rhz_gpa){ s->other });
	assert_true(rhz_vm_shrink(s->world->vm, 4) >= 1);
	return true;
}

/* What the guest invalidates, with a table out of sync. */
static void prepare_invalidate(struct scene *s)
{
	reaches(s->world, NEW, WRITE, DATA);
	entry_store(s->world, 0, s->root, NEW, 1, DATA2 | PWU | A | D);
}

static bool run_invalidate(struct scene *s)
{
	struct rhz_vcpu *vcpu = s->world->vcpu[0];
	enum rhz_flush flush;
	struct rhz_walk walk;
	uint32_t tag;

	s->world->at[0].running = false;
	rhz_vcpu_invlpg(vcpu, (rhz_gva){ NEW });
	assert_int_equal(rhz_vcpu_invpcid(vcpu, RHZ_INVPCID_ALL_GLOBAL, 0, (rhz_gva){ 0 }, &flush),
	                 RHZ_LOAD_OK);
	rhz_vcpu_invlpga(vcpu, &s->world->cpu[0].cpu, (rhz_gva){ NEW }, 1, &tag);
	rhz_vcpu_flush_asid(vcpu, 1);
	rhz_vcpu_flush_l2(vcpu);
	rhz_vcpu_flush_table(vcpu, s->nested);
	rhz_vcpu_flush_guest(vcpu);
	assert_int_equal(rhz_vcpu_translate(vcpu, (rhz_gva){ NEW }, WRITE, &walk), RHZ_WALK_OK);
	assert_int_equal(walk.gpa.v, DATA2);
	return true;
}

/* ---- creation ---- */

static bool run_vcpu(struct scene *s)
{
	world_vcpu_add(s->world, 1);
	world_vcpu_remove(s->world, 1);
	return true;
}

static bool run_first_entry(struct scene *s)
{
	if (!s->world->vcpu[1])
		world_vcpu_add(s->world, 1);
	if (!enter(s->world, 1))
		return false;
	return touch(s->world, 1, NEW, WRITE).how != WAS_NO_MEMORY;
}

static bool run_vm(struct scene *s)
{
	size_t size = rhz_vm_size(&s->world->config), ram = rhz_ram_size(0x100000);
	void *memory = aligned_alloc(16, (size + 15) & ~15ul), *frames = malloc(ram);
	struct rhz_vm *vm;
	unsigned id;

	assert_status(rhz_vm_create(memory, size, &s->world->config, &vm), RHZ_OK);
	assert_status(rhz_vm_add_ram(vm, frames, ram, (rhz_hpa){ RAM2_HPA }, s->world->ram,
	                             0x100000, &id), RHZ_OK);
	rhz_vm_destroy(vm);
	free(memory);
	free(frames);
	return true;
}

static const struct operation operations[] = {
	{ "page fault", PAGED, 1, NULL, run_fault },
	{ "fault on a page in pieces", PAGED, 2, NULL, run_pieces },
	{ "fault on a large page", PAGED | DIRECT, 1, NULL, run_large },
	{ "fault of a device", PAGED, 1, NULL, run_mmio },
	{ "nested fault of a device", DIRECT, 0, NULL, run_mmio },
	{ "frames at two addresses", PAGED, 2, prepare_aliases, run_aliases },
	{ "store to a leaf table", PAGED, 0, prepare_store, run_unsync },
	{ "emulated store to an upper table", IN_32 | IN_4 | IN_5, 1, prepare_emulated,
	  run_emulated },
	{ "CR3 load", PAGED, 1, NULL, run_load },
	{ "SMEP turned on", PAGED, 1, prepare_mode, run_regs },
	{ "paging turned off", PAGED, 1, prepare_off, run_regs },
	{ "paging turned on", PAGED, 1, prepare_on, run_regs },
	{ "address space", PAGED | DIRECT, 1, prepare_space, run_space },
	{ "prepare", PAGED | DIRECT, 1, prepare_rootless, run_prepare },
	{ "first entry", SHADOWED | DIRECT, 1, NULL, run_first_entry },
	{ "switch to L2", PAGED | DIRECT, 1, prepare_l2, run_switch },
	{ "switch to L1", PAGED | DIRECT, 1, prepare_exit, run_exit },
	{ "nested page fault", DIRECT, 1, NULL, run_fault },
	{ "fault after log on", PAGED | DIRECT, 0, prepare_logged, run_logged },
	{ "slot added", PAGED | DIRECT, 0, NULL, run_slot_add },
	{ "slot moved", PAGED | DIRECT, 0, prepare_slot, run_slot_move },
	{ "slot deleted", PAGED | DIRECT, 0, prepare_slot, run_slot_delete },
	{ "dirty log on, harvested, off", PAGED | DIRECT, 0, prepare_slot, run_log },
	{ "age, invalidate, unshadow, shrink", PAGED | DIRECT | NESTED, 0, NULL, run_host },
	{ "invalidations by the guest", PAGED, 0, prepare_invalidate, run_invalidate },
	{ "vCPU made and ended", PAGED | DIRECT, 0, NULL, run_vcpu },
	{ "VM made and ended", PAGED | DIRECT | NESTED, 0, NULL, run_vm },
};

static void test_each_operation(void **state)
{
	(void)state;
	try_each(operations, sizeof(operations) / sizeof(*operations));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_each_operation, tell_trial),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
