/* SPDX-License-Identifier: MIT */
/* Entries and exits of a vCPU: what the library answers is done to the simulated processor. */
#include "world.h"

#include <string.h>

void vcpu_leave(struct vcpu *v)
{
	v->running = false;
	if (v->cpu->running == v)
		v->cpu->running = NULL;
}

static void check_entry(struct vcpu *v)
{
	struct world *w = v->vm->world;
	const struct rhz_entry *entry = &v->entry;
	const struct rhz_cpu *cpu = &v->cpu->lib;
	struct pool_page *page = pool_page_at(w, entry->root.v);

	if (!page || !page->used || page->vm != v->vm->index)
		fail(w, "entry with a root that is not allocated: %#llx",
		     (unsigned long long)entry->root.v);
	if (entry->levels < 3 || entry->levels > 5)
		fail(w, "entry with %u levels", entry->levels);
	if (entry->levels == 3 && entry->root.v >> 32)
		fail(w, "a PAE root above 4 GiB");
	if (entry->root.v & (entry->levels == 3 ? 31 : 4095))
		fail(w, "a root that is not aligned");
	if (cpu->tags ? entry->tag - cpu->first_tag >= cpu->tags : entry->tag != 0)
		fail(w, "tag %u, processor has %u from %u", entry->tag, cpu->tags, cpu->first_tag);
	if (entry->flush == RHZ_FLUSH_TAG && cpu->tags && !cpu->flush_by_tag)
		fail(w, "a flush of one tag on a processor that cannot");
	if (entry->flush == RHZ_FLUSH_ADDRESS)
		fail(w, "an entry asks for a flush of one address");
}

/* What others asked of this vCPU, and its root. */
static void prepare(struct vcpu *v)
{
	enum rhz_load_result result;
	unsigned tries = 0;

	do {
		call_begin(v->vm);
		result = rhz_vcpu_prepare(v->lib);
		call_end(v->vm);
	} while (result == RHZ_LOAD_NO_MEMORY && call_again(v->vm, &tries));
	if (result != RHZ_LOAD_OK)
		fail(v->vm->world, "vcpu %u: prepare returns %d", v->index, (int)result);
}

void vcpu_enter(struct vcpu *v)
{
	struct world *w = v->vm->world;
	uint64_t locks = v->vm->locks;
	unsigned tries = 0;

	if (v->running)
		return;
	if (v->cpu->running)
		vcpu_leave(v->cpu->running);
	v->running = true; /* announced */
	while (rhz_vcpu_enter(v->lib, &v->cpu->lib, &v->entry) != RHZ_ENTER_OK) {
		v->running = false;
		if (tries++ == RETRIES)
			fail(w, "vcpu %u cannot enter", v->index);
		prepare(v);
		locks = v->vm->locks;
		v->running = true;
	}
	if (v->vm->locks != locks)
		fail(w, "an entry took the lock");
	v->cpu->running = v;
	v->last_cpu = v->cpu;
	v->entered = true;
	w->totals.entries++;
	check_entry(v);
	if (v->entry.levels == 3)
		memcpy(v->pdpte, pool_at(w, v->entry.root.v), sizeof(v->pdpte));
	if (v->entry.flush != RHZ_FLUSH_NONE)
		cpu_flush(v->cpu, v->entry.flush == RHZ_FLUSH_ALL, v->entry.tag);
	tell(w, "  vcpu %u enters: root %#llx, %u levels, tag %u, flush %d", v->index,
	     (unsigned long long)v->entry.root.v, v->entry.levels, v->entry.tag,
	     (int)v->entry.flush);
	for (unsigned i = 0; i < TABLE_CACHE; i++) {
		struct table_entry *e = &v->cpu->table[i];

		if (e->valid && e->tag == v->entry.tag &&
		    (!pool_page_at(w, e->table)->used ||
		     pool_page_at(w, e->table)->serial != e->serial))
			fail(w, "entry under a tag that still knows a freed table %#llx",
			     (unsigned long long)e->table);
	}
	check_tlb(v);
}

void check_freed(struct world *w, struct vm *vm, uint64_t hpa)
{
	for (unsigned i = 0; i < w->config.vcpus; i++) {
		struct vcpu *v = &vm->vcpu[i];

		if (!v->alive || !v->running || v->cpu->running != v)
			continue;
		if ((v->entry.root.v & ~0xfffull) == hpa)
			fail(w, "the root of running vcpu %u is freed", i);
		for (unsigned n = 0; n < 4 && v->entry.levels == 3 && w->pdpte_registers; n++)
			if (v->pdpte[n] & 1 && (v->pdpte[n] & ~0xfffull) == hpa)
				fail(w, "a table in a PDPTE of running vcpu %u is freed", i);
		for (unsigned n = 0; n < TABLE_CACHE; n++) {
			struct table_entry *e = &v->cpu->table[n];

			if (e->valid && e->tag == v->entry.tag && e->table == hpa)
				fail(w, "a table that running vcpu %u has cached is freed", i);
		}
	}
}
