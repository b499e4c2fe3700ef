/* SPDX-License-Identifier: MIT */
/* The processor's instructions and register bits that the hypervisor itself uses. No state. */
#ifndef HV_CPU_X86_H
#define HV_CPU_X86_H

#include <stdbool.h>
#include <stdint.h>

#define HV_INLINE static inline __attribute__((always_inline))

#define CR0_PE (1ull << 0)
#define CR0_MP (1ull << 1)
#define CR0_EM (1ull << 2)
#define CR0_TS (1ull << 3)
#define CR0_LMSW (CR0_PE | CR0_MP | CR0_EM | CR0_TS) /* the bits that LMSW loads */
#define CR0_ET (1ull << 4)
#define CR0_NE (1ull << 5)
#define CR0_PG (1ull << 31)
#define CR4_PAE (1ull << 5)
#define CR4_LA57 (1ull << 12)
#define CR4_OSXSAVE (1ull << 18)
#define CR4_PKE (1ull << 22)
#define EFER_SCE (1ull << 0)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)
#define EFER_NXE (1ull << 11)
#define EFER_SVME (1ull << 12)
#define RFLAGS_FIXED (1ull << 1)
#define RFLAGS_TF (1ull << 8)
#define RFLAGS_IF (1ull << 9)
#define RFLAGS_RF (1ull << 16)
#define RFLAGS_VM (1ull << 17)
#define RFLAGS_AC (1ull << 18)

/* Vectors [APM2 8.2]. */
enum { VECTOR_DE = 0, VECTOR_DB = 1, VECTOR_NMI = 2, VECTOR_BP = 3, VECTOR_OF = 4, VECTOR_UD = 6,
       VECTOR_DF = 8, VECTOR_TS = 10, VECTOR_NP = 11, VECTOR_SS = 12, VECTOR_GP = 13,
       VECTOR_PF = 14, VECTOR_AC = 17, VECTORS = 32 };

/* Model-specific registers [APM2 appendix A]. */
#define MSR_APIC_BASE 0x1bu
#define MSR_MTRR_VARIABLE 0x200u /* eight pairs */
#define MSR_MTRR_VARIABLE_END 0x20fu
#define MSR_MTRR_64K 0x250u
#define MSR_MTRR_16K 0x258u /* two */
#define MSR_MTRR_4K 0x268u  /* eight */
#define MSR_PAT 0x277u
#define MSR_MTRR_DEFAULT 0x2ffu
#define MSR_X2APIC 0x800u /* register at page offset o: 0x800 + o / 16 */
#define MSR_EFER 0xc0000080u
#define MSR_SYSCFG 0xc0010010u
#define MSR_HWCR 0xc0010015u
#define MSR_IORR 0xc0010016u /* four */
#define MSR_TOP_MEM 0xc001001au
#define MSR_TOP_MEM2 0xc001001du
#define MSR_PATCH_LOADER 0xc0010020u
#define MSR_SMM_BASE 0xc0010111u
#define MSR_SMM_ADDR 0xc0010112u
#define MSR_SMM_MASK 0xc0010113u
#define MSR_VM_CR 0xc0010114u
#define MSR_IGNNE 0xc0010115u
#define MSR_SMM_CTL 0xc0010116u
#define MSR_VM_HSAVE_PA 0xc0010117u
#define MSR_SVM_LOCK_KEY 0xc0010118u
#define MSR_SEV_STATUS 0xc0010131u

struct cpuid_regs { uint32_t a, b, c, d; };

HV_INLINE struct cpuid_regs cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid_regs r;

	__asm__ volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d)
	                 : "a"(leaf), "c"(subleaf));
	return r;
}

HV_INLINE uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

HV_INLINE void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

HV_INLINE uint16_t in16(uint16_t port)
{
	uint16_t value;

	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

HV_INLINE void out16(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

HV_INLINE uint32_t in32(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

HV_INLINE void out32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

HV_INLINE uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

HV_INLINE uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

HV_INLINE void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
	                 : "memory");
}

/* As rdmsr and wrmsr, but false where the processor raises #GP (boot/exception.c knows how). */
bool rdmsr_safe(uint32_t msr, uint64_t *value);
bool wrmsr_safe(uint32_t msr, uint64_t value);

#define CR_ACCESS(n) \
	HV_INLINE uint64_t read_cr##n(void) \
	{ \
		uint64_t value; \
		__asm__ volatile("mov %%cr" #n ", %0" : "=r"(value)); \
		return value; \
	} \
	HV_INLINE void write_cr##n(uint64_t value) \
	{ \
		__asm__ volatile("mov %0, %%cr" #n : : "r"(value) : "memory"); \
	}
CR_ACCESS(2)
CR_ACCESS(3)
CR_ACCESS(4)
CR_ACCESS(8)

/* Forgets one address under a tag [APM3 INVLPGA]. */
HV_INLINE void invlpga(uint64_t gva, uint32_t asid)
{
	__asm__ volatile("invlpga %0, %1" : : "a"(gva), "c"(asid) : "memory");
}

/* The guest's: neither VMRUN nor we change it. Needs CR4.PKE. */
HV_INLINE uint32_t rdpkru(void)
{
	uint32_t value, zero;

	__asm__ volatile("rdpkru" : "=a"(value), "=d"(zero) : "c"(0));
	return value;
}

HV_INLINE __attribute__((noreturn)) void halt_forever(void)
{
	for (;;)
		__asm__ volatile("cli; hlt" : : : "memory");
}

#endif
