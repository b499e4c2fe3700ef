/* SPDX-License-Identifier: MIT */
/* The line reader: every recorder's form, the events of all kernels known, and what is no event. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "line.h"

/* From a copy that ends where the line ends, so that a sanitizer sees a read beyond it. */
static enum lab_line read_line(const char *text, struct lab_event *event)
{
	size_t length = strlen(text);
	char *copy = malloc(length + !length);
	enum lab_line result;

	memcpy(copy, text, length);
	memset(event, 0xee, sizeof(*event));
	result = lab_line_read(copy, length, event);
	free(copy);
	return result;
}

static void expect_request(const char *text, uint32_t task, uint64_t pgd)
{
	struct lab_event event;

	assert_int_equal(read_line(text, &event), LAB_LINE_EVENT);
	assert_int_equal(event.kind, LAB_EVENT_NEW_PGD);
	assert_int_equal(event.task, task);
	assert_int_equal(event.value, pgd);
	assert_int_equal(event.time_ns, 44620048000u);
}

static void test_recorders(void **unused)
{
	(void)unused;
	/* tracefs, without and with the group number, with an odd name, with a long number */
	expect_request(" qemu-system-x86-117     [001] .....    44.620048: new_pgd: "
	               "(kvm_mmu_new_pgd+0x0/0x260 [kvm]) pgd=0x2a10000", 117, 0x2a10000);
	expect_request("       CPU 0/KVM-1234567 (1234560) [001] d..1.    44.620048: new_pgd: (f) "
	               "pgd=0x2a10000", 1234567, 0x2a10000);
	expect_request("       CPU 0/KVM-119 (-------) [001] d..1.    44.620048: new_pgd: (f) "
	               "pgd=0x2a10000", 119, 0x2a10000);
	expect_request(" a: b[2]-9-117 [001] ....  44.620048: new_pgd: (f) pgd=0x1", 117, 1);
	/* trace-cmd report, microseconds and nanoseconds */
	expect_request("       CPU 0/KVM-117   [001]    44.620048: new_pgd:              "
	               "(ffffffffc05a2f40) pgd=0x2a10000", 117, 0x2a10000);
	expect_request("       CPU 0/KVM-117   [001]    44.620048000: new_pgd:      "
	               "(ffffffffc05a2f40) pgd=0x2a10000", 117, 0x2a10000);
	/* perf script: a process, process and thread, with a count, with a name that perf made */
	expect_request("qemu-system-x86   117 [001]    44.620048: kmmu:new_pgd: (ffffffffc05a2f40) "
	               "pgd=0x2a10000", 117, 0x2a10000);
	expect_request("CPU 0/KVM   117/119 [001]    44.620048:          1 probe:kvm_mmu_new_pgd: "
	               "(ffffffffc05a2f40) pgd=0x2a10000", 119, 0x2a10000);
	/* a decimal argument, a name that the kernel made, a carriage return */
	expect_request(" q-117 [001] ..... 44.620048: p_kvm_mmu_new_pgd_0: (f) pgd=4096", 117,
	               4096);
	expect_request(" q-117 [001] ..... 44.620048: new_pgd: (f) pgd=0x1000\r", 117, 0x1000);
}

static void expect_entry(const char *arguments, bool nested_paging, uint64_t value)
{
	struct lab_event event;
	char line[400];

	snprintf(line, sizeof(line), " q-1 [000] .... 76.477469: kvm_nested_vmenter: %s",
	         arguments);
	assert_int_equal(read_line(line, &event), LAB_LINE_EVENT);
	assert_int_equal(event.kind, LAB_EVENT_NESTED_ENTER);
	assert_int_equal(event.nested_paging, nested_paging);
	assert_int_equal(event.value, value);
}

