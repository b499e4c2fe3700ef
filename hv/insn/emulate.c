/* SPDX-License-Identifier: MIT */
/* The stores themselves, a function an op. Inline assembly, since the flags must be right. */
#include "insn/emulate.h"

enum { RAX = 0, RCX = 1, RDX = 2, RBX = 3, RSI = 6, RDI = 7 };

#define CF (1ull << 0)
#define ZF (1ull << 6)
#define DF (1ull << 10)
#define STATUS 0x8d5ull /* CF PF AF ZF SF OF [APM1 3.1.4] */

/* Memory operands may lie anywhere. */
typedef uint16_t __attribute__((aligned(1), may_alias)) unaligned16;
typedef uint32_t __attribute__((aligned(1), may_alias)) unaligned32;
typedef uint64_t __attribute__((aligned(1), may_alias)) unaligned64;
typedef unsigned __int128 __attribute__((aligned(1), may_alias)) unaligned128;

/* From LAHF and SETO: AH has the flags but OF, AL has that. */
static uint64_t with_status(uint64_t rflags, uint64_t ax)
{
	return (rflags & ~STATUS) | (ax >> 8 & STATUS & 0xff) | (ax & 1) << 11;
}

/* Before the op the guest's CF is loaded, which ADC reads and INC keeps. */
#define LOAD_CF "bt $0, %k[flags]\n\tlock "
#define SAVE_STATUS "\n\tlahf\n\tseto %%al"

#define TWO_OPERANDS_SIZED(size, type, instruction) \
	case size: \
		__asm__ volatile(LOAD_CF instruction ", %[m]" SAVE_STATUS \
		                 : [m] "+m"(*(type *)at), "=&a"(ax) \
		                 : [v] "q"(value), [flags] "r"(rflags) : "cc"); \
		break

