/* SPDX-License-Identifier: MIT */
/* Reads one line of a trace. Looks for the time first: what is before and after it follows. */
#define _GNU_SOURCE /* memmem, memrchr */
#include "line.h"

#include <string.h>

/* A piece of the line, not terminated. */
struct piece {
	const char *at;
	const char *end;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' ||
	       c == '-' || c == '.' || c == '/';
}

static bool begins(struct piece p, const char *word)
{
	size_t length = strlen(word);

	return (size_t)(p.end - p.at) >= length && !memcmp(p.at, word, length);
}

static struct piece skip_spaces(struct piece p)
{
	while (p.at < p.end && (*p.at == ' ' || *p.at == '\t'))
		p.at++;
	return p;
}

static int digit_value(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 16;
}

/* A number at the front: hexadecimal if it says so by 0x or the caller knows it. */
static bool number(struct piece p, bool hexadecimal, uint64_t *value)
{
	const char *first;
	uint64_t base = hexadecimal ? 16 : 10;

	p = skip_spaces(p);
	if (begins(p, "0x")) {
		base = 16;
		p.at += 2;
	}
	*value = 0;
	for (first = p.at; p.at < p.end; p.at++) {
		uint64_t digit = (uint64_t)digit_value(*p.at);

		if (digit >= base)
			break;
		if (*value > (UINT64_MAX - digit) / base)
			return false;
		*value = *value * base + digit;
	}
	return p.at > first && (p.at == p.end || !is_name(*p.at));
}

/* The number after a label such as "pgd=" anywhere in p. */
static bool labelled(struct piece p, const char *label, uint64_t *value)
{
	size_t length = strlen(label);
	const char *at = memmem(p.at, (size_t)(p.end - p.at), label, length);

	return at && number((struct piece){ at + length, p.end }, false, value);
}

/*
 * Finds "SECONDS.FRACTION: ". *before ends where the time begins, *after begins behind it. A task's
 * name may hold colons; so may an event's arguments, and then no time stands before them.
 */
static bool split_at_time(struct piece line, struct piece *before, struct piece *time,
                          struct piece *after)
{
	const char *from = line.at;

	for (int colons = 0; colons < 8; colons++) {
		const char *colon = memchr(from, ':', (size_t)(line.end - from));
		const char *first, *dot = NULL;

		if (!colon)
			return false;
		for (first = colon; first > line.at; first--) {
			if (first[-1] == '.' && !dot)
				dot = first - 1;
			else if (!is_digit(first[-1]))
				break;
		}
		if (dot && dot > first && dot + 1 < colon && first > line.at &&
		    (first[-1] == ' ' || first[-1] == '\t') &&
		    (colon + 1 == line.end || colon[1] == ' ' || colon[1] == '\t')) {
			*before = (struct piece){ line.at, first };
			*time = (struct piece){ first, colon };
			*after = (struct piece){ colon + 1, line.end };
			return true;
		}
		from = colon + 1;
	}
	return false;
}

static uint64_t time_ns(struct piece time)
{
	uint64_t seconds = 0, fraction = 0;
	int digits = 0;
	const char *at = time.at;

	for (; *at != '.'; at++)
		seconds = seconds * 10 + (uint64_t)(*at - '0');
	for (at++; at < time.end && digits < 9; at++, digits++)
		fraction = fraction * 10 + (uint64_t)(*at - '0');
	for (; digits < 9; digits++)
		fraction *= 10;
	return seconds * 1000000000u + fraction;
}

/*
 * The thread number before "[CPU]", and its process where it stands there: "name-117", with a
 * process "name-119 (  117)", and from perf "name 117" or "name 117/119".
 */
