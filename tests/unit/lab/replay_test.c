/* SPDX-License-Identifier: MIT */
/* From traces made here to requests and results: contexts, inference, vCPUs, KVM's array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "kvm.h"
#include "simulate.h"

/* Writes text to a file of its own and reads it as a trace. */
static enum lab_exit read_text(struct lab_requests *requests, const char *text)
{
	char path[] = "/tmp/replay_test.XXXXXX";
	int fd = mkstemp(path);
	enum lab_exit status;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	status = lab_requests_read(requests, path);
	unlink(path);
	requests->broken_file = NULL; /* it pointed to path */
	return status;
}

#define PGD(task, pgd) " q-" task " [000] ..... 1.000001: new_pgd: (f) pgd=" pgd "\n"
#define ENTER(npt, cr3) " q-7 [000] ..... 2.5: kvm_nested_vmenter: nested_npt=" npt " guest_cr3: " \
                        cr3 "\n"
#define LEAVE " q-7 [000] ..... 2.6: kvm_nested_vmexit_inject: reason: msr\n"
#define CR3(value) " q-7 [000] ..... 2.7: kvm_cr: cr_write 3 = " value "\n"

static void expect(const struct lab_requests *requests, enum rhz_root_policy policy,
                   unsigned capacity, uint64_t current, uint64_t cached, uint64_t missed)
{
	struct lab_row row = lab_simulate(requests, policy, capacity, 1);

	assert_int_equal(row.current, current);
	assert_int_equal(row.cached, cached);
	assert_int_equal(row.missed, missed);
	assert_int_equal(current + cached + missed, requests->count);
}

static void test_policies(void **unused)
{
	struct lab_requests requests = { .count = 0 };
	struct lab_row row;

	(void)unused;
	assert_int_equal(read_text(&requests, "# tracer: nop\n"
	                 PGD("7", "0x1000") PGD("7", "0x2000") PGD("7", "0x1000")
	                 PGD("7", "0x1000") PGD("7", "0x1000") PGD("7", "0x3000")), LAB_EXIT_OK);
	assert_int_equal(requests.count, 6);
	assert_int_equal(requests.distinct, 3);
	assert_int_equal(requests.vcpus, 1);
	assert_int_equal(requests.sources, LAB_SOURCE_NEW_PGD);
	expect(&requests, RHZ_ROOTS_NONE, 3, 0, 0, 6);
	expect(&requests, RHZ_ROOTS_CURRENT_FIRST, 0, 2, 0, 4);
	expect(&requests, RHZ_ROOTS_CURRENT_FIRST, 1, 2, 1, 3);
	expect(&requests, RHZ_ROOTS_VICTIM, 0, 0, 0, 6);
	/* 1 2 1 miss miss hit; 1: pool holds 2, so a second 1 is built; 1: found; 3: missed */
	expect(&requests, RHZ_ROOTS_VICTIM, 2, 0, 2, 4);
	row = lab_simulate(&requests, RHZ_ROOTS_VICTIM, 2, 1);
	assert_int_equal(row.duplicates, 1);
	assert_int_equal(row.positions, 0);
	row = lab_simulate(&requests, RHZ_ROOTS_CURRENT_FIRST, 2, 1);
	assert_int_equal(row.duplicates, 0);
	/* Two slots: 1 and 2 fit, but one of them is the current one's. */
	expect(&requests, RHZ_ROOTS_AT_CREATION, 1, 2, 0, 4);
	expect(&requests, RHZ_ROOTS_AT_CREATION, 2, 2, 1, 3);
	expect(&requests, RHZ_ROOTS_PINNED, 0, 2, 1, 3);
	lab_requests_free(&requests);
}

static void test_vcpus_apart(void **unused)
{
	struct lab_requests requests = { .count = 0 };

	(void)unused;
	assert_int_equal(read_text(&requests, PGD("7", "0x1000") PGD("8", "0x2000")
	                 PGD("7", "0x1000") PGD("8", "0x2000")), LAB_EXIT_OK);
	assert_int_equal(requests.vcpus, 2);
	assert_int_equal(requests.distinct, 2);
	expect(&requests, RHZ_ROOTS_CURRENT_FIRST, 0, 2, 0, 2);
	/* The same thread number in another file is another vCPU, the same address another root. */
	assert_int_equal(read_text(&requests, PGD("7", "0x1000")), LAB_EXIT_OK);
	assert_int_equal(requests.vcpus, 3);
	assert_int_equal(requests.distinct, 3);
	expect(&requests, RHZ_ROOTS_CURRENT_FIRST, 3, 2, 0, 3);
	lab_requests_free(&requests);
}

