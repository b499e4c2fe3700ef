/* SPDX-License-Identifier: MIT */
/*
 * The guest's memory and tables, and what each vCPU may see of them.
 *
 * What changes in the tables is a number of cells: an entry of level 1 or 2 that one vCPU stores to
 * and that all use. Its versions are counted. A vCPU that flushes notes how many were complete by
 * then; until it flushes again it may see that one and any later one, never an older one [SDM3
 * 4.10.4.2]. That is all that the architecture lets a guest hope for, and all that it needs.
 */
#include "world.h"

#define PWU (P | W | U)

uint64_t *guest_at(uint64_t gpa)
{
	return (uint64_t *)(void *)(world.ram + gpa);
}

/* ---- versions ---- */

void cell_start(struct cell *cell, unsigned kind)
{
	uint64_t version = cell->done + 1;

	__atomic_store_n(&cell->history[version % HISTORY], (uint8_t)kind, __ATOMIC_RELAXED);
	STORE_SEQ(&cell->started, version);
}

void cell_finish(struct cell *cell)
{
	STORE_SEQ(&cell->done, cell->started);
}

void cell_flush(struct cpu *cpu, unsigned cell)
{
	cpu->since[cell] = LOAD_SEQ(&world.cell[cell].done);
}

void cells_flush(struct cpu *cpu)
{
	for (unsigned i = 0; i < world.cells; i++)
		cell_flush(cpu, i);
}

static bool kind_leads(const struct cell *cell, unsigned kind, int frame, bool write)
{
	bool allowed = cell->frame[kind] != NO_FRAME && (!write || cell->writable[kind]);

	return frame == NO_FRAME ? !allowed : allowed && cell->frame[kind] == frame;
}

void cell_judge(const struct cpu *cpu, unsigned number, int frame, bool write)
{
	const struct cell *cell = &world.cell[number];
	uint64_t since = cpu->since[number], last = LOAD_SEQ(&cell->started);
	bool led = false;

	for (uint64_t n = since; n <= last && !led; n++)
		led = kind_leads(cell, __atomic_load_n(&cell->history[n % HISTORY],
		                                       __ATOMIC_RELAXED), frame, write);
	/* the history may have been written over meanwhile */
	if (!led && LOAD_SEQ(&cell->started) < since + HISTORY - 1)
		broken("vCPU %u, root %d: %s at %#llx went to frame %d: no version %llu to %llu of "
		       "its entry says so", cpu->number, cpu->root, write ? "a store" : "a read",
		       (unsigned long long)cell->gva, frame, (unsigned long long)since,
		       (unsigned long long)last);
	checked(frame == NO_FRAME ? CHECK_REFLECTED : CHECK_REACHED);
}

/* ---- tables ---- */

static uint64_t table_new(void)
{
	return (uint64_t)world.next_table++ * RHZ_PAGE_SIZE;
}

static int data_new(void)
{
	return (int)world.next_data++;
}

static void put(uint64_t table, unsigned index, uint64_t value)
{
	guest_at(table)[index] = value;
}

static struct cell *cell_new(uint64_t gva, uint64_t table, unsigned index, int root, unsigned owner)
{
	struct cell *cell = &world.cell[world.cells++];

	if (world.cells > CELLS)
		broken("too many cells");
	*cell = (struct cell){ .gva = gva, .entry = table + 8 * index, .root = root,
		               .owner = owner };
	return cell;
}

static void kind_set(struct cell *cell, unsigned kind, uint64_t value, int frame)
{
	cell->value[kind] = value;
	cell->frame[kind] = value & P ? frame : NO_FRAME;
	cell->writable[kind] = value & W;
}

/* An entry of level 1: two pages, one that is read-only, nothing. */
static void leaf_cell(uint64_t gva, uint64_t table, int root, unsigned owner)
{
	unsigned index = gva / RHZ_PAGE_SIZE % 512;
	struct cell *cell = cell_new(gva, table, index, root, owner);

	for (unsigned kind = 0; kind < 3; kind++) {
		int frame = data_new();

		kind_set(cell, kind, (uint64_t)frame * RHZ_PAGE_SIZE | P | U | (kind < 2 ? W : 0),
		         frame);
	}
	kind_set(cell, 3, 0, NO_FRAME);
	put(table, index, cell->value[0]);
}

/* An entry of level 2: two leaf tables, one of them with lesser rights too, nothing. */
static void link_cell(uint64_t gva, uint64_t table, int root, unsigned owner)
{
	unsigned index = gva >> 21 & 511, at = gva / RHZ_PAGE_SIZE % 512;
	struct cell *cell = cell_new(gva, table, index, root, owner);
	uint64_t x = table_new(), y = table_new();
	int x_frame = data_new(), y_frame = data_new();

	put(x, at, (uint64_t)x_frame * RHZ_PAGE_SIZE | PWU);
	put(y, at, (uint64_t)y_frame * RHZ_PAGE_SIZE | PWU);
	kind_set(cell, 0, x | PWU, x_frame);
	kind_set(cell, 1, y | PWU, y_frame);
	kind_set(cell, 2, x | P | U, x_frame);
	kind_set(cell, 3, 0, NO_FRAME);
	put(table, index, cell->value[0]);
}

static uint64_t shared_make(void)
{
	uint64_t l2 = table_new(), l1 = table_new(), spare = table_new();

	put(l2, 0, l1 | PWU);
	put(l2, (SPARE - SHARED) >> 21, spare | PWU);
	for (unsigned i = 0; i < SPARE_PAGES; i++)
		put(spare, i, (SPARE_GPA + i * RHZ_PAGE_SIZE) | PWU);
	for (unsigned owner = 0; owner < VCPUS; owner++) {
		for (unsigned n = 0; n < 3; n++)
			leaf_cell(SHARED + (owner * 3 + n) * RHZ_PAGE_SIZE, l1, -1, owner);
		link_cell(SHARED + ((uint64_t)owner + 1) * 0x200000 + 0x7000, l2, -1, owner);
	}
	return l2;
}

/* All tables, writable for the supervisor, as kernels have them. */
static uint64_t window_make(void)
{
	uint64_t l3 = table_new(), l2 = table_new(), l1 = table_new();

	put(l3, 0, l2 | PWU);
	put(l2, 0, l1 | PWU);
	for (unsigned i = 0; i < WINDOW_PAGES; i++)
		put(l1, i, i * (uint64_t)RHZ_PAGE_SIZE | P | W);
	return l3;
}

static void root_make(int root, uint64_t shared, uint64_t window)
{
	uint64_t l4 = table_new(), l3 = table_new(), l2 = table_new(), l1 = table_new();

	world.pml4[root] = l4;
	put(l4, 0, l3 | PWU);
	put(l4, WINDOW >> 39, window | PWU);
	put(l3, 0, l2 | PWU);
	put(l3, SHARED >> 30, shared | PWU);
	put(l2, PRIVATE >> 21, l1 | PWU);
	for (unsigned n = 0; n < 6; n++)
		leaf_cell(PRIVATE + n * RHZ_PAGE_SIZE, l1, root, n % VCPUS);
	link_cell(LINKED + 0x5000, l2, root, (unsigned)root % VCPUS);
}

void guest_make(void)
{
	uint64_t shared, window;

	world.next_table = 16;
	world.next_data = WINDOW_PAGES;
	shared = shared_make();
	window = window_make();
	for (int root = 0; root < ROOTS; root++)
		root_make(root, shared, window);
	if (world.next_table > WINDOW_PAGES || world.next_data > RAM_PAGES)
		broken("the guest does not fit in its memory");
}