static void test_nested(void **unused)
{
	struct lab_event event;

	(void)unused;
	expect_entry("rip: 0xffffffffc0377cec vmcb: 0x000000005a70d000 nested_rip: 0xf "
	             "int_ctl: 0x0 event_inj: 0x0 nested_npt=y nested_cr3: 0x000000005a6c8000",
	             true, 0x5a6c8000);
	expect_entry("rip: 0xf vmcb: 0x5000 nested_rip: 0xf int_ctl: 0x0 event_inj: 0x0 "
	             "nested_npt=n guest_cr3: 0x7000", false, 0x7000);
	expect_entry("rip: 0xf vmcs: 0x5000 nested_rip: 0xf intr_info: 0x0 nested_ept=y "
	             "nested_eptp: 0x8000", true, 0x8000);
	expect_entry("rip: 0xf vmcb: 0x5000 nrip: 0xf int_ctl: 0x0 event_inj: 0x0 npt: on", true,
	             0x5000);
	assert_int_equal(read_line(" q-1 [0] .. 7.5: kvm_nested_vmexit_inject: reason: msr ext",
	                           &event), LAB_LINE_EVENT);
	assert_int_equal(event.kind, LAB_EVENT_NESTED_EXIT);
	assert_int_equal(event.time_ns, 7500000000u);
	assert_int_equal(read_line(" q-1 [0] .. 7.5: kvm_nested_vmexit: vcpu 0 reason msr", &event),
	                 LAB_LINE_OTHER);
	assert_int_equal(read_line(" q-1 [0] .. 7.5: kvm_nested_vmenter: rip: 0xf", &event),
	                 LAB_LINE_BROKEN);
}

static void test_other_events(void **unused)
{
	struct lab_event event;

	(void)unused;
	assert_int_equal(read_line(" q-1 [0] .. 7.5: kvm_cr: cr_write 3 = 0x2a10000", &event),
	                 LAB_LINE_EVENT);
	assert_int_equal(event.kind, LAB_EVENT_CR3_WRITE);
	assert_int_equal(event.value, 0x2a10000);
	assert_int_equal(read_line(" q-1 [0] .. 7.5: kvm_cr: cr_write 4 = 0x6f0", &event),
	                 LAB_LINE_OTHER);
	assert_int_equal(read_line(" q-1 [0] .. 7.5: kvm_cr: cr_read 3 = 0x6000", &event),
	                 LAB_LINE_OTHER);
	assert_int_equal(read_line(" q-1 [0] .. 7.5: free_roots: (f+0x0/0x1c0 [kvm]) which=0x4",
	                           &event), LAB_LINE_EVENT);
	assert_int_equal(event.kind, LAB_EVENT_FREE_ROOTS);
	assert_int_equal(event.value, 4);
	assert_int_equal(read_line(" q-1 [0] .. 7.5: kvm_exit: vcpu 12 reason npf rip 0x1", &event),
	                 LAB_LINE_EVENT);
	assert_int_equal(event.kind, LAB_EVENT_TWO_DIMENSIONAL);
	assert_int_equal(read_line(" q-1 [0] .. 7.5: kvm_exit: reason EPT_VIOLATION rip 0x1",
	                           &event), LAB_LINE_EVENT);
	assert_int_equal(event.kind, LAB_EVENT_TWO_DIMENSIONAL);
	assert_int_equal(event.vcpu, LAB_NO_VCPU);
	assert_int_equal(read_line(" q-1 [0] .. 7.5: kvm_exit: vcpu 0 reason npfx rip 0x1", &event),
	                 LAB_LINE_EVENT);
	assert_int_equal(event.kind, LAB_EVENT_EXIT);
	assert_int_equal(event.cause, LAB_CAUSE_UNKNOWN);
	assert_int_equal(read_line(" q-1 [0] .. 7.5: kvm_exit: vcpu 7 reason write_cr3 rip 0x1",
	                           &event), LAB_LINE_EVENT);
	assert_int_equal(event.cause, LAB_CAUSE_CR3);
	assert_int_equal(event.vcpu, 7);
	assert_int_equal(read_line(" q-1 [0] .. 7.5: kvm_entry: vcpu 12, rip 0x1", &event),
	                 LAB_LINE_EVENT);
	assert_int_equal(event.kind, LAB_EVENT_ENTRY);
	assert_int_equal(event.vcpu, 12);
	assert_int_equal(read_line(" q-1 [0] .. 7.5: set_cr3: (f) cr3=0x7000", &event),
	                 LAB_LINE_EVENT);
	assert_int_equal(event.kind, LAB_EVENT_CR3_WRITE);
	assert_int_equal(event.value, 0x7000);
	assert_int_equal(read_line(" q-1 [0] .. 7.5: new_pgdx: pgd=0x1000", &event),
	                 LAB_LINE_OTHER);
}