/* Without new_pgd: nested transitions. L1's CR3 is not known and stays one root. */
static void test_inferred(void **unused)
{
	struct lab_requests requests = { .count = 0 };

	(void)unused;
	assert_int_equal(read_text(&requests, LEAVE ENTER("y", "0x5000") LEAVE
	                 ENTER("y", "0x5000") LEAVE), LAB_EXIT_OK);
	assert_int_equal(requests.sources, LAB_SOURCE_INFERRED);
	assert_true(requests.cr3_missing);
	assert_true(requests.direct);
	assert_int_equal(requests.count, 5);
	assert_int_equal(requests.distinct, 2);
	expect(&requests, RHZ_ROOTS_CURRENT_FIRST, 0, 3, 0, 2);
	lab_requests_free(&requests);
}

/* kvm_cr: the same value again asks for nothing, and neither does bit 63 alone. */
static void test_inferred_cr3(void **unused)
{
	struct lab_requests requests = { .count = 0 };

	(void)unused;
	assert_int_equal(read_text(&requests, CR3("0x1000") CR3("0x1000") CR3("0x2000")
	                 CR3("0x8000000000002000") ENTER("n", "0x9000") CR3("0x9000") CR3("0xa000")
	                 LEAVE), LAB_EXIT_OK);
	assert_false(requests.cr3_missing);
	assert_false(requests.direct);
	assert_int_equal(requests.count, 5);    /* 1, 2, enter 9, a, exit to 2 */
	assert_int_equal(requests.distinct, 4);
	expect(&requests, RHZ_ROOTS_CURRENT_FIRST, 0, 1, 0, 4);
	lab_requests_free(&requests);
}

/* The first new_pgd makes all that was inferred from this file void, but not other files'. */
static void test_named_beats_inferred(void **unused)
{
	struct lab_requests requests = { .count = 0 };

	(void)unused;
	assert_int_equal(read_text(&requests, LEAVE ENTER("n", "0x5000")), LAB_EXIT_OK);
	assert_int_equal(requests.count, 2);
	assert_int_equal(read_text(&requests, ENTER("n", "0x5000") LEAVE PGD("7", "0x1000")
	                 ENTER("n", "0x5000") PGD("7", "0x1000") LEAVE PGD("7", "0x1000")),
	                 LAB_EXIT_OK);
	assert_int_equal(requests.count, 5);
	assert_int_equal(requests.distinct, 4); /* 0 and 5 of the first, 1 in L1 and L2 */
	assert_int_equal(requests.sources, LAB_SOURCE_INFERRED | LAB_SOURCE_NEW_PGD);
	assert_int_equal(requests.roots[requests.root[3]].key.context, RHZ_CONTEXT_L2);
	assert_int_equal(requests.roots[requests.root[4]].key.context, RHZ_CONTEXT_L1);
	lab_requests_free(&requests);
}

/* With two-dimensional paging L1's CR3 does not matter, also for requests seen before. */
static void test_direct(void **unused)
{
	struct lab_requests requests = { .count = 0 };

	(void)unused;
	assert_int_equal(read_text(&requests, PGD("7", "0x1000") PGD("7", "0x2000")
	                 " q-7 [000] ..... 2.8: kvm_exit: vcpu 0 reason npf rip 0x1\n"
	                 PGD("7", "0x3000")), LAB_EXIT_OK);
	assert_true(requests.direct);
	assert_int_equal(requests.distinct, 1);
	expect(&requests, RHZ_ROOTS_CURRENT_FIRST, 0, 2, 0, 1);
	lab_requests_free(&requests);
}

