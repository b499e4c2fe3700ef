/* SPDX-License-Identifier: MIT */
/*
 * Guests of the guest: L1 is the mark guest, L2 its own (svm.h). Without nested paging L2's tables
 * are spaces as the other rows have them; with it L2's tables stay, and its physical addresses from
 * WINDOW on go through nested tables, which are spaces of the same form: the entries that rows are
 * about are L2's own in one case, the nested ones in the other.
 */
#include "mark/machine.h"
#include "mark/rows.h"
#include "mark/space.h"
#include "mark/svm.h"

enum { OPS = 512, TOUCHED = 16, FRESH = 512, KERNEL_TABLES = 4 };
#define PTE_LARGE (1ull << 7)

static bool nested_paging;
static uint64_t frames;    /* FRESH of them, warm */
static uint64_t kernel[2]; /* of L2's tables, and of nested ones */
static uint64_t l2_cr3;    /* under nested paging: L2's tables, whose window is at WINDOW again */
static struct space spaces[2][ROOTS_MAX]; /* without and with nested paging, made when wanted */

/*
 * An entry for a top table: the first 4 GiB as they are, by tables of their own. L2 must not share
 * L1's, and nested tables are walked as by a user [APM2 15.25.5].
 */
static uint64_t kernel_make(void)
{
	uint64_t *const upper = (uint64_t *)pages_warm(1 + KERNEL_TABLES);
	uint64_t *const middle = upper + TABLE_ENTRIES;

	for (unsigned i = 0; i < TABLE_ENTRIES; i++)
		upper[i] = 0;
	for (unsigned i = 0; i < KERNEL_TABLES; i++)
		upper[i] = (uint64_t)(middle + i * TABLE_ENTRIES) | PTE_USED;
	for (uint64_t i = 0; i < KERNEL_TABLES * TABLE_ENTRIES; i++)
		middle[i] = i * PAGES_2M * PAGE_BYTES | PTE_USED | PTE_LARGE;
	return (uint64_t)upper | PTE_USED;
}

/* A space, its first entry being the kernel's. */
static struct space make(unsigned pages, uint64_t at, uint64_t first)
{
	const struct space space = space_make(pages, at, PTE_USED);

	*(uint64_t *)space.root = first;
	return space;
}

const char *nested_begin(bool paging)
{
	const char *refused = svm_begin(paging);

	if (refused)
		return refused;
	nested_paging = paging;
	if (!frames) {
		frames = pages_warm(FRESH);
		kernel[0] = kernel_make();
		kernel[1] = kernel_make();
		l2_cr3 = make(FRESH, WINDOW, kernel[0]).root;
	}
	return 0;
}

static struct space *space_of(unsigned i)
{
	struct space *space = &spaces[nested_paging][i];

	if (!space->root)
		*space = make(TOUCHED, pages_warm(TOUCHED), kernel[nested_paging]);
	return space;
}

static void prepare(const char *code, struct space space)
{
	if (nested_paging)
		svm_prepare(code, l2_cr3, space.root);
	else
		svm_prepare(code, space.root, 0);
}

static void prepare_leave(unsigned roots)
{
	(void)roots;
	prepare(l2_leave, *space_of(0));
}

static void prepare_flush(unsigned roots)
{
	prepare_leave(roots);
	l2.tlb_control = TLB_FLUSH_ALL;
}

static unsigned vmrun(unsigned ops, unsigned roots)
{
	(void)roots;
	for (unsigned i = 0; i < ops; i++)
		svm_run(0, 0);
	svm_check();
	return ops;
}

static unsigned vmrun_full(unsigned ops, unsigned roots)
{
	(void)roots;
	for (unsigned i = 0; i < ops; i++) {
		svm_clgi();
		svm_load(&l2);
		svm_run(0, 0);
		svm_save(&l2);
		svm_load(&l1_state);
		svm_stgi();
	}
	svm_check();
	return ops;
}

/* One entry, all operations in L2. */
static unsigned in_l2(unsigned ops, const char *code)
{
	l2.rip = (uint64_t)code;
	svm_run(ops, WINDOW);
	svm_check();
	return ops;
}

static unsigned l2_cpuid(unsigned ops, unsigned roots)
{
	(void)roots;
	return in_l2(ops, l2_cpuid_loop);
}

static unsigned l2_cr3_same(unsigned ops, unsigned roots)
{
	(void)roots;
	return in_l2(ops, l2_cr3_loop);
}

/* L2 has been there, and found its code, but none of these pages. */
static void prepare_fresh(unsigned roots)
{
	(void)roots;
	prepare(l2_leave, make(FRESH, frames, kernel[nested_paging]));
	svm_run(0, 0);
	svm_check();
}

static unsigned l2_touch(unsigned ops, unsigned roots)
{
	(void)roots;
	return in_l2(ops, l2_write_loop);
}

static void prepare_roots(unsigned roots)
{
	for (unsigned i = 0; i < roots; i++)
		prepare(l2_write_loop, *space_of(i));
}

/* Each root has an ASID of its own, or shares it as late as possible. */
static unsigned l2_roots(unsigned ops, unsigned roots)
{
	const unsigned rounds = ops / roots, asids = svm_asids() - 1;
	uint64_t *const cr3 = nested_paging ? &l2.nested_cr3 : &l2.cr3;
	const struct space *const space = spaces[nested_paging];

	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < roots; i++) {
			*cr3 = space[i].root;
			l2.asid = 1 + (asids < roots ? i % asids : i);
			l2.rip = (uint64_t)l2_write_loop;
			svm_run(TOUCHED, WINDOW);
		}
	}
	svm_check();
	return rounds * roots;
}

/* The entry leads to another frame. */
static unsigned l1_pte_l2_touch(unsigned ops, unsigned roots)
{
	uint64_t *const pte = space_of(0)->pte;

	(void)roots;
	for (unsigned done = 0; done < ops; done++) {
		const unsigned page = done % TOUCHED;

		pte[page] ^= PTE_OTHER_FRAME;
		l2.rip = (uint64_t)l2_write_loop;
		svm_run(1, WINDOW + page * PAGE_BYTES);
	}
	svm_check();
	return ops;
}

const struct row nested_rows[] = {
	{ "vmrun", OPS, false, prepare_leave, vmrun },
	{ "vmrun_flush", OPS, false, prepare_flush, vmrun },
	{ "vmrun_full", OPS, false, prepare_leave, vmrun_full },
	{ "l2_cpuid", OPS, false, prepare_leave, l2_cpuid },
	{ "l2_cr3_same", OPS, false, prepare_leave, l2_cr3_same },
	{ "l2_touch", FRESH, false, prepare_fresh, l2_touch },
	{ "l2_roots", OPS, true, prepare_roots, l2_roots },
	{ "l1_pte_l2_touch", OPS, false, prepare_flush, l1_pte_l2_touch },
	{ .op = 0 },
};
