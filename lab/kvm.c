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
