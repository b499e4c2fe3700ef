/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor's stores (hv/insn): random instructions are decoded and emulated here, and made by
 * this very processor; memory, registers and flags must be the same.
 *
 * usage: store_test [SEED]
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "insn/emulate.h"

enum { ROUNDS = 200000, AREA = 256, RSP = 4, FLAG_BITS = 0x8d5 };

struct machine { uint64_t reg[16], rflags; };

/* Runs code with these registers (rsp stays) and flags; it ends with a jump to 'ran'. */
void run_here(struct machine *machine, const void *code);
extern const char ran[];

__asm__(".text\n"
        "run_here:\n\t"
        "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n\t"
        "mov %rdi, here_machine(%rip); mov %rsi, here_code(%rip)\n\t"
        "push 128(%rdi); popfq\n\t"
        "mov 0(%rdi), %rax; mov 8(%rdi), %rcx; mov 16(%rdi), %rdx; mov 24(%rdi), %rbx\n\t"
        "mov 40(%rdi), %rbp; mov 48(%rdi), %rsi; mov 64(%rdi), %r8; mov 72(%rdi), %r9\n\t"
        "mov 80(%rdi), %r10; mov 88(%rdi), %r11; mov 96(%rdi), %r12; mov 104(%rdi), %r13\n\t"
        "mov 112(%rdi), %r14; mov 120(%rdi), %r15; mov 56(%rdi), %rdi\n\t"
        "jmp *here_code(%rip)\n"
        "ran:\n\t"
        "push %rdi; mov here_machine(%rip), %rdi; pop 56(%rdi)\n\t"
        "pushfq; pop 128(%rdi)\n\t"
        "mov %rax, 0(%rdi); mov %rcx, 8(%rdi); mov %rdx, 16(%rdi); mov %rbx, 24(%rdi)\n\t"
        "mov %rbp, 40(%rdi); mov %rsi, 48(%rdi); mov %r8, 64(%rdi); mov %r9, 72(%rdi)\n\t"
        "mov %r10, 80(%rdi); mov %r11, 88(%rdi); mov %r12, 96(%rdi); mov %r13, 104(%rdi)\n\t"
        "mov %r14, 112(%rdi); mov %r15, 120(%rdi)\n\t"
        "cld; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n\t"
        ".local here_machine, here_code\n\t"
        ".comm here_machine, 8, 8\n\t.comm here_code, 8, 8\n");

static uint64_t seed = 1, state;

