/* SPDX-License-Identifier: MIT */
/* Instructions that L1 intercepts, or leaves to L2 [APM2 15.9]. */
#include "nested-torture/l2.h"
#include "nested-torture/steps.h"
#include "nested-torture/world.h"
#include "torture/machine.h"
#include "torture/random.h"

#define CR0_MP (1ull << 1)
#define CR0_TS (1ull << 3)
#define CR0_NE (1ull << 5)
#define EXITS_CR0_SEL_WRITE 0x65u
#define MOV_CR_VALID (1ull << 63)

enum { VECTOR_UD = 6, VECTOR_GP = 13, CODE_MAX = 15 };

struct code { uint8_t bytes[CODE_MAX]; unsigned count; };

static void add(struct code *code, unsigned byte)
{
	code->bytes[code->count++] = (uint8_t)byte;
}

/* Prefixes that change nothing but the length: the instructions here have no memory operand. */
static void add_prefixes(struct code *code)
{
	static const uint8_t idle[] = { 0x26, 0x2e, 0x3e, 0x64 };

	while (percent(25) && code->count < 4)
		add(code, idle[below(4)]);
}

void expect_exception(struct expected *expected, unsigned vector)
{
	expected->code = EXITS_EXCEPTION + vector;
	expected->info1_mask = vector == VECTOR_GP ? ~0ull : 0;
	expected->rip = l2.rip;
}

static void expect_intercept(struct expected *expected, uint32_t code)
{
	expected->next_rip = expected->rip;
	expected->code = code;
	expected->rip = l2.rip;
}

/* Looks for the fetch; true if the instruction is there to be run. */
static bool is_fetched(struct expected *expected)
{
	struct walk walk;

	walk_forget();
	walk_linear(&l2_paging, l2.rip, F_I, &walk);
	if (walk.end == WALK_OK)
		return true;
	expected->code = walk.end == WALK_NESTED_FAULT ? EXITS_NPF : EXITS_EXCEPTION + 14;
	expected->info1 = walk.error;
	expected->info1_mask = ~0ull;
	expected->rip = l2.rip;
	walk_failed();
	return false;
}

/* ---- control and debug registers ---- */

static uint64_t *register_value(bool debug, unsigned n)
{
	if (debug)
		return n == 6 ? &l2.dr6 : n == 7 ? &l2.dr7 : 0;
	return n == 0 ? &l2.cr0 : n == 2 ? &l2.cr2 : n == 3 ? &l2.cr3 : n == 4 ? &l2.cr4 : 0;
}

/* A MOV to CR0: selective interception lets changes of TS and MP pass [APM2 15.9]. */
static void expect_cr0_write(struct expected *expected, unsigned gpr)
{
	const uint64_t flips[] = { 0, CR0_TS, CR0_MP, CR0_NE };
	const uint64_t flip = flips[below(4)];

	l2_reg[gpr] = expected->reg[gpr] = l2.cr0 ^ flip;
	l2_intercept(EXITS_CR0_SEL_WRITE, percent(50));
	if (l2_intercepts(EXITS_CR0_SEL_WRITE) && flip == CR0_NE) {
		expect_intercept(expected, EXITS_CR0_SEL_WRITE);
		expected->info1 = MOV_CR_VALID | gpr;
		expected->info1_mask = processor.decode_assists ? ~0ull : 0;
		expected->info1_private = ~0ull;
	} else {
		expected->cr0 = l2.cr0 ^ flip;
	}
}

