/* SPDX-License-Identifier: MIT */
/* Blocks that VMRUN refuses [APM2 15.5.1, 15.20, 15.25.3]. */
#include "nested-torture/l2.h"
#include "nested-torture/steps.h"
#include "nested-torture/world.h"
#include "torture/machine.h"
#include "torture/random.h"

#define EFER_SVME (1ull << 12)
#define CR0_CD (1ull << 30)
#define CR0_NW (1ull << 29)
#define CS_L (1u << 9)
#define CS_D (1u << 10)

static void no_svme(void) { l2.efer &= ~EFER_SVME; }
static void efer_reserved(void) { l2.efer |= 1ull << (32 + below(32)); }
static void not_write_through(void) { l2.cr0 = (l2.cr0 & ~CR0_CD) | CR0_NW; }
static void high_cr0(void) { l2.cr0 |= 1ull << (32 + below(32)); }
static void high_cr4(void) { l2.cr4 |= 1ull << (32 + below(32)); }
static void reserved_cr4(void) { l2.cr4 |= 1ull << (25 + below(7)); }
static void high_dr6(void) { l2.dr6 |= 1ull << (32 + below(32)); }
static void high_dr7(void) { l2.dr7 |= 1ull << (32 + below(32)); }
static void no_vmrun(void) { l2.intercept2 &= ~INTERCEPT2_VMRUN; }
static void asid_zero(void) { l2.asid = 0; }

static void high_cr3(void)
{
	l2.cr3 |= 1ull << (processor.address_bits + below(64 - processor.address_bits));
}

static void long_without_pae(void)
{
	l2.efer |= 1ull << 8;
	l2.cr0 |= CR0_PG;
	l2.cr4 &= ~(uint64_t)CR4_PAE;
}

static void long_without_protection(void)
{
	l2.efer |= 1ull << 8;
	l2.cr0 = (l2.cr0 | CR0_PG) & ~1ull;
	l2.cr4 |= CR4_PAE;
}

static void long_and_default(void)
{
	l2.efer |= 1ull << 8;
	l2.cr0 |= CR0_PG;
	l2.cr4 |= CR4_PAE;
	l2.cs.attributes |= CS_L | CS_D;
}

static void iopm_beyond(void)
{
	l2.intercept1 |= INTERCEPT1_IOIO;
	l2.iopm = (1ull << processor.address_bits) - 2 * PAGE + below(PAGE);
}

static void msrpm_beyond(void)
{
	l2.intercept1 |= INTERCEPT1_MSR;
	l2.msrpm = (1ull << processor.address_bits) - PAGE + below(PAGE);
}

static void event_of(uint64_t type, uint64_t vector)
{
	l2.event = EVENT_VALID | type << 8 | vector | (random64() & 0xffffffff00000800ull);
}

static void event_type(void)
{
	static const uint8_t reserved[] = { 1, 5, 6, 7 };

	event_of(reserved[below(4)], below(256));
}

static void event_exception(void)
{
	event_of(3, percent(30) ? 2 : 32 + below(224));
}

/* excused: the emulator does not look at it. */
static const struct illegal { const char *name; void (*make)(void); bool long_only, excused; }
cases[] = {
	{ "EFER.SVME is 0", no_svme, false, false },
	{ "EFER has reserved bits", efer_reserved, false, false },
	{ "CR0.NW without CD", not_write_through, false, false },
	{ "CR0 above 31:0", high_cr0, false, false },
	{ "CR3 beyond the processor", high_cr3, true, false },
	{ "CR4 above 31:0", high_cr4, false, false },
	{ "CR4 has reserved bits", reserved_cr4, false, false },
	{ "DR6 above 31:0", high_dr6, false, false },
	{ "DR7 above 31:0", high_dr7, false, false },
	{ "VMRUN is not intercepted", no_vmrun, false, false },
	{ "ASID 0", asid_zero, false, false },
	{ "long mode without PAE", long_without_pae, false, false },
	{ "long mode without PE", long_without_protection, false, false },
	{ "64-bit code with CS.D", long_and_default, false, false },
	{ "I/O map beyond the processor", iopm_beyond, false, false },
	{ "MSR map beyond the processor", msrpm_beyond, false, false },
	{ "event of a reserved type", event_type, false, false },
	{ "exception that is none", event_exception, false, false },
};
enum { CASES = sizeof(cases) / sizeof(cases[0]) };

void step_illegal(void)
{
	const struct illegal *c = &cases[below(CASES)];
	struct expected expected;

	l2_build();
	if (c->long_only && !l2_long) {
		report.open++;
		return;
	}
	l2_code("", 0);
	expected = l2_expect(c->name, 0);
	expected.code = EXITS_INVALID;
	c->make();
	walk_forget();
	l2_run(&expected);
}
