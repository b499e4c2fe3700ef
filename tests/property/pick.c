/* SPDX-License-Identifier: MIT */
/*
 * Random tables that make sense often enough. Few frames serve as tables, in groups by level, so
 * that tables are shared and walks succeed; leaves lead to any frame, tables included, so that
 * stores hit tables; now and then any entry leads anywhere.
 */
#include "world.h"

#include <string.h>

uint64_t roll(struct random *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	z ^= z >> 31;
	if (r->byte != r->byte_end)
		z = z >> 8 | (uint64_t)*r->byte++ << 56;
	return z;
}

unsigned below(struct random *r, unsigned n)
{
	return (unsigned)((roll(r) >> 32) * n >> 32);
}

bool chance(struct random *r, unsigned percent)
{
	return below(r, 100) < percent;
}

static const uint8_t group_frames[GROUPS] = { 0, 6, 4, 3, 3, 2, 2, 2, 3 };
enum { TABLE_FRAMES = 25, FRAMES_A1 = 28, FRAMES_A2 = 6, FRAMES_A3 = 4, FRAMES_B = 16 };

void group_range(unsigned group, unsigned *first, unsigned *count)
{
	*first = 0;
	for (unsigned i = 0; i < group; i++)
		*first += group_frames[i];
	*count = group_frames[group];
}

unsigned group_of(unsigned frame)
{
	unsigned sum = 0;

	for (unsigned i = 1; i < GROUPS; i++) {
		sum += group_frames[i];
		if (frame < sum)
			return i;
	}
	return 0;
}

/* Frames lie in three 2 MiB regions of RAM A, the tables in the first, and fill RAM B. */
uint64_t frame_hpa(unsigned vm, unsigned frame)
{
	uint64_t a = 0x100000000ull + vm * 0x40000000ull, b = 0x300000000ull + vm * 0x100000ull;

	if (frame < FRAMES_A1)
		return a + (16 + frame) * 4096ull;
	frame -= FRAMES_A1;
	if (frame < FRAMES_A2)
		return a + 0x200000 + (14 + frame) * 4096ull;
	frame -= FRAMES_A2;
	if (frame < FRAMES_A3)
		return a + 0x600000 + (16 + frame) * 4096ull;
	return b + (frame - FRAMES_A3) * 4096ull;
}

/* The guest-physical addresses of our frames, as the slots are now. */
void find_hot(struct vm *vm)
{
	vm->hot_count = 0;
	for (unsigned s = 0; s < SLOTS; s++) {
		struct model_slot *slot = &vm->model->slot[s];

		if (!slot->used || slot->space != 0)
			continue;
		for (unsigned f = 0; f < vm->model->frames && vm->hot_count < 128; f++) {
			uint64_t hpa = vm->model->frame[f].hpa;

			if (hpa - slot->hpa >= slot->bytes)
				continue;
			vm->hot_frame[vm->hot_count] = (uint8_t)f;
			vm->hot[vm->hot_count++] = slot->gpa + (hpa - slot->hpa);
		}
	}
}

uint64_t pick_gpa(struct vm *vm)
{
	struct random *r = &vm->world->random;
	static const uint64_t holes[] = { 0x900000, 0xfee00000, 0xe00000, 0x3000, 0xfffff000 };

	if (!vm->hot_count || chance(r, 4))
		return holes[below(r, 5)];
	return vm->hot[below(r, vm->hot_count)];
}

/* A frame of the group, at one of its guest-physical addresses. */
static uint64_t pick_table(struct vm *vm, unsigned group)
{
	struct random *r = &vm->world->random;
	unsigned first, count;

	group_range(group, &first, &count);
	if (!chance(r, 3) && vm->hot_count) {
		unsigned want = first + below(r, count), at = 0;

		if (chance(r, 35)) /* by another of its addresses */
			at = below(r, vm->hot_count);
		for (unsigned i = 0; i < vm->hot_count; i++) {
			unsigned n = (at + i) % vm->hot_count;

			if (vm->hot_frame[n] == want)
				return vm->hot[n];
		}
	}
	return pick_gpa(vm);
}

uint64_t pick_root(struct vm *vm, enum model_paging paging)
{
	static const uint8_t group[] = { 4, GROUP_PD32, GROUP_PDPT, 4, 5, 4, 5 };
	uint64_t root = pick_table(vm, group[paging]);

	if (paging == MODEL_PAE)
		root += 32ull * below(&vm->world->random, 2);
	return root;
}

