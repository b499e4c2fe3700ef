/* SPDX-License-Identifier: MIT */
/* What the threads do: vCPUs run a guest that edits its tables, the host does what hosts do. */
#include "world.h"

#include <sched.h>
#include <string.h>
#include <unistd.h>

/* ---- vCPUs ---- */

/* A cell that is mapped under the current root; own: one that this vCPU changes. */
static unsigned cell_pick(const struct cpu *cpu, bool own)
{
	for (;;) {
		unsigned n = pick(world.cells);
		const struct cell *cell = &world.cell[n];

		if (own ? cell->owner == cpu->number : cell->root < 0 || cell->root == cpu->root)
			return n;
	}
}

static void cell_use(struct cpu *cpu, unsigned n)
{
	struct access access = { .gva = world.cell[n].gva + 8 * pick(512), .value = random_next(),
		                 .write = pick(2), .user = pick(2) };

	if (cpu_access(cpu, &access) == NO_RAM)
		broken("there is RAM at %#llx", (unsigned long long)access.gva);
	cell_judge(cpu, n, access.frame, access.write);
}

/* The guest's own store to one of its tables: free, or emulated. */
static void cell_change(struct cpu *cpu, unsigned n)
{
	struct cell *cell = &world.cell[n];
	unsigned kind = pick(KINDS + 2) % KINDS;
	struct access access = { .gva = WINDOW + cell->entry, .write = true,
		                 .value = cell->value[kind] };

	if (access.value & P)
		access.value |= (pick(2) ? A : 0) | (pick(4) ? 0 : D);
	cell_start(cell, kind);
	if (cpu_access(cpu, &access) != REACHED)
		broken("the window is mapped");
	if (access.frame != (int)(cell->entry / RHZ_PAGE_SIZE))
		broken("a store to the window went to frame %d", access.frame);
	cell_finish(cell);
}

static void cell_change_and_use(struct cpu *cpu, unsigned n)
{
	const struct cell *cell = &world.cell[n];
	int root = cell->root < 0 ? cpu->root : cell->root;

	cell_change(cpu, n);
	if (root != cpu->root || pick(2)) {
		cpu_load(cpu, root);
	} else {
		cpu_leave(cpu);
		cell_flush(cpu, n);
		cpu_invlpg(cpu, cell->gva);
	}
	cell_use(cpu, n);
}

static void spare_use(struct cpu *cpu)
{
	struct access access = { .gva = SPARE + pick(SPARE_PAGES) * RHZ_PAGE_SIZE,
		                 .write = pick(2), .user = pick(2) };

	if (cpu_access(cpu, &access) == REFLECTED)
		broken("the spare slot's addresses are mapped");
}

/* Long stays in the guest: the same few pages again and again, for the most part by the TLB. */
static void dwell(struct cpu *cpu)
{
	unsigned first = cell_pick(cpu, false), second = cell_pick(cpu, false), n = pick(2000);
	uint64_t page = SPARE + pick(SPARE_PAGES) * RHZ_PAGE_SIZE;
	bool spare = pick(2);

	while (n--) {
		struct access access = { .gva = page + 8 * pick(512), .write = n & 1 };

		cell_use(cpu, first);
		cell_use(cpu, second);
		if (spare && cpu_access(cpu, &access) == NO_RAM)
			break;
	}
}

static void table_read(struct cpu *cpu)
{
	struct access access = { .gva = WINDOW + world.cell[pick(world.cells)].entry };

	if (cpu_access(cpu, &access) != REACHED)
		broken("the window is mapped");
}

/* A switch of CR4.PGE there and back flushes all, and so does what INVVPID would ask for. */
static void flush_otherwise(struct cpu *cpu)
{
	struct rhz_regs regs = *rhz_vcpu_regs(cpu->vcpu);

	cpu_leave(cpu);
	cells_flush(cpu);
	if (pick(2)) {
		rhz_vcpu_flush_guest(cpu->vcpu);
		return;
	}
	regs.cr4 ^= RHZ_CR4_PGE;
	while (rhz_vcpu_load_regs(cpu->vcpu, &regs) == RHZ_LOAD_NO_MEMORY)
		;
}

static void translate(struct cpu *cpu)
{
	unsigned n = cell_pick(cpu, false);
	struct rhz_walk walk;

	cpu_leave(cpu);
	rhz_vcpu_translate(cpu->vcpu, (rhz_gva){ world.cell[n].gva }, 0, &walk);
}

