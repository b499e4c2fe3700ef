/* SPDX-License-Identifier: MIT */
/* Events: injected ones, virtual interrupts, and real ones under GIF and intercepts. */
#include "nested-torture/l2.h"
#include "nested-torture/machine.h"
#include "nested-torture/steps.h"
#include "nested-torture/world.h"
#include "torture/machine.h"
#include "torture/random.h"

#define RFLAGS_IF (1ull << 9)
#define RFLAGS_RF (1ull << 16)
#define HANDLER (LOW + LOW_CODE + 0x800)
#define CODE_64 0x00af9b000000ffffull
#define CODE_32 0x00cf9b000000ffffull
#define GATE_PRESENT (1ull << 47)

enum { VECTOR_NP = 11, TYPE_INTERRUPT = 0, TYPE_NMI = 2, TYPE_EXCEPTION = 3, TYPE_SOFTWARE = 4 };

static bool has_error_code(unsigned vector)
{
	return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

/* L2's IDT and GDT: each vector leads to a VMMCALL of its own code page. */
static uint64_t gate_at(unsigned vector)
{
	return LOW + LOW_IDT + vector * (l2_long ? 16 : 8);
}

static void make_handler(unsigned vector, bool present)
{
	const uint64_t low = HANDLER & 0xffff, middle = HANDLER >> 16 & 0xffff;

	*word_at(HANDLER) = 0xd9010f;
	world_expect(HANDLER, word_at(HANDLER), 8);
	world_write(LOW + LOW_GDT + 8, l2_long ? CODE_64 : CODE_32);
	world_write(gate_at(vector), low | 8 << 16 | 0x0eull << 40 | middle << 48 |
	                             (present ? GATE_PRESENT : 0));
	if (l2_long)
		world_write(gate_at(vector) + 8, 0);
}

/* A page of LOW that is not there: in L1's tables or in L2's. The entry to be put back. */
struct missing { uint64_t at, entry; };

static struct missing take_away(uint64_t page)
{
	const bool nested = l2_paging.nested && (!l2_paging.paged || percent(50));
	const uint64_t table = nested ? pool_page(NESTED_L1) : LOW + LOW_TABLES + 3 * PAGE;
	struct missing missing = { table + slot_of(page, 1) * 8, 0 };

	missing.entry = *word_at(missing.at);
	world_write(missing.at, 0);
	return missing;
}

static void give_back(struct missing missing)
{
	if (missing.at)
		world_write(missing.at, missing.entry);
}

/* An access of the delivery; false: it faults, as 'expected' says now. */
static bool may_deliver(struct expected *expected, uint64_t gva, uint64_t access, uint64_t event)
{
	struct walk walk;

	walk_linear(&l2_paging, gva, access, &walk);
	if (walk.end == WALK_OK)
		return true;
	expected->code = walk.end == WALK_NESTED_FAULT ? EXITS_NPF : EXITS_EXCEPTION + 14;
	expected->info1 = walk.error;
	expected->info2 = walk.end == WALK_NESTED_FAULT ? walk.address : gva;
	expected->info1_mask = expected->info2_mask = ~0ull;
	expected->rip = l2.rip;
	expected->event = event;
	walk_failed();
	return false;
}

/*
 * The frame that a delivery at CPL 0 leaves, read from the stack: RF in its flags is the
 * processor's to choose [APM2 8.9.3]. rip_image: what must stand there.
 */
static void check_frame(const struct expected *expected, bool error, uint64_t rip_image,
                        uint64_t rflags, uint32_t error_code)
{
	const unsigned word = l2_long ? 8 : 4, at = error ? 1 : 0;
	uint64_t frame[6] = { 0 };

	for (unsigned i = 0; i < (l2_long ? 5u : 3u) + at; i++) {
		const uint64_t pa = expected->reg[RSP] + i * word;

		frame[i] = l2_long ? *word_at(pa) : *(uint32_t *)word_at(pa);
		world_expect(pa, word_at(pa), word);
	}
	if (error && frame[0] != error_code)
		tell(expected->what, "error code pushed", error_code, frame[0]);
	if (frame[at] != rip_image)
		tell(expected->what, "rip pushed", rip_image, frame[at]);
	if (frame[at + 1] != 8)
		tell(expected->what, "cs pushed", 8, frame[at + 1]);
	if ((frame[at + 2] ^ rflags) & ~RFLAGS_RF)
		tell(expected->what, "flags pushed", rflags, frame[at + 2]);
	digest(frame[at + 1]);
	digest(error ? frame[0] : 0);
}

/* The delivery of a vector at CPL 0. True: there is a frame to be looked at. */
static bool expect_delivery(struct expected *expected, unsigned vector, bool error, bool present,
                            uint64_t event)
{
	const uint64_t words = (l2_long ? 5u : 3u) + error;
	uint64_t rsp = l2.rsp;

	walk_forget();
	if (!may_deliver(expected, gate_at(vector), 0, event))
		return false;
	if (!present) {
		expect_exception(expected, VECTOR_NP);
		expected->info1_mask = 0; /* QEMU 7.2 has its own error code for a gate */
		expected->event = event;
		return false;
	}
	if (!may_deliver(expected, LOW + LOW_GDT + 8, 0, event))
		return false;
	rsp = l2_long ? rsp & ~15ull : rsp;
	if (!may_deliver(expected, rsp - (l2_long ? 8 : 4), F_W, event))
		return false;
	expected->reg[RSP] = rsp - words * (l2_long ? 8 : 4);
	expected->rflags_open = RFLAGS_IF;
	may_deliver(expected, HANDLER, F_I, 0);
	expected->rip = HANDLER;
	return true;
}

/* ---- injection ---- */

static unsigned random_vector(unsigned type)
{
	static const uint8_t exceptions[] = { 0, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 19 };

	if (type == TYPE_NMI)
		return 2;
	return type == TYPE_EXCEPTION ? exceptions[below(sizeof(exceptions))] :
	                                32 + below(type == TYPE_SOFTWARE ? 96 : 224);
}

static void inject(void)
{
	static const uint8_t types[] = { TYPE_INTERRUPT, TYPE_NMI, TYPE_EXCEPTION, TYPE_EXCEPTION,
	                                 TYPE_SOFTWARE };
	const unsigned type = types[below(5)], vector = random_vector(type);
	const bool error = type == TYPE_EXCEPTION && has_error_code(vector);
	const uint32_t code = error ? (uint32_t)random64() & 0xfff8 : 0;
	const bool present = percent(85);
	const uint64_t rip = l2.rip, rflags = l2.rflags;
	const uint64_t pages[] = { LOW_IDT, LOW_GDT, LOW_STACK, LOW_CODE };
	struct missing missing = { 0, 0 };
	struct expected expected;
	bool through;

	l2_code("", 0);
	make_handler(vector, present);
	l2.event = EVENT_VALID | type << 8 | vector | (uint64_t)code << 32 |
	           (error ? EVENT_HAS_ERROR_CODE : 0);
	l2.next_rip = rip + 2;
	if (percent(30))
		missing = take_away(LOW + pages[below(4)]);
	expected = l2_expect("an injected event", 0);
	through = expect_delivery(&expected, vector, error, present, l2.event);
	if (l2_run(&expected) && through) {
		/* INT n: behind it [APM2 15.20], which processors without NRIPS are not told */
		const bool behind = type == TYPE_SOFTWARE && processor.next_rip;

		check_frame(&expected, error, behind ? rip + 2 : rip, rflags, code);
	}
	give_back(missing);
}

/* ---- virtual interrupts [APM2 15.21.4] ---- */

static void virtual_interrupt(void)
{
	const unsigned vector = 32 + below(224), priority = 1 + below(15), tpr = below(15);
	const bool ignores = percent(30), intercepted = percent(40), enabled = percent(70);
	const bool taken = enabled && (ignores || priority > tpr);
	const uint64_t rip = l2.rip;
	struct expected expected;
	bool through = false;

	if (priority == tpr)
		return; /* QEMU 7.2 takes it, the manual does not */
	l2_code("", 0);
	make_handler(vector, true);
	l2.rflags |= enabled ? RFLAGS_IF : 0;
	l2.interrupt_control = tpr | V_IRQ | (uint64_t)priority << 16 | (uint64_t)vector << 32 |
	                       (ignores ? V_IGNORE_TPR : 0) | V_INTR_MASKING;
	l2_intercept(EXITS_VINTR, intercepted);
	expected = l2_expect("a virtual interrupt", 0);
	walk_forget();
	if (taken && intercepted)
		expected.code = EXITS_VINTR;
	else if (taken)
		through = expect_delivery(&expected, vector, false, true, 0);
	else if (!may_deliver(&expected, rip, F_I, 0))
		expected.rip = rip;
	if (l2_run(&expected) && through)
		check_frame(&expected, false, rip, l2.rflags | RFLAGS_IF, 0);
	if (!(l2.interrupt_control & V_IRQ) != through)
		tell(expected.what, "V_IRQ", !through, l2.interrupt_control & V_IRQ);
	digest(l2.interrupt_control & (V_IRQ | V_TPR));
}

/* ---- real interrupts ---- */

/* An interrupt to itself, pending when L2 begins: whose it is [APM2 15.21.1, 15.13]. */
static void real_interrupt(bool nmi)
{
	const bool masking = percent(50), l1_enabled = percent(50), l2_enabled = percent(50);
	const bool intercepted = nmi || percent(60);
	const bool taken = nmi || (masking ? l1_enabled : l2_enabled);
	const uint64_t rip = l2.rip;
	struct expected expected;
	bool through = false;
	uint64_t rflags;

	l2_code("", 0);
	make_handler(MACHINE_VECTOR, true);
	rflags = l2.rflags |= l2_enabled ? RFLAGS_IF : 0;
	l2.interrupt_control = masking ? V_INTR_MASKING : 0;
	l2_intercept(EXITS_INTR, intercepted);
	expected = l2_expect(nmi ? "an NMI" : "an interrupt", 0);
	walk_forget();
	if (taken && intercepted)
		expected.code = nmi ? EXITS_NMI : EXITS_INTR;
	else if (taken)
		through = expect_delivery(&expected, MACHINE_VECTOR, false, true, 0);
	else
		may_deliver(&expected, rip, F_I, 0);
	machine_pend(nmi, l1_enabled);
	if (l2_run(&expected) && through)
		check_frame(&expected, false, rip, rflags, 0);
	machine_settle(nmi, !taken || intercepted);
}

void step_event(void)
{
	const unsigned kind = below(10);

	l2_build();
	/* who reads an IDT under SMAP is told in another way by each processor */
	l2_paging.user = l2_paging.smap = l2_paging.smep = false;
	l2_rebuild();
	if (kind < 5)
		inject();
	else if (kind < 7)
		virtual_interrupt();
	else
		real_interrupt(kind == 9);
}