static void mov_register(bool debug)
{
	static const uint8_t controls[] = { 0, 2, 3, 4, 0 }, debugs[] = { 6, 7, 6, 7, 7 };
	const unsigned n = debug ? debugs[below(5)] : controls[below(5)];
	const bool write = percent(50);
	const uint32_t exit = (debug ? 0x20u : 0) + (write ? 0x10 : 0) + n;
	struct code code = { .count = 0 };
	struct expected expected;
	unsigned gpr;

	gpr = below(l2_long ? 16 : 8);
	while (gpr == RSP || gpr == RAX)
		gpr = below(8);
	add_prefixes(&code);
	if (l2_long && (gpr > 7 || percent(20)))
		add(&code, 0x40 | gpr >> 3);
	add(&code, 0x0f);
	add(&code, 0x20 | (debug ? 1 : 0) | (write ? 2 : 0));
	add(&code, 0xc0 | n << 3 | (gpr & 7));
	l2_code(code.bytes, code.count);
	l2_intercept(exit, percent(50));
	if (write)
		l2_reg[gpr] = *register_value(debug, n);
	expected = l2_expect(debug ? "MOV DR" : write ? "MOV to CR" : "MOV from CR", code.count);
	if (!is_fetched(&expected)) {
		/* a fault */
	} else if (l2_paging.user) {
		expect_exception(&expected, VECTOR_GP);
	} else if (l2_intercepts(exit)) {
		expect_intercept(&expected, exit);
		expected.info1 = debug ? gpr : MOV_CR_VALID | gpr;
		expected.info1_mask = processor.decode_assists ? ~0ull : 0;
		expected.info1_private = ~0ull;
	} else if (!write) {
		expected.reg[gpr] = *register_value(debug, n);
	} else if (n == 0) {
		expect_cr0_write(&expected, gpr);
	}
	l2_run(&expected);
}

/* ---- one exit code, one instruction ---- */

enum effect { NOTHING, PUSHES_FLAGS, ALWAYS_INTERCEPTED, UD, READS_CPUID };

/*
 * user: a user may; else it is #GP, which comes before the intercept. rAX names a page of LOW, for
 * what takes one. INVD is not here: QEMU 7.2 takes it for WBINVD.
 */
static const struct instruction {
	const char *name;
	uint32_t exit;
	uint8_t bytes[4], count;
	bool user;
	enum effect effect;
} instructions[] = {
	{ "CPUID", 0x72, { 0x0f, 0xa2 }, 2, true, READS_CPUID },
	{ "PAUSE", 0x77, { 0xf3, 0x90 }, 2, true, NOTHING },
	{ "WBINVD", 0x89, { 0x0f, 0x09 }, 2, false, NOTHING },
	{ "PUSHF", 0x70, { 0x9c }, 1, true, PUSHES_FLAGS },
	{ "POPF", 0x71, { 0x9d }, 1, true, ALWAYS_INTERCEPTED },
	{ "RDTSC", 0x6e, { 0x0f, 0x31 }, 2, true, ALWAYS_INTERCEPTED },
	{ "INT 80h", 0x75, { 0xcd, 0x80 }, 2, true, ALWAYS_INTERCEPTED },
	{ "VMRUN", 0x80, { 0x0f, 0x01, 0xd8 }, 3, false, ALWAYS_INTERCEPTED },
	{ "VMLOAD", 0x82, { 0x0f, 0x01, 0xda }, 3, false, ALWAYS_INTERCEPTED },
	{ "VMSAVE", 0x83, { 0x0f, 0x01, 0xdb }, 3, false, ALWAYS_INTERCEPTED },
	{ "STGI", 0x84, { 0x0f, 0x01, 0xdc }, 3, false, ALWAYS_INTERCEPTED },
	{ "CLGI", 0x85, { 0x0f, 0x01, 0xdd }, 3, false, ALWAYS_INTERCEPTED },
	{ "INVLPGA", 0x7a, { 0x0f, 0x01, 0xdf }, 3, false, ALWAYS_INTERCEPTED },
	{ "HLT", 0x78, { 0xf4 }, 1, false, ALWAYS_INTERCEPTED },
};
enum { INSTRUCTIONS = sizeof(instructions) / sizeof(instructions[0]) };

