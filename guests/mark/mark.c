/* SPDX-License-Identifier: MIT */
/*
 * A Multiboot guest that measures what memory virtualisation costs it: TSC ticks of an operation,
 * loop overhead included, the median of five repetitions after a warm-up. Each row is a line of
 * JSON on the first serial line:
 *
 *   {"op": "cr3", "roots": 3, "ticks": 297}
 *   {"op": "vmrun", "npt": 1, "ticks": 1108}
 *   {"op": "vmrun", "npt": 1, "skip": "no SVM"}
 *
 * npt: the row has a guest of its own, with nested paging (1) or without.
 * Its command line may choose: rows=cr3,invlpg, roots=1,8 and npt=1; detail=1 adds the operations
 * of all five repetitions. It leaves by isa-debug-exit with 0.
 */
#include "mark/machine.h"
#include "mark/rows.h"
#include "mark/space.h"

enum { REPETITIONS = 5, ARGUMENT_SIZE = 512 };

struct info { uint32_t flags, mem_lower, mem_upper, boot_device, cmdline; };

void mark_main(uint32_t magic, const struct info *info);
void mark_begin(void);
void mark_end(void);

extern const char image_end[];

static const struct row *const groups[] = { switch_rows, touch_rows, scale_rows, nested_rows };
enum { GROUPS = sizeof(groups) / sizeof(groups[0]) };

static char rows_wanted[ARGUMENT_SIZE], roots_wanted[ARGUMENT_SIZE] = "1,2,3,4,5,8,16,32";
static char npt_wanted[ARGUMENT_SIZE] = "0,1", detail[ARGUMENT_SIZE];

/* Whoever watches from outside (scripts/profile) sees a counted repetition begin and end here. */
__attribute__((noinline)) void mark_begin(void)
{
	__asm__ volatile("");
}

__attribute__((noinline)) void mark_end(void)
{
	__asm__ volatile("");
}

/* Copies the value of a word 'name=value' of the command line, if it is there. */
static void take(const char *line, const char *name, char value[ARGUMENT_SIZE])
{
	while (*line) {
		const char *word = line, *with = name;
		unsigned length = 0;

		while (*with && *word == *with)
			word++, with++;
		if (!*with) {
			for (; *word && *word != ' ' && length < ARGUMENT_SIZE - 1; word++)
				value[length++] = *word;
			value[length] = '\0';
			return;
		}
		while (*line && *line != ' ')
			line++;
		while (*line == ' ')
			line++;
	}
}

/* What follows 'item' in a list with commas; null: the list does not begin with it. */
static const char *behind(const char *list, const char *item)
{
	while (*item && *list == *item)
		list++, item++;
	return !*item && (!*list || *list == ',') ? list : 0;
}

static const char *next(const char *list)
{
	while (*list && *list != ',')
		list++;
	return *list ? list + 1 : list;
}

static bool wanted(const struct row *row)
{
	for (const char *at = rows_wanted; *at; at = next(at)) {
		if (behind(at, row->op))
			return true;
	}
	return !*rows_wanted;
}

/* Every name of the list must be some row's. */
static void check_names(void)
{
	for (const char *at = rows_wanted; *at; at = next(at)) {
		bool known = false;

		for (unsigned g = 0; g < GROUPS; g++) {
			for (const struct row *row = groups[g]; row->op; row++)
				known = known || behind(at, row->op);
		}
		if (!known)
			fail("no such row: ", at);
	}
}

static uint64_t median(uint64_t sample[REPETITIONS])
{
	for (unsigned i = 1; i < REPETITIONS; i++) {
		for (unsigned j = i; j && sample[j] < sample[j - 1]; j--) {
			const uint64_t swapped = sample[j];

			sample[j] = sample[j - 1];
			sample[j - 1] = swapped;
		}
	}
	return sample[REPETITIONS / 2];
}

/* What of a row is measured. */
struct choice {
	const struct row *row;
	bool nested, nested_paging; /* the second of nested rows only */
	unsigned roots;             /* 0: the row has none */
};

static void say_member(const char *name, uint64_t value)
{
	say(", \"");
	say(name);
	say("\": ");
	say_number(value);
}

static void say_choice(const struct choice *choice)
{
	say("{\"op\": \"");
	say(choice->row->op);
	say("\"");
	if (choice->roots)
		say_member("roots", choice->roots);
	if (choice->nested)
		say_member("npt", choice->nested_paging);
}

static void measure(const struct choice *choice)
{
	const struct row *row = choice->row;
	const unsigned roots = choice->roots ? choice->roots : 1;
	uint64_t sample[REPETITIONS];
	unsigned ops = 0;

	/* The first is the warm-up: the next takes its place. */
	for (unsigned i = 0; i <= REPETITIONS; i++) {
		uint64_t begin;

		if (row->prepare)
			row->prepare(roots);
		if (i)
			mark_begin();
		begin = ticks();
		ops = row->run(row->ops, roots);
		sample[i ? i - 1 : 0] = ticks() - begin;
		if (i)
			mark_end();
	}
	say_choice(choice);
	say_member("ticks", (median(sample) + ops / 2) / ops);
	if (*detail)
		say_member("ops", (uint64_t)ops * REPETITIONS);
	say("}\n");
}

static void measure_all(struct choice choice)
{
	if (!choice.row->has_roots) {
		measure(&choice);
		return;
	}
	for (const char *at = roots_wanted; *at; at = next(at)) {
		choice.roots = 0;
		for (const char *digit = at; *digit >= '0' && *digit <= '9'; digit++)
			choice.roots = choice.roots * 10 + (unsigned)(*digit - '0');
		if (choice.roots < 1 || choice.roots > ROOTS_MAX)
			fail("roots are 1 to 32, not ", at);
		measure(&choice);
	}
}

static void measure_nested(const struct row *row)
{
	for (const char *at = npt_wanted; *at; at = next(at)) {
		struct choice choice = { .row = row, .nested = true };
		const char *refused;

		choice.nested_paging = behind(at, "1");
		if (!choice.nested_paging && !behind(at, "0"))
			fail("npt is 0 or 1, not ", at);
		refused = nested_begin(choice.nested_paging);
		if (!refused) {
			measure_all(choice);
			continue;
		}
		say_choice(&choice);
		say(", \"skip\": \"");
		say(refused);
		say("\"}\n");
	}
}

void mark_main(uint32_t magic, const struct info *info)
{
	machine_init();
	if (magic != 0x2badb002 || !(info->flags & 1))
		fail("no Multiboot loader", "");
	if (info->flags & 1 << 2) {
		const char *line = (const char *)(uint64_t)info->cmdline;

		take(line, "rows=", rows_wanted);
		take(line, "roots=", roots_wanted);
		take(line, "npt=", npt_wanted);
		take(line, "detail=", detail);
	}
	memory_init(((uint64_t)image_end + (4 << 20)) & ~((2ull << 20) - 1),
	            (1ull << 20) + (uint64_t)info->mem_upper * 1024);
	check_names();
	for (unsigned g = 0; g < GROUPS; g++) {
		for (const struct row *row = groups[g]; row->op; row++) {
			if (!wanted(row))
				continue;
			if (groups[g] == nested_rows)
				measure_nested(row);
			else
				measure_all((struct choice){ .row = row });
		}
	}
	leave(0);
}