static uint64_t draw(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static unsigned below(unsigned limit)
{
	return (unsigned)(draw() >> 20) % limit;
}

/* ---- a random instruction ---- */

struct form { uint8_t opcode; int ext; uint8_t immediate; bool two, byte, lock, bits; };

#define ALU(at) { at, -1, 0, 0, 1, 1, 0 }, { at + 1, -1, 0, 0, 0, 1, 0 }
#define GROUP1(ext) { 0x80, ext, 1, 0, 1, 1, 0 }, { 0x81, ext, 4, 0, 0, 1, 0 }, \
	{ 0x83, ext, 1, 0, 0, 1, 0 }
static const struct form forms[] = {
	ALU(0x00), ALU(0x08), ALU(0x10), ALU(0x18), ALU(0x20), ALU(0x28), ALU(0x30),
	GROUP1(0), GROUP1(1), GROUP1(2), GROUP1(3), GROUP1(4), GROUP1(5), GROUP1(6),
	ALU(0x86), { 0x88, -1, 0, 0, 1, 0, 0 }, { 0x89, -1, 0, 0, 0, 0, 0 },
	{ 0xc6, 0, 1, 0, 1, 0, 0 }, { 0xc7, 0, 4, 0, 0, 0, 0 },
	{ 0xf6, 2, 0, 0, 1, 1, 0 }, { 0xf7, 2, 0, 0, 0, 1, 0 },
	{ 0xf6, 3, 0, 0, 1, 1, 0 }, { 0xf7, 3, 0, 0, 0, 1, 0 },
	{ 0xfe, 0, 0, 0, 1, 1, 0 }, { 0xff, 0, 0, 0, 0, 1, 0 },
	{ 0xfe, 1, 0, 0, 1, 1, 0 }, { 0xff, 1, 0, 0, 0, 1, 0 },
	{ 0xab, -1, 0, 1, 0, 1, 1 }, { 0xb3, -1, 0, 1, 0, 1, 1 }, { 0xbb, -1, 0, 1, 0, 1, 1 },
	{ 0xba, 5, 1, 1, 0, 1, 0 }, { 0xba, 6, 1, 1, 0, 1, 0 }, { 0xba, 7, 1, 1, 0, 1, 0 },
	{ 0xb0, -1, 0, 1, 1, 1, 0 }, { 0xb1, -1, 0, 1, 0, 1, 0 },
	{ 0xc0, -1, 0, 1, 1, 1, 0 }, { 0xc1, -1, 0, 1, 0, 1, 0 },
	{ 0xc3, -1, 0, 1, 0, 0, 0 }, { 0xc7, 1, 0, 1, 0, 1, 0 },
};
enum { FORMS = sizeof(forms) / sizeof(forms[0]) };

static bool is_plain(const struct form *form)
{
	return form->two && (form->opcode == 0xc3 || form->opcode == 0xc7);
}

struct sample {
	uint8_t code[INSN_BUFFER + 16];
	unsigned length, bytes, address_bytes;
	int base, index, reg; /* -1: none */
	unsigned scale, displacement_at, displacement_bytes;
	bool rip_relative;
	uint64_t target;      /* where the operand is to lie */
};

static void put(struct sample *s, unsigned byte)
{
	s->code[s->length++] = (uint8_t)byte;
}

static void put_modrm(struct sample *s, const struct form *form, unsigned rex)
{
	const unsigned mode = below(3), rm = below(8), reg = form->ext < 0 ? below(8) :
	                                                     (unsigned)form->ext;

	put(s, mode << 6 | reg << 3 | rm);
	s->reg = form->ext < 0 ? (int)(reg | (rex & 4) << 1) : -1;
	s->base = (int)(rm | (rex & 1) << 3);
	s->index = -1;
	s->displacement_bytes = mode == 0 ? 0 : mode == 1 ? 1 : 4;
	s->rip_relative = false;
	if (rm == 4) {
		const unsigned sib = below(256), index = (sib >> 3 & 7) | (rex & 2) << 2;

		put(s, sib);
		s->scale = sib >> 6;
		s->index = index == 4 ? -1 : (int)index;
		s->base = (int)((sib & 7) | (rex & 1) << 3);
		if (mode == 0 && (sib & 7) == 5)
			s->base = -1;
	} else if (mode == 0 && rm == 5) {
		s->base = -1;
		s->rip_relative = true;
	}
	if (mode == 0 && s->base < 0)
		s->displacement_bytes = 4;
	s->displacement_at = s->length;
	for (unsigned i = 0; i < s->displacement_bytes; i++)
		put(s, below(256));
}

/* Prefixes in a random order, one REX at most at the end. */
static unsigned put_prefixes(struct sample *s, const struct form *form, bool *operand)
{
	static const uint8_t useless[] = { 0x26, 0x2e, 0x36, 0x3e, 0x48, 0x44 };
	unsigned rex = 0;

	*operand = !is_plain(form) && below(4) == 0;
	if (below(8) == 0)
		put(s, useless[below(sizeof(useless))]);
	/* a REX that is not the last prefix is ignored: this one must not be */
	if (s->length && (s->code[0] & 0xf0) == 0x40)
		put(s, 0x3e);
	if (*operand)
		put(s, 0x66);
	if (s->address_bytes == 4)
		put(s, 0x67);
	if (form->lock && below(2))
		put(s, 0xf0);
	if (below(2)) {
		rex = 0x40 | below(16);
		put(s, rex);
	}
	return rex;
}

static void make_sample(struct sample *s, const struct form *form)
{
	bool operand;
	unsigned rex, immediate = form->immediate;

	memset(s, 0, sizeof(*s));
	s->address_bytes = below(4) ? 8 : 4;
	rex = put_prefixes(s, form, &operand);
	s->bytes = form->byte ? 1 : rex & 8 ? 8 : operand ? 2 : 4;
	if (immediate == 4 && s->bytes == 2)
		immediate = 2;
	if (form->two)
		put(s, 0x0f);
	put(s, form->opcode);
	put_modrm(s, form, rex);
	for (unsigned i = 0; i < immediate; i++)
		put(s, below(256));
	if (form->two && form->opcode == 0xc7)
		s->bytes = s->bytes == 8 ? 16 : 8;
}

/* ---- making its address the one that is wanted ---- */

static void write32(uint8_t *at, uint64_t value)
{
	const uint32_t low = (uint32_t)value;

	memcpy(at, &low, sizeof(low));
}

static int64_t displacement(const struct sample *s)
{
	int32_t wide;

	if (s->displacement_bytes == 0)
		return 0;
	if (s->displacement_bytes == 1)
		return (int8_t)s->code[s->displacement_at];
	memcpy(&wide, s->code + s->displacement_at, sizeof(wide));
	return wide;
}

/* How far the bit number in the register reaches. */
static int64_t bit_bytes(const struct sample *s, const struct form *form, uint64_t value)
{
	const int64_t bits = s->bytes * 8;
	int64_t bit, operands = 0;

	if (!form->bits)
		return 0;
	bit = s->bytes == 8 ? (int64_t)value : s->bytes == 4 ? (int32_t)value : (int16_t)value;
	while (bit < 0)
		bit += bits, operands--;
	return (operands + bit / bits) * s->bytes;
}

/* False: these registers cannot lead there. */
static bool aim(struct sample *s, const struct form *form, struct machine *m, const uint8_t *code)
{
	const uint64_t mask = s->address_bytes == 8 ? ~0ull : 0xffffffff;
	uint64_t rest = s->target;

	if (s->base == RSP || s->reg == RSP || s->index == RSP ||
	    (s->base >= 0 && s->base == s->index) ||
	    (form->bits && (s->reg == s->base || s->reg == s->index)))
		return false;
	if (form->bits)
		m->reg[s->reg] = (uint64_t)((int64_t)below(4096) - 2048);
	if (form->bits)
		rest -= (uint64_t)bit_bytes(s, form, m->reg[s->reg]);
	if (s->index >= 0)
		rest -= m->reg[s->index] << s->scale;
	if (s->base >= 0) {
		/* bits beyond a 32-bit address do not matter */
		m->reg[s->base] = ((rest - (uint64_t)displacement(s)) & mask) |
		                  (draw() & ~mask);
		return true;
	}
	if (s->rip_relative)
		rest -= (uint64_t)code + s->length;
	if (s->index >= 0 && (int64_t)rest != (int32_t)rest && mask == ~0ull)
		return false;
	write32(s->code + s->displacement_at, rest);
	return true;
}

/* ---- both ---- */

static void fail_sample(const struct sample *s, unsigned round, const char *what)
{
	fprintf(stderr, "seed %llu, round %u: %s:", (unsigned long long)seed, round, what);
	for (unsigned i = 0; i < s->length; i++)
		fprintf(stderr, " %02x", s->code[i]);
	fprintf(stderr, "\n");
	fail();
}

static void run_code(uint8_t *code, const struct sample *s, struct machine *m)
{
	static const uint8_t jump[] = { 0xff, 0x25, 0, 0, 0, 0 };
	const char *back = ran;

	memcpy(code, s->code, s->length);
	memcpy(code + s->length, jump, sizeof(jump));
	memcpy(code + s->length + sizeof(jump), &back, sizeof(back));
	run_here(m, code);
}

/* BTS and its kind define CF alone. */
static uint64_t defined(const struct insn *insn)
{
	return insn->op >= INSN_BTS && insn->op <= INSN_BTC ? 1 : FLAG_BITS;
}

static void compare(const struct sample *s, unsigned round, const struct insn *insn,
                    const struct machine *here, const struct machine *ours,
                    const uint8_t *area, const uint8_t *copy)
{
	if (memcmp(area, copy, AREA))
		fail_sample(s, round, "memory");
	for (unsigned i = 0; i < 16; i++) {
		if (i != RSP && here->reg[i] != ours->reg[i])
			fail_sample(s, round, "registers");
	}
	if ((here->rflags ^ ours->rflags) & defined(insn))
		fail_sample(s, round, "flags");
}

static uint8_t *area, *code;

static void draw_machine(struct machine *m)
{
	for (unsigned i = 0; i < 16; i++)
		m->reg[i] = below(4) ? draw() : draw() & 0xff;
	m->rflags = 0x202 | (draw() & FLAG_BITS);
	for (unsigned i = 0; i < AREA; i++)
		area[i] = (uint8_t)draw();
}

/* The comparison of CMPXCHG comes out equal about half the time. */
static void make_equal(const struct sample *s, struct machine *m)
{
	const uint8_t *at = area + (s->target - (uint64_t)area);

	if (below(2))
		return;
	if (s->base != 0 && s->index != 0)
		memcpy(&m->reg[0], at, s->bytes < 8 ? s->bytes : s->bytes / 2);
	if (s->bytes >= 8 && s->base != 2 && s->index != 2)
		memcpy(&m->reg[2], at + s->bytes / 2, s->bytes / 2);
}

static void test_operands(void **unused)
{
	(void)unused;
	for (unsigned round = 0; round < ROUNDS; round++) {
		const struct form *form = &forms[below(FORMS)];
		struct machine here, ours;
		uint8_t copy[AREA] __attribute__((aligned(64)));
		struct sample s;
		struct insn insn;

		draw_machine(&here);
		make_sample(&s, form);
		/* anywhere in a cache line, but CMPXCHG16B */
		s.target = (uint64_t)area + 64 * below(AREA / 64) +
		           (s.bytes == 16 ? 16 * below(4) : below(65 - s.bytes));
		if (s.length > INSN_MAX || !aim(&s, form, &here, code))
			continue;
		if (form->two && (form->opcode | 1) == 0xb1)
			make_equal(&s, &here);
		if (form->two && form->opcode == 0xc7)
			make_equal(&s, &here);
		ours = here;
		memcpy(copy, area, AREA);
		if (insn_decode(&insn, s.code, s.length, 64) != INSN_OK)
			fail_sample(&s, round, "not decoded");
		if (insn.length != s.length || insn.bytes != s.bytes)
			fail_sample(&s, round, "length or size");
		if (insn_offset(&insn, ours.reg, (uint64_t)code + s.length) != s.target)
			fail_sample(&s, round, "address");
		insn_perform(&insn, copy + (s.target - (uint64_t)area), ours.reg, &ours.rflags);
		run_code(code, &s, &here);
		compare(&s, round, &insn, &here, &ours, area, copy);
	}
}

static void make_string(struct sample *s, struct machine *m, bool copies)
{
	const unsigned rex = below(2) ? 0x40 | below(16) : 0;
	const bool byte = below(2), operand = below(2), address = below(2);

	memset(s, 0, sizeof(*s));
	if (below(2))
		put(s, below(2) ? 0xf2 : 0xf3);
	if (operand)
		put(s, 0x66);
	if (address)
		put(s, 0x67);
	if (rex)
		put(s, rex);
	s->bytes = byte ? 1 : rex & 8 ? 8 : operand ? 2 : 4;
	put(s, (copies ? 0xa4 : 0xaa) | !byte);
	/* Somewhere in the middle, so that ten elements fit on each side; they may overlap. */
	m->reg[7] = (uint64_t)area + 80 + below(88);
	m->reg[6] = (uint64_t)area + 80 + below(88);
	m->reg[1] = 1 + below(10);
	if (address) {
		m->reg[7] |= draw() << 32;
		m->reg[6] |= draw() << 32;
		m->reg[1] |= draw() << 32;
	}
	m->rflags |= below(2) << 10;
}

static void test_strings(void **unused)
{
	(void)unused;
	for (unsigned round = 0; round < ROUNDS / 10; round++) {
		const bool copies = below(2);
		struct machine here, ours;
		uint8_t copy[AREA];
		struct sample s;
		struct insn insn;
		uint64_t mask;

		draw_machine(&here);
		make_string(&s, &here, copies);
		ours = here;
		memcpy(copy, area, AREA);
		if (insn_decode(&insn, s.code, s.length, 64) != INSN_OK)
			fail_sample(&s, round, "not decoded");
		mask = insn_address_mask(&insn);
		if (insn.length != s.length || insn.bytes != s.bytes ||
		    insn_offset(&insn, ours.reg, 0) != (here.reg[7] & mask))
			fail_sample(&s, round, "decoded otherwise");
		insn_perform_string(&insn, copy + ((here.reg[7] & mask) - (uint64_t)area),
		                    copy + ((here.reg[6] & mask) - (uint64_t)area),
		                    insn_repetitions(&insn, ours.reg), ours.reg, ours.rflags);
		run_code(code, &s, &here);
		/* with a 32-bit rCX that was not counted down hardware may clear the upper half */
		compare(&s, round, &insn, &here, &ours, area, copy);
	}
}

/* ---- what does not run here: other widths, and refusals ---- */

struct row {
	unsigned bits;
	const char *bytes;
	unsigned count;
	enum insn_decoded result;
	struct insn insn; /* those fields that are compared */
	uint64_t offset;
};
#define NO INSN_NO_REG
#define ROW(bits, bytes, result, ...) { bits, bytes, sizeof(bytes) - 1, result, __VA_ARGS__ }
#define INSN(op_, bytes_, reg_, segment_) \
	{ .op = (op_), .bytes = (bytes_), .reg = (reg_), .segment = (segment_) }

/* Register n holds 0x11110000 + 0x101 * n, and ones above 32 bits. */
static const struct row rows[] = {
	ROW(32, "\x89\x08", INSN_OK, INSN(INSN_MOV, 4, 1, INSN_DS), 0x11110000),
	ROW(32, "\x89\x4d\x10", INSN_OK, INSN(INSN_MOV, 4, 1, INSN_SS), 0x11110515),
	ROW(32, "\x89\x0c\x24", INSN_OK, INSN(INSN_MOV, 4, 1, INSN_SS), 0x11110404),
	ROW(32, "\x89\x0d\x44\x33\x22\x11", INSN_OK, INSN(INSN_MOV, 4, 1, INSN_DS), 0x11223344),
	ROW(32, "\x89\x0c\xcd\x00\x00\x00\x00", INSN_OK, INSN(INSN_MOV, 4, 1, INSN_DS),
	    0x88880808),
	ROW(32, "\x67\x89\x0e\x34\x12", INSN_OK, INSN(INSN_MOV, 4, 1, INSN_DS), 0x1234),
	ROW(32, "\x67\x89\x4a\xff", INSN_OK, INSN(INSN_MOV, 4, 1, INSN_SS), 0x0b0a),
	ROW(32, "\x67\x89\x88\x00\x10", INSN_OK, INSN(INSN_MOV, 4, 1, INSN_DS), 0x1909),
	ROW(32, "\x65\x66\x89\x08", INSN_OK, INSN(INSN_MOV, 2, 1, INSN_GS), 0x11110000),
	ROW(32, "\xa3\x44\x33\x22\x11", INSN_OK, INSN(INSN_MOV, 4, 0, INSN_DS), 0x11223344),
	ROW(32, "\x67\xa2\x44\x33", INSN_OK, INSN(INSN_MOV, 1, 0, INSN_DS), 0x3344),
	ROW(32, "\x88\x20", INSN_OK, { .op = INSN_MOV, .bytes = 1, .reg = 0, .high = true,
	                               .segment = INSN_DS }, 0x11110000),
	ROW(32, "\xf0\x0f\xc7\x08", INSN_OK, INSN(INSN_CMPXCHG_PAIR, 8, NO, INSN_DS),
	    0x11110000),
	ROW(32, "\xf3\xab", INSN_OK, { .op = INSN_STOS, .bytes = 4, .reg = NO, .repeat = true,
	                               .segment = INSN_DS }, 0x11110707),
	ROW(16, "\x89\x0f", INSN_OK, INSN(INSN_MOV, 2, 1, INSN_DS), 0x0303),
	ROW(16, "\x66\x89\x0f", INSN_OK, INSN(INSN_MOV, 4, 1, INSN_DS), 0x0303),
	ROW(16, "\x67\x66\x89\x0b", INSN_OK, INSN(INSN_MOV, 4, 1, INSN_DS), 0x11110303),
	ROW(16, "\x26\xc7\x05\x34\x12", INSN_OK, INSN(INSN_MOV, 2, NO, INSN_ES), 0x0707),
	ROW(16, "\xc7\x46\x02\x34\x12", INSN_OK, INSN(INSN_MOV, 2, NO, INSN_SS), 0x0507),
	ROW(16, "\x66\xa3\x00\x03", INSN_OK, INSN(INSN_MOV, 4, 0, INSN_DS), 0x0300),
	ROW(16, "\xa5", INSN_OK, INSN(INSN_MOVS, 2, NO, INSN_DS), 0x0707),
	ROW(64, "\x67\x89\x0d\x00\x00\x00\x00", INSN_OK, { .op = INSN_MOV, .bytes = 4, .reg = 1,
	    .segment = INSN_DS, .rip_relative = true }, 7),
	ROW(64, "\xa3\x88\x77\x66\x55\x44\x33\x22\x11", INSN_OK, INSN(INSN_MOV, 4, 0, INSN_DS),
	    0x1122334455667788),
	ROW(64, "\x64\x48\x89\x08", INSN_OK, INSN(INSN_MOV, 8, 1, INSN_FS), ~0x0eeeeffffull),
	/* LOCK where it must not be */
	ROW(64, "\xf0\x89\x08", INSN_UD, INSN(0, 0, 0, 0), 0),
	ROW(64, "\xf0\xc7\x00\x00\x00\x00\x00", INSN_UD, INSN(0, 0, 0, 0), 0),
	ROW(64, "\xf0\xab", INSN_UD, INSN(0, 0, 0, 0), 0),
	ROW(64, "\xf0\x0f\xc3\x08", INSN_UD, INSN(0, 0, 0, 0), 0),
	/* registers, other members of groups, other instructions */
	ROW(64, "\x89\xc8", INSN_UNKNOWN, INSN(0, 0, 0, 0), 0),
	ROW(64, "\x83\x38\x01", INSN_UNKNOWN, INSN(0, 0, 0, 0), 0),
	ROW(64, "\xc7\x08\x01\x00\x00\x00", INSN_UNKNOWN, INSN(0, 0, 0, 0), 0),
	ROW(64, "\xf7\x00\x01\x00\x00\x00", INSN_UNKNOWN, INSN(0, 0, 0, 0), 0),
	ROW(64, "\xff\x30", INSN_UNKNOWN, INSN(0, 0, 0, 0), 0),
	ROW(64, "\x50", INSN_UNKNOWN, INSN(0, 0, 0, 0), 0),
	ROW(64, "\x0f\x11\x00", INSN_UNKNOWN, INSN(0, 0, 0, 0), 0),
	ROW(64, "\x0f\xae\x00", INSN_UNKNOWN, INSN(0, 0, 0, 0), 0),
	ROW(64, "\xf3\x0f\xc7\x08", INSN_UNKNOWN, INSN(0, 0, 0, 0), 0),
	ROW(64, "\x66\x0f\xc3\x08", INSN_UNKNOWN, INSN(0, 0, 0, 0), 0),
	ROW(64, "\xc4\xe2\x79\x2e\x00", INSN_UNKNOWN, INSN(0, 0, 0, 0), 0),
	ROW(32, "\x48\x89\x08", INSN_UNKNOWN, INSN(0, 0, 0, 0), 0),
	ROW(64, "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x89\x08", INSN_OK,
	    INSN(INSN_MOV, 2, 1, INSN_DS), ~0x0eeeeffffull),
	ROW(64, "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x89\x08",
	    INSN_UNKNOWN, INSN(0, 0, 0, 0), 0),
	/* not all of it is there */
	ROW(64, "\x48", INSN_CUT, INSN(0, 0, 0, 0), 0),
	ROW(64, "\x48\x89", INSN_CUT, INSN(0, 0, 0, 0), 0),
	ROW(64, "\x0f", INSN_CUT, INSN(0, 0, 0, 0), 0),
	ROW(64, "\xc7\x00\x01\x02\x03", INSN_CUT, INSN(0, 0, 0, 0), 0),
	ROW(64, "\x89\x80\x01\x02\x03", INSN_CUT, INSN(0, 0, 0, 0), 0),
};

static void test_rows(void **unused)
{
	uint64_t reg[16];

	(void)unused;
	for (unsigned i = 0; i < 16; i++)
		reg[i] = 0xffffffff11110000 + 0x101 * i;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		uint8_t bytes[INSN_BUFFER] = { 0 };
		struct insn insn;

		memcpy(bytes, row->bytes, row->count);
		if (insn_decode(&insn, bytes, row->count, row->bits) != row->result)
			fail_msg("row %zu: another result", i);
		if (row->result != INSN_OK)
			continue;
		assert_int_equal(insn.length, row->count);
		assert_int_equal(insn.op, row->insn.op);
		assert_int_equal(insn.bytes, row->insn.bytes);
		assert_int_equal(insn.reg, row->insn.reg);
		assert_int_equal(insn.high, row->insn.high);
		assert_int_equal(insn.segment, row->insn.segment);
		assert_int_equal(insn.repeat, row->insn.repeat);
		assert_int_equal(insn_offset(&insn, reg, row->count), row->offset);
	}
}