static bool task_number(struct piece before, struct lab_event *event)
{
	const char *end = memrchr(before.at, '[', (size_t)(before.end - before.at));
	const char *first, *group = NULL;
	uint64_t value;

	if (!end)
		return false;
	while (end > before.at && end[-1] == ' ')
		end--;
	if (end > before.at && end[-1] == ')') {
		group = memrchr(before.at, '(', (size_t)(end - before.at));
		if (!group)
			return false;
		if (number((struct piece){ group + 1, end - 1 }, false, &value) &&
		    value <= UINT32_MAX)
			event->vm = (uint32_t)value;
		for (end = group; end > before.at && end[-1] == ' '; end--)
			;
	}
	for (first = end; first > before.at && is_digit(first[-1]); first--)
		;
	if (first == end || first == before.at ||
	    (first[-1] != '-' && first[-1] != ' ' && first[-1] != '/'))
		return false;
	if (!number((struct piece){ first, end }, false, &value) || value > UINT32_MAX)
		return false;
	event->task = (uint32_t)value;
	if (first[-1] == '/') {
		for (end = --first; first > before.at && is_digit(first[-1]); first--)
			;
		if (number((struct piece){ first, end }, false, &value) && value <= UINT32_MAX)
			event->vm = (uint32_t)value;
	}
	return true;
}

/*
 * The event's name behind the time, without its group ("kmmu:new_pgd:"), and its arguments. perf
 * may put a count before the name.
 */
static bool split_name(struct piece after, struct piece *name, struct piece *arguments)
{
	for (int part = 0; part < 3; part++) {
		after = skip_spaces(after);
		*name = (struct piece){ after.at, after.at };
		while (name->end < after.end && is_name(*name->end))
			name->end++;
		if (name->end == name->at || name->end == after.end)
			return false;
		after.at = name->end + 1;
		if (*name->end == ' ' && is_digit(*name->at))
			continue;
		if (*name->end != ':')
			return false;
		if (after.at == after.end || !is_name(*after.at)) {
			*arguments = skip_spaces(after);
			return true;
		}
	}
	return false;
}

#define NAME(name, kind) { name, sizeof(name) - 1, LAB_EVENT_##kind }

static const struct {
	const char *name;
	size_t length;
	enum lab_event_kind kind;
} names[] = {
	NAME("new_pgd", NEW_PGD),
	NAME("mmu_load", MMU_LOAD),
	NAME("sync_roots", SYNC_ROOTS),
	NAME("free_roots", FREE_ROOTS),
	NAME("set_cr3", CR3_WRITE),
	NAME("invlpg", INVALIDATE),
	NAME("kvm_mmu_new_pgd", NEW_PGD),
	NAME("kvm_mmu_load", MMU_LOAD),
	NAME("kvm_mmu_sync_roots", SYNC_ROOTS),
	NAME("kvm_mmu_free_roots", FREE_ROOTS),
	NAME("kvm_mmu_invlpg", INVALIDATE),
	NAME("kvm_set_cr3", CR3_WRITE),
	NAME("kvm_nested_vmenter", NESTED_ENTER),
	NAME("kvm_nested_vmrun", NESTED_ENTER),
	NAME("kvm_nested_vmexit_inject", NESTED_EXIT),
	NAME("kvm_cr", CR3_WRITE),
	NAME("kvm_exit", EXIT),
	NAME("kvm_entry", ENTRY),
	NAME("kvm_mmu_get_page", PAGE_NEW),
	NAME("kvm_mmu_prepare_zap_page", PAGE_ZAP),
};

/* A kprobe event made without a name is called p_FUNCTION_0; perf's is called FUNCTION. */
static bool find_kind(struct piece name, enum lab_event_kind *kind)
{
	size_t length;

	if (begins(name, "p_kvm") && name.end - name.at > 4 && !memcmp(name.end - 2, "_0", 2)) {
		name.at += 2;
		name.end -= 2;
	}
	length = (size_t)(name.end - name.at);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].length == length && !memcmp(names[i].name, name.at, length)) {
			*kind = names[i].kind;
			return true;
		}
	}
	return false;
}

/*
 * AMD and Intel, old kernels and new, name L2's root differently. Where it is not named, the
 * address of L1's control block stands for it.
 */
