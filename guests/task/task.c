/* SPDX-License-Identifier: MIT */
/*
 * A Multiboot guest of hardware tasks: switches by JMP, CALL, IRET, task gates and exceptions with
 * an error code; TSSs of 32 and 16 bits, one of them inside a page table; each task with a CR3 of
 * its own; and the faults of switches that must not be made. What it checks holds on the bare
 * machine too. With a command line that ends in '-' it makes no INT n. It leaves by isa-debug-exit
 * with the number of failed checks.
 */
#include <stdbool.h>
#include <stdint.h>

#include "probe/machine.h"

enum {
	CODE = 0x08, DATA = 0x10, MAIN = 0x18, OTHER = 0x20, FAULTED = 0x28, NARROW = 0x30,
	NARROW_CODE = 0x38, LOCAL = 0x40, BAD = 0x48, GDT_ENTRIES = 16, DATA_LOCAL = 0x04,
	VECTOR_TS = 10, VECTOR_NP = 11, VECTOR_GP = 13, VECTOR_PF = 14, VECTOR_TASK = 0x50,
	BUSY = 2, STACK_BYTES = 4096, TSS_BYTES = 104, TSS16_BYTES = 44, LDT_TYPE = 0x82,
	TSS_TYPE = 0x89, TSS16_TYPE = 0x81,
	TABLE_FLAGS = 0x67, LARGE_FLAGS = 0xe7, TSS_INDEX = 600,
};
#define WINDOW 0x80000000u
#define CR0_PAGED 0x80010000u /* PG, WP */
#define CR0_TS (1u << 3)
#define CR4_PSE (1u << 4)
#define EFLAGS_NT (1u << 14)

struct tss {
	uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags;
	uint32_t eax, ecx, edx, ebx, esp, ebp, esi, edi;
	uint32_t es, cs, ss, ds, fs, gs, ldt, trap;
};
struct tss16 {
	uint16_t link, sp0, ss0, sp1, ss1, sp2, ss2, ip, flags;
	uint16_t ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, ldt;
};
struct gate { uint16_t low, selector, type, high; };
struct __attribute__((packed)) table_register { uint16_t limit; uint32_t base; };
struct info { uint32_t flags, mem_lower, mem_upper, boot_device, cmdline; };

void probe_main(uint32_t magic, const struct info *info);
void look_other(void);
void look_faulted(void);
extern const char other_entry[], faulted_entry[], narrow_entry[];

volatile uint32_t leave_by_jump, seen_error, narrow_runs;

/* What a task found when it ran. */
static volatile struct { uint32_t runs, cr0, cr2, cr3, ds, fs, eflags, link, window; } seen;

static volatile uint64_t gdt[GDT_ENTRIES] __attribute__((aligned(4096)));
static uint64_t ldt[1];
static uint32_t directory[2][1024] __attribute__((aligned(4096)));
static uint32_t table[2][1024] __attribute__((aligned(4096)));
static uint32_t frame[2][1024] __attribute__((aligned(4096)));
static volatile struct tss main_tss, faulted_tss;
static volatile struct tss *other_tss; /* inside its own directory */
static volatile struct tss16 narrow_tss;
static uint8_t stack[2][STACK_BYTES] __attribute__((aligned(16)));
static unsigned passed, failed;

static void check(bool ok, const char *what)
{
	if (ok) {
		passed++;
		return;
	}
	failed++;
	say("NOT OK ");
	say(what);
	say("\n");
}

/* ---- what a task sees ---- */

