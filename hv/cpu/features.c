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

/*
 * CR4's bits by what CPUID says of them [APM2 3.1.3]: leaf 1 or 7, the register, its bit, CR4's.
 * Control-flow enforcement is not offered to guests.
 */
static uint64_t cr4_bits(uint32_t last_leaf)
{
	static const struct { uint8_t leaf, reg, bit, cr4; } bits[] = {
		{ 1, 'd', 1, 0 },  { 1, 'd', 1, 1 },   { 1, 'd', 4, 2 },   { 1, 'd', 2, 3 },
		{ 1, 'd', 3, 4 },  { 1, 'd', 6, 5 },   { 1, 'd', 7, 6 },   { 1, 'd', 13, 7 },
		{ 1, 'd', 5, 8 },  { 1, 'd', 24, 9 },  { 1, 'd', 25, 10 }, { 7, 'c', 2, 11 },
		{ 7, 'c', 16, 12 }, { 7, 'b', 0, 16 },  { 1, 'c', 17, 17 }, { 1, 'c', 26, 18 },
		{ 7, 'b', 7, 20 }, { 7, 'b', 20, 21 }, { 7, 'c', 3, 22 },
	};
	uint64_t cr4 = 0;

	for (unsigned i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		const struct cpuid_regs r = cpuid(bits[i].leaf, 0);
		const uint32_t word = bits[i].reg == 'b' ? r.b : bits[i].reg == 'c' ? r.c : r.d;

		if (bits[i].leaf <= last_leaf && bit(word, bits[i].bit))
			cr4 |= 1ull << bits[i].cr4;
	}
	return cr4;
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
	features.decode_assists = bit(svm.d, 7);
	features.invlpgb = bit(sizes.b, 3);
	features.host = (struct rhz_host_cpu){
		.maxphyaddr = (uint8_t)sizes.a,
		.pages_1g = bit(extended.d, 26),
		.nx = true, /* boot.S goes nowhere without */
	};
	read_guest(&features.guest, &vendor);
	features.pcid = features.guest.pcid;
	features.invpcid = features.guest.invpcid;
	features.cr4 = cr4_bits(vendor.a);
}

void features_shadow(void)
{
	features.guest.pks = false;
	if (features.nested)
		return;
	features.guest.pcid = features.guest.invpcid = true;
	features.cr4 |= RHZ_CR4_PCIDE;
}
