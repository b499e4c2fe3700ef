/* SPDX-License-Identifier: MIT */
/* The I/O and MSR permission maps. What the bits mean for the guest is in exit/io.c and msr.c. */
#include "svm/permission.h"

#include "cpu/end.h"
#include "mem/frames.h"
#include "mem/guest.h"
#include "mem/layout.h"
#include "mem/string.h"
#include "svm/nsvm.h"
#include "svm/vmcb.h"

enum { IOPM_BYTES = 3 * 4096, MSRPM_BYTES = 2 * 4096 };

static uint8_t *iopm, *msrpm;

void permission_init(struct vmcb *vmcb)
{
	iopm = frames_keep(IOPM_BYTES);
	msrpm = frames_keep(MSRPM_BYTES);
	if (!iopm || !msrpm)
		end(END_REFUSED, "too little memory for the permission maps");
	vmcb->iopm = direct_pa(iopm);
	vmcb->msrpm = direct_pa(msrpm);
}

/*
 * L2's maps are not made of L1's and ours at each entry. Ports: all exit, and L1's map is looked at
 * then. MSRs: all exit but those that VMLOAD loads, which are the processor's while L2 runs; their
 * bytes of the map are merged.
 */
static const uint16_t merged[] = {
	0x174 / 4,                          /* SYSENTER */
	0x800 + 0x80 / 4, 0x800 + 0x84 / 4, /* EFER, STAR, LSTAR, CSTAR, SFMASK */
	0x800 + 0x100 / 4,                  /* FS and GS base, KernelGSBase, TSC_AUX */
};
static uint8_t *all_ports, *l2_msrpm;

/* Where L1's maps were found last: RAM stays RAM. */
static struct { uint64_t gpa; const uint8_t *at; } l1_iopm, l1_msrpm;

void permission_nested_init(void)
{
	all_ports = frames_keep(IOPM_BYTES);
	l2_msrpm = frames_keep(MSRPM_BYTES);
	if (!all_ports || !l2_msrpm)
		end(END_REFUSED, "too little memory for the permission maps");
	memset(all_ports, 0xff, IOPM_BYTES);
	memset(l2_msrpm, 0xff, MSRPM_BYTES);
}

/* L1's map; null: not in its RAM, and then everything exits. */
static const uint8_t *l1_map(struct guest *g, uint64_t gpa, uint64_t bytes, uint64_t *last,
                             const uint8_t **at)
{
	gpa &= -PAGE_BYTES; /* [APM2 15.10.1]: the low bits are ignored */
	if (!*at || *last != gpa) {
		*last = gpa;
		*at = guest_memory_at(g, gpa, bytes);
	}
	return *at;
}

void permission_nested(struct guest *g, struct vmcb *l2, const struct vmcb *control)
{
	l2->iopm = control->intercept1 & INTERCEPT1_IOIO ? direct_pa(all_ports) : direct_pa(iopm);
	l2->msrpm = direct_pa(msrpm);
	if (control->intercept1 & INTERCEPT1_MSR) {
		const uint8_t *map = l1_map(g, control->msrpm, MSRPM_BYTES, &l1_msrpm.gpa,
		                            &l1_msrpm.at);

		for (unsigned i = 0; i < sizeof(merged) / sizeof(merged[0]); i++)
			l2_msrpm[merged[i]] = map ? map[merged[i]] | msrpm[merged[i]] : 0xff;
		l2->msrpm = direct_pa(l2_msrpm);
	}
}

bool permission_nested_port(struct guest *g, uint64_t info)
{
	const uint8_t *map = l1_map(g, g->nsvm->control.iopm, IOPM_BYTES, &l1_iopm.gpa,
	                            &l1_iopm.at);
	const uint32_t port = (uint16_t)(info >> 16);
	const unsigned bytes = info & IO_SIZE8 ? 1 : info & IO_SIZE16 ? 2 : 4;

	for (unsigned i = 0; map && i < bytes; i++) {
		if (map[(port + i) / 8] >> (port + i) % 8 & 1)
			return true;
	}
	return !map;
}

/* The place of an MSR's pair of bits in a map; MSRPM_BYTES * 8 if it has none: it always exits. */
static unsigned pair_of(uint32_t msr)
{
	const uint32_t first[] = { 0, 0xc0000000, 0xc0010000 };

	for (unsigned i = 0; i < 3; i++) {
		if (msr - first[i] < 0x2000)
			return i * 0x4000 + (msr - first[i]) * 2;
	}
	return MSRPM_BYTES * 8;
}

bool permission_nested_msr(struct guest *g, uint32_t msr, bool write)
{
	const uint8_t *map = l1_map(g, g->nsvm->control.msrpm, MSRPM_BYTES, &l1_msrpm.gpa,
	                            &l1_msrpm.at);
	const unsigned bit = pair_of(msr) + write;

	return !map || bit >= MSRPM_BYTES * 8 || map[bit / 8] >> bit % 8 & 1;
}

void permission_port(uint16_t port, bool exits)
{
	const uint8_t mask = (uint8_t)(1u << port % 8);

	if (exits)
		iopm[port / 8] |= mask;
	else
		iopm[port / 8] &= (uint8_t)~mask;
}

/* Sets bit 0 (read) or 1 (write) of an MSR's pair. MSRs outside the map's ranges always exit. */
static void set(uint32_t msr, unsigned which)
{
	const unsigned bit = pair_of(msr) + which;

	if (bit < MSRPM_BYTES * 8)
		msrpm[bit / 8] |= (uint8_t)(1u << bit % 8);
}

void permission_msr_read(uint32_t msr)
{
	set(msr, 0);
}

void permission_msr_write(uint32_t msr)
{
	set(msr, 1);
}
