/* SPDX-License-Identifier: MIT */
/*
 * The tests' processors: they walk the library's tables as hardware does, with CR0.WP = 1 and
 * EFER.NXE = 1 of the host's and the guest's own CR4, and keep every translation in a TLB by tag
 * until a flush that the library tells of. Pages that the library freed are never walked.
 */
#include "fixture.h"

#include <stdio.h>

static uint64_t *table_at(struct world *world, uint64_t hpa)
{
	uint64_t low = hpa - 0x10000000ull, high = hpa - 0x180000000ull;
	uint64_t page = low < (uint64_t)LOW_PAGES * 4096 ? low / 4096 : high / 4096;

	if (page >= HOST_PAGES || !world->page_live[page])
		fail_msg("the processor walks %#llx, which is no page of ours",
		         (unsigned long long)hpa);
	return (uint64_t *)(void *)(world->pages + page * 4096);
}

static bool in_l2(const struct world *world, unsigned vcpu)
{
	return rhz_vcpu_context(world->vcpu[vcpu]) == RHZ_CONTEXT_L2_NESTED;
}

/* The vCPU runs on NPT or EPT, not on tables of our making for linear addresses. */
static bool is_nested_paging(const struct world *world, unsigned vcpu)
{
	return world->setup.kind != RHZ_SHADOW || in_l2(world, vcpu);
}

static bool is_ept(const struct world *world, unsigned vcpu)
{
	enum rhz_paging_kind kind = in_l2(world, vcpu) ? world->setup.nested : world->setup.kind;

	return kind == RHZ_EPT_4LEVEL || kind == RHZ_EPT_5LEVEL;
}

/* The entry for addr at the lowest level; its address through *at. False: not present. */
static bool walk(struct world *world, unsigned vcpu, uint64_t addr, struct translation *to,
                 uint64_t **leaf, unsigned *level)
{
	const struct rhz_entry *entry = &world->at[vcpu].entry;
	bool pae = entry->levels == 3, ept = is_ept(world, vcpu);
	uint64_t table = entry->root.v, present = ept ? 7 : 1, spte = 0;

	*to = (struct translation){ .tag = entry->tag, .page = addr >> 12, .w = true, .u = true,
		                    .r = true };
	if (pae)
		assert_true(table < 1ull << 32);
	for (*level = entry->levels; *level; --*level) {
		unsigned index = addr >> (12 + 9 * (*level - 1)) & 511;

		*leaf = &table_at(world, table)[pae && *level == 3 ? index & 3 : index];
		spte = **leaf;
		if (!(spte & present))
			return false;
		if (pae && *level == 3) {
			assert_int_equal(spte & 0x1e6, 0); /* reserved in a PDPTE */
		} else if (ept) {
			to->r &= spte & 1;
			to->w &= !!(spte & 2);
			to->nx |= !(spte & 4);
		} else {
			to->w &= !!(spte & W);
			to->u &= !!(spte & U);
			to->nx |= !!(spte & NX);
			assert_false(spte & G && (*level == 1 || spte & PS));
		}
		if (*level == 1 || (spte & PS && !(pae && *level == 3)))
			break;
		table = spte & FRAME;
	}
	to->key = entry->levels > 3 ? spte >> 59 & 15 : 0;
	to->hpa = (spte & FRAME) >> 12;
	to->hpa &= ~((1ull << 9 * (*level - 1)) - 1);
	to->hpa |= to->page & ((1ull << 9 * (*level - 1)) - 1);
	to->valid = true;
	return true;
}