#define TWO_OPERANDS(op) \
	static uint64_t op_##op(void *at, uint64_t value, unsigned bytes, uint64_t rflags) \
	{ \
		uint64_t ax = 0; \
		switch (bytes) { \
		TWO_OPERANDS_SIZED(1, uint8_t, #op "b %b[v]"); \
		TWO_OPERANDS_SIZED(2, unaligned16, #op "w %w[v]"); \
		TWO_OPERANDS_SIZED(4, unaligned32, #op "l %k[v]"); \
		TWO_OPERANDS_SIZED(8, unaligned64, #op "q %q[v]"); \
		} \
		return with_status(rflags, ax); \
	}

TWO_OPERANDS(add)
TWO_OPERANDS(or)
TWO_OPERANDS(adc)
TWO_OPERANDS(sbb)
TWO_OPERANDS(and)
TWO_OPERANDS(sub)
TWO_OPERANDS(xor)

#define ONE_OPERAND_SIZED(size, type, instruction) \
	case size: \
		__asm__ volatile(LOAD_CF instruction " %[m]" SAVE_STATUS \
		                 : [m] "+m"(*(type *)at), "=&a"(ax) \
		                 : [flags] "r"(rflags) : "cc"); \
		break

#define ONE_OPERAND(op) \
	static uint64_t op_##op(void *at, unsigned bytes, uint64_t rflags) \
	{ \
		uint64_t ax = 0; \
		switch (bytes) { \
		ONE_OPERAND_SIZED(1, uint8_t, #op "b"); \
		ONE_OPERAND_SIZED(2, unaligned16, #op "w"); \
		ONE_OPERAND_SIZED(4, unaligned32, #op "l"); \
		ONE_OPERAND_SIZED(8, unaligned64, #op "q"); \
		} \
		return with_status(rflags, ax); \
	}

ONE_OPERAND(inc)
ONE_OPERAND(dec)
ONE_OPERAND(not) /* whose flags nobody takes */
ONE_OPERAND(neg)

#define BIT_SIZED(size, type, instruction) \
	case size: \
		__asm__ volatile("lock " instruction ", %[m]\n\tsetc %b[carry]" \
		                 : [m] "+m"(*(type *)at), [carry] "=q"(carry) \
		                 : [v] "r"(bit % (8 * (size))) : "cc"); \
		break

/* CF alone is defined [APM3 BTS]. */
#define BIT(op) \
	static uint64_t op_##op(void *at, uint64_t bit, unsigned bytes, uint64_t rflags) \
	{ \
		uint8_t carry = 0; \
		switch (bytes) { \
		BIT_SIZED(2, unaligned16, #op "w %w[v]"); \
		BIT_SIZED(4, unaligned32, #op "l %k[v]"); \
		BIT_SIZED(8, unaligned64, #op "q %q[v]"); \
		} \
		return (rflags & ~CF) | carry; \
	}

BIT(bts)
BIT(btr)
BIT(btc)

/* XCHG and XADD: the register takes the old value; rax is where LAHF puts the flags. */
#define EXCHANGE_SIZED(size, type, instruction) \
	case size: \
		__asm__ volatile("lock " instruction ", %[m]" SAVE_STATUS \
		                 : [m] "+m"(*(type *)at), [v] "+q"(*value), "=&a"(ax) \
		                 : : "cc"); \
		break

#define EXCHANGE(op) \
	static uint64_t op_##op(void *at, uint64_t *value, unsigned bytes) \
	{ \
		uint64_t ax = 0; \
		switch (bytes) { \
		EXCHANGE_SIZED(1, uint8_t, #op "b %b[v]"); \
		EXCHANGE_SIZED(2, unaligned16, #op "w %w[v]"); \
		EXCHANGE_SIZED(4, unaligned32, #op "l %k[v]"); \
		EXCHANGE_SIZED(8, unaligned64, #op "q %q[v]"); \
		} \
		return ax; \
	}

EXCHANGE(xchg)
EXCHANGE(xadd)

#define CMPXCHG_SIZED(size, type, instruction) \
	case size: \
		__asm__ volatile("lock " instruction ", %[m]\n\tmov %%rax, %[old]" SAVE_STATUS \
		                 : [m] "+m"(*(type *)at), [old] "=&r"(*accumulator), "+a"(ax) \
		                 : [v] "q"(value) : "cc"); \
		break

static uint64_t op_cmpxchg(void *at, uint64_t value, unsigned bytes, uint64_t *accumulator)
{
	uint64_t ax = *accumulator;

	switch (bytes) {
	CMPXCHG_SIZED(1, uint8_t, "cmpxchgb %b[v]");
	CMPXCHG_SIZED(2, unaligned16, "cmpxchgw %w[v]");
	CMPXCHG_SIZED(4, unaligned32, "cmpxchgl %k[v]");
	CMPXCHG_SIZED(8, unaligned64, "cmpxchgq %q[v]");
	}
	return ax;
}

static uint64_t op_cmpxchg_pair(void *at, unsigned bytes, uint64_t reg[16], uint64_t rflags)
{
	bool equal = false;

	if (bytes == 8)
		__asm__ volatile("lock cmpxchg8b %[m]\n\tsetz %b[equal]"
		                 : [m] "+m"(*(unaligned64 *)at), [equal] "=q"(equal),
		                   "+a"(reg[RAX]), "+d"(reg[RDX])
		                 : "b"(reg[RBX]), "c"(reg[RCX]) : "cc");
	else
		__asm__ volatile("lock cmpxchg16b %[m]\n\tsetz %b[equal]"
		                 : [m] "+m"(*(unaligned128 *)at), [equal] "=q"(equal),
		                   "+a"(reg[RAX]), "+d"(reg[RDX])
		                 : "b"(reg[RBX]), "c"(reg[RCX]) : "cc");
	return equal ? rflags | ZF : rflags & ~ZF;
}

static void store(void *at, uint64_t value, unsigned bytes)
{
	switch (bytes) {
	case 1:
		__asm__ volatile("movb %b1, %0" : "=m"(*(uint8_t *)at) : "q"(value));
		break;
	case 2:
		__asm__ volatile("movw %w1, %0" : "=m"(*(unaligned16 *)at) : "r"(value));
		break;
	case 4:
		__asm__ volatile("movl %k1, %0" : "=m"(*(unaligned32 *)at) : "r"(value));
		break;
	default:
		__asm__ volatile("movq %q1, %0" : "=m"(*(unaligned64 *)at) : "r"(value));
		break;
	}
}

/* A write of 32 bits clears the upper half, shorter ones keep the rest [APM1 3.1.2]. */
static void set_register(uint64_t *reg, uint64_t value, unsigned bytes, bool high)
{
	const unsigned shift = high ? 8 : 0;

	if (bytes == 8)
		*reg = value;
	else if (bytes == 4)
		*reg = (uint32_t)value;
	else if (bytes == 2)
		*reg = (*reg & ~0xffffull) | (uint16_t)value;
	else
		*reg = (*reg & ~(0xffull << shift)) | (uint64_t)(uint8_t)value << shift;
}

static void perform_exchange(const struct insn *insn, void *at, uint64_t value, uint64_t reg[16],
                             uint64_t *rflags)
{
	if (insn->op == INSN_XADD)
		*rflags = with_status(*rflags, op_xadd(at, &value, insn->bytes));
	else
		op_xchg(at, &value, insn->bytes);
	set_register(&reg[insn->reg], value, insn->bytes, insn->high);
}

void insn_perform(const struct insn *insn, void *at, uint64_t reg[16], uint64_t *rflags)
{
	typedef uint64_t two_operands(void *at, uint64_t value, unsigned bytes, uint64_t rflags);
	typedef uint64_t one_operand(void *at, unsigned bytes, uint64_t rflags);
	static two_operands *const two[INSN_OPS] = {
		[INSN_ADD] = op_add, [INSN_OR] = op_or, [INSN_ADC] = op_adc, [INSN_SBB] = op_sbb,
		[INSN_AND] = op_and, [INSN_SUB] = op_sub, [INSN_XOR] = op_xor,
		[INSN_BTS] = op_bts, [INSN_BTR] = op_btr, [INSN_BTC] = op_btc,
	};
	static one_operand *const one[INSN_OPS] = {
		[INSN_INC] = op_inc, [INSN_DEC] = op_dec, [INSN_NEG] = op_neg,
	};
	uint64_t value = insn->reg == INSN_NO_REG ? (uint64_t)insn->immediate :
	                 insn->high ? reg[insn->reg] >> 8 : reg[insn->reg];

	switch (insn->op) {
	case INSN_MOV:
		store(at, value, insn->bytes);
		return;
	case INSN_NOT:
		op_not(at, insn->bytes, *rflags);
		return;
	case INSN_XCHG:
	case INSN_XADD:
		perform_exchange(insn, at, value, reg, rflags);
		return;
	case INSN_CMPXCHG:
		*rflags = with_status(*rflags, op_cmpxchg(at, value, insn->bytes, &reg[RAX]));
		return;
	case INSN_CMPXCHG_PAIR:
		*rflags = op_cmpxchg_pair(at, insn->bytes, reg, *rflags);
		return;
	default:
		if (one[insn->op])
			*rflags = one[insn->op](at, insn->bytes, *rflags);
		else
			*rflags = two[insn->op](at, value, insn->bytes, *rflags);
	}
}

uint64_t insn_repetitions(const struct insn *insn, const uint64_t reg[16])
{
	return insn->repeat ? reg[RCX] & insn_address_mask(insn) : 1;
}

/* The processor's own string instruction, upwards or downwards, of so many bytes an element. */
#define REPEAT(insn)                                                                             \
	do {                                                                                     \
		if (down)                                                                        \
			__asm__ volatile("std\n\trep " insn "\n\tcld"                            \
			                 : "+D"(to), "+S"(from), "+c"(count) : "a"(value)          \
			                 : "memory");                                            \
		else                                                                             \
			__asm__ volatile("rep " insn                                             \
			                 : "+D"(to), "+S"(from), "+c"(count) : "a"(value)          \
			                 : "memory");                                            \
	} while (0)

#define REPEAT_SIZED(insn)                                                                       \
	do {                                                                                     \
		if (bytes == 1)                                                                  \
			REPEAT(insn "b");                                                        \
		else if (bytes == 2)                                                             \
			REPEAT(insn "w");                                                        \
		else if (bytes == 4)                                                             \
			REPEAT(insn "l");                                                        \
		else                                                                             \
			REPEAT(insn "q");                                                        \
	} while (0)

static void repeat(bool copies, void *to, const void *from, uint64_t value, uint64_t count,
                   unsigned bytes, bool down)
{
	if (copies)
		REPEAT_SIZED("movs");
	else
		REPEAT_SIZED("stos");
}

void insn_perform_string(const struct insn *insn, void *to, const void *from, uint64_t count,
                         uint64_t reg[16], uint64_t rflags)
{
	const uint64_t moved = (rflags & DF ? -(uint64_t)insn->bytes : insn->bytes) * count;
	const bool copies = insn->op == INSN_MOVS;

	repeat(copies, to, from, reg[RAX], count, insn->bytes, rflags & DF);
	set_register(&reg[RDI], reg[RDI] + moved, insn->address_bytes, false);
	if (copies)
		set_register(&reg[RSI], reg[RSI] + moved, insn->address_bytes, false);
	if (insn->repeat)
		set_register(&reg[RCX], reg[RCX] - count, insn->address_bytes, false);
}
