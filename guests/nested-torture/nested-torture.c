/* SPDX-License-Identifier: MIT */
/*
 * A Multiboot guest (L1) that uses SVM and tortures it: random and adversarial control blocks,
 * nested tables and permission maps at its VMRUN, from a seed. docs/nested-torture.md tells more.
 *
 *   seed=N  seeds=N  steps=N  exact=nested|all  verbose
 */
#include "nested-torture/l2.h"
#include "nested-torture/machine.h"
#include "nested-torture/steps.h"
#include "nested-torture/world.h"
#include "torture/argument.h"
#include "torture/machine.h"
#include "torture/random.h"

enum { CHECK_STEPS = 250 };

#define EXTENDED_C_SVM (1u << 2)
#define EFER_SVME (1u << 12)
#define MSR_VM_HSAVE_PA 0xc0010117u

static uint8_t host_save[4096] __attribute__((aligned(4096)));
uint64_t random_state;

void torture_main(unsigned long info);

static void find_processor(void)
{
	uint32_t extended[4], sizes[4], svm[4];

	cpuid(0x80000001, extended);
	if (!(extended[2] & EXTENDED_C_SVM)) {
		say("nested-torture: this processor has no SVM\n");
		leave(2);
	}
	cpuid(0x80000008, sizes);
	cpuid(0x8000000a, svm);
	processor.address_bits = sizes[0] & 0xff;
	processor.next_rip = svm[3] >> 3 & 1;
	processor.flush_by_asid = svm[3] >> 6 & 1;
	processor.decode_assists = svm[3] >> 7 & 1;
	processor.virtual_gif = svm[3] >> 16 & 1;
	processor.exact_nested = argument("exact=") != 0;
	processor.exact = processor.exact_nested && text_begins(argument("exact="), "all");
	write_msr(MSR_EFER, read_msr(MSR_EFER) | EFER_SVME | EFER_NXE);
	write_msr(MSR_VM_HSAVE_PA, (uintptr_t)host_save);
}

/*
 * TR is L2's as well, until VMLOAD: one that is too short for an I/O map makes IN and OUT of a user
 * a #GP. L1 needs none of it.
 */
static void shorten_tss(void)
{
	__asm__ volatile("vmsave %0" : : "a"(&l2) : "memory");
	l2.tr.limit = 0x20;
	__asm__ volatile("vmload %0" : : "a"(&l2) : "memory");
}

static void step(void)
{
	static const struct { uint8_t share; void (*step)(void); } kinds[] = {
		{ 37, step_access },
		{ 10, step_illegal },
		{ 15, step_intercept },
		{ 7, step_port },
		{ 15, step_event },
		{ 5, step_own },
		{ 3, step_hostile },
		{ 8, step_msr },
	};
	unsigned kind = below(100), i = 0;

	for (; kind >= kinds[i].share; i++)
		kind -= kinds[i].share;
	kinds[i].step();
}

static void tell_step(void)
{
	say("step ");
	say_number(report.step);
	say(" done ");
	say_number(report.done);
	say(" digest ");
	say_hex(report.digest);
	say("\n");
}

static void run_seed(uint32_t seed, uint32_t steps)
{
	report = (struct report){ .seed = seed, .verbose = argument("verbose") != 0 };
	random_state = scramble(seed * 8ull + 7);
	world_build();
	for (report.step = 1; report.step <= steps; report.step++) {
		step();
		if (report.verbose)
			tell_step();
		if (report.step % CHECK_STEPS == 0 || report.step == steps) {
			const uint64_t pa = world_check();

			if (pa)
				tell("memory", "at", pa, *word_at(pa));
		}
	}
	say("nested-torture: seed ");
	say_number(seed);
	say(" digest ");
	say_hex(report.digest);
	say(" done ");
	say_number(report.done);
	say(" open ");
	say_number(report.open);
	say(" failed ");
	say_number(report.failed);
	say("\n");
}

void torture_main(unsigned long info)
{
	uint32_t seed, seeds, steps;

	argument_init(info);
	machine_init(argument("without="));
	find_processor();
	shorten_tss();
	machine_interrupts_init();
	seed = argument_number("seed=", 1);
	seeds = argument_number("seeds=", 1);
	steps = argument_number("steps=", 1000);
	while (seeds-- > 0)
		run_seed(seed++, steps);
	say("nested-torture: done\n");
	leave(0);
}