/* Rights as the processor judges them [SDM3 4.6.1, 4.6.2]; *pk: the key forbids. */
static bool allows(struct world *world, unsigned vcpu, const struct translation *to,
                   unsigned access, bool *pk)
{
	const struct rhz_regs *regs = rhz_vcpu_regs(world->vcpu[vcpu]);
	bool user = access & USER, write = access & WRITE, fetch = access & FETCH;
	bool nested = is_nested_paging(world, vcpu), ept = is_ept(world, vcpu);
	bool off = !(regs->cr0 & RHZ_CR0_PG) || nested;
	uint32_t keys = to->u ? regs->pkru : regs->pkrs;
	bool acts = regs->cr4 & (to->u ? RHZ_CR4_PKE : RHZ_CR4_PKS) && regs->efer & RHZ_EFER_LMA;

	*pk = false;
	if (!to->r && !fetch)
		return false;
	if ((write && !to->w) || (fetch && to->nx))
		return false;
	/* L2's tables are written where A and D bits are [APM2 15.25.6] [SDM3 28.3.3.2] */
	if (access & TABLE && !to->w && (!ept || world->at[vcpu].ept_ad))
		return false;
	if (nested && !ept && !to->u)
		return false;
	if (off)
		return true;
	if (user && !to->u)
		return false;
	if (!user && to->u && fetch && regs->cr4 & RHZ_CR4_SMEP)
		return false;
	if (!user && to->u && !fetch && regs->cr4 & RHZ_CR4_SMAP &&
	    (!(access & AC) || access & IMPLICIT))
		return false;
	*pk = acts && !fetch && (keys >> (2 * to->key) & 1 ||
	                         (write && keys >> (2 * to->key + 1) & 1));
	return !*pk;
}

/* ---- TLB ---- */

static struct processor *processor_of(struct world *world, unsigned vcpu)
{
	return &world->cpu[world->at[vcpu].cpu];
}

const struct translation *tlb_find(struct world *world, unsigned vcpu, uint64_t gva)
{
	struct processor *cpu = processor_of(world, vcpu);

	for (unsigned i = 0; i < TLB; i++) {
		if (cpu->tlb[i].valid && cpu->tlb[i].tag == world->at[vcpu].entry.tag &&
		    cpu->tlb[i].page == gva >> 12)
			return &cpu->tlb[i];
	}
	return NULL;
}

void tlb_drop(struct world *world, unsigned vcpu, uint64_t gva)
{
	struct translation *found = (struct translation *)(uintptr_t)tlb_find(world, vcpu, gva);

	if (found)
		found->valid = false;
}

static void flush(struct world *world, unsigned vcpu, enum rhz_flush how)
{
	struct processor *cpu = processor_of(world, vcpu);

	for (unsigned i = 0; i < TLB; i++) {
		if (how == RHZ_FLUSH_ALL ||
		    (how == RHZ_FLUSH_TAG && cpu->tlb[i].tag == world->at[vcpu].entry.tag))
			cpu->tlb[i].valid = false;
	}
}

bool enter(struct world *world, unsigned vcpu)
{
	struct place *at = &world->at[vcpu];
	unsigned locks = world->locks;

	if (at->running)
		return true;
	while (rhz_vcpu_enter(world->vcpu[vcpu], &world->cpu[at->cpu].cpu, &at->entry) ==
	       RHZ_ENTER_PREPARE) {
		assert_int_equal(world->locks, locks);
		if (rhz_vcpu_prepare(world->vcpu[vcpu]) != RHZ_LOAD_OK)
			return false;
		locks = world->locks;
	}
	assert_int_equal(world->locks, locks);
	assert_true(at->entry.flush != RHZ_FLUSH_ADDRESS);
	if (!world->cpu[at->cpu].cpu.flush_by_tag)
		assert_true(at->entry.flush != RHZ_FLUSH_TAG);
	at->flushes[at->entry.flush]++;
	flush(world, vcpu, at->entry.flush);
	at->running = true;
	at->entries++;
	return true;
}

void invlpg(struct world *world, unsigned vcpu, uint64_t gva)
{
	world->at[vcpu].running = false;
	if (rhz_vcpu_invlpg(world->vcpu[vcpu], (rhz_gva){ gva }) == RHZ_FLUSH_ADDRESS)
		tlb_drop(world, vcpu, gva);
	audit(world);
}

/* ---- accesses ---- */

