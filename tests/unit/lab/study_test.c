/* SPDX-License-Identifier: MIT */
/* From traces made here to requests and results: contexts, inference, vCPUs, causes, times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "study.h"

/* Writes text to a file of its own and reads it as a trace. */
static enum lab_exit read_text(struct lab_study *study, const char *text)
{
	char path[] = "/tmp/replay_test.XXXXXX";
	int fd = mkstemp(path);
	enum lab_exit status;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	status = lab_study_read(study, path);
	unlink(path);
	study->broken_file = NULL; /* it pointed to path */
	return status;
}

#define PGD(task, pgd) " q-" task " [000] ..... 1.000001: new_pgd: (f) pgd=" pgd "\n"
#define ENTER(npt, cr3) " q-7 [000] ..... 2.5: kvm_nested_vmenter: nested_npt=" npt " guest_cr3: " \
                        cr3 "\n"
#define LEAVE " q-7 [000] ..... 2.6: kvm_nested_vmexit_inject: reason: msr\n"
#define CR3(value) " q-7 [000] ..... 2.7: kvm_cr: cr_write 3 = " value "\n"

static uint64_t distinct(const struct lab_study *study)
{
	bool at_least;
	uint64_t count = lab_study_distinct(study, &at_least);

	assert_false(at_least);
	return count;
}

static void expect(const struct lab_study *study, enum rhz_root_policy policy,
                   unsigned capacity, uint64_t current, uint64_t cached, uint64_t missed)
{
	struct lab_row row = lab_study_row(study, policy, capacity, LAB_SHARED);

	assert_int_equal(row.current, current);
	assert_int_equal(row.cached, cached);
	assert_int_equal(row.missed, missed);
	assert_int_equal(current + cached + missed, lab_study_requests(study));
}

static void test_policies(void **unused)
{
	struct lab_study study = { .random = true, .seed = 1, .quiet = true };
	struct lab_row row;

	(void)unused;
	assert_int_equal(read_text(&study, "# tracer: nop\n"
	                 PGD("7", "0x1000") PGD("7", "0x2000") PGD("7", "0x1000")
	                 PGD("7", "0x1000") PGD("7", "0x1000") PGD("7", "0x3000")), LAB_EXIT_OK);
	assert_int_equal(lab_study_requests(&study), 6);
	assert_int_equal(distinct(&study), 3);
	assert_int_equal(study.vcpus_count, 1);
	assert_int_equal(study.from, LAB_FROM_NEW_PGD);
	expect(&study, RHZ_ROOTS_NONE, 3, 0, 0, 6);
	expect(&study, RHZ_ROOTS_CURRENT_FIRST, 0, 2, 0, 4);
	expect(&study, RHZ_ROOTS_CURRENT_FIRST, 1, 2, 1, 3);
	expect(&study, RHZ_ROOTS_VICTIM, 0, 0, 0, 6);
	/* 1 2 1 miss miss hit; 1: pool holds 2, so a second 1 is built; 1: found; 3: missed */
	expect(&study, RHZ_ROOTS_VICTIM, 2, 0, 2, 4);
	row = lab_study_row(&study, RHZ_ROOTS_VICTIM, 2, LAB_SHARED);
	assert_int_equal(row.duplicates, 1);
	assert_int_equal(row.positions, 0);
	row = lab_study_row(&study, RHZ_ROOTS_CURRENT_FIRST, 2, LAB_SHARED);
	assert_int_equal(row.duplicates, 0);
	/* Two slots: 1 and 2 fit, but one of them is the current one's. */
	expect(&study, RHZ_ROOTS_AT_CREATION, 1, 2, 0, 4);
	expect(&study, RHZ_ROOTS_AT_CREATION, 2, 2, 1, 3);
	expect(&study, RHZ_ROOTS_PINNED, 0, 2, 1, 3);
	lab_study_free(&study);
}

static void test_vcpus_apart(void **unused)
{
	struct lab_study study = { .random = true, .seed = 1, .quiet = true };

	(void)unused;
	assert_int_equal(read_text(&study, PGD("7", "0x1000") PGD("8", "0x2000")
	                 PGD("7", "0x1000") PGD("8", "0x2000")), LAB_EXIT_OK);
	assert_int_equal(study.vcpus_count, 2);
	assert_int_equal(distinct(&study), 2);
	expect(&study, RHZ_ROOTS_CURRENT_FIRST, 0, 2, 0, 2);
	/* The same thread number in another file is another vCPU, the same address another root. */
	assert_int_equal(read_text(&study, PGD("7", "0x1000")), LAB_EXIT_OK);
	assert_int_equal(study.vcpus_count, 3);
	assert_int_equal(distinct(&study), 3);
	expect(&study, RHZ_ROOTS_CURRENT_FIRST, 3, 2, 0, 3);
	lab_study_free(&study);
}

