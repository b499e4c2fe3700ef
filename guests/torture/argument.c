/* SPDX-License-Identifier: MIT */
/* The command line. */
#include "torture/argument.h"

#include "torture/machine.h"

enum { COMMAND_MAX = 256, INFO_COMMAND_LINE = 16 };

static char command[COMMAND_MAX];

void argument_init(unsigned long info)
{
	const char *line = (const char *)(unsigned long)*(uint32_t *)(info + INFO_COMMAND_LINE);

	for (unsigned i = 0; i < COMMAND_MAX - 1 && line[i]; i++)
		command[i] = line[i];
}

const char *argument_line(void)
{
	return command;
}

const char *argument(const char *name)
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

uint32_t argument_number(const char *name, uint32_t otherwise)
{
	const char *s = argument(name);
	uint32_t value = 0;

	if (!s)
		return otherwise;
	for (; *s >= '0' && *s <= '9'; s++)
		value = value * 10 + (uint32_t)(*s - '0');
	return value;
}
