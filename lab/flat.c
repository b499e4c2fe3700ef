/* SPDX-License-Identifier: MIT */
/* A JSON reader without recursion; see flat.h. [RFC 8259] */
#include "flat.h"
#include "lab.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An object or a list that is open, and the path to it. */
struct level {
	bool list;
	size_t path; /* length of its own path */
	unsigned next; /* number of the list's next element */
};

struct reader {
	struct lab_flat *flat;
	const char *at, *end;
	char path[LAB_FLAT_NAME];
	struct level level[LAB_FLAT_DEPTH];
	unsigned depth;
};

static void skip_space(struct reader *r)
{
	while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' ||
	                          *r->at == '\r'))
		r->at++;
}

static bool take(struct reader *r, char c)
{
	skip_space(r);
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

/* A string into memory of its own. Escapes are kept as they are but for the quote and backslash. */
static char *take_string(struct reader *r)
{
	const char *first;
	char *text;
	size_t length = 0;

	if (!take(r, '"'))
		return NULL;
	for (first = r->at; r->at < r->end && *r->at != '"'; r->at++)
		if (*r->at == '\\' && ++r->at == r->end)
			return NULL;
	if (r->at == r->end)
		return NULL;
	text = lab_realloc(NULL, (size_t)(r->at - first) + 1, 1);
	for (; first < r->at; first++) {
		if (*first == '\\' && (first[1] == '"' || first[1] == '\\'))
			first++;
		text[length++] = *first;
	}
	text[length] = '\0';
	r->at++;
	return text;
}

static void add(struct reader *r, double number, char *string)
{
	struct lab_flat *flat = r->flat;

	if (flat->count == flat->room) {
		flat->room = flat->room ? flat->room * 2 : 64;
		flat->item = lab_realloc(flat->item, flat->room, sizeof(*flat->item));
	}
	memcpy(flat->item[flat->count].name, r->path, sizeof(r->path));
	flat->item[flat->count].number = number;
	flat->item[flat->count++].string = string;
}

static bool take_word(struct reader *r, const char *word)
{
	size_t length = strlen(word);

	if ((size_t)(r->end - r->at) < length || memcmp(r->at, word, length))
		return false;
	r->at += length;
	return true;
}

static bool take_number(struct reader *r, double *number)
{
	char text[40], *behind;
	size_t length = 0;

	while (r->at + length < r->end && length < sizeof(text) - 1 &&
	       strchr("+-.0123456789eE", r->at[length]) && r->at[length])
		length++;
	memcpy(text, r->at, length);
	text[length] = '\0';
	*number = strtod(text, &behind);
	r->at += behind - text;
	return behind > text && !*behind;
}

/* A value that is neither object nor list. */
static bool take_scalar(struct reader *r)
{
	double number = 0;
	char *string;

	if (r->at < r->end && *r->at == '"') {
		string = take_string(r);
		if (string)
			add(r, 0, string);
		return string != NULL;
	}
	if (take_word(r, "null"))
		return true;
	if (take_word(r, "true"))
		number = 1;
	else if (!take_word(r, "false") && !take_number(r, &number))
		return false;
	add(r, number, NULL);
	return true;
}

/* The path of the next member or element; false if there is none to be had. */
static bool name_next(struct reader *r)
{
	struct level *level = &r->level[r->depth - 1];
	size_t room = sizeof(r->path) - level->path;
	char *name;

	if (level->list) {
		snprintf(r->path + level->path, room, "[%u]", level->next++);
		return true;
	}
	name = take_string(r);
	if (!name)
		return false;
	snprintf(r->path + level->path, room, "%s%s", level->path ? "." : "", name);
	free(name);
	return take(r, ':');
}

static bool open_level(struct reader *r, bool list)
{
	if (r->depth == LAB_FLAT_DEPTH)
		return false;
	r->level[r->depth++] = (struct level){ .list = list, .path = strlen(r->path) };
	return true;
}

/* Behind a value: closes what ends here. False unless more comes or all is closed. */
static bool close_levels(struct reader *r)
{
	while (r->depth) {
		if (take(r, ','))
			return true;
		if (!take(r, r->level[r->depth - 1].list ? ']' : '}'))
			return false;
		r->depth--;
	}
	return true;
}

/* Where a name is in the index, or would be: tries one place after the other. */
static size_t *place_of(const struct lab_flat *flat, const char *name)
{
	uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
	size_t at;

	for (const char *c = name; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 0x100000001b3u;
	for (at = (hash ^ hash >> 32) & (flat->index_room - 1);
	     flat->index[at] && strcmp(flat->item[flat->index[at] - 1].name, name);)
		at = (at + 1) & (flat->index_room - 1);
	return &flat->index[at];
}

void lab_flat_index(struct lab_flat *flat)
{
	flat->index_room = 64;
	while (flat->index_room < 2 * flat->count)
		flat->index_room *= 2;
	flat->index = lab_realloc(flat->index, flat->index_room, sizeof(*flat->index));
	memset(flat->index, 0, flat->index_room * sizeof(*flat->index));
	for (size_t i = 0; i < flat->count; i++) {
		size_t *place = place_of(flat, flat->item[i].name);

		if (!*place)
			*place = i + 1;
	}
}

const struct lab_flat_item *lab_flat_find(const struct lab_flat *flat, const char *name)
{
	const size_t *place = flat->index_room ? place_of(flat, name) : NULL;

	return place && *place ? &flat->item[*place - 1] : NULL;
}

bool lab_flat_read(struct lab_flat *flat, const char *text, size_t length, size_t *at)
{
	struct reader r = { .flat = flat, .at = text, .end = text + length };
	bool good = take(&r, '{') && open_level(&r, false);

	while (good && r.depth) {
		struct level *level = &r.level[r.depth - 1];

		if (!level->next && take(&r, level->list ? ']' : '}')) {
			r.depth--;
			good = close_levels(&r);
			continue;
		}
		good = name_next(&r);
		skip_space(&r);
		if (!good)
			break;
		level->next += !level->list && !level->next; /* no longer empty */
		if (take(&r, '{'))
			good = open_level(&r, false);
		else if (take(&r, '['))
			good = open_level(&r, true);
		else
			good = take_scalar(&r) && close_levels(&r);
	}
	*at = (size_t)(r.at - text);
	lab_flat_index(flat);
	return good;
}

void lab_flat_free(struct lab_flat *flat)
{
	for (size_t i = 0; i < flat->count; i++)
		free(flat->item[i].string);
	free(flat->item);
	free(flat->index);
	*flat = (struct lab_flat){ .count = 0 };
}
