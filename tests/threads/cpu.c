/* SPDX-License-Identifier: MIT */
/*
 * Processors: entries with the announcement, a TLB by tag that is flushed only as told, and walks
 * of the library's tables while others change them. What a processor does between announcement and
 * withdrawal is a stay; kicks wait for its end.
 */
#include "world.h"

#include <sched.h>

/* ---- entering and leaving ---- */

void cpu_leave(struct cpu *cpu)
{
	if (cpu->stay & 1)
		STORE_SEQ(&cpu->stay, cpu->stay + 1);
}

static void flush(struct cpu *cpu)
{
	for (unsigned i = 0; i < TLB; i++) {
		if (cpu->entry.flush == RHZ_FLUSH_ALL || cpu->tlb[i].tag == cpu->entry.tag)
			cpu->tlb[i].valid = false;
	}
}

static void cpu_enter(struct cpu *cpu)
{
	enum rhz_load_result prepared;

	while (!(cpu->stay & 1)) {
		STORE_SEQ(&cpu->leave, false);
		STORE_SEQ(&cpu->stay, cpu->stay + 1);
		if (rhz_vcpu_enter(cpu->vcpu, &cpu->cpu, &cpu->entry) == RHZ_ENTER_OK)
			break;
		cpu_leave(cpu);
		prepared = rhz_vcpu_prepare(cpu->vcpu);
		if (prepared != RHZ_LOAD_OK && prepared != RHZ_LOAD_NO_MEMORY)
			broken("rhz_vcpu_prepare says %d", prepared);
	}
	if (cpu->entry.levels != 4 || cpu->entry.tag > cpu->cpu.tags ||
	    cpu->entry.flush == RHZ_FLUSH_ADDRESS)
		broken("rhz_vcpu_enter tells nonsense");
	if (cpu->entry.flush != RHZ_FLUSH_NONE)
		flush(cpu);
	cpu->entry.flush = RHZ_FLUSH_NONE;
}

/* ---- TLB ---- */

static struct translation *tlb_at(struct cpu *cpu, uint64_t gva)
{
	uint64_t page = gva / RHZ_PAGE_SIZE;

	return &cpu->tlb[(page ^ page >> 9 ^ cpu->entry.tag * 37) % TLB];
}

static struct translation *tlb_find(struct cpu *cpu, uint64_t gva)
{
	struct translation *to = tlb_at(cpu, gva);

	if (to->valid && to->tag == cpu->entry.tag && to->page == gva / RHZ_PAGE_SIZE)
		return to;
	return NULL;
}

void cpu_drop(struct cpu *cpu, uint64_t gva)
{
	struct translation *to = tlb_find(cpu, gva);

	if (to)
		to->valid = false;
}

/* ---- walks ---- */

/*
 * The processor's own store of A: one locked operation on an entry that is still what was read.
 * In assembly, as it is no access of the program's that others of it could race with.
 */
static bool mark_accessed(uint64_t *at, uint64_t entry)
{
	uint64_t expected = entry;
	bool done;

	__asm__ volatile("lock cmpxchgq %3, %1" : "+a"(expected), "+m"(*at), "=@ccz"(done)
	                 : "r"(entry | A) : "memory");
	return done;
}

static uint64_t *table_at(struct cpu *cpu, uint64_t hpa)
{
	uint64_t page = (hpa - PAGES_HPA) / RHZ_PAGE_SIZE;

	if (page >= HOST_PAGES || !__atomic_load_n(&world.page_live[page], __ATOMIC_RELAXED))
		broken("vCPU %u walks %#llx, which is no page of the library's", cpu->number,
		       (unsigned long long)hpa);
	checked(CHECK_WALK);
	STORE_SEQ(&cpu->walked[page], cpu->stay);
	return (uint64_t *)(void *)(world.pages + page * RHZ_PAGE_SIZE);
}

static int frame_of(uint64_t hpa)
{
	if (hpa - RAM_HPA < RAM_PAGES * (uint64_t)RHZ_PAGE_SIZE)
		return (int)((hpa - RAM_HPA) / RHZ_PAGE_SIZE);
	if (hpa - SPARE_HPA < SPARE_PAGES * (uint64_t)RHZ_PAGE_SIZE)
		return RAM_PAGES + (int)((hpa - SPARE_HPA) / RHZ_PAGE_SIZE);
	broken("a leaf maps %#llx, which is no frame", (unsigned long long)hpa);
}

static bool walk_once(struct cpu *cpu, uint64_t gva, struct translation *to, bool *again)
{
	uint64_t table = cpu->entry.root.v, entry = 0, *at = NULL;

	*to = (struct translation){ .valid = true, .w = true, .u = true, .tag = cpu->entry.tag,
		                    .page = gva / RHZ_PAGE_SIZE };
	for (unsigned level = 4; level; level--) {
		at = &table_at(cpu, table)[gva >> (3 + 9 * level) & 511];
		entry = LOAD(at);
		if (!(entry & P))
			return false;
		to->w &= !!(entry & W);
		to->u &= !!(entry & U);
		table = entry & FRAME;
	}
	to->frame = frame_of(table);
	to->taken = LOAD_SEQ(&world.taken[to->frame]);
	to->protected = LOAD_SEQ(&world.protected[to->frame]);
	*again = !(entry & A) && !mark_accessed(at, entry);
	return true;
}

static bool walk(struct cpu *cpu, uint64_t gva, struct translation *to)
{
	bool again = false, found;

	do
		found = walk_once(cpu, gva, to, &again);
	while (found && again);
	return found;
}

/* ---- accesses ---- */

