/* SPDX-License-Identifier: MIT */
/* The model's memory: frames, what each aligned eight bytes held when, slots, the dirty log. */
#include "model.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

void model_init(struct model_vm *vm, const struct model_cpuid *cpuid)
{
	/* The pool of old values needs no clearing: nodes are written before they are read. */
	memset(vm, 0, offsetof(struct model_vm, frame));
	memset(vm->hash, 0, offsetof(struct model_vm, old) - offsetof(struct model_vm, hash));
	vm->cpuid = *cpuid;
	vm->time = 1;
	vm->old_next = 1; /* 0 is "none" */
}

static unsigned hash_of(uint64_t hpa)
{
	return (unsigned)((hpa >> 12) * 0x9e3779b97f4a7c15ull >> 56) % MODEL_FRAME_HASH;
}

void model_add_frame(struct model_vm *vm, uint64_t hpa)
{
	unsigned at = hash_of(hpa);

	if (vm->frames == MODEL_FRAMES)
		abort();
	memset(&vm->frame[vm->frames], 0, sizeof(vm->frame[0]));
	vm->frame[vm->frames].hpa = hpa;
	while (vm->hash[at])
		at = (at + 1) % MODEL_FRAME_HASH;
	vm->hash[at] = (uint8_t)++vm->frames;
}

int model_frame(const struct model_vm *vm, uint64_t hpa)
{
	unsigned at = hash_of(hpa);

	hpa &= ~0xfffull;
	for (; vm->hash[at]; at = (at + 1) % MODEL_FRAME_HASH)
		if (vm->frame[vm->hash[at] - 1].hpa == hpa)
			return vm->hash[at] - 1;
	return -1;
}

static uint32_t old_take(struct model_vm *vm)
{
	uint32_t node = vm->old_free;

	if (node) {
		vm->old_free = vm->old[node].older;
		return node;
	}
	return vm->old_next < MODEL_HISTORY ? vm->old_next++ : 0;
}

/* Gives up the oldest value of an entry. */
static void forget_oldest(struct model_vm *vm, struct model_frame *frame, unsigned index)
{
	uint32_t *link = &frame->old[index];

	while (vm->old[*link].older)
		link = &vm->old[*link].older;
	vm->old[*link].older = vm->old_free;
	vm->old_free = *link;
	*link = 0;
	frame->olds[index]--;
}

static void set_word(struct model_vm *vm, struct model_frame *frame, unsigned index, uint64_t value)
{
	uint32_t node;

	if (frame->value[index] == value)
		return;
	if (frame->olds[index] == MODEL_OLD_VALUES)
		forget_oldest(vm, frame, index);
	node = old_take(vm);
	if (node) {
		vm->old[node] = (struct model_old){ frame->value[index], frame->since[index],
		                                    vm->time, frame->old[index] };
		frame->old[index] = node;
		frame->olds[index]++;
	}
	frame->value[index] = value;
	frame->since[index] = vm->time;
}

void model_store(struct model_vm *vm, uint64_t hpa, unsigned bytes, const void *data)
{
	const uint8_t *from = data;

	vm->time++;
	while (bytes) {
		unsigned offset = hpa & 7, count = 8 - offset < bytes ? 8 - offset : bytes;
		int index = model_frame(vm, hpa);
		struct model_frame *frame;
		uint64_t value;

		if (index < 0)
			abort();
		frame = &vm->frame[index];
		value = frame->value[(hpa & 0xfff) / 8];
		memcpy((uint8_t *)&value + offset, from, count);
		set_word(vm, frame, (hpa & 0xfff) / 8, value);
		hpa += count;
		from += count;
		bytes -= count;
	}
}

uint64_t model_peek(const struct model_vm *vm, uint64_t hpa, unsigned bytes)
{
	int index = model_frame(vm, hpa);
	uint64_t value;

	if (index < 0)
		return 0;
	value = vm->frame[index].value[(hpa & 0xfff) / 8];
	return bytes == 4 ? (uint32_t)(value >> (hpa & 4) * 8) : value;
}

struct model_slot *model_slot_at(struct model_vm *vm, unsigned space, uint64_t gpa)
{
	for (unsigned i = 0; i < MODEL_SLOTS; i++) {
		struct model_slot *slot = &vm->slot[i];

		if (slot->used && slot->space == space && gpa - slot->gpa < slot->bytes)
			return slot;
	}
	return NULL;
}

bool model_hpa(const struct model_vm *vm, unsigned space, uint64_t gpa, uint64_t *hpa,
               unsigned *flags)
{
	for (unsigned i = 0; i < MODEL_SLOTS; i++) {
		const struct model_slot *slot = &vm->slot[i];

		if (slot->used && slot->space == space && gpa - slot->gpa < slot->bytes) {
			*hpa = slot->hpa + (gpa - slot->gpa);
			*flags = slot->flags;
			return true;
		}
	}
	return false;
}

void model_slots_changed(struct model_vm *vm)
{
	vm->epoch++;
	for (unsigned i = 0; i < MODEL_SLOTS; i++) {
		const struct model_slot *slot = &vm->slot[i];

		for (unsigned f = 0; slot->used && f < vm->frames; f++)
			if (slot->flags & MODEL_SLOT_READ_ONLY &&
			    vm->frame[f].hpa - slot->hpa < slot->bytes)
				vm->frame[f].rom = true;
	}
}

void model_log(struct model_vm *vm, unsigned space, uint64_t gpa)
{
	struct model_slot *slot = model_slot_at(vm, space, gpa);
	int frame;

	if (!slot || !(slot->flags & MODEL_SLOT_DIRTY_LOG))
		return;
	frame = model_frame(vm, slot->hpa + (gpa - slot->gpa));
	if (frame >= 0)
		slot->logged |= 1ull << frame;
}
