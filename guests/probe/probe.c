/* SPDX-License-Identifier: MIT */
/*
 * A Multiboot guest that probes what a pass-through hypervisor must not give away. It runs in
 * protected mode without paging, speaks by the first serial line, and leaves by isa-debug-exit
 * with the number of failed checks. Its command line chooses what it does:
 *
 *   (nothing)  what holds on the bare machine too: memory map, modules, interrupts to itself
 *   keep       attacks on the machine, which must do nothing
 *   fuzz N     random attacks from seed N
 *   triple     a triple fault
 *   reset      a reset by port CF9h
 *   hang       nothing, for ever
 */
#include <stdbool.h>
#include <stdint.h>

#include "probe/fuzz.h"
#include "probe/machine.h"

struct info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
	uint32_t symbols[4], mmap_length, mmap_addr;
};
struct module { uint32_t start, end, string, reserved; };
struct __attribute__((packed)) range { uint32_t size; uint64_t base, length; uint32_t type; };

void probe_main(uint32_t magic, const struct info *info);

static unsigned passed, failed;

static void check(bool ok, const char *what)
{
	if (ok)
		passed++;
	else
		failed++;
	say(ok ? "ok " : "NOT OK ");
	say(what);
	say("\n");
}

static bool same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static bool begins(const char *s, const char *with)
{
	while (*with && *s == *with)
		s++, with++;
	return !*with;
}

static uint32_t number(const char *s)
{
	uint32_t value = 0;

	for (; *s >= '0' && *s <= '9'; s++)
		value = value * 10 + (uint32_t)(*s - '0');
	return value;
}

static const char *argument(const struct info *info)
{
	const char *s = (const char *)info->cmdline;

	while (*s && *s != ' ')
		s++;
	while (*s == ' ')
		s++;
	return s;
}

static void check_map(const struct info *info)
{
	const uint32_t last = info->mmap_addr + info->mmap_length;
	uint64_t available = 0;

	for (uint32_t at = info->mmap_addr; at < last;) {
		const struct range *range = (const struct range *)at;

		if (range->type == 1)
			available += range->length;
		at += range->size + 4;
	}
	check(info->flags & 1 << 6, "a memory map is given");
	check(available > 8 << 20, "the map holds memory");
	check(available / 1024 >= info->mem_upper, "mem_upper agrees with the map");
}

static void check_modules(const struct info *info)
{
	const struct module *module = (const struct module *)info->mods_addr;

	for (uint32_t i = 0; i < info->mods_count; i++) {
		check(module[i].start % 4096 == 0, "a module begins on a page");
		check(same((const char *)module[i].start, "module text\n"), "a module's contents");
	}
}

static void check_interrupts(void)
{
	check(self_interrupt(0x40) == 1, "a fixed interrupt to itself arrives once");
	check(faults_on_ud2(), "#UD arrives");
}

/*
 * Events whose delivery touches memory that was never touched: under nested paging each faults in
 * the middle, and must arrive all the same, once.
 */
static void check_deliveries(void)
{
	static const char *const names[DELIVERIES] = {
		[DELIVER_INTERRUPT] = "an interrupt", [DELIVER_SOFTWARE] = "INT n",
		[DELIVER_UD] = "#UD", [DELIVER_GP] = "#GP", [DELIVER_NMI] = "an NMI",
	};
	uint32_t stack = 8 << 20;

	for (unsigned i = 0; i < DELIVERIES; i++) {
		unsigned arrived = 0;

		for (unsigned n = 0; n < 2; n++, stack += 2 << 20)
			arrived += deliver_on(stack + 2048, (enum delivery)i);
		say(names[i]);
		say(": ");
		check(arrived == 2, "delivered twice on fresh stacks");
	}
}

/* What follows must leave the machine as it was. */

static bool has_svm(void)
{
	uint32_t a = 0x80000001, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return c & 1 << 2;
}

/* SVM is there or not, but either way the registers, CPUID and the instructions say the same. */
static void attack_svm(void)
{
	const bool has = has_svm();
	uint64_t value;

	check(read_msr(0xc0000080, &value) && !(value & 1 << 12), "EFER.SVME reads as 0");
	check(write_msr(0xc0000080, 1 << 12) == has && (!has || write_msr(0xc0000080, 0)),
	      "EFER.SVME can be set if there is SVM");
	check(read_msr(0xc0010114, &value) && (value & 0x18) == (has ? 0x08 : 0x18),
	      "VM_CR says disabled if there is none");
	check(!write_msr(0xc0010117, 0x1234), "VM_HSAVE_PA is a page's address");
	check(vmrun_faults(), "VMRUN raises #UD");
	check(vmmcall_faults(), "VMMCALL raises #UD");
	check(clgi_faults(), "CLGI raises #UD");
}

