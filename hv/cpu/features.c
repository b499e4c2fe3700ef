/* SPDX-License-Identifier: MIT */
/* CPUID, read once [APM3 appendix E]. */
#include "cpu/features.h"

#include "cpu/x86.h"

struct features features;

static bool bit(uint32_t word, unsigned n)
{
	return word >> n & 1;
}

static void read_guest(struct rhz_cpuid *guest, const struct cpuid_regs *vendor)
{
	const struct cpuid_regs basic = cpuid(1, 0), extended = cpuid(0x80000001, 0);
	struct cpuid_regs structured = { 0 };

	if (vendor->a >= 7)
		structured = cpuid(7, 0);
	*guest = (struct rhz_cpuid){
		.vendor = vendor->b == 0x756e6547 ? RHZ_VENDOR_INTEL : RHZ_VENDOR_AMD, /* "Genu" */
		.maxphyaddr = features.host.maxphyaddr,
		.pse = bit(basic.d, 3),
		.pae = bit(basic.d, 6),
		.pge = bit(basic.d, 13),
		.pat = bit(basic.d, 16),
		.pse36 = bit(basic.d, 17),
		.pcid = bit(basic.c, 17),
		.nx = bit(extended.d, 20),
		.gbpages = bit(extended.d, 26),
		.smep = bit(structured.b, 7),
		.invpcid = bit(structured.b, 10),
		.smap = bit(structured.b, 20),
		.pku = bit(structured.c, 3),
		.la57 = bit(structured.c, 16),
		.pks = bit(structured.c, 31),
	};
}

void features_read(void)
{
	const struct cpuid_regs vendor = cpuid(0, 0);
	const uint32_t last = cpuid(0x80000000, 0).a;
	const struct cpuid_regs extended = cpuid(0x80000001, 0);
	struct cpuid_regs sizes = { .a = 36 }, svm = { 0 };

	features.svm = bit(extended.c, 2);
	features.x2apic = bit(cpuid(1, 0).c, 21);
	if (last >= 0x80000008)
		sizes = cpuid(0x80000008, 0);
	if (features.svm && last >= 0x8000000a)
		svm = cpuid(0x8000000a, 0);
	features.asids = svm.b;
	features.nested_paging = bit(svm.d, 0);
	features.next_rip = bit(svm.d, 3);
	features.flush_by_asid = bit(svm.d, 6);
	features.invlpgb = bit(sizes.b, 3);
	features.host = (struct rhz_host_cpu){
		.maxphyaddr = (uint8_t)sizes.a,
		.pages_1g = bit(extended.d, 26),
		.nx = true, /* boot.S goes nowhere without */
	};
	read_guest(&features.guest, &vendor);
}
