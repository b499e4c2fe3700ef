/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor's decoder and emulator (hv/insn): bytes that a guest may have where it stores to a
 * page table. No length beyond 15, the same answer whatever stands behind the instruction, and no
 * byte of memory, register or flag touched that is not the instruction's.
 */
#include "fuzz.h"

#include "insn/emulate.h"

enum { AREA = 512, AT = 256, COUNT_MAX = 8, STATUS = 0x8d5 };

static const uint8_t sizes[] = { 1, 2, 4, 8, 16 };

static void check_insn(const struct insn *insn, unsigned count)
{
	must(insn->length >= 1 && insn->length <= INSN_MAX && insn->length <= count);
	must(insn->op > INSN_NOT_KNOWN && insn->op < INSN_OPS);
	must(memchr(sizes, insn->bytes, sizeof(sizes)));
	must(insn->bytes < 16 || insn->op == INSN_CMPXCHG_PAIR);
	must(insn->address_bytes == 2 || insn->address_bytes == 4 || insn->address_bytes == 8);
	must(insn->reg <= INSN_NO_REG && insn->base <= INSN_NO_REG && insn->index <= INSN_NO_REG);
	must(insn->segment <= INSN_GS && insn->scale <= 3);
}

/* What stands behind the valid bytes is not looked at, and fewer of them are too few. */
static void check_decode(const uint8_t *code, unsigned count, unsigned bits)
{
	struct insn insn, other;
	enum insn_decoded decoded = insn_decode(&insn, code, count, bits);
	uint8_t behind[INSN_BUFFER];

	memset(behind, 0x5a, sizeof(behind));
	memcpy(behind, code, count);
	must(insn_decode(&other, behind, count, bits) == decoded);
	must(insn_prefixes(code, count, bits) <= count);
	if (decoded != INSN_OK)
		return;
	check_insn(&insn, count);
	must(other.length == insn.length && other.op == insn.op &&
	     other.displacement == insn.displacement && other.immediate == insn.immediate);
	must(insn_decode(&other, code, insn.length - 1u, bits) == INSN_CUT);
	must(insn_decode(&other, code, insn.length, bits) == INSN_OK);
}

/* A register may change only where the instruction has one to change. */
static void check_registers(const struct insn *insn, const uint64_t *before, const uint64_t *after)
{
	enum { RAX, RCX, RDX, RSI = 6, RDI };

	for (unsigned i = 0; i < 16; i++) {
		bool may = (insn->op == INSN_XCHG || insn->op == INSN_XADD) && i == insn->reg;

		may |= (insn->op == INSN_CMPXCHG || insn->op == INSN_CMPXCHG_PAIR) && i == RAX;
		may |= insn->op == INSN_CMPXCHG_PAIR && i == RDX;
		may |= insn->op == INSN_STOS && (i == RDI || i == RCX);
		may |= insn->op == INSN_MOVS && (i == RDI || i == RSI || i == RCX);
		must(may || before[i] == after[i]);
	}
}

static void check_emulate(const struct insn *insn, struct input *input)
{
	static _Alignas(16) uint8_t area[AREA], was[AREA];
	bool string = insn->op == INSN_STOS || insn->op == INSN_MOVS;
	uint64_t reg[16], before[16], rflags, flags;
	unsigned align = insn->op == INSN_CMPXCHG_PAIR ? 0 : (unsigned)take(input, 1) % 16;
	uint8_t *at = area + AT + align;
	uint64_t count = string ? take(input, 1) % COUNT_MAX : 1;
	size_t first = AT + align, bytes = insn->bytes * (size_t)count;

	for (unsigned i = 0; i < 16; i++)
		before[i] = reg[i] = take(input, 8);
	rflags = flags = take(input, 8);
	for (unsigned i = 0; i < AREA; i++)
		area[i] = was[i] = (uint8_t)(i * 7);
	for (unsigned i = 0; i < 16; i++)
		at[i] = was[first + i] = (uint8_t)take(input, 1);
	if (string) {
		insn_perform_string(insn, at, area + AREA / 4, count, reg, rflags);
		if (rflags & 1 << 10 && count) /* downwards */
			first -= bytes - insn->bytes;
		must(insn_repetitions(insn, before) <= insn_address_mask(insn));
	} else {
		insn_perform(insn, at, reg, &rflags);
	}
	must(!((rflags ^ flags) & ~(uint64_t)STATUS));
	must(!memcmp(area, was, first));
	must(!memcmp(area + first + bytes, was + first + bytes, AREA - first - bytes));
	check_registers(insn, before, reg);
	insn_offset(insn, before, flags);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	static const uint8_t widths[] = { 16, 32, 64, 64 };
	unsigned how = (unsigned)take(&input, 1);
	unsigned bits = widths[how & 3], count;
	uint8_t code[INSN_BUFFER] = { 0 };
	struct insn insn;

	count = input.left < INSN_MAX ? (unsigned)input.left : INSN_MAX;
	for (unsigned i = 0; i < INSN_MAX; i++)
		code[i] = (uint8_t)take(&input, 1);
	check_decode(code, count, bits);
	if (insn_decode_operand(&insn, code, count, bits, 1 + (how >> 2 & 1)) == INSN_OK)
		must(insn.length <= count && insn.address_bytes <= 8);
	if (insn_decode(&insn, code, count, bits) == INSN_OK)
		check_emulate(&insn, &input);
	return 0;
}
