/* SPDX-License-Identifier: MIT */
/* A reader for one flat JSON object; nested ones are none of the hypervisor's. */
#include "counters.h"

#include <stdlib.h>
#include <string.h>

/* Behind a string whose opening quote is at s; null if it does not end. */
static const char *behind_string(const char *s)
{
	for (s++; *s && *s != '"'; s++) {
		if (*s == '\\' && s[1])
			s++;
	}
	return *s ? s + 1 : NULL;
}

/* Behind a value that is no number: a string, or a list of numbers. */
static const char *behind_value(const char *s)
{
	if (*s == '"')
		return behind_string(s);
	if (*s == '[')
		s += strcspn(s, "]");
	return s + strcspn(s, ",}");
}

static void add(struct counters *counters, const char *name, size_t length, uint64_t value)
{
	if (counters->count == COUNTERS_MAX || length >= COUNTER_NAME_MAX)
		return;
	memcpy(counters->counter[counters->count].name, name, length);
	counters->counter[counters->count].name[length] = '\0';
	counters->counter[counters->count++].value = value;
}

bool counters_read(struct counters *counters, const char *json)
{
	const char *at = json + strspn(json, " ");

	counters->count = 0;
	if (*at++ != '{')
		return false;
	for (;;) {
		const char *name, *end;

		at += strspn(at, ", ");
		if (*at == '}')
			return true;
		name = at + 1;
		if (*at != '"' || !(end = behind_string(at)) || *end != ':')
			return false;
		at = end + 1 + strspn(end + 1, " ");
		if (*at >= '0' && *at <= '9') {
			char *behind;
			const uint64_t value = strtoull(at, &behind, 10);

			add(counters, name, (size_t)(end - 1 - name), value);
			at = behind;
		} else if (!(at = behind_value(at))) {
			return false;
		}
		if (*at != ',' && *at != '}')
			return false;
	}
}

uint64_t counters_get(const struct counters *counters, const char *name)
{
	for (unsigned i = 0; i < counters->count; i++) {
		if (!strcmp(counters->counter[i].name, name))
			return counters->counter[i].value;
	}
	return 0;
}