/* Without new_pgd: nested transitions. L1's CR3 is not known and stays one root. */
static void test_inferred(void **unused)
{
	struct lab_study study = { .random = true, .seed = 1, .quiet = true };

	(void)unused;
	assert_int_equal(read_text(&study, LEAVE ENTER("y", "0x5000") LEAVE
	                 ENTER("y", "0x5000") LEAVE), LAB_EXIT_OK);
	assert_int_equal(study.from, LAB_FROM_INFERRED);
	assert_true(study.cr3_missing);
	assert_true(study.direct);
	assert_int_equal(lab_study_requests(&study), 5);
	assert_int_equal(distinct(&study), 2);
	expect(&study, RHZ_ROOTS_CURRENT_FIRST, 0, 3, 0, 2);
	lab_study_free(&study);
}

/* kvm_cr: the same value again asks for nothing, and neither does bit 63 alone. */
static void test_inferred_cr3(void **unused)
{
	struct lab_study study = { .random = true, .seed = 1, .quiet = true };

	(void)unused;
	assert_int_equal(read_text(&study, CR3("0x1000") CR3("0x1000") CR3("0x2000")
	                 CR3("0x8000000000002000") ENTER("n", "0x9000") CR3("0x9000") CR3("0xa000")
	                 LEAVE), LAB_EXIT_OK);
	assert_false(study.cr3_missing);
	assert_false(study.direct);
	assert_int_equal(lab_study_requests(&study), 5);    /* 1, 2, enter 9, a, exit to 2 */
	assert_int_equal(distinct(&study), 4);
	expect(&study, RHZ_ROOTS_CURRENT_FIRST, 0, 1, 0, 4);
	lab_study_free(&study);
}

/* The first new_pgd makes all that was inferred from this file void, but not other files'. */
static void test_named_beats_inferred(void **unused)
{
	struct lab_study study = { .random = true, .seed = 1, .quiet = true };

	(void)unused;
	assert_int_equal(read_text(&study, LEAVE ENTER("n", "0x5000")), LAB_EXIT_OK);
	assert_int_equal(lab_study_requests(&study), 2);
	assert_int_equal(read_text(&study, ENTER("n", "0x5000") LEAVE PGD("7", "0x1000")
	                 ENTER("n", "0x5000") PGD("7", "0x1000") LEAVE PGD("7", "0x1000")),
	                 LAB_EXIT_OK);
	assert_int_equal(lab_study_requests(&study), 5);
	assert_int_equal(distinct(&study), 4); /* 0 and 5 of the first, 1 in L1 and L2 */
	assert_int_equal(study.from, LAB_FROM_INFERRED | LAB_FROM_NEW_PGD);
	assert_int_equal(study.vcpus[1].view->timeline.context[0], RHZ_CONTEXT_L1);
	assert_int_equal(study.vcpus[1].view->timeline.context[1], RHZ_CONTEXT_L2);
	lab_study_free(&study);
}

/* With two-dimensional paging L1's CR3 does not matter, also for requests seen before. */
static void test_direct(void **unused)
{
	struct lab_study study = { .random = true, .seed = 1, .quiet = true };

	(void)unused;
	assert_int_equal(read_text(&study, PGD("7", "0x1000") PGD("7", "0x2000")
	                 " q-7 [000] ..... 2.8: kvm_exit: vcpu 0 reason npf rip 0x1\n"
	                 PGD("7", "0x3000")), LAB_EXIT_OK);
	assert_true(study.direct);
	assert_int_equal(distinct(&study), 1);
	expect(&study, RHZ_ROOTS_CURRENT_FIRST, 0, 2, 0, 1);
	lab_study_free(&study);
}

static void test_counts(void **unused)
{
	struct lab_study study = { .random = true, .seed = 1, .quiet = true };

	(void)unused;
	assert_int_equal(read_text(&study, "nonsense\n" PGD("7", "0x1000") PGD("7", "zz")
	                 "CPU:1 [LOST 9 EVENTS]\n q-7 [000] ..... 3.0: mmu_load: (f)\n"
	                 " q-7 [000] ..... 3.1: sync_roots: (f)\n"
	                 " q-7 [000] ..... 3.1: sync_roots: (f)\n"
	                 " q-7 [000] ..... 3.2: free_roots: (f) which=0x1"), LAB_EXIT_OK);
	assert_int_equal(study.read, 8);
	assert_int_equal(study.events, 5);
	assert_int_equal(study.broken, 2);
	assert_int_equal(study.broken_place, 1);
	assert_int_equal(study.lost, 9);
	assert_int_equal(study.vcpus[0].did.mmu_loads, 1);
	assert_int_equal(study.vcpus[0].did.root_syncs, 2);
	assert_int_equal(study.vcpus[0].did.frees, 1);
	lab_study_free(&study);
}

