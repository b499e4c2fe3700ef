/* SPDX-License-Identifier: MIT */
/* L2's control block. L2 runs in the mark guest's kernel: same code, descriptors, exceptions. */
#include "mark/svm.h"

#include "mark/machine.h"
#include "mark/space.h"

enum { LEAF_FEATURES = 0x80000001, LEAF_SVM = 0x8000000a };
#define FEATURES_C_SVM (1u << 2)
#define SVM_D_NESTED_PAGING (1u << 0)

enum { MSR_PAT = 0x277 };
#define MSR_EFER 0xc0000080u
#define MSR_VM_CR 0xc0010114u
#define MSR_VM_HSAVE_PA 0xc0010117u
#define EFER_SVME (1ull << 12)
#define VM_CR_SVMDIS (1ull << 4)

enum { L2_STACK_BYTES = 4096 }; /* for an exception's line */

#define ALIGNED __attribute__((aligned(PAGE_BYTES)))
struct vmcb ALIGNED l2, ALIGNED l1_state;
static uint8_t ALIGNED host_save[PAGE_BYTES];
static uint8_t ALIGNED l2_stack[L2_STACK_BYTES];

static uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

static void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr"
	                 : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
	                 : "memory");
}

/* The registers of a leaf; all 0 if the processor does not go so far. */
static void leaf_of(uint32_t leaf, uint32_t out[4])
{
	cpuid(leaf & 0x80000000, out);
	if (out[0] >= leaf)
		cpuid(leaf, out);
	else
		out[0] = out[1] = out[2] = out[3] = 0;
}

unsigned svm_asids(void)
{
	uint32_t svm[4];

	leaf_of(LEAF_SVM, svm);
	return svm[1];
}

const char *svm_begin(bool nested_paging)
{
	uint32_t features[4], svm[4];

	leaf_of(LEAF_FEATURES, features);
	leaf_of(LEAF_SVM, svm);
	if (!(features[2] & FEATURES_C_SVM))
		return "no SVM";
	if (rdmsr(MSR_VM_CR) & VM_CR_SVMDIS)
		return "SVM is disabled";
	if (nested_paging && !(svm[3] & SVM_D_NESTED_PAGING))
		return "no nested paging";
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, (uint64_t)host_save);
	return 0;
}

static struct vmcb_segment descriptor_table(const char *which)
{
	struct __attribute__((packed)) { uint16_t limit; uint64_t base; } at;

	if (*which == 'g')
		__asm__ volatile("sgdt %0" : "=m"(at));
	else
		__asm__ volatile("sidt %0" : "=m"(at));
	return (struct vmcb_segment){ 0, 0, at.limit, at.base };
}

void svm_prepare(const char *code, uint64_t cr3, uint64_t nested_cr3)
{
	const struct vmcb_segment data = { 16, 0xc93, 0xffffffff, 0 };

	svm_save(&l1_state);
	svm_save(&l2);
	l2.intercept2 = INTERCEPT2_VMRUN | INTERCEPT2_VMMCALL;
	l2.asid = 1;
	l2.tlb_control = TLB_FLUSH_NONE;
	l2.nested_control = nested_cr3 ? NESTED_PAGING : 0;
	l2.nested_cr3 = nested_cr3;
	l2.cs = (struct vmcb_segment){ 8, 0xa9b, 0xffffffff, 0 };
	l2.ds = l2.es = l2.ss = data;
	l2.gdtr = descriptor_table("gdtr");
	l2.idtr = descriptor_table("idtr");
	l2.efer = rdmsr(MSR_EFER);
	l2.cr0 = read_cr0();
	l2.cr3 = cr3;
	l2.cr4 = read_cr4();
	l2.dr6 = 0xffff0ff0;
	l2.dr7 = 0x400;
	l2.rflags = 2;
	l2.rip = (uint64_t)code;
	l2.rsp = (uint64_t)l2_stack + L2_STACK_BYTES;
	l2.pat = rdmsr(MSR_PAT);
	svm_clgi();
}

void svm_check(void)
{
	if (l2.exit_code != EXIT_VMMCALL)
		fail("L2 left by another exit than VMMCALL", "");
}

__asm__(".globl l2_leave, l2_cpuid_loop, l2_cr3_loop, l2_write_loop\n"
        "l2_cpuid_loop:\n"
        "	xor %eax, %eax\n"
        "	cpuid\n"
        "	dec %rsi\n"
        "	jnz l2_cpuid_loop\n"
        "	jmp l2_leave\n"
        "l2_cr3_loop:\n"
        "	mov %cr3, %rax\n"
        "1:	mov %rax, %cr3\n"
        "	dec %rsi\n"
        "	jnz 1b\n"
        "	jmp l2_leave\n"
        "l2_write_loop:\n"
        "	movq $1, (%rdi)\n"
        "	add $4096, %rdi\n"
        "	dec %rsi\n"
        "	jnz l2_write_loop\n"
        "l2_leave:\n"
        "	vmmcall\n");