static void attack_mtrrs(void)
{
	uint64_t before, value;

	check(read_msr(0x2ff, &before), "the default MTRR can be read");
	check(write_msr(0x2ff, 0) && read_msr(0x2ff, &value) && value == 0,
	      "an MTRR reads as written");
	check(write_msr(0x2ff, before), "an MTRR can be written back");
	check(!write_msr(0x1b, 0xfed00900), "the APIC cannot be moved");
}

static void attack_a20(void)
{
	volatile uint32_t *low = (void *)0x5000, *high = (void *)0x105000;

	*high = 0x12345678;
	out8(0x92, in8(0x92) & ~3);
	*low = 1;
	check(*high == 0x12345678, "port 92h leaves A20 on");
	out8(0x64, 0xd1);
	out8(0x60, 0xdd);
	*low = 2;
	check(*high == 0x12345678, "the 8042's output port leaves A20 on");
	out8(0x64, 0xdd);
	*low = 3;
	check(*high == 0x12345678, "the 8042's command DDh leaves A20 on");
}

static void attack_processor(void)
{
	apic_write(0x310, apic_read(0x20));
	apic_write(0x300, 0x0500 | 1 << 14);
	check(true, "INIT to itself does nothing");
	apic_write(0x300, 0x4500 | 1 << 18);
	check(true, "INIT by shorthand does nothing");
	apic_write(0x300, 0x0610);
	check(true, "a start-up interrupt does nothing");
	apic_write(0x350, 0x0500);
	check(apic_read(0x350) & 1 << 16, "a local vector with INIT stays masked");
	apic_write(0x350, 0x10700);
	check(ioapic_write(0x10 + 2 * 3, 0x10510) & 1 << 16 &&
	      ioapic_write(0x10 + 2 * 3, 0x0510) & 1 << 16, "a line with INIT stays masked");
	check(!(ioapic_write(0x10 + 2 * 3, 0x0010) & 1 << 16), "a line with an interrupt does not");
	ioapic_write(0x10 + 2 * 3, 0x10000);
	__asm__ volatile("invd");
	check(true, "INVD does nothing");
}

/* Every page of memory that the map calls reserved at the top of RAM, and one far above all. */
static void attack_memory(const struct info *info)
{
	const uint32_t last = info->mmap_addr + info->mmap_length;
	uint32_t written = 0;

	for (uint32_t at = info->mmap_addr; at < last;) {
		const struct range *range = (const struct range *)at;

		at += range->size + 4;
		if (range->type != 2 || range->base < 1 << 20 || range->base >> 31 ||
		    range->length < 1 << 20)
			continue;
		for (uint64_t page = 0; page < range->length; page += 4096, written++)
			*(volatile uint32_t *)(uint32_t)(range->base + page) = 0xdeadbeef;
	}
	check(written > 256, "the hypervisor's memory swallows writes");
}

static void attack_ports(void)
{
	out8(0xe9, 'X');
	check(in8(0xe9) == 0xff, "the hypervisor's console is not there");
	out8(0xb2, 0);
	check(true, "an SMI comes and goes");
	out8(0xcf9, 2);
	check(true, "CF9h without its reset bit does nothing");
}

void probe_main(uint32_t magic, const struct info *info)
{
	const char *what = argument(info);

	machine_init();
	check(magic == 0x2badb002, "EAX holds the magic number");
	if (same(what, "triple"))
		triple_fault();
	if (same(what, "reset")) {
		out8(0xcf9, 2);
		out8(0xcf9, 6);
	}
	while (same(what, "hang"))
		__asm__ volatile("hlt");
	check_map(info);
	check_modules(info);
	check_interrupts();
	check_deliveries();
	if (begins(what, "fuzz ")) {
		fuzz(number(what + 5));
		check(self_interrupt(0x41) == 1, "interrupts still arrive");
	}
	if (same(what, "keep")) {
		attack_svm();
		attack_mtrrs();
		attack_a20();
		attack_processor();
		attack_memory(info);
		attack_ports();
		check(self_interrupt(0x41) == 1, "interrupts still arrive");
	}
	say_number(passed);
	say(" passed, ");
	say_number(failed);
	say(" failed\n");
	leave((uint8_t)failed);
}
