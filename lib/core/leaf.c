/* SPDX-License-Identifier: MIT */
/* How large a leaf may be. */
#include "core/leaf.h"

unsigned leaf_level(struct rhz_vm *vm, const struct slot *slot, uint64_t gfn, unsigned most,
                    bool exec)
{
	if (__builtin_expect(most == 1, 1) || slot->dirty || option(vm, RHZ_NO_LARGE_PAGES))
		return 1;
	/* CVE-2018-12207: a large executable page may take the machine down */
	if (exec && option(vm, RHZ_NO_EXEC_LARGE))
		return 1;
	if (most > 2 && !vm->config.host_cpu.pages_1g)
		most = 2;
	for (; most > 1; most--) {
		uint64_t pages = 1ull << (9 * (most - 1));
		uint64_t first = gfn & ~(pages - 1);

		if ((uint64_t)slot->to_hfn & (pages - 1))
			continue;
		if (first < slot->gfn || first + pages > slot->gfn + slot->pages)
			continue;
		if (!frame_region_tracked(vm, slot_frame(slot, gfn), most))
			break;
	}
	return most;
}
