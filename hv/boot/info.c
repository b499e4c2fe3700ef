/* SPDX-License-Identifier: MIT */
/* Copies the loader's information and reads the options of our command line. */
#include "boot/info.h"

#include <rhizome/rhizome.h>

#include "boot/multiboot.h"
#include "cpu/end.h"
#include "mem/layout.h"
#include "mem/map.h"
#include "mem/string.h"

struct boot_info boot_info;

static char text[TEXT_MAX * 4];
static size_t text_used;

/* Keeps a copy of a string in guest memory. */
static const char *keep(uint32_t at)
{
	const char *from = direct(at);
	char *to = text + text_used;
	size_t n = 0;

	while (n < TEXT_MAX && from[n])
		n++;
	if (n == TEXT_MAX || text_used + n + 1 > sizeof(text)) {
		print("rhizome: a command line is longer than %u characters\n", (unsigned)TEXT_MAX);
		end(END_REFUSED, "command line too long");
	}
	memcpy(to, from, n);
	to[n] = '\0';
	text_used += n + 1;
	return to;
}

static const char *after_word(const char *s)
{
	while (*s && *s != ' ')
		s++;
	while (*s == ' ')
		s++;
	return s;
}

const char *module_arguments(const struct module *module)
{
	return after_word(module->string);
}

/* True if the word at s is 'option'. */
static bool word_is(const char *s, const char *option)
{
	while (*option && *s == *option)
		s++, option++;
	return !*option && (!*s || *s == ' ');
}

static const struct { const char *word; uint32_t off; } tricks[] = {
	{ "no-prefetch", RHZ_NO_PREFETCH },       { "no-unsync", RHZ_NO_UNSYNC },
	{ "no-root-reuse", RHZ_NO_ROOT_REUSE },   { "no-tags", RHZ_NO_TAGS },
	{ "no-large-pages", RHZ_NO_LARGE_PAGES }, { "no-mmio-cache", RHZ_NO_MMIO_CACHE },
	{ "no-exec-large", RHZ_NO_EXEC_LARGE },   { "no-lists", RHZ_NO_LISTS },
	{ "no-quick-fill", RHZ_NO_QUICK_FILL },
};

static bool read_trick(struct options *options, const char *word)
{
	for (unsigned i = 0; i < sizeof(tricks) / sizeof(tricks[0]); i++) {
		if (word_is(word, tricks[i].word)) {
			options->tricks_off |= tricks[i].off;
			return true;
		}
	}
	return false;
}

/* What follows 'name' in the word, or null if it begins otherwise. */
static const char *value_of(const char *word, const char *name)
{
	while (*name && *word == *name)
		word++, name++;
	return *name ? NULL : word;
}

/* A decimal number of at most 'max' that fills the rest of the word. */
static bool read_number(const char *digits, uint32_t max, uint32_t *value)
{
	uint64_t n = 0;

	if (!digits || !*digits || *digits == ' ')
		return false;
	for (; *digits && *digits != ' '; digits++) {
		if (*digits < '0' || *digits > '9')
			return false;
		n = n * 10 + (uint64_t)(*digits - '0');
		if (n > max)
			return false;
	}
	*value = (uint32_t)n;
	return true;
}

static bool read_policy(struct options *options, const char *name)
{
	for (unsigned i = 0; name && i < RHZ_ROOT_POLICIES; i++) {
		if (word_is(name, rhz_root_policy_name((enum rhz_root_policy)i))) {
			options->policy = (enum rhz_root_policy)i;
			return true;
		}
	}
	return false;
}

static bool read_word(struct options *options, const char *word)
{
	uint32_t value;

	if (word_is(word, "paging=nested"))
		options->shadow = false;
	else if (word_is(word, "paging=shadow"))
		options->shadow = true;
	else if (word_is(word, "no-nested"))
		options->no_nested = true;
	else if (word_is(word, "console=e9"))
		options->console = CONSOLE_E9;
	else if (word_is(word, "console=com2"))
		options->console = CONSOLE_COM2;
	else if (word_is(word, "end=reset"))
		options->reset_at_end = true;
	else if (word_is(word, "end=halt"))
		options->reset_at_end = false;
	else if (word_is(word, "exit-port=f4"))
		options->exit_port = 0xf4;
	else if (word_is(word, "trace"))
		options->trace = true;
	else if (word_is(word, "profile"))
		options->profile = true;
	else if (word_is(word, "marks"))
		options->marks = true;
	else if (read_number(value_of(word, "stats="), 3600, &value))
		options->stats_seconds = (uint16_t)value;
	else if (read_number(value_of(word, "roots="), RHZ_MAX_CACHED_ROOTS, &value))
		options->roots = value;
	else
		return read_policy(options, value_of(word, "root-policy=")) ||
		       read_trick(options, word);
	return true;
}

static void read_options(const char *word)
{
	struct options *options = &boot_info.options;

	options->policy = RHZ_ROOTS_CURRENT_FIRST;
	options->roots = RHZ_DEFAULT_CACHED_ROOTS;
	for (; *word; word = after_word(word)) {
		if (!read_word(options, word)) {
			print("rhizome: option not known or not in this version: %s\n", word);
			end(END_REFUSED, "an option is not known or not in this version");
		}
	}
}

static void read_modules(const struct multiboot_info *info)
{
	const struct multiboot_module *module = direct(info->mods_addr);

	if (!(info->flags & MULTIBOOT_HAS_MODULES) || info->mods_count == 0)
		end(END_REFUSED, "no guest: give its kernel as the first module");
	if (info->mods_count > MODULES_MAX)
		end(END_REFUSED, "more than 16 modules");
	for (unsigned i = 0; i < info->mods_count; i++) {
		boot_info.module[i] = (struct module){
			.at = module[i].start,
			.bytes = module[i].end - module[i].start,
			.string = module[i].string ? keep(module[i].string) : "",
		};
	}
	boot_info.modules = info->mods_count;
}

static void read_map(const struct multiboot_info *info)
{
	const char *at = direct(info->mmap_addr);

	if (!(info->flags & MULTIBOOT_HAS_MAP))
		end(END_REFUSED, "the loader gave no memory map");
	for (uint32_t done = 0; done < info->mmap_length;) {
		const struct multiboot_range *range = (const void *)(at + done);

		map_add(&machine_map, range->base, range->length, range->type);
		done += range->size + 4;
	}
}

void boot_info_read(uint32_t at)
{
	const struct multiboot_info *info = direct(at);

	read_options(info->flags & MULTIBOOT_HAS_COMMAND_LINE ? after_word(keep(info->cmdline))
	                                                      : "");
	console_select(boot_info.options.console);
	end_resets(boot_info.options.reset_at_end);
	read_map(info);
	read_modules(info);
}