/* Many roots and requests, so that every table grows; compared with an array kept here. */
static void test_many(void **unused)
{
	enum { ROOTS = 5000, REQUESTS = 40000 };
	struct lab_study study = { .random = true, .seed = 1, .quiet = true };
	char path[] = "/tmp/replay_test.XXXXXX";
	FILE *file = fdopen(mkstemp(path), "w");

	(void)unused;
	assert_non_null(file);
	for (unsigned i = 0; i < REQUESTS; i++)
		fprintf(file, " q-%u [000] ..... 1.%06u: new_pgd: (f) pgd=0x%x000\n", i % 3, i,
		        i * 7919 % ROOTS);
	fclose(file);
	assert_int_equal(lab_study_read(&study, path), LAB_EXIT_OK);
	unlink(path);
	assert_int_equal(lab_study_requests(&study), REQUESTS);
	assert_int_equal(study.vcpus_count, 3);
	assert_int_equal(distinct(&study), 3 * ROOTS);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(study.vcpus[i].task, i);
		assert_int_equal(study.vcpus[i].view->known.count, ROOTS);
		assert_int_equal(study.vcpus[i].view->timeline.table[1],
		                 (uint64_t)((i + 3) * 7919 % ROOTS) << 12);
	}
	lab_study_free(&study);
}

#define AT(time, event) " q-7 (  5) [000] ..... " time ": " event "\n"

/* Why a root was asked for, and how long the way to the guest was. */
static void test_causes_and_times(void **unused)
{
	struct lab_study study = { .quiet = true };
	const struct lab_vcpu *vcpu;

	(void)unused;
	assert_int_equal(read_text(&study,
		AT("1.000001", "kvm_exit: vcpu 3 reason write_cr3 rip 0x1")
		AT("1.000002", "new_pgd: (f) pgd=0x1000") AT("1.000004", "mmu_load: (f)")
		AT("1.000005", "kvm_mmu_get_page: sp gen 1 gfn 1 l4 8-byte q0 sync new")
		AT("1.000012", "kvm_entry: vcpu 3, rip 0x1")
		AT("1.000020", "kvm_nested_vmenter: nested_npt=n guest_cr3: 0x2000")
		AT("1.000021", "new_pgd: (f) pgd=0x2000")
		AT("1.000024", "kvm_entry: vcpu 3, rip 0x1")
		AT("1.000030", "kvm_nested_vmexit_inject: reason: msr")
		AT("1.000031", "new_pgd: (f) pgd=0x1000")
		AT("1.000032", "kvm_entry: vcpu 3, rip 0x1")
		AT("1.000040", "new_pgd: (f) pgd=0x1000")), LAB_EXIT_OK);
	assert_int_equal(study.vcpus_count, 1);
	vcpu = &study.vcpus[0];
	assert_int_equal(vcpu->vm, 5);
	assert_int_equal(vcpu->number, 3);
	assert_int_equal(vcpu->did.roots_new, 1);
	assert_int_equal(vcpu->view->at[LAB_CAUSE_CR3][LAB_STACK_NONE], 1);
	assert_int_equal(vcpu->view->at[LAB_CAUSE_NESTED_ENTER][LAB_STACK_NONE], 1);
	assert_int_equal(vcpu->view->at[LAB_CAUSE_NESTED_EXIT][LAB_CURRENT], 1);
	assert_int_equal(vcpu->view->at[LAB_CAUSE_UNKNOWN][LAB_CURRENT], 1);
	assert_int_equal(vcpu->cost[LAB_ANSWER_MISSED]->sum, 10000);
	assert_int_equal(vcpu->cost[LAB_ANSWER_CACHED]->sum, 3000);
	assert_int_equal(vcpu->cost[LAB_ANSWER_CURRENT]->sum, 1000);
	lab_study_free(&study);
}

/* Page-table isolation: two processes with a pair of roots each. */
static void test_isolation(void **unused)
{
	struct lab_study study = { .quiet = true };
	const struct lab_isolation *isolation;

	(void)unused;
	assert_int_equal(read_text(&study, PGD("7", "0x2000") PGD("7", "0x3000")
	                 PGD("7", "0x2000") PGD("7", "0x8000") PGD("7", "0x9000")
	                 PGD("7", "0x3000")), LAB_EXIT_OK);
	isolation = &study.vcpus[0].view->isolation;
	assert_int_equal(isolation->flips, 3);
	assert_int_equal(isolation->joined_at[LAB_CURRENT], 3);
	assert_int_equal(isolation->joined_at[0], 1);
	assert_int_equal(isolation->joined_at[LAB_STACK_NONE], 2);
	lab_study_free(&study);
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
		cmocka_unit_test(test_causes_and_times),
		cmocka_unit_test(test_isolation),
		cmocka_unit_test(test_kvm_array),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
