/* SPDX-License-Identifier: MIT */
/* What the host is, as the head of a trace says it. */
#include "record.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

__attribute__((format(printf, 2, 3)))
static void add(struct record_facts *facts, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(facts->text[facts->count], RECORD_FACT_SIZE, format, arguments);
	va_end(arguments);
	facts->fact[facts->count] = facts->text[facts->count];
	facts->count++;
}

/* The first line of a file, empty if there is none. */
static void read_line(const char *path, char *line, size_t size)
{
	FILE *file = fopen(path, "re");

	line[0] = '\0';
	if (!file)
		return;
	if (fgets(line, (int)size, file))
		line[strcspn(line, "\n")] = '\0';
	fclose(file);
}

/* The value of the first line "key : value" of /proc/cpuinfo. */
static void read_processor(const char *key, char *value, size_t size)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	char line[512];

	value[0] = '\0';
	while (file && !value[0] && fgets(line, sizeof(line), file)) {
		const char *colon = strchr(line, ':');

		if (!strncmp(line, key, strlen(key)) && colon && colon[1] == ' ')
			snprintf(value, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
	}
	if (file)
		fclose(file);
}

/* Of the modules' parameters, those that decide how memory is virtualised. */
static void add_kvm(struct record_facts *facts)
{
	static const struct {
		const char *name, *path;
		bool direct; /* set: L1's memory is mapped directly */
	} parameters[] = {
		{ "npt", "/sys/module/kvm_amd/parameters/npt", true },
		{ "nested", "/sys/module/kvm_amd/parameters/nested", false },
		{ "ept", "/sys/module/kvm_intel/parameters/ept", true },
		{ "nested", "/sys/module/kvm_intel/parameters/nested", false },
		{ "tdp_mmu", "/sys/module/kvm/parameters/tdp_mmu", false },
	};
	char text[RECORD_FACT_SIZE - 8] = "", value[16];

	for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++) {
		size_t used = strlen(text);
		bool on;

		read_line(parameters[i].path, value, sizeof(value));
		if (!value[0])
			continue;
		on = value[0] == 'Y' || value[0] == '1';
		facts->direct |= on && parameters[i].direct;
		snprintf(text + used, sizeof(text) - used, "%s%s=%d", used ? " " : "",
		         parameters[i].name, on);
	}
	add(facts, "kvm=%s", text);
	add(facts, "mmu=%s", facts->direct ? "direct" : "shadow");
}

void record_read_facts(struct record_facts *facts, const char *missing)
{
	char value[200];
	struct utsname system;

	memset(facts, 0, sizeof(*facts));
	add(facts, "recorder=rhizome record");
	if (uname(&system) == 0)
		add(facts, "kernel=%s", system.release);
	read_processor("model name", value, sizeof(value));
	add(facts, "processor=%s", value);
	add_kvm(facts);
	if (missing[0])
		add(facts, "missing=%s", missing);
}