uint64_t leaf_of(struct world *world, unsigned vcpu, uint64_t addr, unsigned *level)
{
	struct translation to;
	unsigned at;
	uint64_t *leaf;

	if (!walk(world, vcpu, addr, &to, &leaf, level ? level : &at))
		return 0;
	return *leaf;
}

/* One try on the processor: true if it went through, else the error code of its fault. */
static bool attempt(struct world *world, unsigned vcpu, uint64_t addr, unsigned access,
                    uint64_t *hpa, uint32_t *code)
{
	const struct translation *hit = tlb_find(world, vcpu, addr);
	struct processor *cpu = processor_of(world, vcpu);
	bool present, pk = false;
	struct translation to;
	unsigned level;
	uint64_t *leaf;

	if (hit && allows(world, vcpu, hit, access, &pk)) {
		*hpa = hit->hpa << 12 | (addr & 4095);
		return true;
	}
	present = hit || walk(world, vcpu, addr, &to, &leaf, &level);
	if (!hit && present && allows(world, vcpu, &to, access, &pk)) {
		bool ept = is_ept(world, vcpu), ad = !ept || world->setup.ept_ad;

		if (ad)
			*leaf |= ept ? 1 << 8 : A;
		if (ad && access & WRITE)
			*leaf |= ept ? 1 << 9 : D;
		cpu->tlb[cpu->next++ % TLB] = to;
		*hpa = to.hpa << 12 | (addr & 4095);
		return true;
	}
	/* a fault takes the translation out of the TLB [SDM3 4.10.4.1] */
	tlb_drop(world, vcpu, addr);
	*code = (present ? RHZ_PF_P : 0u) | (access & WRITE ? RHZ_PF_W : 0u) |
	        (access & USER ? RHZ_PF_U : 0u) | (access & FETCH ? RHZ_PF_I : 0u) |
	        (pk ? RHZ_PF_PK : 0u);
	return false;
}

/* EXITINFO1 or the exit qualification of an access of L2's; some rights bits do not matter. */
static uint64_t info_of(const struct world *world, unsigned vcpu, unsigned access)
{
	bool table = access & TABLE;

	if (is_ept(world, vcpu))
		return (access & FETCH ? RHZ_EPT_QUAL_FETCH : access & WRITE ? RHZ_EPT_QUAL_WRITE :
		        RHZ_EPT_QUAL_READ) | RHZ_EPT_QUAL_GVA | (table ? 0 : RHZ_EPT_QUAL_FINAL);
	return RHZ_PF_U | (access & WRITE ? RHZ_PF_W : 0u) | (access & FETCH ? RHZ_PF_I : 0u) |
	       (table ? RHZ_NPF_TABLE : RHZ_NPF_FINAL);
}

static enum rhz_fault_result hand_over(struct world *world, unsigned vcpu, uint64_t addr,
                                       unsigned access, uint32_t code, struct seen *seen)
{
	unsigned told = AC | (world->at[vcpu].hides_implicit ? 0u : (unsigned)IMPLICIT);
	enum rhz_fault_result result;

	world->at[vcpu].running = false;
	seen->faults++;
	if (in_l2(world, vcpu))
		result = rhz_vcpu_l2_fault(world->vcpu[vcpu], (rhz_ngpa){ addr },
		                           info_of(world, vcpu, access), &seen->fault, &seen->exit);
	else if (world->setup.kind == RHZ_SHADOW)
		result = rhz_vcpu_page_fault(world->vcpu[vcpu], (rhz_gva){ addr }, code,
		                             access & told, &seen->fault);
	else
		result = rhz_vcpu_nested_fault(world->vcpu[vcpu], (rhz_gpa){ addr },
		                               access & (WRITE | FETCH), &seen->fault);
	if (result == RHZ_FAULT_RESUME && seen->fault.flush == RHZ_FLUSH_ADDRESS)
		tlb_drop(world, vcpu, addr);
	if (!world->setup.no_audit)
		audit(world);
	return result;
}

struct seen touch(struct world *world, unsigned vcpu, uint64_t gva, unsigned access)
{
	struct seen seen = { 0 };
	uint32_t code = 0;