static void expect_effect(struct expected *expected, enum effect effect)
{
	static const uint32_t leaves[] = { 0, 0x80000002, 0x80000003, 0x80000008 };
	uint32_t out[4];

	if (effect == READS_CPUID) {
		l2.rax = l2_reg[RAX] = leaves[below(4)];
		l2_reg[RCX] = expected->reg[RCX] = 0;
		cpuid((uint32_t)l2.rax, out);
		expected->reg[RAX] = out[0];
		expected->reg[RBX] = out[1];
		expected->reg[RCX] = out[2];
		expected->reg[RDX] = out[3];
	}
}

static void one_instruction(void)
{
	const struct instruction *op = &instructions[below(INSTRUCTIONS)];
	struct code code = { .count = 0 };
	struct expected expected;

	add_prefixes(&code);
	for (unsigned i = 0; i < op->count; i++)
		add(&code, op->bytes[i]);
	l2_code(code.bytes, code.count);
	l2.rax = l2_reg[RAX] = LOW + LOW_STACK;
	l2_intercept(op->exit, op->effect == ALWAYS_INTERCEPTED || op->effect == PUSHES_FLAGS ||
	             percent(50));
	expected = l2_expect(op->name, code.count);
	if (is_fetched(&expected)) {
		if (l2_paging.user && !op->user)
			expect_exception(&expected, VECTOR_GP);
		else if (l2_intercepts(op->exit))
			expect_intercept(&expected, op->exit);
		else
			expect_effect(&expected, op->effect);
	}
	l2_run(&expected);
}

static void invalidate_page(void)
{
	const uint64_t gva = l2_long ? world_random_page() : (uint32_t)world_random_page();
	static const uint8_t invlpg[] = { 0x0f, 0x01, 0x3f }; /* (rdi) */
	struct expected expected;

	l2_code(invlpg, sizeof(invlpg));
	l2_reg[RDI] = gva;
	l2_intercept(0x79, percent(50));
	expected = l2_expect("INVLPG", sizeof(invlpg));
	if (is_fetched(&expected)) {
		if (l2_paging.user) {
			expect_exception(&expected, VECTOR_GP);
		} else if (l2_intercepts(0x79)) {
			expect_intercept(&expected, 0x79);
			expected.info1 = gva;
			expected.info1_mask = processor.decode_assists ? ~0ull : 0;
			expected.info1_private = ~0ull;
		}
	}
	l2_run(&expected);
}

void step_intercept(void)
{
	const unsigned kind = below(10);

	l2_build();
	if (kind < 4)
		mov_register(kind == 3);
	else if (kind < 9)
		one_instruction();
	else
		invalidate_page();
}

/* ---- permission maps ---- */

static void set_bit(uint8_t *map, unsigned bit, bool on)
{
	const unsigned mask = 1u << bit % 8;

	map[bit / 8] = (uint8_t)(on ? map[bit / 8] | mask : map[bit / 8] & ~mask);
}

enum { COM1_SCRATCH = 0x3ff };
#define IO_ADDRESS_BITS 0x380ull /* of EXITINFO1: QEMU 7.2 leaves them out */

/* IN or OUT by dx, of 1, 2 or 4 bytes [APM2 15.10]. What L2 is given: a register of the UART. */
void step_port(void)
{
	const bool in = percent(50), given = percent(40);
	const unsigned size = given ? 0 : below(3), bytes = 1u << size;
	const unsigned port = given ? COM1_SCRATCH : percent(10) ? 0xffff : below(0x10000);
	struct code code = { .count = 0 };
	struct expected expected;
	bool exits = false;

	l2_build();
	if (size == 1)
		add(&code, 0x66);
	add(&code, 0xec | (size ? 1 : 0) | (in ? 0 : 2));
	l2_code(code.bytes, code.count);
	l2_reg[RDX] = (l2_reg[RDX] & 0xffff0000) | port;
	l2_intercept(0x7b, true);
	for (unsigned i = 0; i < bytes; i++) {
		const bool on = percent(50) || (!given && i == 0 && !exits);

		set_bit(l2_iopm, port + i, on);
		exits |= on;
	}
	if (bytes > 1)
		set_bit(l2_iopm, port + bytes, percent(50));
	expected = l2_expect(in ? "IN" : "OUT", code.count);
	if (is_fetched(&expected)) {
		if (l2_paging.user) {
			expect_exception(&expected, VECTOR_GP);
		} else if (exits) {
			expected.info1 = (uint64_t)port << 16 | 0x10u << size | in;
			expected.info1_mask = ~IO_ADDRESS_BITS;
			expected.info2 = expected.rip;
			expected.info2_mask = ~0ull;
			expect_intercept(&expected, 0x7b);
		} else if (in) {
			out8(COM1_SCRATCH, (uint8_t)random64());
			expected.reg[RAX] = (l2_reg[RAX] & ~0xffull) | in8(COM1_SCRATCH);
		}
	}
	l2_run(&expected);
	if (expected.code == EXITS_VMMCALL && in8(COM1_SCRATCH) != (uint8_t)l2_reg[RAX])
		tell(expected.what, "port", l2_reg[RAX], in8(COM1_SCRATCH));
}

