/* SPDX-License-Identifier: MIT */
/*
 * A Multiboot guest that tortures an MMU: random page tables, edited through aliases, random
 * registers, invalidations and accesses, all from a seed. docs/torture.md tells what is determined,
 * how to replay a seed, and the command line:
 *
 *   mode=none|32|pae|4|5  seed=N  seeds=N  steps=N  without=pku,smap,...  verbose
 */
#include "torture/arena.h"
#include "torture/machine.h"
#include "torture/paging.h"
#include "torture/random.h"
#include "torture/step.h"
#include "torture/world.h"

enum { COMMAND_MAX = 256, INFO_COMMAND_LINE = 16 };

static char command[COMMAND_MAX];

void torture_main(unsigned long info);

/* The text behind "name=", or null. */
static const char *argument(const char *name)
{
	for (const char *s = command; *s; s++) {
		if ((s == command || s[-1] == ' ') && text_begins(s, name)) {
			const char *value = s;

			while (*value && *value != ' ' && *value != '=')
				value++;
			return *value == '=' ? value + 1 : value;
		}
	}
	return 0;
}

static uint32_t number(const char *name, uint32_t otherwise)
{
	const char *s = argument(name);
	uint32_t value = 0;

	if (!s)
		return otherwise;
	for (; *s >= '0' && *s <= '9'; s++)
		value = value * 10 + (uint32_t)(*s - '0');
	return value;
}

static const char *const mode_names[] = { "none", "32", "pae", "4", "5" };

static void choose_mode(void)
{
	const char *name = argument("mode=");

	for (unsigned i = 0; name && i < sizeof(mode_names) / sizeof(mode_names[0]); i++) {
		if (text_begins(name, mode_names[i]) && paging_choose((enum mode)i))
			return;
	}
	say("torture: no such mode here: ");
	say(command);
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
	const char *line = (const char *)(unsigned long)*(uint32_t *)(info + INFO_COMMAND_LINE);
	uint32_t seed, seeds, steps;

	for (unsigned i = 0; i < COMMAND_MAX - 1 && line[i]; i++)
		command[i] = line[i];
	machine_init(argument("without="));
	choose_mode();
	paging_build_kernel();
	seed = number("seed=", 1);
	seeds = number("seeds=", 1);
	steps = number("steps=", 1000);
	while (seeds-- > 0)
		run_seed(seed++, steps);
	paging_leave_roots();
	say("torture: done\n");
	leave(0);
}