	while (seen.faults < 8) {
		if (!enter(world, vcpu)) {
			seen.how = WAS_NO_MEMORY;
			return seen;
		}
		if (attempt(world, vcpu, gva, access, &seen.hpa, &code)) {
			uint64_t offset = seen.hpa - RAM_HPA;

			seen.gpa = offset < world->ram_bytes ? offset : ~0ull;
			return seen;
		}
		switch (hand_over(world, vcpu, gva, access, code, &seen)) {
		case RHZ_FAULT_RESUME:
		case RHZ_FAULT_RETRY:
			continue;
		case RHZ_FAULT_REFLECT:
			seen.how = in_l2(world, vcpu) ? WAS_EXIT :
			           seen.fault.vector == 13 ? WAS_GP : FAULTED;
			seen.error_code = seen.fault.error_code;
			return seen;
		case RHZ_FAULT_MMIO:
			seen.how = WAS_MMIO;
			break;
		case RHZ_FAULT_TRACKED:
			seen.how = WAS_TRACKED;
			break;
		case RHZ_FAULT_NO_MEMORY:
			seen.how = WAS_NO_MEMORY;
			break;
		}
		seen.gpa = seen.fault.gpa.v;
		seen.read_only = seen.fault.read_only;
		return seen;
	}
	fail_msg("livelock: vCPU %u, address %#llx, access %#x, code %#x", vcpu,
	         (unsigned long long)gva, access, code);
	return seen;
}

struct seen store(struct world *world, unsigned vcpu, uint64_t gva, unsigned bytes, uint64_t value)
{
	struct seen seen = touch(world, vcpu, gva, WRITE);

	if (seen.how == REACHED)
		guest_put(world, seen.gpa, bytes, value);
	else if (seen.how == WAS_TRACKED)
		guest_poke(world, seen.gpa, bytes, value);
	return seen;
}

/* ---- expectations ---- */

static const char *const hows[] = { "reached", "faulted", "#GP", "MMIO", "tracked", "no memory",
	                            "exit to L1" };

static void report(const struct seen *seen, uint64_t gva, unsigned access, const char *file,
                   int line)
{
	print_error("address %#llx, access %#x: %s, gpa %#llx, error code %#x\n",
	            (unsigned long long)gva, access, hows[seen->how],
	            (unsigned long long)seen->gpa, seen->error_code);
	_fail(file, line);
}

void check_reaches(struct world *world, unsigned vcpu, uint64_t gva, unsigned access, uint64_t gpa,
                   const char *file, int line)
{
	struct seen seen = touch(world, vcpu, gva, access);

	if (seen.how != REACHED || seen.gpa != gpa)
		report(&seen, gva, access, file, line);
}

void check_faults(struct world *world, unsigned vcpu, uint64_t gva, unsigned access,
                  uint32_t error_code, const char *file, int line)
{
	struct seen seen = touch(world, vcpu, gva, access);

	if (seen.how != FAULTED || seen.error_code != error_code)
		report(&seen, gva, access, file, line);
}

void check_exits(struct world *world, unsigned vcpu, uint64_t ngpa, unsigned access,
                 enum rhz_l1_exit_kind kind, uint64_t info, const char *file, int line)
{
	struct seen seen = touch(world, vcpu, ngpa, access);

	if (seen.how == WAS_EXIT && seen.exit.kind == kind && seen.exit.info == info &&
	    seen.exit.ngpa.v == ngpa)
		return;
	print_error("kind %d, info %#llx, not %#llx\n", (int)seen.exit.kind,
	            (unsigned long long)seen.exit.info, (unsigned long long)info);
	report(&seen, ngpa, access, file, line);
}

void check_ends(struct world *world, unsigned vcpu, uint64_t gva, unsigned access, enum how how,
                uint64_t gpa, const char *file, int line)
{
	struct seen seen = touch(world, vcpu, gva, access);

	if (seen.how != how || seen.gpa != gpa)
		report(&seen, gva, access, file, line);
}
