/* SPDX-License-Identifier: MIT */
/*
 * A Multiboot guest that writes to its page tables in every way there is: plain stores, strings,
 * stores that no kernel makes there, its stack, descriptors and code inside a table. What it checks
 * holds on the bare machine too. It leaves by isa-debug-exit with the number of failed checks.
 */
#include "store/store.h"

#include "mark/machine.h"
#include "store/events.h"

#define CR4_OSFXSR (3ull << 9) /* and OSXMMEXCPT */

struct info { uint32_t flags, mem_lower, mem_upper; };

void mark_main(uint32_t magic, const struct info *info);

extern const char image_end[];

uint64_t *directory, leaf_entry[2];
struct space space;

static unsigned passed, failed;

void check(bool ok, const char *what)
{
	if (ok)
		passed++;
	else
		failed++;
	if (!ok) {
		say("NOT OK ");
		say(what);
		say("\n");
	}
}

uint64_t slot_reads(void)
{
	const uint64_t gva = WINDOW + ((uint64_t)SLOT << 21);

	invlpg(gva);
	return *(volatile uint64_t *)gva;
}

static uint64_t make_leaf(uint64_t value)
{
	uint64_t *table = (uint64_t *)pages_alloc(1, 1);
	uint64_t *frame = (uint64_t *)pages_alloc(1, 1);

	for (unsigned i = 0; i < TABLE_ENTRIES; i++)
		table[i] = 0;
	*frame = value;
	table[0] = (uint64_t)frame | PTE_USED;
	return (uint64_t)table | PTE_USED;
}

static void make_space(void)
{
	const uint64_t address = 0x000ffffffffff000ull;
	uint64_t *upper;

	space = space_make(4, pages_alloc(4, 2), PTE_USED);
	upper = (uint64_t *)(((uint64_t *)space.root)[WINDOW >> 39] & address);
	directory = (uint64_t *)(upper[0] & address);
	leaf_entry[0] = make_leaf(1);
	leaf_entry[1] = make_leaf(2);
	directory[SLOT] = leaf_entry[0];
	write_cr3(space.root);
}

void mark_main(uint32_t magic, const struct info *info)
{
	machine_init();
	if (magic != 0x2badb002)
		fail("no Multiboot loader", "");
	memory_init(((uint64_t)image_end + (4 << 20)) & ~((2ull << 20) - 1),
	            (1ull << 20) + (uint64_t)info->mem_upper * 1024);
	write_cr4(read_cr4() | CR4_OSFXSR);
	events_init();
	make_space();
	check(slot_reads() == 1, "the directory is used");
	check_stores();
	check_odd_stores();
	check_floods();
	check_strings();
	check_system_stores();
	check_stack();
	check_deliveries();
	check_traps();
	check_storm();
	say_number(passed);
	say(" passed, ");
	say_number(failed);
	say(" failed\n");
	leave((uint8_t)failed);
}
