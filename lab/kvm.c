/* SPDX-License-Identifier: MIT */
/* KVM's array of roots; see kvm.h. */
#include "kvm.h"

bool lab_kvm_load(struct lab_kvm_array *array, uint64_t table)
{
	uint64_t moving = array->table[0];
	bool held = array->held[0];
	bool found = held && moving == table;

	/* Each slot takes its neighbour's root, as far as the one that fits; else the last goes. */
	for (int slot = 1; !found && slot <= LAB_KVM_CAPACITY; slot++) {
		uint64_t passed_on = array->table[slot];
		bool passed_held = array->held[slot];

		array->table[slot] = moving;
		array->held[slot] = held;
		moving = passed_on;
		held = passed_held;
		found = held && moving == table;
	}
	array->table[0] = table;
	array->held[0] = true;
	return found;
}

unsigned lab_kvm_drop(struct lab_kvm_array *array, uint64_t which)
{
	unsigned dropped = 0;

	for (int slot = 1; slot <= LAB_KVM_CAPACITY; slot++) {
		if (which >> slot & 1) {
			dropped += array->held[slot];
			array->held[slot] = false;
		}
	}
	return dropped;
}

/* How did the open request end, and why? */
static void conclude(struct lab_kvm_check *check)
{
	if (!check->open)
		return;
	check->open = false;
	check->requests++;
	check->pool_misses += check->pool_missed;
	check->array_misses += check->array_missed;
	check->kvm_misses += check->kvm_missed;
	if (check->array_missed && !check->pool_missed) {
		check->after_drop += check->was_dropped;
		check->after_hole += !check->was_dropped;
	}
	check->kept += check->pool_missed && !check->array_missed;
	check->warm += check->array_missed && !check->kvm_missed;
	check->unexplained += !check->array_missed && check->kvm_missed;
}

/* The root is built anew: it is dropped no more. */
static bool forget_drop(struct lab_kvm_check *check, uint64_t table)
{
	bool found = false;

	for (unsigned i = 0; i < LAB_KVM_DROPPED; i++) {
		if (check->dropped_table[i] != table + 1)
			continue;
		check->dropped_table[i] = 0;
		found = true;
	}
	return found;
}

void lab_kvm_check_request(struct lab_kvm_check *check, uint64_t table, bool pool_missed)
{
	conclude(check);
	check->open = true;
	check->entered = false;
	check->pool_missed = pool_missed;
	check->array_missed = !lab_kvm_load(&check->array, table);
	check->kvm_missed = false;
	check->was_dropped = check->array_missed && forget_drop(check, table);
}

void lab_kvm_check_drop(struct lab_kvm_check *check, uint64_t which)
{
	bool asked = check->open && !check->entered && !check->kvm_missed;

	check->frees_asked += which & 1 && asked;
	check->frees_unasked += which & 1 && !asked;
	for (int slot = 1; slot <= LAB_KVM_CAPACITY; slot++) {
		if (!(which >> slot & 1))
			continue;
		check->drops += check->array.held[slot];
		check->drops_unknown += !check->array.held[slot];
		if (!check->array.held[slot])
			continue;
		check->dropped_table[check->dropped_next] = check->array.table[slot] + 1;
		check->dropped_next = (check->dropped_next + 1) % LAB_KVM_DROPPED;
	}
	lab_kvm_drop(&check->array, which);
}

void lab_kvm_check_loaded(struct lab_kvm_check *check)
{
	if (!check->open || check->entered || check->kvm_missed)
		check->unasked++;
	else
		check->kvm_missed = true;
}

void lab_kvm_check_entered(struct lab_kvm_check *check)
{
	check->entered = true;
}

void lab_kvm_check_end(struct lab_kvm_check *check)
{
	conclude(check);
}