static void test_pages(void **unused)
{
	struct lab_event event;

	(void)unused;
	assert_int_equal(read_line(" q-1 [0] .. 7.5: kvm_mmu_get_page: sp gen 1 gfn 5642 l5 8-byte "
	                           "q0 wux nxe ad root 0 sync new", &event), LAB_LINE_EVENT);
	assert_int_equal(event.kind, LAB_EVENT_PAGE_NEW);
	assert_int_equal(event.value, 0x5642);
	assert_int_equal(event.role, 5);
	assert_int_equal(read_line(" q-1 [0] .. 7.5: kvm_mmu_get_page: sp gen 1 gfn ab l1 8-byte "
	                           "q0 wux nxe ad root 0 sync existing", &event), LAB_LINE_EVENT);
	assert_int_equal(event.kind, LAB_EVENT_PAGE_FOUND);
	assert_int_equal(event.role, 1);
	assert_int_equal(read_line(" q-1 [0] .. 7.5: kvm_mmu_prepare_zap_page: sp gen 1 gfn 0 l3 "
	                           "8-byte q0 root 1 sync", &event), LAB_LINE_EVENT);
	assert_int_equal(event.kind, LAB_EVENT_PAGE_ZAP);
	/* as trace-cmd prints them */
	assert_int_equal(read_line(" q-1 [0] 7.5: kvm_mmu_get_page:  existing sp gfn 40000 2 q0 "
	                           "direct wux root 0 sync", &event), LAB_LINE_EVENT);
	assert_int_equal(event.kind, LAB_EVENT_PAGE_FOUND);
	assert_int_equal(event.value, 0x40000);
	assert_int_equal(event.role, 2);
	assert_int_equal(read_line(" q-1 [0] 7.5: kvm_mmu_get_page:  new sp gfn 1 5 q0", &event),
	                 LAB_LINE_EVENT);
	assert_int_equal(event.kind, LAB_EVENT_PAGE_NEW);
	assert_int_equal(read_line(" q-1 [0] 7.5: kvm_exit:  reason EXIT_WRITE_CR3 rip 0x1",
	                           &event), LAB_LINE_EVENT);
	assert_int_equal(event.cause, LAB_CAUSE_CR3);
	assert_int_equal(read_line(" q-1 [0] 7.5: kvm_exit:  vcpu 1 reason EXIT_NPF rip 0x1",
	                           &event), LAB_LINE_EVENT);
	assert_int_equal(event.kind, LAB_EVENT_TWO_DIMENSIONAL);
	assert_int_equal(read_line(" q-1 [0] .. 7.5: kvm_mmu_get_page: sp gen 1", &event),
	                 LAB_LINE_OTHER);
}

/* The process, where the recorder tells it. */
static void test_process(void **unused)
{
	struct lab_event event;

	(void)unused;
	read_line("  CPU 0/KVM-119 (  117) [001] d..1. 44.62: new_pgd: pgd=1", &event);
	assert_int_equal(event.task, 119);
	assert_int_equal(event.vm, 117);
	read_line("  CPU 0/KVM-119 (-------) [001] d..1. 44.62: new_pgd: pgd=1", &event);
	assert_int_equal(event.vm, 0);
	read_line("CPU 0/KVM   117/119 [001]    44.62: kmmu:new_pgd: pgd=1", &event);
	assert_int_equal(event.task, 119);
	assert_int_equal(event.vm, 117);
}