/* What the host has taken or protected since must not be reached by what was read before. */
static void use_check(const struct cpu *cpu, const struct translation *to, bool write)
{
	if (to->taken != LOAD_SEQ(&world.taken[to->frame]))
		broken("vCPU %u: a translation to frame %d outlived its invalidation", cpu->number,
		       to->frame);
	checked(CHECK_TLB);
	if (write && to->protected != LOAD_SEQ(&world.protected[to->frame]))
		broken("vCPU %u: a writable translation to frame %d outlived a harvest",
		       cpu->number, to->frame);
	if (write)
		checked(CHECK_TLB_WRITE);
	expect(!LOAD_SEQ(&world.gone[to->frame]), CHECK_GONE,
	       "a frame was reached that the host has");
}

static uint64_t *memory_of(int frame, uint64_t gva)
{
	uint8_t *at = frame < RAM_PAGES ? world.ram + (size_t)frame * RHZ_PAGE_SIZE :
	                                  world.spare + (size_t)(frame - RAM_PAGES) * RHZ_PAGE_SIZE;

	return (uint64_t *)(void *)(at + (gva & (RHZ_PAGE_SIZE - 8)));
}

/* On the processor: true if it went through, else the error code of its fault. */
static bool attempt(struct cpu *cpu, struct access *access, uint32_t *code)
{
	struct translation *hit = tlb_find(cpu, access->gva), to;
	bool present = true;

	if (hit)
		to = *hit;
	else
		present = walk(cpu, access->gva, &to);
	if (!present || (access->write && !to.w) || (access->user && !to.u)) {
		/* a fault takes the translation out of the TLB [SDM3 4.10.4.1] */
		cpu_drop(cpu, access->gva);
		*code = (present ? RHZ_PF_P : 0u) | (access->write ? RHZ_PF_W : 0u) |
		        (access->user ? RHZ_PF_U : 0u);
		return false;
	}
	use_check(cpu, &to, access->write);
	if (!hit)
		*tlb_at(cpu, access->gva) = to;
	access->frame = to.frame;
	if (access->write) {
		STORE(&world.stored[to.frame], true);
		__atomic_store_n(memory_of(to.frame, access->gva), access->value, __ATOMIC_RELAXED);
	} else {
		access->value = __atomic_load_n(memory_of(to.frame, access->gva), __ATOMIC_RELAXED);
	}
	return true;
}

/* The embedder's store for the guest: the log must have it from the same moment as we do. */
static void emulate(struct access *access, rhz_gpa gpa)
{
	if (!access->write || gpa.v / RHZ_PAGE_SIZE >= RAM_PAGES)
		broken("the store to be emulated is none: %#llx", (unsigned long long)gpa.v);
	__atomic_store_n(guest_at(gpa.v & ~7ull), access->value, __ATOMIC_RELAXED);
	access->frame = (int)(gpa.v / RHZ_PAGE_SIZE);
	self->wrote = access->frame;
	rhz_vm_wrote(world.vm, 0, gpa, 8);
}

/* Hands the fault over; true: it is settled, as *how says. */
static bool fault(struct cpu *cpu, struct access *access, uint32_t code, enum how *how)
{
	struct rhz_fault told;
	enum rhz_fault_result result;

	cpu_leave(cpu);
	cpu->faults++;
	result = rhz_vcpu_page_fault(cpu->vcpu, (rhz_gva){ access->gva }, code, 0, &told);
	switch (result) {
	case RHZ_FAULT_RESUME:
		if (told.flush == RHZ_FLUSH_ADDRESS)
			cpu_drop(cpu, access->gva);
		return false;
	case RHZ_FAULT_RETRY:
	case RHZ_FAULT_NO_MEMORY:
		return false;
	case RHZ_FAULT_REFLECT:
		if (told.vector != 14)
			broken("a fault is reflected by vector %u", told.vector);
		access->frame = NO_FRAME;
		*how = REFLECTED;
		return true;
	case RHZ_FAULT_MMIO:
		*how = NO_RAM;
		return true;
	case RHZ_FAULT_TRACKED:
		emulate(access, told.gpa);
		*how = REACHED;
		return true;
	}
	broken("rhz_vcpu_page_fault says %d", result);
}

enum how cpu_access(struct cpu *cpu, struct access *access)
{
	enum how how = REACHED;
	uint32_t code = 0;

	for (unsigned tries = 0; tries < 100000; tries++) {
		if (cpu->stay & 1 && LOAD_SEQ(&cpu->leave)) {
			/* the interrupt may be a little late, or come while the host is slow */
			cpu->kicks_seen++;
			if (!pick(64))
				sched_yield();
			if (pick(4))
				cpu_leave(cpu);
		}
		cpu_enter(cpu);
		if (attempt(cpu, access, &code) || fault(cpu, access, code, &how))
			return how;
	}
	broken("vCPU %u: no end of faults at %#llx, code %#x", cpu->number,
	       (unsigned long long)access->gva, code);
}

/* ---- what flushes ---- */

void cpu_load(struct cpu *cpu, int root)
{
	enum rhz_load_result result;

	cpu_leave(cpu);
	cells_flush(cpu);
	do
		result = rhz_vcpu_load_cr3(cpu->vcpu, world.pml4[root]);
	while (result == RHZ_LOAD_NO_MEMORY);
	if (result != RHZ_LOAD_OK)
		broken("rhz_vcpu_load_cr3 says %d", result);
	cpu->root = root;
}

void cpu_invlpg(struct cpu *cpu, uint64_t gva)
{
	cpu_leave(cpu);
	if (rhz_vcpu_invlpg(cpu->vcpu, (rhz_gva){ gva }) == RHZ_FLUSH_ADDRESS)
		cpu_drop(cpu, gva);
}
