/* SPDX-License-Identifier: MIT */
/* Copies the loader's information and reads the options of our command line. */
#include "boot/info.h"

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

static void read_option(struct options *options, const char *word)
{
	if (word_is(word, "paging=nested"))
		return;
	if (word_is(word, "console=e9"))
		options->console = CONSOLE_E9;
	else if (word_is(word, "console=com2"))
		options->console = CONSOLE_COM2;
	else if (word_is(word, "end=reset"))
		options->reset_at_end = true;
	else if (word_is(word, "end=halt"))
		options->reset_at_end = false;
	else if (word_is(word, "no-large-pages"))
		options->no_large_pages = true;
	else if (word_is(word, "exit-port=f4"))
		options->exit_port = 0xf4;
	else {
		print("rhizome: option not known or not in this version: %s\n", word);
		end(END_REFUSED, "an option is not known or not in this version");
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

	if (info->flags & MULTIBOOT_HAS_COMMAND_LINE) {
		const char *word = after_word(keep(info->cmdline));

		for (; *word; word = after_word(word))
			read_option(&boot_info.options, word);
	}
	console_select(boot_info.options.console);
	end_resets(boot_info.options.reset_at_end);
	read_map(info);
	read_modules(info);
}