static void test_between_events(void **unused)
{
	static const char *const silent[] = {
		"", "   ", "# tracer: nop", "#", "cpus=2", "version = 7", " => kvm_vcpu_ioctl",
		"CPU 1 is empty", "##### CPU 1 buffer started ####", "CPU:1 annotated",
	};
	struct lab_event event;

	(void)unused;
	for (size_t i = 0; i < sizeof(silent) / sizeof(silent[0]); i++)
		assert_int_equal(read_line(silent[i], &event), LAB_LINE_SILENT);
	assert_int_equal(read_line("CPU:1 [LOST 123 EVENTS]", &event), LAB_LINE_LOST);
	assert_int_equal(event.value, 123);
	assert_int_equal(read_line("CPU:0 [45 EVENTS DROPPED]", &event), LAB_LINE_LOST);
	assert_int_equal(event.value, 45);
	assert_int_equal(read_line("CPU:0 [LOST EVENTS]", &event), LAB_LINE_LOST);
	assert_int_equal(event.value, 0);
}

static void test_broken(void **unused)
{
	static const char *const broken[] = {
		"hello", ":", ": ", "1.5: x", " q-117 [001] ..... 44.620048:",
		" q-117 [001] ..... 44.620048: ", " q-117 [001] ..... 44.620048: new_pgd",
		" q-117 [001] ..... 44.620048: new_pgd:",
		" q-117 [001] ..... 44.620048: new_pgd: pgd=",
		" q-117 [001] ..... 44.620048: new_pgd: (f) pgd=0x",
		" q-117 [001] ..... 44.620048: new_pgd: (f) pgd=0x12345678901234567",
		" q-117 [001] ..... 44.620048: new_pgd: (f) pgd=0x10zz",
		" q-117 ..... 44.620048: new_pgd: (f) pgd=0x1000",
		" [001] ..... 44.620048: new_pgd: (f) pgd=0x1000",
		"7 [001] ..... 44.620048: new_pgd: (f) pgd=0x1000",
		" q-99999999999 [001] ..... 44.620048: new_pgd: (f) pgd=0x1000",
		" q) [001] ..... 44.620048: new_pgd: (f) pgd=0x1000",
		" q-117 [001] ..... 44.620048: 1 2 3 new_pgd: (f) pgd=0x1000",
		" q-117 [001] ..... 44620048: new_pgd: (f) pgd=0x1000",
		" q-117 [001] ..... 44.6.2: new_pgd: (f) pgd=0x1000",
		" q-117 [001] ..... 44.620048: kvm_cr: cr_write 3 = zz",
	};
	struct lab_event event;

	(void)unused;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		assert_int_equal(read_line(broken[i], &event), LAB_LINE_BROKEN);
}

/* Lines cut anywhere, with bytes changed anywhere: no read out of bounds, no event without need. */
static void test_mangled(void **unused)
{
	static const char *const lines[] = {
		" qemu-117     [001] .....    44.620048: new_pgd: (kvm_mmu_new_pgd) pgd=0x2a10000",
		"CPU 0/KVM   117/119 [001]    44.620048:          1 kmmu:free_roots: (f) which=0x4",
		" q-1 (  12) [000] ..... 76.4: kvm_nested_vmenter: nested_npt=y nested_cr3: 0x5000",
		"CPU:1 [LOST 123 EVENTS]",
		" q-1 [000] ..... 76.4: kvm_mmu_get_page: sp gen 1 gfn ab l1 q0 sync existing",
		" q-1 [000] ..... 76.4: kvm_entry: vcpu 0, rip 0x1",
		" q-1 [000] ..... 76.4: kvm_exit: vcpu 0 reason write_cr3 rip 0x1",
	};
	static const char bytes[] = ":.[]()- =0x\t9a\xff";
	struct lab_event event;
	char line[200];

	(void)unused;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		size_t length = strlen(lines[i]);

		for (size_t at = 0; at < length; at++) {
			snprintf(line, at + 1, "%s", lines[i]);
			assert_true(read_line(line, &event) <= LAB_LINE_BROKEN);
			for (size_t b = 0; b < sizeof(bytes) - 1; b++) {
				snprintf(line, sizeof(line), "%s", lines[i]);
				line[at] = bytes[b];
				assert_true(read_line(line, &event) <= LAB_LINE_BROKEN);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recorders),
		cmocka_unit_test(test_nested),
		cmocka_unit_test(test_other_events),
		cmocka_unit_test(test_pages),
		cmocka_unit_test(test_process),
		cmocka_unit_test(test_between_events),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_mangled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