#define READ(register) \
	({ \
		uint32_t value_; \
		__asm__ volatile("mov %%" #register ", %0" : "=r"(value_)); \
		value_; \
	})

static void look(uint32_t link)
{
	uint32_t eflags;

	__asm__ volatile("pushf\n\tpop %0" : "=r"(eflags));
	seen.runs++;
	seen.cr0 = READ(cr0);
	seen.cr2 = READ(cr2);
	seen.cr3 = READ(cr3);
	seen.ds = READ(ds);
	seen.fs = READ(fs);
	seen.eflags = eflags;
	seen.link = link & 0xffff;
	seen.window = *(volatile uint32_t *)WINDOW;
	__asm__ volatile("clts");
}

void look_other(void)
{
	look(other_tss->link);
}

/* Its caller shall go on behind the instruction that faulted. */
void look_faulted(void)
{
	look(faulted_tss.link);
	main_tss.eip = resume;
	resume = 0;
}

/* ---- making it ---- */

static void set_descriptor(unsigned selector, uint32_t base, uint32_t limit, uint32_t type)
{
	gdt[selector / 8] = (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
	                    (uint64_t)type << 40 | (uint64_t)(limit >> 16 & 15) << 48 |
	                    (uint64_t)(base >> 24) << 56;
}

static uint32_t type_of(unsigned selector)
{
	return (uint32_t)(gdt[selector / 8] >> 40) & 0xff;
}

static void set_gate(unsigned vector, unsigned selector)
{
	struct table_register idtr;

	__asm__ volatile("sidt %0" : "=m"(idtr));
	((volatile struct gate *)idtr.base)[vector] =
		(struct gate){ 0, (uint16_t)selector, 0x8500, 0 };
}

static void make_tss(volatile struct tss *tss, const char *entry, unsigned which)
{
	*tss = (struct tss){
		.cr3 = (uint32_t)directory[1], .eip = (uint32_t)entry, .eflags = 2,
		.esp = (uint32_t)(stack[which] + STACK_BYTES), .es = DATA, .cs = CODE, .ss = DATA,
		.ds = DATA_LOCAL, .ldt = LOCAL,
	};
}

static void make_tables(void)
{
	for (unsigned i = 0; i < 2; i++) {
		for (uint32_t n = 0; n < 1024; n++)
			directory[i][n] = n << 22 | LARGE_FLAGS;
		directory[i][WINDOW >> 22] = (uint32_t)table[i] | TABLE_FLAGS;
		table[i][0] = (uint32_t)frame[i] | TABLE_FLAGS;
		frame[i][0] = 0x1000 + i;
	}
	other_tss = (volatile struct tss *)&directory[1][TSS_INDEX];
}

static void make_tasks(void)
{
	const struct table_register gdtr = { sizeof(gdt) - 1, (uint32_t)gdt };

	make_tss(other_tss, other_entry, 0);
	make_tss(&faulted_tss, faulted_entry, 1);
	narrow_tss = (struct tss16){ .flags = 2, .cs = NARROW_CODE, .es = DATA, .ss = DATA,
	                             .ds = DATA };
	main_tss.cr3 = (uint32_t)directory[0];
	gdt[CODE / 8] = 0x00cf9b000000ffff;
	gdt[DATA / 8] = 0x00cf93000000ffff;
	ldt[0] = 0x00cf92000000ffff; /* not accessed yet */
	set_descriptor(MAIN, (uint32_t)&main_tss, TSS_BYTES - 1, TSS_TYPE);
	set_descriptor(OTHER, (uint32_t)other_tss, TSS_BYTES - 1, TSS_TYPE);
	set_descriptor(FAULTED, (uint32_t)&faulted_tss, TSS_BYTES - 1, TSS_TYPE);
	set_descriptor(NARROW, (uint32_t)&narrow_tss, TSS16_BYTES - 1, TSS16_TYPE);
	set_descriptor(NARROW_CODE, (uint32_t)narrow_entry, 0xffff, 0x9b);
	gdt[NARROW_CODE / 8] |= 1ull << 54; /* 32-bit code */
	set_descriptor(LOCAL, (uint32_t)ldt, sizeof(ldt) - 1, LDT_TYPE);
	__asm__ volatile("lgdt %0\n\tltr %w1" : : "m"(gdtr), "r"(MAIN) : "memory");
	/* a loader may have left selectors of its own */
	__asm__ volatile("mov %0, %%fs\n\tmov %0, %%gs" : : "r"(0));
	__asm__ volatile("mov %0, %%cr3" : : "r"(directory[0]) : "memory");
	__asm__ volatile("mov %0, %%cr4" : : "r"(READ(cr4) | CR4_PSE) : "memory");
	__asm__ volatile("mov %0, %%cr0" : : "r"(READ(cr0) | CR0_PAGED) : "memory");
	set_gate(VECTOR_TASK, OTHER);
}

/* ---- switches that succeed ---- */

static void check_other(unsigned runs, bool linked, const char *what)
{
	say(what);
	say("\n");
	check(seen.runs == runs, "the task ran");
	check(seen.cr3 == (uint32_t)directory[1] && seen.window == 0x1001, "in its own space");
	check(seen.cr0 & CR0_TS, "with TS set");
	check(seen.ds == DATA_LOCAL && seen.fs == 0, "with its segments");
	check(!(seen.eflags & EFLAGS_NT) == !linked, "with NT if it is nested");
	check(!linked || seen.link == MAIN, "linked to its caller");
	check(READ(cr3) == (uint32_t)directory[0] && *(volatile uint32_t *)WINDOW == 0x1000,
	      "and back in ours");
	check(type_of(MAIN) == (TSS_TYPE | BUSY) && type_of(OTHER) == TSS_TYPE, "busy bits");
	__asm__ volatile("clts");
}

static void check_switches(bool with_int)
{
	uint32_t before = 0x12345678, after = 0;

	leave_by_jump = 1;
	__asm__ volatile("ljmp %0, $0" : : "i"(OTHER) : "memory");
	check_other(1, false, "JMP");
	leave_by_jump = 0;
	__asm__ volatile("mov %1, %%ebp\n\tlcall %2, $0\n\tmov %%ebp, %0"
	                 : "=r"(after) : "r"(before), "i"(OTHER) : "memory", "ebp");
	check(after == before, "registers are kept");
	check_other(2, true, "CALL");
	if (with_int)
		__asm__ volatile("int %0" : : "i"(VECTOR_TASK) : "memory");
	else
		__asm__ volatile("lcall %0, $0" : : "i"(OTHER) : "memory");
	check_other(3, true, "INT n");
	for (unsigned i = 0; i < 20; i++) {
		const struct { uint32_t offset; uint16_t selector; } far = { 0, OTHER };

		__asm__ volatile("lcall *%0" : : "m"(far) : "memory");
	}
	check_other(23, true, "CALL through memory");
	__asm__ volatile("lcall %0, $0" : : "i"(NARROW) : "memory");
	check(narrow_runs == 1 && narrow_tss.link == MAIN, "a task of 16 bits");
	__asm__ volatile("lcall %0, $0" : : "i"(NARROW) : "memory");
	check(narrow_runs == 2 && type_of(NARROW) == TSS16_TYPE, "and again");
}

/* Runs an instruction that faults; its handler goes on behind it. */
#define FAULTS(instruction, ...) \
	__asm__ volatile("movl $1f, %0\n\t" instruction "\n1:\n\tmovl $0, %0" \
	                 : "+m"(resume) : __VA_ARGS__ : "memory", "eax")

static void check_exceptions(void)
{
	seen.runs = 0;
	set_gate(VECTOR_GP, FAULTED);
	FAULTS("mov %1, %%gs", "r"(0xfff8));
	check(seen.runs == 1 && seen_error == 0xfff8 && seen.link == MAIN, "#GP by a task gate");
	set_gate(VECTOR_PF, FAULTED);
	directory[0][WINDOW >> 22] = 0;
	__asm__ volatile("invlpg %0" : : "m"(*(char *)WINDOW) : "memory");
	FAULTS("movl $1, %1", "m"(*(volatile uint32_t *)(WINDOW + 0x123)));
	check(seen.runs == 2 && seen_error == 2 && seen.cr2 == WINDOW + 0x123,
	      "#PF by a task gate");
	directory[0][WINDOW >> 22] = (uint32_t)table[0] | TABLE_FLAGS;
	check(*(volatile uint32_t *)WINDOW == 0x1000, "and mended");
}

/* ---- switches that fault ---- */

static void check_fault(unsigned vector, unsigned selector, const char *what)
{
	check(noted == vector && noted_error == selector, what);
	noted = noted_error = ~0u;
}

static void check_faults(void)
{
	machine_init(); /* exceptions by interrupt gates again */
	FAULTS("lcall %1, $0", "i"(MAIN));
	check_fault(VECTOR_GP, MAIN, "CALL of a busy task");
	set_descriptor(BAD, (uint32_t)other_tss, TSS_BYTES - 2, TSS_TYPE);
	FAULTS("lcall %1, $0", "i"(BAD));
	check_fault(VECTOR_TS, BAD, "CALL of a short TSS");
	set_descriptor(BAD, (uint32_t)other_tss, TSS_BYTES - 1, TSS_TYPE & 0x7f);
	FAULTS("ljmp %1, $0", "i"(BAD));
	check_fault(VECTOR_NP, BAD, "JMP to a TSS that is not present");
	main_tss.link = OTHER;
	FAULTS("pushf\n\torl %1, (%%esp)\n\tpopf\n\tiret", "i"(EFLAGS_NT));
	__asm__ volatile("pushf\n\tandl %0, (%%esp)\n\tpopf" : : "i"(~EFLAGS_NT) : "memory", "cc");
	check_fault(VECTOR_TS, OTHER, "IRET to a task that is not busy");
	check(type_of(MAIN) == (TSS_TYPE | BUSY) && type_of(OTHER) == TSS_TYPE,
	      "a switch that faults changes nothing");
	/* this one is noticed in the new task, which goes on without the segment */
	leave_by_jump = 0;
	make_tss(other_tss, other_entry, 0);
	other_tss->fs = 0xfff8;
	seen.runs = 0;
	resume = (uint32_t)other_entry;
	__asm__ volatile("lcall %0, $0" : : "i"(OTHER) : "memory");
	check_fault(VECTOR_TS, 0xfff8, "a task with a bad segment");
	check(seen.runs == 1 && seen.cr3 == (uint32_t)directory[1], "runs all the same");
}

void probe_main(uint32_t magic, const struct info *info)
{
	const char *end = (const char *)info->cmdline;

	while (*end)
		end++;
	machine_init();
	check(magic == 0x2badb002, "EAX holds the magic number");
	make_tables();
	make_tasks();
	check_switches(end[-1] != '-');
	check_exceptions();
	check_faults();
	say_number(passed);
	say(" passed, ");
	say_number(failed);
	say(" failed\n");
	leave((uint8_t)failed);
}