/* MSRs that L2 may have: what they hold stays theirs until L1 looks. */
static const uint32_t given_msrs[] = {
	0x175, 0x176, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000102,
};

/* The bit of an MSR's pair in the map; less than 0: it has none, and always exits. */
static int pair_of(uint32_t msr)
{
	if (msr < 0x2000)
		return (int)msr * 2;
	if (msr - 0xc0000000 < 0x2000)
		return 0x4000 + (int)(msr - 0xc0000000) * 2;
	if (msr - 0xc0010000 < 0x2000)
		return 0x8000 + (int)(msr - 0xc0010000) * 2;
	return -1;
}

static uint32_t random_msr(void)
{
	static const uint32_t edges[] = { 0, 0x1fff, 0x2000, 0xc0000000, 0xc0001fff, 0xc0002000,
	                                  0xc0010000, 0xc0011fff, 0xc0012000, 0xffffffff };

	if (percent(30))
		return edges[below(sizeof(edges) / sizeof(edges[0]))];
	return percent(50) ? (uint32_t)random64() : pair_of(0xc0000000 + below(0x2000)) >= 0 ?
		0xc0000000 + below(0x2000) : 0;
}

/* [APM2 15.11] */
void step_msr(void)
{
	const bool write = percent(50), given = percent(50);
	const uint32_t msr = given ? given_msrs[below(sizeof(given_msrs) / sizeof(given_msrs[0]))] :
	                             random_msr();
	const uint8_t bytes[] = { 0x0f, write ? 0x30 : 0x32 };
	const int bit = pair_of(msr);
	struct expected expected;
	bool exits = bit < 0;
	uint64_t value = 0;

	l2_build();
	l2_code(bytes, sizeof(bytes));
	l2_reg[RCX] = msr;
	l2_intercept(0x7c, true);
	if (bit >= 0) {
		exits = !given || percent(50);
		set_bit(l2_msrpm, (unsigned)bit + write, exits);
		set_bit(l2_msrpm, (unsigned)bit + !write, percent(50));
	}
	if (!exits) {
		l2_reg[RDX] &= 0x7fff; /* canonical */
		write_msr(msr, random64() & 0x7fffffffffff);
		value = read_msr(msr);
	}
	expected = l2_expect(write ? "WRMSR" : "RDMSR", sizeof(bytes));
	if (is_fetched(&expected)) {
		if (l2_paging.user) {
			expect_exception(&expected, VECTOR_GP);
		} else if (exits) {
			expect_intercept(&expected, 0x7c);
			expected.info1 = write;
			expected.info1_mask = ~0ull;
		} else if (write) {
			value = l2_reg[RDX] << 32 | (uint32_t)l2_reg[RAX];
		} else {
			expected.reg[RAX] = (uint32_t)value;
			expected.reg[RDX] = value >> 32;
		}
	}
	l2_run(&expected);
	if (!exits && read_msr(msr) != value)
		tell(expected.what, "register afterwards", value, read_msr(msr));
}
