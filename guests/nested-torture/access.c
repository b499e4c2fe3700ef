/* SPDX-License-Identifier: MIT */
/* Loads and stores of L2 through random tables, its own and L1's. */
#include "nested-torture/l2.h"
#include "nested-torture/steps.h"
#include "nested-torture/world.h"
#include "torture/random.h"

enum { EDITS = 6 };
#define ARITHMETIC_FLAGS 0x8d5u

/* Operations on (rdi), by size 1, 2, 4, 8; rax is the other operand. */
struct operation {
	const char *name;
	bool writes, reads, adds;
	uint8_t bytes[4][5];
	uint8_t count[4];
};
static const struct operation operations[] = {
	{ "load", false, true, false,
	  { { 0x8a, 0x07 }, { 0x66, 0x8b, 0x07 }, { 0x8b, 0x07 }, { 0x48, 0x8b, 0x07 } },
	  { 2, 3, 2, 3 } },
	{ "store", true, false, false,
	  { { 0x88, 0x07 }, { 0x66, 0x89, 0x07 }, { 0x89, 0x07 }, { 0x48, 0x89, 0x07 } },
	  { 2, 3, 2, 3 } },
	{ "exchange", true, true, false,
	  { { 0x86, 0x07 }, { 0x66, 0x87, 0x07 }, { 0x87, 0x07 }, { 0x48, 0x87, 0x07 } },
	  { 2, 3, 2, 3 } },
	{ "locked add", true, true, true,
	  { { 0xf0, 0x0f, 0xc0, 0x07 }, { 0xf0, 0x66, 0x0f, 0xc1, 0x07 },
	    { 0xf0, 0x0f, 0xc1, 0x07 }, { 0xf0, 0x48, 0x0f, 0xc1, 0x07 } },
	  { 4, 5, 4, 5 } },
};
enum { OPERATIONS = sizeof(operations) / sizeof(operations[0]) };

/*
 * What a fault makes of the exit. QEMU 7.2 leaves P out where reserved bits are set; who walks the
 * tables itself does not.
 */
static void expect_fault(struct expected *expected, const struct walk *walk, uint64_t gva)
{
	const bool nested = walk->end == WALK_NESTED_FAULT;
	const bool exact = nested ? processor.exact_nested : processor.exact && !l2_paging.nested;
	const uint64_t mask = walk->error & F_RSV && !exact ? ~F_P : ~0ull;

	expected->code = nested ? EXITS_NPF : EXITS_EXCEPTION + 14;
	expected->info1 = walk->error;
	expected->info1_mask = mask;
	expected->info1_private = walk->error & F_RSV ? F_P : 0;
	expected->info2 = nested ? walk->address : gva;
	expected->info2_mask = ~0ull;
	expected->rip = l2.rip;
	expected->code_is_told = gva != l2.rip;
	walk_failed();
}

/*
 * The access of an operation. QEMU 7.2 with one processor loads, then stores, where the manual has
 * one access that writes: where the load faults W is not looked at, and a store that would fault
 * elsewhere is open.
 */
static void walk_operation(const struct operation *op, uint64_t gva, struct walk *walk,
                           bool *w_open)
{
	struct walk load = { .end = WALK_OK };

	if (op->reads && op->writes)
		walk_linear(&l2_paging, gva, 0, &load);
	walk_linear(&l2_paging, gva, op->writes ? F_W : 0, walk);
	*w_open = load.end != WALK_OK;
	if (load.end != WALK_OK && (load.end != walk->end || load.address != walk->address ||
	                            (load.error ^ walk->error) & ~F_W))
		walk->end = WALK_OPEN;
}

static uint64_t random_address(unsigned bytes)
{
	uint64_t page = ARENA + (uint64_t)below(ARENA_BYTES / PAGE) * PAGE;

	if (l2_paging.paged || l2_paging.nested)
		page = world_random_page();
	if (!l2_paging.paged)
		page = (uint32_t)page;
	return page + below(PAGE / bytes) * bytes;
}

/* What the registers and memory become. */
static void apply(const struct operation *op, unsigned bytes, uint64_t pa,
                  struct expected *expected)
{
	const uint64_t mask = ~0ull >> (64 - 8 * bytes), rax = l2_reg[RAX];
	uint64_t old = 0, stored = op->adds ? 0 : rax;

	for (unsigned i = 0; i < bytes; i++)
		old |= (uint64_t)((const uint8_t *)word_at(pa))[i] << 8 * i;
	if (op->adds) {
		stored = old + rax;
		expected->rflags_open = ARITHMETIC_FLAGS;
	}
	if (op->reads)
		expected->reg[RAX] = bytes == 4 ? old : (rax & ~mask) | old;
	if (op->writes)
		world_expect(pa, &stored, bytes);
}

static void edit_some(void)
{
	for (unsigned i = below(EDITS); i > 0; i--)
		world_edit(percent(60));
}

void step_access(void)
{
	const struct operation *op = &operations[below(OPERATIONS)];
	struct expected expected;
	struct walk walk;
	unsigned size, bytes;
	uint64_t gva;
	bool w_open;

	edit_some();
	l2_build();
	size = below(l2_long ? 4 : 3);
	bytes = 1u << size;
	gva = random_address(bytes);
	l2_reg[RDI] = gva;
	l2_code(op->bytes[size], op->count[size]);
	expected = l2_expect(op->name, op->count[size]);
	walk_forget();
	walk_linear(&l2_paging, l2.rip, F_I, &walk);
	if (walk.end != WALK_OK) {
		expect_fault(&expected, &walk, l2.rip);
	} else {
		walk_operation(op, gva, &walk, &w_open);
		if (walk.end == WALK_OPEN || (walk.end == WALK_OK && !in_arena(walk.pa, bytes))) {
			report.open++;
			return;
		}
		if (walk.end == WALK_OK)
			apply(op, bytes, walk.pa, &expected);
		else
			expect_fault(&expected, &walk, gva);
		expected.info1_mask &= w_open ? ~F_W : ~0ull;
	}
	l2_run(&expected);
}
