/* SPDX-License-Identifier: MIT */
/* The story of a boot, from long mode to the guest's first instruction. */
#include "boot/descriptors.h"
#include "boot/info.h"
#include "cpu/acpi.h"
#include "cpu/apic.h"
#include "cpu/end.h"
#include "cpu/features.h"
#include "exit/exit.h"
#include "exit/profile.h"
#include "exit/stats.h"
#include "exit/trace.h"
#include "load/load.h"
#include "mem/guest.h"
#include "mem/layout.h"
#include "mem/move.h"
#include "svm/nsvm.h"
#include "svm/registers.h"
#include "svm/svm.h"

__attribute__((noreturn)) void hv_main(uint32_t multiboot_info);

void hv_main(uint32_t multiboot_info)
{
	descriptors_load();
	boot_info_read(multiboot_info);
	features_read();
	features.nested = !boot_info.options.no_nested;
	if (boot_info.options.shadow)
		features_shadow();
	svm_check();
	acpi_read();
	move_to_top(guest_memory_needs());
	print("rhizome " RHZ_VERSION ": %s paging, %u levels; %lu MiB at %lx are the "
	      "hypervisor's\n", boot_info.options.shadow ? "shadow" : "nested",
	      features.guest.la57 ? 5u : 4u, own_memory.bytes >> 20, own_memory.base);

	svm_init(&guest);
	nsvm_init(&guest);
	exit_init();
	exit_msr_init();
	exit_io_init();
	stats_init();
	trace_init();
	profile_init();
	guest_memory_init(&guest);
	acpi_hide_processors(apic_id());
	load_guest(&guest);
	registers_init(&guest);
	svm_loop(&guest);
}
