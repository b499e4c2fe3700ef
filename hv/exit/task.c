/* SPDX-License-Identifier: MIT */
/* The formats of a TSS, and its memory. What is done with them is task_switch.c's. */
#include "exit/task.h"

#include "exit/gva.h"
#include "mem/guest.h"
#include "mem/layout.h"
#include "mem/string.h"
#include "svm/guest.h"
#include "svm/screen.h"

bool task_open(struct guest *g, uint64_t gva, unsigned bytes, unsigned access,
               struct task_memory *memory)
{
	const unsigned left = (unsigned)(PAGE_BYTES - gva % PAGE_BYTES);

	memory->first = left < bytes ? left : bytes;
	memory->at[1] = NULL;
	for (unsigned i = 0; i < 2 && (i == 0 || left < bytes); i++) {
		/* a system structure is a supervisor's at any CPL */
		if (gva_translate(g, (uint32_t)(gva + i * left), access | RHZ_ACCESS_IMPLICIT,
		                  &memory->gpa[i]) != GVA_OK)
			return false;
		memory->at[i] = guest_memory_at(g, memory->gpa[i], 1);
		if (!memory->at[i])
			guest_died(g, "a task switch through memory that is no RAM");
	}
	return true;
}

void task_get(const struct task_memory *memory, void *to, unsigned bytes)
{
	const unsigned first = bytes < memory->first ? bytes : memory->first;

	memcpy(to, memory->at[0], first);
	if (first < bytes)
		memcpy((uint8_t *)to + first, memory->at[1], bytes - first);
}

void task_put(struct guest *g, const struct task_memory *memory, const void *from,
              unsigned bytes)
{
	const unsigned first = bytes < memory->first ? bytes : memory->first;

	memcpy(memory->at[0], from, first);
	rhz_vm_wrote(g->vm, 0, (rhz_gpa){ memory->gpa[0] }, first);
	if (first == bytes)
		return;
	memcpy(memory->at[1], (const uint8_t *)from + first, bytes - first);
	rhz_vm_wrote(g->vm, 0, (rhz_gpa){ memory->gpa[1] }, bytes - first);
}

/* [APM2 4.7]: base and limit in pieces. */
static void decode(struct descriptor *d, uint32_t low, uint32_t high)
{
	d->base = low >> 16 | (high & 0xff) << 16 | (high & 0xff000000);
	d->limit = (low & 0xffff) | (high & 0xf0000);
	d->attributes = (uint16_t)((high >> 8 & 0xff) | (high >> 12 & 0xf00));
	if (d->attributes & SEGMENT_GRANULAR)
		d->limit = d->limit << 12 | 0xfff;
}

enum descriptor_result descriptor_read(struct guest *g, uint16_t selector,
                                       struct descriptor *descriptor)
{
	const bool local = selector & 4;
	const struct vmcb_segment *table = local ? &g->vmcb->ldtr : &g->vmcb->gdtr;
	struct task_memory memory;
	uint32_t raw[2];

	if ((selector | 7u) > table->limit || (local && !(table->attributes & SEGMENT_PRESENT)))
		return DESCRIPTOR_OUTSIDE;
	descriptor->gva = (uint32_t)(table->base + (selector & ~7u));
	if (!task_open(g, descriptor->gva, sizeof(raw), 0, &memory))
		return DESCRIPTOR_FAULTED;
	task_get(&memory, raw, sizeof(raw));
	decode(descriptor, raw[0], raw[1]);
	return DESCRIPTOR_OK;
}

/* Where a TSS of each width has what. */
struct layout { uint8_t word, eip, flags, reg, segments, segment, segment_bytes, ldt; };
static const struct layout layouts[2] = {
	{ 2, 0x0e, 0x10, 0x12, 4, 0x22, 2, 0x2a },
	{ 4, 0x20, 0x24, 0x28, 6, 0x48, 4, 0x60 },
};
enum { CR3_AT = 0x1c, TRAP_AT = 0x64 };

static uint32_t word(const uint8_t *at, unsigned bytes)
{
	uint32_t value = 0;

	memcpy(&value, at, bytes);
	return value;
}

void task_state_read(struct task_state *state, const uint8_t *tss, bool wide)
{
	const struct layout *l = &layouts[wide];

	*state = (struct task_state){
		.eip = word(tss + l->eip, l->word),
		.flags = word(tss + l->flags, l->word),
		.ldt = (uint16_t)word(tss + l->ldt, 2),
	};
	for (unsigned i = 0; i < 8; i++)
		state->reg[i] = word(tss + l->reg + i * l->word, l->word);
	for (unsigned i = 0; i < l->segments; i++)
		state->segment[i] = (uint16_t)word(tss + l->segment + i * l->segment_bytes, 2);
	if (wide) {
		state->cr3 = word(tss + CR3_AT, 4);
		state->trap = tss[TRAP_AT] & 1;
	}
}

void task_state_write(const struct task_state *state, uint8_t *tss, bool wide)
{
	const struct layout *l = &layouts[wide];

	memcpy(tss + l->eip, &state->eip, l->word);
	memcpy(tss + l->flags, &state->flags, l->word);
	for (unsigned i = 0; i < 8; i++)
		memcpy(tss + l->reg + i * l->word, &state->reg[i], l->word);
	for (unsigned i = 0; i < l->segments; i++)
		memcpy(tss + l->segment + i * l->segment_bytes, &state->segment[i], 2);
}
