/* SPDX-License-Identifier: MIT */
/* Modes, registers, the kernel's part of every address space. */
#include "torture/paging.h"

#include "torture/arena.h"
#include "torture/machine.h"

#define KERNEL_BITS 0x27u     /* of its upper entries: present, writable, user, accessed */
#define APIC_PA 0xfee00000u
#define APIC_BITS 0x1bu       /* present, writable, PWT, PCD */
#define LARGE (1ul << 21)

struct cpu cpu;

extern char operations[];
static uint64_t user_table[512] __attribute__((aligned(4096)));

#ifdef __x86_64__
extern uint64_t boot_pml5[], boot_pml4[], kernel_pdpt[], kernel_pd[];

static const struct format formats[] = {
	[MODE_4] = { 4, 8, 9, { { 0, 1, 8, 511, 64, 65 }, { 7, 8, 9 }, { 0, 1, 511 },
	                        { 1, 2, 255, 256, 511 } }, { 6, 3, 3, 5 } },
	[MODE_5] = { 5, 8, 9, { { 0, 1, 8, 511, 64, 65 }, { 7, 8, 9 }, { 0, 511 }, { 0, 1 },
	                        { 1, 255, 256, 511 } }, { 6, 3, 2, 2, 4 } },
};

static bool can(enum mode mode)
{
	return mode == (read_cr4() & CR4_LA57 ? MODE_5 : MODE_4);
}

static unsigned long kernel_root(void)
{
	return (unsigned long)(read_cr4() & CR4_LA57 ? boot_pml5 : boot_pml4);
}
#else
enum { KERNEL_TABLES = KERNEL_END >> 22 };
static uint64_t kernel_pd[512] __attribute__((aligned(4096)));
static uint32_t kernel_table[KERNEL_TABLES][1024] __attribute__((aligned(4096)));
static uint32_t last_table[1024] __attribute__((aligned(4096)));

static const struct format formats[] = {
	[MODE_NONE] = { 0, 4, 10, { { 0 } }, { 0 } },
	[MODE_32] = { 2, 4, 10, { { 0, 1, 8, 1023, 64, 65 }, { 256, 257, 512, 767, 1023 } },
	              { 6, 5 } },
	[MODE_PAE] = { 3, 8, 9, { { 0, 1, 8, 511, 64, 65 }, { 0, 1, 7, 510, 511 }, { 1, 2, 3 } },
	               { 6, 5, 3 } },
};

static bool can(enum mode mode)
{
	return mode <= MODE_PAE;
}
#endif

bool paging_choose(enum mode mode)
{
	if (!can(mode))
		return false;
	cpu.mode = mode;
	cpu.format = &formats[mode];
	return true;
}

void paging_build_kernel(void)
{
	user_table[0] = (unsigned long)operations | 5;
	for (unsigned i = 0; i < 512; i++)
		kernel_pd[i] = i * LARGE | 0x83;
	kernel_pd[APIC_GVA / LARGE] = APIC_PA | 0x80 | APIC_BITS;
	kernel_pd[USER_GVA / LARGE] = (unsigned long)user_table | KERNEL_BITS;
#ifndef __x86_64__
	for (unsigned i = 0; i < KERNEL_END / PAGE; i++)
		kernel_table[i / 1024][i % 1024] = i * PAGE | 3;
	last_table[0] = APIC_PA | APIC_BITS;
	last_table[USER_GVA / PAGE % 1024] = (unsigned long)operations | 5;
#endif
}

void paging_put_kernel(uint64_t root_pa)
{
#ifdef __x86_64__
	const unsigned long next = cpu.mode == MODE_5 ? (unsigned long)boot_pml4
	                                              : (unsigned long)kernel_pdpt;

	arena_fill(root_pa, next | KERNEL_BITS, 8);
#else
	if (cpu.mode == MODE_PAE) {
		arena_fill(root_pa, (unsigned long)kernel_pd | 1, 8);
		arena_loosen(root_pa, ENTRY_A); /* TCG sets it, against the manuals */
		arena_commit();
	}
	if (cpu.mode != MODE_32)
		return;
	for (unsigned i = 0; i < KERNEL_TABLES; i++)
		arena_fill(root_pa + 4 * i, (unsigned long)kernel_table[i] | KERNEL_BITS, 4);
	arena_fill(root_pa + 4 * (APIC_GVA >> 22), (unsigned long)last_table | KERNEL_BITS, 4);
#endif
}