static void test_counts(void **unused)
{
	struct lab_requests requests = { .count = 0 };

	(void)unused;
	assert_int_equal(read_text(&requests, "nonsense\n" PGD("7", "0x1000") PGD("7", "zz")
	                 "CPU:1 [LOST 9 EVENTS]\n q-7 [000] ..... 3.0: mmu_load: (f)\n"
	                 " q-7 [000] ..... 3.1: sync_roots: (f)\n"
	                 " q-7 [000] ..... 3.1: sync_roots: (f)\n"
	                 " q-7 [000] ..... 3.2: free_roots: (f) which=0x1"), LAB_EXIT_OK);
	assert_int_equal(requests.lines, 8);
	assert_int_equal(requests.events, 5);
	assert_int_equal(requests.broken, 2);
	assert_int_equal(requests.broken_line, 1);
	assert_int_equal(requests.lost, 9);
	assert_int_equal(requests.kvm_mmu_loads, 1);
	assert_int_equal(requests.kvm_root_syncs, 2);
	assert_int_equal(requests.kvm_root_frees, 1);
	lab_requests_free(&requests);
}

/* Many roots and requests, so that every table grows; compared with an array kept here. */
static void test_many(void **unused)
{
	enum { ROOTS = 5000, REQUESTS = 40000 };
	struct lab_requests requests = { .count = 0 };
	char path[] = "/tmp/replay_test.XXXXXX";
	FILE *file = fdopen(mkstemp(path), "w");

	(void)unused;
	assert_non_null(file);
	for (unsigned i = 0; i < REQUESTS; i++)
		fprintf(file, " q-%u [000] ..... 1.%06u: new_pgd: (f) pgd=0x%x000\n", i % 3, i,
		        i * 7919 % ROOTS);
	fclose(file);
	assert_int_equal(lab_requests_read(&requests, path), LAB_EXIT_OK);
	unlink(path);
	assert_int_equal(requests.count, REQUESTS);
	assert_int_equal(requests.vcpus, 3);
	assert_int_equal(requests.distinct, 3 * ROOTS);
	for (unsigned i = 0; i < REQUESTS; i++) {
		const struct lab_root *root = &requests.roots[requests.root[i]];

		assert_int_equal(root->vcpu, i % 3);
		assert_int_equal(root->key.table, (uint64_t)(i * 7919 % ROOTS) << 12);
	}
	lab_requests_free(&requests);
}

/* KVM's array against the pool: the same without drops, and the cost of a hole. */
static void test_kvm_array(void **unused)
{
	struct lab_kvm_array array = { .held = { false } };
	static struct rhz_root_cache cache;
	uint64_t state = 12345;

	(void)unused;
	rhz_root_cache_init(&cache, RHZ_ROOTS_CURRENT_FIRST, LAB_KVM_CAPACITY, 0);
	for (unsigned i = 0; i < 20000; i++) {
		struct rhz_root_key key = { .table = (state >> 33) % 7 << 12 };
		bool missed = rhz_root_cache_find(&cache, &key, NULL) == RHZ_ROOT_MISSED;
		uint32_t evicted[2];

		if (missed)
			rhz_root_cache_insert(&cache, &key, 0, evicted);
		assert_int_equal(lab_kvm_load(&array, key.table), !missed);
		state = state * 6364136223846793005u + 1442695040888963407u;
	}

	array = (struct lab_kvm_array){ .held = { false } };
	for (uint64_t table = 1; table <= 4; table++)
		assert_false(lab_kvm_load(&array, table));
	assert_int_equal(lab_kvm_drop(&array, 0x1), 0); /* current 4, cached 3 2 1 */
	assert_int_equal(lab_kvm_drop(&array, 0x4), 1); /* 3, hole, 1 */
	assert_int_equal(lab_kvm_drop(&array, 0x4), 0);
	assert_false(lab_kvm_load(&array, 5));          /* 4 3 hole: 1 is gone, the hole is not */
	assert_false(lab_kvm_load(&array, 1));
	assert_true(lab_kvm_load(&array, 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_vcpus_apart),
		cmocka_unit_test(test_inferred),
		cmocka_unit_test(test_inferred_cr3),
		cmocka_unit_test(test_named_beats_inferred),
		cmocka_unit_test(test_direct),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_kvm_array),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