static enum lab_line nested_enter(struct piece arguments, struct lab_event *event)
{
	static const char *const paged[] = { "nested_npt=y", "nested_ept=y", "npt: on", "ept: on" };
	static const char *const labels[] = {
		"nested_cr3:", "nested_eptp:", "guest_cr3:", "vmcb:", "vmcs:",
	};

	event->nested_paging = false;
	for (size_t i = 0; i < sizeof(paged) / sizeof(paged[0]); i++)
		event->nested_paging |= memmem(arguments.at, (size_t)(arguments.end - arguments.at),
		                               paged[i], strlen(paged[i])) != NULL;
	for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++)
		if (labelled(arguments, labels[i], &event->value))
			return LAB_LINE_EVENT;
	return LAB_LINE_BROKEN;
}

/* "vcpu 0" at the front, which older kernels leave out. What is behind it. */
static struct piece take_vcpu(struct piece arguments, struct lab_event *event)
{
	struct piece rest = arguments;
	uint64_t value;

	if (!begins(rest, "vcpu "))
		return arguments;
	rest.at += 5;
	if (!number(rest, false, &value) || value >= UINT32_MAX) {
		/* "vcpu 0, rip": a comma ends it as well */
		const char *comma = memchr(rest.at, ',', (size_t)(rest.end - rest.at));

		if (!comma || !number((struct piece){ rest.at, comma }, false, &value) ||
		    value >= UINT32_MAX)
			return arguments;
	}
	event->vcpu = (uint32_t)value;
	while (rest.at < rest.end && *rest.at != ' ' && *rest.at != ',')
		rest.at++;
	return skip_spaces(rest);
}

/* "vcpu 0 reason npf rip …" */
static enum lab_line read_exit(struct piece arguments, struct lab_event *event)
{
	/* as the kernel prints them, and as trace-cmd does */
	static const char *const faults[] = {
		"npf ", "EXIT_NPF ", "EPT_VIOLATION ", "EPT_MISCONFIG ",
	};
	static const char *const loads[] = { "write_cr3 ", "EXIT_WRITE_CR3 ", "CR_ACCESS " };
	struct piece reason = take_vcpu(arguments, event);

	if (!begins(reason, "reason "))
		return LAB_LINE_EVENT;
	reason.at += strlen("reason ");
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		if (begins(reason, faults[i]))
			event->kind = LAB_EVENT_TWO_DIMENSIONAL;
	for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++)
		if (begins(reason, loads[i]))
			event->cause = LAB_CAUSE_CR3;
	return LAB_LINE_EVENT;
}

/*
 * "sp gen 1 gfn 2a10 l5 8-byte q0 wux nxe ad root 0 sync existing"; trace-cmd has it as
 * "existing sp gfn 2a10 5 q0 wux nxe root 0 sync".
 */
static enum lab_line read_page(struct piece arguments, struct lab_event *event)
{
	const char *gfn = memmem(arguments.at, (size_t)(arguments.end - arguments.at), "gfn ", 4);
	const char *level;

	if (!gfn || !number((struct piece){ gfn + 4, arguments.end }, true, &event->value))
		return LAB_LINE_OTHER;
	level = memchr(gfn + 4, ' ', (size_t)(arguments.end - gfn - 4));
	if (level && level + 1 < arguments.end && level[1] == 'l')
		level++;
	if (!level || level + 1 == arguments.end || !is_digit(level[1]))
		return LAB_LINE_OTHER;
	event->role = (uint64_t)(level[1] - '0');
	if (event->kind == LAB_EVENT_PAGE_NEW &&
	    memmem(arguments.at, (size_t)(arguments.end - arguments.at), "existing", 8))
		event->kind = LAB_EVENT_PAGE_FOUND;
	return LAB_LINE_EVENT;
}

/* The tracepoint "cr_write 3 = 0x1000", or the function's "cr3=0x1000". */
static enum lab_line read_cr3(struct piece arguments, struct lab_event *event)
{
	struct piece value = { arguments.at + strlen("cr_write 3 = "), arguments.end };