static void cpu_step(struct cpu *cpu)
{
	unsigned what = pick(100), n;

	if (what < 40) {
		for (unsigned i = 1 + pick(8); i; i--)
			cell_use(cpu, cell_pick(cpu, false));
	} else if (what < 50) {
		cell_change(cpu, cell_pick(cpu, true));
	} else if (what < 65) {
		cell_change_and_use(cpu, cell_pick(cpu, true));
	} else if (what < 82) {
		cpu_load(cpu, pick(4) ? (int)pick(ROOTS) : cpu->root);
	} else if (what < 90) {
		n = cell_pick(cpu, false);
		cpu_leave(cpu);
		cell_flush(cpu, n);
		cpu_invlpg(cpu, world.cell[n].gva);
		cell_use(cpu, n);
	} else if (what < 92) {
		dwell(cpu);
	} else if (what < 95) {
		spare_use(cpu);
	} else if (what < 98) {
		table_read(cpu);
	} else if (what < 99) {
		flush_otherwise(cpu);
	} else {
		translate(cpu);
	}
}

static void park(void)
{
	__atomic_fetch_add(&world.parked, 1, __ATOMIC_SEQ_CST);
	while (LOAD_SEQ(&world.stop))
		sched_yield();
	__atomic_fetch_sub(&world.parked, 1, __ATOMIC_SEQ_CST);
}

void *cpu_work(void *argument)
{
	struct rhz_regs regs = { .cr0 = RHZ_CR0_PE | RHZ_CR0_WP | RHZ_CR0_PG,
		                 .cr3 = world.pml4[0], .cr4 = RHZ_CR4_PAE,
		                 .efer = RHZ_EFER_LME | RHZ_EFER_LMA | RHZ_EFER_NXE };
	struct cpu *cpu = argument;

	self = &cpu->thread;
	while (rhz_vcpu_load_regs(cpu->vcpu, &regs) == RHZ_LOAD_NO_MEMORY)
		;
	cpu_load(cpu, 0);
	while (!LOAD(&world.end)) {
		cpu_step(cpu);
		STORE(&self->progress, self->progress + 1);
		if (LOAD_SEQ(&world.stop)) {
			cpu_leave(cpu);
			park();
		}
	}
	cpu_leave(cpu);
	return NULL;
}

/* ---- the host ---- */

static void succeeds(enum rhz_status status, const char *what)
{
	if (status != RHZ_OK)
		broken("%s: %s", what, rhz_status_name(status));
}

/* With the lock kept, so that no fault comes in between: for a moment the host has the frames. */
static void take(void)
{
	unsigned first = pick(4) ? WINDOW_PAGES + pick(world.next_data - WINDOW_PAGES) :
	                           pick(WINDOW_PAGES);
	unsigned count = 1 + pick(8);

	self->keep = true;
	succeeds(rhz_ram_invalidate(world.vm, world.ram_id, first * (uint64_t)RHZ_PAGE_SIZE,
	                            count * (uint64_t)RHZ_PAGE_SIZE), "rhz_ram_invalidate");
	for (unsigned i = first; i < first + count; i++) {
		STORE_SEQ(&world.taken[i], world.taken[i] + 1);
		STORE_SEQ(&world.gone[i], true);
	}
	if (pick(2))
		usleep(pick(100));
	for (unsigned i = first; i < first + count; i++)
		STORE_SEQ(&world.gone[i], false);
	lock_release();
}

static void spare_toggle(void)
{
	struct rhz_slot slot = { .gpa = { SPARE_GPA }, .ram = world.spare_id,
		                 .bytes = SPARE_PAGES * (uint64_t)RHZ_PAGE_SIZE };

	if (!world.spare_there) {
		for (unsigned i = RAM_PAGES; i < FRAMES; i++)
			STORE_SEQ(&world.gone[i], false);
		succeeds(rhz_slot_add(world.vm, &slot, &world.spare_slot), "rhz_slot_add");
	} else {
		succeeds(rhz_slot_delete(world.vm, world.spare_slot), "rhz_slot_delete");
		for (unsigned i = RAM_PAGES; i < FRAMES; i++) {
			STORE_SEQ(&world.taken[i], world.taken[i] + 1);
			STORE_SEQ(&world.gone[i], true);
		}
	}
	world.spare_there = !world.spare_there;
}

static uint64_t log_bits[RAM_PAGES / 64];
static bool logging;

/* From here on a store to these pages needs a fault. */
static void protected_now(unsigned first, unsigned pages)
{
	for (unsigned i = first; i < first + pages; i++)
		STORE_SEQ(&world.protected[i], world.protected[i] + 1);
}