static uint64_t pick_flags(struct random *r, unsigned group)
{
	bool leaf = group == 1 || group == GROUP_PT32;
	uint64_t e = 0;

	e |= chance(r, 97) ? 1 : 0;
	e |= chance(r, leaf ? 80 : 93) ? 2 : 0;
	e |= chance(r, leaf ? 70 : 90) ? 4 : 0;
	e |= chance(r, 4) ? 8ull << below(r, 2) : 0;
	e |= chance(r, leaf ? 50 : 70) ? 32 : 0;
	e |= chance(r, 50) ? 64 : 0;
	e |= chance(r, 15) && (group <= 3 || group >= GROUP_PD32) ? 256 : 0;
	e |= chance(r, 20) ? (uint64_t)below(r, 8) << 9 : 0;
	return e;
}

static unsigned level_of_group(unsigned group)
{
	return group == GROUP_PDPT ? 3 : group == GROUP_PD32 ? 2 : group == GROUP_PT32 ? 1 : group;
}

static uint64_t pick_pdpte(struct vm *vm)
{
	struct random *r = &vm->world->random;
	uint64_t e = pick_table(vm, 2) | (chance(r, 90) ? 1 : 0) | (chance(r, 6) ? 8 : 0);

	if (chance(r, 2))
		e |= 1ull << (chance(r, 50) ? 1 + below(r, 2) : 5 + below(r, 4));
	return e | (uint64_t)below(r, 8) << 9;
}

/* An entry of L1's EPT: of the levels that other tables have too, in the same frames. */
static uint64_t pick_ept_entry(struct vm *vm, unsigned level)
{
	struct random *r = &vm->world->random;
	bool large = level > 1 && level < 4 && chance(r, level == 2 ? 14 : 5);
	uint64_t e = (chance(r, 96) ? 1 : 0) | (chance(r, 80) ? 2 : 0) | (chance(r, 80) ? 4 : 0);

	if (chance(r, 4))
		return chance(r, 50) ? 0 : roll(r);
	if (!(e & 1) && chance(r, 80))
		e &= ~2ull;
	e |= chance(r, 70) ? 256 : 0;
	e |= chance(r, 50) ? 512 : 0;
	if (level == 1 || large)
		e |= (chance(r, 85) ? 6ull : below(r, 8)) << 3 | (chance(r, 8) ? 64 : 0);
	if (level == 1)
		return e | pick_gpa(vm) | (chance(r, 10) ? 128 : 0);
	if (!large)
		return e | pick_table(vm, level - 1) | (chance(r, 1) ? 8ull << below(r, 5) : 0);
	e |= chance(r, 50) ? 0x200000ull * below(r, 4) : pick_gpa(vm);
	if (!chance(r, 3))
		e &= ~0ull << (12 + 9 * (level - 1)) | 0xfff;
	return e | 128;
}

uint64_t pick_entry(struct vm *vm, unsigned group)
{
	struct random *r = &vm->world->random;
	unsigned level = level_of_group(group), maxphyaddr = vm->model->cpuid.maxphyaddr;
	bool wide = group < GROUP_PDPT, large;
	uint64_t e;

	if (group == 0)
		return chance(r, 60) ? pick_entry(vm, 1 + below(r, 2)) : roll(r);
	if (group == GROUP_PDPT)
		return pick_pdpte(vm);
	if (wide && vm->lib_config.nested >= RHZ_EPT_4LEVEL && chance(r, is_direct(vm) ? 95 : 50))
		return pick_ept_entry(vm, level);
	if (chance(r, level == 1 ? 6 : 3))
		return chance(r, 80) ? 0 : roll(r) & ~1ull;
	e = pick_flags(r, group);
	large = chance(r, level == 2 ? 14 : level == 3 ? 5 : level > 3 ? 1 : 5);
	if (level == 1) {
		e |= pick_gpa(vm) | (large ? 128 : 0); /* here the bit is PAT */
	} else if (large && level <= 3) {
		unsigned shift = group == GROUP_PD32 ? 22 : level == 2 ? 21 : 30;

		uint64_t gpa = chance(r, 50) ? 0x200000ull * below(r, 4) : pick_gpa(vm);

		e |= (gpa >> shift << shift) | 128 | (chance(r, 8) ? 4096 : 0);
		e |= chance(r, 2) ? 8192ull << below(r, 8) : 0;
	} else {
		e |= (large ? 128 : 0) |
		     pick_table(vm, group == GROUP_PD32 ? GROUP_PT32 : level - 1);
	}
	if (wide) {
		e |= chance(r, level == 1 ? 12 : 2) ? 1ull << 63 : 0;
		e |= chance(r, 8) ? (uint64_t)below(r, 4) << 59 : 0;
		if (chance(r, 1) && maxphyaddr < 52)
			e |= 1ull << (maxphyaddr + below(r, 52 - maxphyaddr));
	} else {
		e &= 0xffffffff;
	}
	return e;
}