void paging_write_cr0(void)
{
	unsigned long cr0 = read_cr0() & ~(unsigned long)(CR0_WP | CR0_PG);

	if (cpu.wp)
		cr0 |= CR0_WP;
	if (cpu.paged)
		cr0 |= CR0_PG;
	write_cr0(cr0);
}

void paging_write_cr4(void)
{
	unsigned long cr4 = read_cr4() & CR4_LA57;

	if (cpu.pse)
		cr4 |= CR4_PSE;
	if (cpu.mode >= MODE_PAE)
		cr4 |= CR4_PAE;
	if (cpu.pge)
		cr4 |= CR4_PGE;
	if (cpu.smep)
		cr4 |= CR4_SMEP;
	if (cpu.smap)
		cr4 |= CR4_SMAP;
	if (cpu.pke)
		cr4 |= CR4_PKE;
	/* It may be set only while the PCID is 0; after that it stays [SDM3 4.10.1]. */
	if (features.pcid && cpu.mode >= MODE_4 &&
	    (read_cr4() & CR4_PCIDE || !(read_cr3() & 0xfff)))
		cr4 |= CR4_PCIDE;
	write_cr4(cr4);
}

void paging_write_efer(void)
{
	const uint64_t efer = read_msr(MSR_EFER) & ~(uint64_t)EFER_NXE;

	if (features.nx)
		write_msr(MSR_EFER, efer | (cpu.nxe ? EFER_NXE : 0));
}

void paging_write_pkru(void)
{
	if (cpu.pke)
		__asm__ volatile(".byte 0x0f, 0x01, 0xef" : : "a"(cpu.pkru), "c"(0), "d"(0));
}

/* Without PCIDs every load flushes: more than was asked for, which is always allowed. */
void paging_load_root(bool no_flush)
{
	unsigned long cr3 = (unsigned long)cpu.root_pa[cpu.root];

#ifdef __x86_64__
	if (read_cr4() & CR4_PCIDE)
		cr3 |= cpu.pcid | (unsigned long)no_flush << 63;
#else
	(void)no_flush;
#endif
	write_cr3(cr3);
}

/* Any change of PGE flushes all of all PCIDs, globals too [SDM3 4.10.4.1]. */
void paging_flush_all(void)
{
	if (features.pge) {
		const unsigned long cr4 = read_cr4();

		write_cr4(cr4 ^ CR4_PGE);
		write_cr4(cr4);
	} else {
		paging_load_root(false);
	}
}

void paging_invpcid(enum invpcid type, unsigned pcid, uint64_t gva)
{
#ifdef __x86_64__
	const struct { uint64_t pcid, gva; } what = { pcid, gva };

	if (features.invpcid && read_cr4() & CR4_PCIDE) {
		__asm__ volatile("invpcid %0, %1" : : "m"(what), "r"((uint64_t)type) : "memory");
		return;
	}
#else
	(void)pcid;
	(void)gva;
#endif
	if (type == INVPCID_ALL)
		paging_flush_all();
	else
		paging_load_root(false);
}

void paging_apply(void)
{
	if (cpu.mode != MODE_NONE) {
		paging_write_efer();
		paging_write_cr4();
		paging_load_root(false);
		cpu.paged = true;
	}
	paging_write_cr0();
	paging_write_pkru();
	paging_flush_all();
}

void paging_leave_roots(void)
{
#ifdef __x86_64__
	write_cr4(read_cr4() & ~(unsigned long)(CR4_PCIDE | CR4_PGE | CR4_SMAP | CR4_SMEP |
	                                        CR4_PKE));
	write_cr3(kernel_root());
#else
	write_cr0(read_cr0() & ~(unsigned long)CR0_PG);
	write_cr4(0);
#endif
	cpu.paged = false;
}
