/* SPDX-License-Identifier: MIT */
/* Making L2, running it, comparing. */
#include "nested-torture/l2.h"

#include "nested-torture/world.h"
#include "torture/machine.h"
#include "torture/random.h"

#define MSR_HSAVE 0xc0010117u
#define EFER_SVME (1ull << 12)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)
#define CR0_PE 1ull
#define CR0_ET (1ull << 4)
#define RFLAGS_1 (1ull << 1)
#define RFLAGS_RF (1ull << 16)

enum { ASIDS = 6, OPCODE_VMMCALL_BYTES = 3 };

void l2_vmrun(uint64_t reg[GPRS], uint64_t vmcb);

struct vmcb l2 __attribute__((aligned(4096)));
uint8_t l2_iopm[3 * 4096] __attribute__((aligned(4096)));
uint8_t l2_msrpm[2 * 4096] __attribute__((aligned(4096)));
uint64_t l2_reg[GPRS];
struct paging l2_paging;
bool l2_long;
struct report report;

static struct vmcb before;

/* ---- making it ---- */

static void fill(void *to, uint8_t with, unsigned long bytes)
{
	for (unsigned long i = 0; i < bytes; i++)
		((uint8_t *)to)[i] = with;
}

static void copy(void *to, const void *from, unsigned long bytes)
{
	for (unsigned long i = 0; i < bytes; i++)
		((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
}

static void build_control(void)
{
	l2.intercept_exceptions = 0xffffffff;
	/* INTR, NMI, SMI, INIT; HLT, SHUTDOWN: what would take L2 away or stop it */
	l2.intercept1 = 0xfu | 1u << 24 | INTERCEPT1_SHUTDOWN;
	l2.intercept2 = INTERCEPT2_VMRUN | INTERCEPT2_VMMCALL;
	l2.iopm = (uintptr_t)l2_iopm;
	l2.msrpm = (uintptr_t)l2_msrpm;
	l2.asid = 1 + below(ASIDS);
	l2.tlb_control = percent(50) && processor.flush_by_asid ? TLB_FLUSH_ASID : TLB_FLUSH_ALL;
	l2.tsc_offset = random64();
	l2.nested_control = l2_paging.nested ? NESTED_PAGING : 0;
	l2.nested_cr3 = l2_paging.nested_root;
}

static void build_segments(void)
{
	const uint16_t dpl = l2_paging.user ? 3 : 0;
	const uint16_t data = (uint16_t)(0xc93 | dpl << 5);

	l2.cs = (struct vmcb_segment){ 8 | dpl, (uint16_t)((l2_long ? 0xa9b : 0xc9b) | dpl << 5),
	                               0xffffffff, 0 };
	l2.ss = l2.ds = l2.es = (struct vmcb_segment){ 16 | dpl, data, 0xffffffff, 0 };
	l2.cpl = (uint8_t)dpl;
	l2.gdtr.base = LOW + LOW_GDT;
	l2.gdtr.limit = 0xff;
	l2.idtr.base = LOW + LOW_IDT;
	l2.idtr.limit = 0xfff;
}

static void build_registers(void)
{
	l2.efer = EFER_SVME;
	l2.cr0 = CR0_PE | CR0_ET;
	if (l2_long) {
		l2.efer |= EFER_LME | EFER_LMA | (l2_paging.nx ? EFER_NXE : 0);
		l2.cr0 |= CR0_PG | (l2_paging.wp ? CR0_WP : 0);
		l2.cr4 = CR4_PAE | (l2_paging.smep ? CR4_SMEP : 0) |
		         (l2_paging.smap ? CR4_SMAP : 0);
		l2.cr3 = l2_paging.root;
	}
	l2.dr6 = 0xffff0ff0;
	l2.dr7 = 0x400;
	l2.rflags = RFLAGS_1 | (l2_paging.ac ? EFLAGS_AC : 0);
	l2.rip = LOW + LOW_CODE;
	l2.cr2 = l2_long ? random64() : (uint32_t)random64();
	l2.pat = 0x0007040600070406;
	for (unsigned i = 0; i < GPRS; i++)
		l2_reg[i] = l2_long ? random64() : (uint32_t)random64();
	l2.rax = l2_reg[RAX];
	l2.rsp = l2_reg[RSP] = LOW + LOW_STACK + PAGE;
}

void l2_rebuild(void)
{
	fill(&l2, 0, sizeof(l2));
	build_control();
	build_segments();
	build_registers();
}

void l2_build(void)
{
	l2_long = percent(70);
	l2_paging = (struct paging){
		.nested = percent(65), .paged = l2_long,
		.nested_root = pool_page(NESTED_ROOT), .root = LOW + LOW_TABLES,
		.nested_nx = true, .nx = percent(80), .wp = percent(60),
		.smep = percent(30) && features.smep, .smap = percent(30) && features.smap,
		.ac = percent(40), .user = percent(40),
	};
	l2_rebuild();
}

void l2_code(const void *bytes, unsigned count)
{
	static const uint8_t vmmcall[OPCODE_VMMCALL_BYTES] = { 0x0f, 0x01, 0xd9 };
	uint8_t *code = (uint8_t *)word_at(LOW + LOW_CODE);

	copy(code, bytes, count);
	copy(code + count, vmmcall, sizeof(vmmcall));
	world_expect(LOW + LOW_CODE, code, count + sizeof(vmmcall));
}

bool l2_intercepts(uint32_t code)
{
	return (&l2.intercept_cr)[code / 32] >> code % 32 & 1;
}

void l2_intercept(uint32_t code, bool on)
{
	uint32_t *word = &(&l2.intercept_cr)[code / 32];

	*word = on ? *word | 1u << code % 32 : *word & ~(1u << code % 32);
}

struct expected l2_expect(const char *what, unsigned bytes)
{
	struct expected expected = { .what = what, .code = EXITS_VMMCALL, .rip = l2.rip + bytes,
	                             .cr0 = l2.cr0 };

	copy(expected.reg, l2_reg, sizeof(l2_reg));
	return expected;
}

/* ---- running it ---- */

void l2_enter(void)
{
	const unsigned long cr0 = read_cr0(), cr3 = read_cr3(), cr4 = read_cr4();
	const uint64_t efer = read_msr(MSR_EFER);

	copy(&before, &l2, sizeof(l2));
	__asm__ volatile("clgi" : : : "memory");
	l2_vmrun(l2_reg, (uintptr_t)&l2);
	__asm__ volatile("stgi" : : : "memory");
	if (l2_reg[RAX] != (uintptr_t)&l2)
		tell("after VMRUN", "rax of L1", (uintptr_t)&l2, l2_reg[RAX]);
	l2_reg[RAX] = l2.rax;
	l2_reg[RSP] = l2.rsp;
	if (read_cr0() != cr0)
		tell("after VMRUN", "cr0 of L1", cr0, read_cr0());
	if (read_cr3() != cr3)
		tell("after VMRUN", "cr3 of L1", cr3, read_cr3());
	if (read_cr4() != cr4)
		tell("after VMRUN", "cr4 of L1", cr4, read_cr4());
	if (read_msr(MSR_EFER) != efer)
		tell("after VMRUN", "efer of L1", efer, read_msr(MSR_EFER));
}

/* What an exit never writes of the control area [APM2 15.6]. */
static bool control_is_as_before(void)
{
	const uint8_t *now = (const uint8_t *)&l2, *then = (const uint8_t *)&before;

	for (unsigned i = 0; i < offsetof(struct vmcb, interrupt_control); i++) {
		if (now[i] != then[i])
			return false;
	}
	return l2.nested_control == before.nested_control && l2.nested_cr3 == before.nested_cr3;
}

static bool same(const struct expected *expected, const char *field, uint64_t wanted,
                 uint64_t seen, uint64_t mask)
{
	if ((wanted & mask) == (seen & mask))
		return true;
	tell(expected->what, field, wanted & mask, seen & mask);
	return false;
}

static bool same_state(const struct expected *e)
{
	bool ok = true;

	ok &= same(e, "cr0", e->cr0, l2.cr0, ~0ull);
	ok &= same(e, "cr2", before.cr2, l2.cr2, ~0ull);
	ok &= same(e, "cr3", before.cr3, l2.cr3, ~0ull);
	ok &= same(e, "cr4", before.cr4, l2.cr4, ~0ull);
	ok &= same(e, "efer", before.efer, l2.efer, ~0ull);
	/* RF is set by faults on some processors, and not on others */
	ok &= same(e, "rflags", before.rflags, l2.rflags, ~(e->rflags_open | RFLAGS_RF));
	ok &= same(e, "dr7", before.dr7, l2.dr7, ~0ull);
	ok &= same(e, "cs", before.cs.selector, l2.cs.selector, ~0ull);
	ok &= same(e, "cs base", before.cs.base, l2.cs.base, ~0ull);
	ok &= same(e, "ss attributes", before.ss.attributes, l2.ss.attributes, ~0ull);
	ok &= same(e, "idtr base", before.idtr.base, l2.idtr.base, ~0ull);
	ok &= same(e, "cpl", before.cpl, l2.cpl, ~0ull);
	return ok;
}

/* [APM2 15.8.4] */
static bool same_code(const struct expected *e)
{
	const uint8_t *code = (const uint8_t *)word_at(before.rip);

	if (l2.fetched != sizeof(l2.instruction)) {
		tell(e->what, "bytes of code", sizeof(l2.instruction), l2.fetched);
		return false;
	}
	for (unsigned i = 0; i < sizeof(l2.instruction); i++) {
		if (l2.instruction[i] != code[i]) {
			tell(e->what, "byte of code", code[i], l2.instruction[i]);
			return false;
		}
	}
	return true;
}

static bool compare(const struct expected *e)
{
	bool ok = same(e, "exit code", e->code, (uint32_t)l2.exit_code, ~0ull);

	if (!ok) {
		tell(e->what, "EXITINFO1", e->info1, l2.exit_info1);
		tell(e->what, "EXITINFO2", e->info2, l2.exit_info2);
		tell(e->what, "rip", e->rip, l2.rip);
		return false;
	}
	ok &= same(e, "EXITINFO1", e->info1, l2.exit_info1, e->info1_mask);
	ok &= same(e, "EXITINFO2", e->info2, l2.exit_info2, e->info2_mask);
	ok &= same(e, "event injected", 0, l2.event & EVENT_VALID, ~0ull);
	if (!control_is_as_before())
		tell(e->what, "control area", 0, 1);
	if (e->code == EXITS_INVALID)
		return ok;
	if (!e->event_is_open)
		ok &= same(e, "EXITINTINFO", e->event,
		           l2.exit_interrupt & EVENT_VALID ? l2.exit_interrupt : 0, ~0ull);
	if (!e->rip_is_open)
		ok &= same(e, "rip", e->rip, l2.rip, ~0ull);
	if (e->code == EXITS_VMMCALL && processor.next_rip)
		ok &= same(e, "next rip", e->rip + OPCODE_VMMCALL_BYTES, l2.next_rip, ~0ull);
	if (e->code_is_told && processor.decode_assists)
		ok &= same_code(e);
	if (e->next_rip && processor.next_rip)
		ok &= same(e, "next rip", e->next_rip, l2.next_rip, ~0ull);
	if (!e->state_is_open)
		ok &= same_state(e);
	for (unsigned i = 0; i < GPRS; i++) {
		if (!(e->reg_open >> i & 1))
			ok &= same(e, "register", e->reg[i], l2_reg[i], ~0ull);
	}
	return ok;
}

bool l2_run(const struct expected *e)
{
	uint64_t wrong;
	bool ok;

	l2_enter();
	ok = compare(e);
	wrong = walk_settle();
	if (wrong) {
		tell(e->what, "A and D bits at", wrong, *word_at(wrong));
		ok = false;
	}
	report.done++;
	if (e->no_digest)
		return ok;
	digest(l2.exit_code & 0xffffffff); /* QEMU 7.2 writes 32 bits of it */
	digest(l2.exit_info1 & e->info1_mask & ~e->info1_private);
	digest(l2.exit_info2 & e->info2_mask);
	if (e->code == EXITS_INVALID)
		return ok;
	digest(e->rip_is_open ? 0 : l2.rip);
	for (unsigned i = 0; i < GPRS; i++)
		digest(e->reg_open >> i & 1 ? 0 : l2_reg[i]);
	return ok;
}

/* ---- reports ---- */

static void field(const char *name, uint64_t value)
{
	say(" ");
	say(name);
	say(" ");
	say_hex(value);
}

void tell(const char *what, const char *name, uint64_t expected, uint64_t seen)
{
	report.failed++;
	if (report.failed > 40)
		return;
	say("nested-torture: FAILED seed ");
	say_number(report.seed);
	say(" step ");
	say_number(report.step);
	say(": ");
	say(what);
	say(": ");
	say(name);
	field("expected", expected);
	field("seen", seen);
	say(l2_long ? " 64-bit" : " 32-bit");
	say(l2_paging.nested ? " nested" : "");
	say(l2_paging.user ? " user" : "");
	say("\n");
}

void digest(uint64_t value)
{
	report.digest = mix(report.digest, value);
}