	if (labelled(arguments, "cr3=", &event->value))
		return LAB_LINE_EVENT;
	if (!begins(arguments, "cr_write 3 = "))
		return LAB_LINE_OTHER;
	return number(value, true, &event->value) ? LAB_LINE_EVENT : LAB_LINE_BROKEN;
}

static enum lab_line read_pgd(struct piece arguments, struct lab_event *event)
{
	return labelled(arguments, "pgd=", &event->value) ? LAB_LINE_EVENT : LAB_LINE_BROKEN;
}

static enum lab_line read_which(struct piece arguments, struct lab_event *event)
{
	labelled(arguments, "which=", &event->value);
	return LAB_LINE_EVENT;
}

static enum lab_line read_entry(struct piece arguments, struct lab_event *event)
{
	take_vcpu(arguments, event);
	return LAB_LINE_EVENT;
}

/* By kind; null: the event says all. */
static enum lab_line (*const readers[LAB_EVENT_KINDS])(struct piece, struct lab_event *) = {
	[LAB_EVENT_NEW_PGD] = read_pgd,
	[LAB_EVENT_NESTED_ENTER] = nested_enter,
	[LAB_EVENT_CR3_WRITE] = read_cr3,
	[LAB_EVENT_FREE_ROOTS] = read_which,
	[LAB_EVENT_EXIT] = read_exit,
	[LAB_EVENT_ENTRY] = read_entry,
	[LAB_EVENT_PAGE_NEW] = read_page,
	[LAB_EVENT_PAGE_ZAP] = read_page,
};

static enum lab_line read_arguments(struct piece arguments, struct lab_event *event)
{
	return readers[event->kind] ? readers[event->kind](arguments, event) : LAB_LINE_EVENT;
}

/* What tools print between events. */
static enum lab_line read_between(struct piece line, struct lab_event *event)
{
	static const char *const headings[] = { "#", "=>", "cpus=", "version =", "CPU " };
	const char *lost;

	if (begins(line, "CPU:")) {
		lost = memchr(line.at, '[', (size_t)(line.end - line.at));
		if (!lost)
			return LAB_LINE_SILENT; /* "CPU:1 annotated": a buffer begins here */
		line.at = begins((struct piece){ lost, line.end }, "[LOST ") ? lost + 6 : lost + 1;
		event->value = 0; /* "[LOST EVENTS]": nobody knows how many */
		number(line, false, &event->value);
		return LAB_LINE_LOST;
	}
	line = skip_spaces(line);
	if (line.at == line.end)
		return LAB_LINE_SILENT;
	for (size_t i = 0; i < sizeof(headings) / sizeof(headings[0]); i++)
		if (begins(line, headings[i]))
			return LAB_LINE_SILENT;
	return LAB_LINE_BROKEN;
}

enum lab_line lab_line_read(const char *line, size_t length, struct lab_event *event)
{
	struct piece whole = { line, line + length };
	struct piece before, time, after, name, arguments;

	if (length && line[length - 1] == '\r')
		whole.end--;
	if (!split_at_time(whole, &before, &time, &after))
		return read_between(whole, event);
	if (!split_name(after, &name, &arguments))
		return LAB_LINE_BROKEN;
	*event = (struct lab_event){ .vcpu = LAB_NO_VCPU };
	if (!find_kind(name, &event->kind))
		return LAB_LINE_OTHER;
	if (!task_number(before, event))
		return LAB_LINE_BROKEN;
	event->time_ns = time_ns(time);
	return read_arguments(arguments, event);
}

bool lab_line_kind(const char *name, enum lab_event_kind *kind)
{
	return find_kind((struct piece){ name, name + strlen(name) }, kind);
}

enum lab_line lab_line_arguments(const char *arguments, size_t length, struct lab_event *event)
{
	return read_arguments(skip_spaces((struct piece){ arguments, arguments + length }), event);
}
