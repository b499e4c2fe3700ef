/* SPDX-License-Identifier: MIT */
/*
 * A Multiboot guest that tortures an MMU: random page tables, edited through aliases, random
 * registers, invalidations and accesses, all from a seed. docs/torture.md tells what is determined,
 * how to replay a seed, and the command line:
 *
 *   mode=none|32|pae|4|5  seed=N  seeds=N  steps=N  without=pku,smap,...  verbose
 */
#include "torture/arena.h"
#include "torture/argument.h"
#include "torture/machine.h"
#include "torture/paging.h"
#include "torture/random.h"
#include "torture/step.h"
#include "torture/world.h"

void torture_main(unsigned long info);

static const char *const mode_names[] = { "none", "32", "pae", "4", "5" };

static void choose_mode(void)
{
	const char *name = argument("mode=");

	for (unsigned i = 0; name && i < sizeof(mode_names) / sizeof(mode_names[0]); i++) {
		if (text_begins(name, mode_names[i]) && paging_choose((enum mode)i))
			return;
	}
	say("torture: no such mode here: ");
	say(argument_line());
	say("\n");
	leave(2);
}

static void run_seed(uint32_t seed, uint32_t steps)
{
	struct report report = { .mode = mode_names[cpu.mode], .seed = seed };

	random_state = scramble(seed * 8ull + cpu.mode);
	world_build();
	step_run(steps, argument("verbose") != 0, &report);
	say("torture: mode ");
	say(mode_names[cpu.mode]);
	say(" seed ");
	say_number(seed);
	say(" digest ");
	say_hex(report.digest);
	say(" done ");
	say_number(report.done);
	say(" faults ");
	say_number(report.faults);
	say(" open ");
	say_number(report.open);
	say("\n");
}

void torture_main(unsigned long info)
{
	uint32_t seed, seeds, steps;

	argument_init(info);
	machine_init(argument("without="));
	choose_mode();
	paging_build_kernel();
	seed = argument_number("seed=", 1);
	seeds = argument_number("seeds=", 1);
	steps = argument_number("steps=", 1000);
	while (seeds-- > 0)
		run_seed(seed++, steps);
	paging_leave_roots();
	say("torture: done\n");
	leave(0);
}
