/* SPDX-License-Identifier: MIT */
/*
 * Instruction fetch and a decoder that knows no more than what is handled: lengths of opcodes
 * without operands, and 32-bit stores [APM3 1.2]. The address of a store is never computed: the
 * nested fault has told it.
 */
#include "exit/insn.h"

#include "cpu/features.h"
#include "cpu/x86.h"
#include "mem/guest.h"
#include "svm/guest.h"

enum { INSN_MAX = 15 };

#define SEGMENT_LONG (1u << 9) /* L and D of a code segment's attributes */
#define SEGMENT_DEFAULT32 (1u << 10)

struct insn {
	uint8_t bytes[INSN_MAX];
	unsigned length;  /* fetched */
	unsigned opcode;  /* where it begins, after the prefixes */
	uint8_t rex;
	bool long_mode, operand32, address16, address_prefix;
};

static bool read_entry(void *ctx, rhz_gpa at, unsigned bytes, uint64_t *value)
{
	*value = 0;
	return guest_memory_read(ctx, at.v, value, bytes);
}

static bool translate(struct guest *g, uint64_t gva, uint64_t *gpa)
{
	const struct vmcb *v = g->vmcb;
	struct rhz_regs regs = {
		.cr0 = v->cr0, .cr3 = v->cr3, .cr4 = v->cr4, .efer = v->efer,
	};
	struct rhz_mode mode;
	struct rhz_walk walk;

	*gpa = gva;
	if (!(v->cr0 & CR0_PG))
		return true;
	if (rhz_mode_init(&mode, &features.guest, &regs) != RHZ_OK)
		return false;
	/* Under nested paging the PDPTEs are not kept in registers [APM2 15.25.10]. */
	if (mode.paging == RHZ_PAGING_PAE &&
	    !guest_memory_read(g, v->cr3 & mode.cr3_table, regs.pdpte, sizeof(regs.pdpte)))
		return false;
	/* The fetch itself succeeded a moment ago: rights need not be judged again. */
	rhz_guest_walk(&mode, &regs, (rhz_gva){ gva }, 0, read_entry, g, &walk);
	*gpa = walk.gpa.v;
	return walk.outcome == RHZ_WALK_OK || walk.outcome == RHZ_WALK_RIGHTS;
}

static bool fetch(struct guest *g, struct insn *insn)
{
	const struct vmcb *v = g->vmcb;
	uint64_t gva = v->rip, gpa;

	insn->long_mode = (v->efer & EFER_LMA) && (v->cs.attributes & SEGMENT_LONG);
	if (!insn->long_mode)
		gva = (uint32_t)(gva + v->cs.base);
	insn->length = 0;
	while (insn->length < INSN_MAX) {
		const uint64_t at = gva + insn->length, left = 4096 - at % 4096;
		uint64_t bytes = INSN_MAX - insn->length;

		if (bytes > left)
			bytes = left;
		if (!translate(g, at, &gpa) ||
		    !guest_memory_read(g, gpa, insn->bytes + insn->length, bytes))
			break;
		insn->length += (unsigned)bytes;
	}
	return insn->length > 0;
}

/* Finds the opcode behind legacy prefixes and REX. */
static void read_prefixes(const struct guest *g, struct insn *insn)
{
	bool default32 = insn->long_mode || (g->vmcb->cs.attributes & SEGMENT_DEFAULT32);

	insn->operand32 = default32;
	insn->address16 = !default32;
	insn->address_prefix = false;
	insn->rex = 0;
	for (insn->opcode = 0; insn->opcode < insn->length; insn->opcode++) {
		const uint8_t byte = insn->bytes[insn->opcode];

		switch (byte) {
		case 0x66:
			insn->operand32 = !default32;
			break;
		case 0x67:
			insn->address_prefix = true;
			insn->address16 = default32 && !insn->long_mode;
			break;
		case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65:
		case 0xf0: case 0xf2: case 0xf3:
			break;
		default:
			if (insn->long_mode && (byte & 0xf0) == 0x40) {
				insn->rex = byte;
				insn->opcode++;
			}
			return;
		}
	}
}

bool insn_end(struct guest *g, unsigned opcode_bytes, uint64_t *rip)
{
	struct insn insn;

	if (features.next_rip && g->vmcb->next_rip) {
		*rip = g->vmcb->next_rip;
		return true;
	}
	if (!fetch(g, &insn))
		return false;
	read_prefixes(g, &insn);
	*rip = g->vmcb->rip + insn.opcode + opcode_bytes;
	return insn.opcode + opcode_bytes <= insn.length;
}

/* Bytes of ModRM, SIB and displacement of a memory operand; 0 for a register operand. */
static unsigned operand_bytes(const struct insn *insn, unsigned at)
{
	const uint8_t modrm = insn->bytes[at], mode = modrm >> 6, rm = modrm & 7;

	if (mode == 3)
		return 0;
	if (insn->address16)
		return 1 + (mode == 0 ? (rm == 6 ? 2u : 0u) : mode);
	if (rm == 4) {
		if (mode == 0)
			return 2 + ((insn->bytes[at + 1] & 7) == 5 ? 4u : 0u);
		return 2 + (mode == 1 ? 1u : 4u);
	}
	if (mode == 0)
		return 1 + (rm == 5 ? 4u : 0u);
	return 1 + (mode == 1 ? 1u : 4u);
}

static uint32_t immediate(const struct insn *insn, unsigned at)
{
	return insn->bytes[at] | (uint32_t)insn->bytes[at + 1] << 8 |
	       (uint32_t)insn->bytes[at + 2] << 16 | (uint32_t)insn->bytes[at + 3] << 24;
}

static unsigned store_length(const struct insn *insn, struct insn_store *store,
                             const struct guest *g)
{
	const unsigned modrm = insn->opcode + 1;
	const uint8_t opcode = insn->bytes[insn->opcode];
	unsigned operand;

	if (modrm + 6 >= INSN_MAX || !insn->operand32 || (insn->rex & 8))
		return 0;
	if (opcode == 0xa3) { /* MOV moffs, eax */
		if (insn->address_prefix)
			return 0;
		store->value = (uint32_t)g->reg[REG_RAX];
		return modrm + (insn->long_mode ? 8u : insn->address16 ? 2u : 4u);
	}
	operand = operand_bytes(insn, modrm);
	if (!operand)
		return 0;
	store->reg = (insn->bytes[modrm] >> 3 & 7u) | (insn->rex & 4u) << 1;
	store->value = (uint32_t)g->reg[store->reg];
	switch (opcode) {
	case 0x87: /* XCHG */
		store->kind = INSN_XCHG;
		return modrm + operand;
	case 0x89: /* MOV r/m, r */
		return modrm + operand;
	case 0xc7: /* MOV r/m, imm */
		if (insn->bytes[modrm] >> 3 & 7 || modrm + operand + 4 > INSN_MAX)
			return 0;
		store->value = immediate(insn, modrm + operand);
		return modrm + operand + 4;
	default:
		return 0;
	}
}

enum insn_result insn_decode_store(struct guest *g, struct insn_store *store)
{
	struct insn insn = { .length = 0 };
	unsigned length;

	if (!fetch(g, &insn))
		return INSN_NO_FETCH;
	read_prefixes(g, &insn);
	store->kind = INSN_MOV;
	length = store_length(&insn, store, g);
	if (!length)
		return INSN_UNKNOWN;
	if (length > insn.length)
		return INSN_NO_FETCH;
	store->rip = g->vmcb->rip + length;
	return INSN_OK;
}