/* Whatever the bytes are, no more is believed than there are, and the answer stays the same. */
static void test_noise(void **unused)
{
	(void)unused;
	for (unsigned round = 0; round < ROUNDS; round++) {
		const unsigned bits = 16u << below(3), count = below(INSN_MAX + 1);
		uint8_t bytes[INSN_BUFFER];
		struct insn insn, again;

		for (unsigned i = 0; i < INSN_BUFFER; i++)
			bytes[i] = (uint8_t)(below(3) ? draw() : 0xf0 | below(16));
		if (insn_decode(&insn, bytes, count, bits) != INSN_OK)
			continue;
		assert_true(insn.length <= count);
		for (unsigned i = insn.length; i < INSN_BUFFER; i++)
			bytes[i] = (uint8_t)draw();
		assert_int_equal(insn_decode(&again, bytes, insn.length, bits), INSN_OK);
		assert_memory_equal(&insn, &again, sizeof(insn));
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_operands), cmocka_unit_test(test_strings),
		cmocka_unit_test(test_rows), cmocka_unit_test(test_noise),
	};
	uint8_t *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC,
	                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	if (pages == MAP_FAILED)
		return 1;
	code = pages;
	area = pages + 4096;
	if (argc > 1)
		seed = strtoull(argv[1], NULL, 0);
	state = seed * 0x9e3779b97f4a7c15 | 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