static void log_toggle(void)
{
	self->keep = true;
	if (logging) {
		succeeds(rhz_slot_set_flags(world.vm, world.slot, 0, NULL), "log off");
	} else {
		memset(log_bits, 0, sizeof(log_bits));
		succeeds(rhz_slot_set_flags(world.vm, world.slot, RHZ_SLOT_DIRTY_LOG, log_bits),
		         "log on");
		protected_now(0, RAM_PAGES);
		for (unsigned i = 0; i < RAM_PAGES; i++)
			STORE(&world.stored[i], false);
	}
	logging = !logging;
	lock_release();
}

static void harvest(void)
{
	unsigned first = pick(3) ? 0 : pick(RAM_PAGES / 64) * 64;
	unsigned pages = pick(3) ? RAM_PAGES - first : 1 + pick(RAM_PAGES - first);
	uint64_t out[RAM_PAGES / 64] = { 0 }, found;

	if (!logging)
		return;
	self->keep = true;
	succeeds(rhz_slot_harvest(world.vm, world.slot, first, pages, out, &found), "harvest");
	for (unsigned i = 0; i < pages; i++) {
		bool stored = __atomic_exchange_n(&world.stored[first + i], false,
		                                  __ATOMIC_SEQ_CST);

		if (stored && !(out[i / 64] >> (i % 64) & 1))
			broken("frame %u was stored to and is not in the log", first + i);
		if (stored)
			checked(CHECK_LOGGED);
	}
	protected_now(first, pages);
	if (!pick(4))
		usleep(pick(100));
	lock_release();
}

/* A device writes to the guest's data. */
static void device_write(void)
{
	unsigned frame = WINDOW_PAGES + pick(RAM_PAGES - WINDOW_PAGES);
	uint64_t gpa = frame * (uint64_t)RHZ_PAGE_SIZE + 8 * pick(512);

	__atomic_store_n(guest_at(gpa), random_next(), __ATOMIC_RELAXED);
	self->wrote = (int)frame;
	rhz_vm_wrote(world.vm, 0, (rhz_gpa){ gpa }, 8);
}

static void stop_and_audit(void)
{
	struct rhz_audit found;

	STORE_SEQ(&world.stop, true);
	while (LOAD_SEQ(&world.parked) != VCPUS) {
		if (LOAD(&world.end))
			break;
		sched_yield();
	}
	world.stops++;
	if (LOAD_SEQ(&world.parked) == VCPUS) {
		if (rhz_vm_audit(world.vm, &found))
			broken("invariant %u: %s: table %#llx role %#llx index %u entry %#llx not "
			       "%#llx", found.invariant, found.what,
			       (unsigned long long)found.table.v, (unsigned long long)found.role,
			       found.index, (unsigned long long)found.entry,
			       (unsigned long long)found.expected);
		checked(CHECK_AUDIT);
	}
	STORE_SEQ(&world.stop, false);
	while (LOAD_SEQ(&world.parked) && !LOAD(&world.end))
		sched_yield();
}

static void host_step(void)
{
	unsigned what = pick(100);
	uint64_t young, bytes;

	if (what < 26)
		take();
	else if (what < 38)
		spare_toggle();
	else if (what < 42)
		log_toggle();
	else if (what < 60)
		harvest();
	else if (what < 66)
		rhz_vm_shrink(world.vm, pick(world.quota));
	else if (what < 74)
		succeeds(rhz_ram_age(world.vm, world.ram_id, 0, RAM_PAGES * (uint64_t)RHZ_PAGE_SIZE,
		                     &young), "rhz_ram_age");
	else if (what < 80)
		rhz_vm_unshadow(world.vm, 0, (rhz_gpa){ world.pml4[pick(ROOTS)] });
	else if (what < 90)
		device_write();
	else if (what < 92)
		rhz_vm_at(world.vm, 0, (rhz_gpa){ SPARE_GPA }, &bytes);
	else if (what < 93)
		succeeds(rhz_slot_collapse(world.vm, world.slot), "rhz_slot_collapse");
	else if (what < 96)
		stop_and_audit();
	else
		usleep(pick(2000));
}

void *host_work(void *unused)
{
	(void)unused;
	self = &world.host_thread;
	while (!LOAD(&world.end)) {
		host_step();
		STORE(&self->progress, self->progress + 1);
	}
	STORE_SEQ(&world.stop, false);
	return NULL;
}