/* What stands in a place now, with a flag or two turned over. */
uint64_t pick_flip(struct vm *vm, uint64_t hpa, unsigned bytes)
{
	static const uint8_t flags[] = { 0, 1, 1, 2, 3, 4, 5, 5, 6, 6, 6, 8, 9, 63, 59 };
	struct random *r = &vm->world->random;
	uint64_t value = model_peek(vm->model, hpa, bytes);

	for (unsigned n = 1 + below(r, 2); n; n--)
		value ^= 1ull << flags[below(r, bytes == 4 ? 13 : sizeof(flags))];
	return value;
}

/* Indices that are used most, by level: neighbours, the ends, and those of frames in a region. */
static const uint16_t hot_1[] = { 0, 1, 2, 3, 16, 17, 24, 511 };
static const uint16_t hot_n[] = { 0, 1, 511 };
enum { HOT_1 = 8, HOT_N = 3 };

static uint64_t hot_index(const struct model_mode *mode, unsigned level, unsigned n)
{
	uint64_t index = level == 1 ? hot_1[n] : hot_n[n];

	if (mode->paging == MODEL_32)
		return index == 511 ? 1023 : index;
	if (mode->paging == MODEL_PAE && level == 3)
		return index & 3;
	return index;
}

static uint64_t place(const struct model_mode *mode, unsigned level, uint64_t index)
{
	if (mode->paging == MODEL_32)
		return index << (level == 1 ? 12 : 22);
	return index << (12 + 9 * (level - 1));
}

static uint64_t canonical(const struct model_mode *mode, uint64_t gva)
{
	if (mode->nested)
		return gva;
	if (mode->paging == MODEL_4LEVEL)
		return (uint64_t)((int64_t)(gva << 16) >> 16);
	if (mode->paging == MODEL_5LEVEL)
		return (uint64_t)((int64_t)(gva << 7) >> 7);
	return gva;
}

bool hot_gva(const struct model_mode *mode, unsigned n, uint64_t *gva)
{
	*gva = 0;
	for (unsigned level = 1; level <= mode->levels; level++) {
		unsigned count = level == 1 ? HOT_1 : HOT_N;

		*gva |= place(mode, level, hot_index(mode, level, n % count));
		n /= count;
	}
	*gva = canonical(mode, *gva);
	return n == 0;
}

uint64_t pick_gva(struct vm *vm, const struct model_regs *regs)
{
	struct random *r = &vm->world->random;
	struct model_mode mode;
	uint64_t gva = 0;

	model_mode_of(&mode, &vm->model->cpuid, regs);
	if (mode.paging == MODEL_NONE)
		return pick_gpa(vm);
	for (unsigned level = 1; level <= mode.levels; level++) {
		unsigned n = below(r, level == 1 ? HOT_1 : HOT_N);

		if (chance(r, 45))
			n = 0;
		gva |= place(&mode, level, chance(r, 1) ? below(r, 512) :
		             hot_index(&mode, level, n));
	}
	return canonical(&mode, mode.levels < 4 ? gva & 0xffffffff : gva);
}

/* Where in a frame: mostly an entry that is used. */
unsigned pick_offset(struct vm *vm, unsigned group)
{
	struct random *r = &vm->world->random;
	unsigned bytes = group >= GROUP_PD32 ? 4 : 8, index;

	if (group == 0 || chance(r, 5))
		return below(r, 4096 / bytes) * bytes;
	index = level_of_group(group) == 1 ? hot_1[below(r, HOT_1)] : hot_n[below(r, HOT_N)];
	if (group == GROUP_PDPT)
		index = below(r, 8);
	if (bytes == 4 && index == 511)
		index = 1023;
	return index * bytes;
}

/* The first contents of all tables. */
void fill_tables(struct vm *vm)
{
	for (unsigned f = 0; f < TABLE_FRAMES; f++) {
		unsigned group = group_of(f), bytes = group >= GROUP_PD32 ? 4 : 8;
		unsigned count = level_of_group(group) == 1 ? HOT_1 : HOT_N;

		if (group == GROUP_PDPT)
			count = 8;
		for (unsigned i = 0; i < count; i++) {
			unsigned index = count == HOT_1 ? hot_1[i] : hot_n[i % HOT_N];
			uint64_t e = pick_entry(vm, group);

			if (group == GROUP_PDPT)
				index = i;
			if (bytes == 4 && index == 511)
				index = 1023;
			guest_store(vm, vm->model->frame[f].hpa + index * bytes, bytes, &e);
		}
	}
}
