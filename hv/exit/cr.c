/* SPDX-License-Identifier: MIT */
/* Control registers under shadow paging: MOV to and from CR0, CR3 and CR4, LMSW, SMSW, CLTS. */
#include "cpu/features.h"
#include "cpu/x86.h"
#include "exit/event.h"
#include "exit/exit.h"
#include "exit/gva.h"
#include "exit/insn.h"
#include "mem/guest.h"
#include "svm/nsvm.h"
#include "svm/registers.h"
#include "svm/screen.h"

/* EXITINFO1 of a MOV where there are decode assists: valid, and the register [APM2 15.8.1]. */
#define ASSIST_MOV (1ull << 63)
#define ASSIST_REG 15u

enum { OPCODE_0F = 0x0f, MOV_FROM_CR = 0x20, MOV_TO_CR = 0x22,
       MOV_DR = 1, MOV_TO_DR = 0x23 };

enum { GROUP7 = 0x01, GROUP7_SMSW = 4, GROUP7_LMSW = 6, CLTS = 0x06 };

/* An instruction on a control register, its prefixes behind it. */
struct cr_insn {
	uint8_t opcode;   /* behind 0F */
	uint8_t modrm;
	unsigned reg;     /* general register of ModRM's rm field */
	unsigned bytes;   /* of the operand */
	uint64_t rip;     /* where a form without memory operand ends */
};

/* Any of them, with any prefixes. False: it is not there any more. */
static __attribute__((noinline)) bool decode(struct guest *g, struct cr_insn *insn)
{
	const unsigned bits = insn_bits(g);
	uint8_t code[INSN_BUFFER] = { 0 };
	const unsigned count = gva_fetch(g, code), at = insn_prefixes(code, count, bits);
	const uint8_t rex = bits == 64 && at && code[at - 1] >> 4 == 4 ? code[at - 1] : 0;
	bool other_size = false;

	if (at + 3 > count || code[at] != OPCODE_0F)
		return false;
	for (unsigned i = 0; i < at; i++)
		other_size |= code[i] == 0x66;
	insn->opcode = code[at + 1];
	insn->modrm = code[at + 2];
	insn->reg = (insn->modrm & 7u) | (rex & 1u) << 3;
	insn->bytes = rex & 8 ? 8 : (bits == 16) == other_size ? 4 : 2;
	insn->rip = insn_advance(g, at + (insn->opcode == CLTS ? 2 : 3));
	return true;
}

struct cr_move { unsigned reg; uint64_t rip; };

/* Finds the general register and the end of the MOV at rip. False: no MOV is there. */
static bool decode_move(struct guest *g, unsigned opcode, struct cr_move *move)
{
	const struct vmcb *vmcb = g->vmcb;
	struct cr_insn insn;
	uint32_t bytes;

	if (features.decode_assists && vmcb->exit_info1 & ASSIST_MOV) {
		*move = (struct cr_move){ vmcb->exit_info1 & ASSIST_REG, vmcb->next_rip };
		return true;
	}
	/* no prefix, and one of the first eight registers */
	if ((gva_code_quick(g, &bytes) || gva_code_anew(g, &bytes)) &&
	    (bytes & 0xffff) == (OPCODE_0F | opcode << 8)) {
		*move = (struct cr_move){ bytes >> 16 & 7, vmcb->rip + 3 };
		return true;
	}
	if (!decode(g, &insn) || insn.opcode != opcode)
		return false;
	*move = (struct cr_move){ insn.reg, insn.rip };
	return true;
}

static uint64_t operand(const struct guest *g, unsigned reg)
{
	return gva_is_64bit(g) ? g->reg[reg] : (uint32_t)g->reg[reg];
}

static __attribute__((noinline)) void cr3_write_slowly(struct guest *g)
{
	struct cr_move move;

	if (!decode_move(g, MOV_TO_CR, &move))
		return;
	if (registers_load_cr3(g, operand(g, move.reg)))
		event_skip_to(g, move.rip);
	else
		event_gp(g);
}

/* MOV to CR3 from one of the first eight registers in 64-bit code, its bytes as a number. */
#define MOV_TO_CR3 0x00d8220fu
#define MOV_TO_CR3_MASK 0x00f8ffffu

/* False: it is another form, or failed, which did nothing and fails again. */
HV_INLINE bool cr3_write(struct guest *g, uint32_t bytes)
{
	if (__builtin_expect((bytes & MOV_TO_CR3_MASK) != MOV_TO_CR3, 0) ||
	    __builtin_expect(rhz_vcpu_load_cr3(g->mmu, g->reg[bytes >> 16 & 7]), 0))
		return false;
	event_skip_to(g, g->vmcb->rip + 3);
	return true;
}

static __attribute__((noinline)) void cr3_write_anew(struct guest *g)
{
	uint32_t bytes;

	if (!gva_code_anew(g, &bytes) || !cr3_write(g, bytes))
		cr3_write_slowly(g);
}

void exit_cr3_write(struct guest *g)
{
	uint32_t bytes;

	if (__builtin_expect(!gva_code_quick(g, &bytes) || !cr3_write(g, bytes), 0))
		cr3_write_anew(g);
}

/*
 * [APM2 3.1.1, 14.6.1]: paging is not turned off in 64-bit code, nor long mode entered by a code
 * segment that would make it 64-bit code at once.
 */
static bool cr0_faults(const struct guest *g, uint64_t cr0)
{
	const struct rhz_regs *now = rhz_vcpu_regs(g->mmu);

	return ((now->cr0 ^ cr0) & CR0_PG) && (now->efer & EFER_LME) &&
	       (g->vmcb->cs.attributes & SEGMENT_LONG);
}

static bool write_cr(struct guest *g, unsigned cr, uint64_t value)
{
	struct rhz_regs regs = *rhz_vcpu_regs(g->mmu);

	if (cr == 0) {
		regs.cr0 = value | CR0_ET;
		if (cr0_faults(g, value))
			return false;
	} else {
		regs.cr0 = registers_cr0(g);
		regs.cr4 = value;
		if (value & ~features.cr4)
			return false;
	}
	return registers_load(g, &regs);
}

/* What LMSW makes of CR0: it sets PE, MP, EM and TS, and does not clear PE [APM3 LMSW]. */
static uint64_t with_machine_status(uint64_t cr0, uint64_t value)
{
	return (cr0 & ~CR0_LMSW) | (value & CR0_LMSW) | (cr0 & CR0_PE);
}

/* Where LMSW reads and SMSW writes two bytes; false: the exception is injected, or no memory. */
static bool status_in_memory(struct guest *g, uint64_t gva, bool write, uint16_t *status)
{
	const unsigned access = (write ? RHZ_ACCESS_WRITE : 0u) |
	                        (g->vmcb->cpl == 3 ? RHZ_ACCESS_USER : 0u);
	uint64_t gpa;

	if (!write)
		return gva_read(g, gva, access, status, sizeof(*status)) == GVA_OK;
	for (unsigned i = 0; i < sizeof(*status); i++) {
		uint8_t *at;

		if (gva_translate(g, gva + i, access, &gpa) != GVA_OK)
			return false;
		at = guest_memory_at(g, gpa, 1);
		if (!at)
			return false;
		*at = (uint8_t)(*status >> 8 * i);
		rhz_vm_wrote(g->vm, 0, (rhz_gpa){ gpa }, 1);
	}
	return true;
}

static void set_register(struct guest *g, unsigned reg, unsigned bytes, uint64_t value)
{
	if (bytes == 2)
		value = (g->reg[reg] & ~0xffffull) | (value & 0xffff);
	else if (bytes == 4)
		value = (uint32_t)value;
	g->reg[reg] = value;
	if (reg == REG_RSP)
		g->vmcb->rsp = value;
}

/* CLTS, LMSW or SMSW. */
static __attribute__((noinline)) void cr0_otherwise(struct guest *g)
{
	uint64_t cr0 = registers_cr0(g);
	uint16_t status = (uint16_t)cr0;
	struct insn_operand memory = { 0 };
	struct cr_insn insn;
	bool in_memory, done = true;

	if (!decode(g, &insn))
		return;
	in_memory = insn.opcode == GROUP7 && insn.modrm >> 6 != 3;
	if (in_memory && !insn_operand(g, 2, &memory))
		return;
	if (insn.opcode == CLTS) {
		done = write_cr(g, 0, cr0 & ~CR0_TS);
	} else if (insn.opcode != GROUP7) {
		return;
	} else if ((insn.modrm >> 3 & 7) == GROUP7_LMSW) {
		if (in_memory && !status_in_memory(g, memory.gva, false, &status))
			return;
		cr0 = with_machine_status(cr0, in_memory ? status : g->reg[insn.reg]);
		if (g->in_l2 && nsvm_takes_cr0(g, cr0))
			return;
		done = write_cr(g, 0, cr0);
	} else if (in_memory) {
		if (!status_in_memory(g, memory.gva, true, &status))
			return;
	} else {
		set_register(g, insn.reg, insn.bytes, cr0);
	}
	if (done)
		event_skip_to(g, in_memory ? memory.rip : insn.rip);
	else
		event_gp(g);
}

void exit_cr_write(struct guest *g)
{
	const uint32_t code = (uint32_t)g->vmcb->exit_code;
	const unsigned cr = code == EXIT_CR0_SEL_WRITE ? 0 : code - EXIT_CR_WRITE;
	struct cr_move move;

	if (!decode_move(g, MOV_TO_CR, &move)) {
		cr0_otherwise(g);
		return;
	}
	if (g->in_l2 && cr == 0 && nsvm_takes_cr0(g, operand(g, move.reg)))
		return;
	if (write_cr(g, cr, operand(g, move.reg)))
		event_skip_to(g, move.rip);
	else
		event_gp(g);
}

static uint64_t read_cr(const struct guest *g, unsigned cr)
{
	if (cr == 0)
		return registers_cr0(g);
	return cr == 3 ? rhz_vcpu_regs(g->mmu)->cr3 : registers_cr4(g);
}

/* MOV from CR3 to one of the first eight registers in 64-bit code, as above. */
#define MOV_FROM_CR3 0x00d8200fu

static __attribute__((noinline)) void cr_read_slowly(struct guest *g)
{
	const uint64_t value = read_cr(g, (uint32_t)g->vmcb->exit_code - EXIT_CR_READ);
	struct cr_move move;

	if (!decode_move(g, MOV_FROM_CR, &move)) {
		cr0_otherwise(g);
		return;
	}
	set_register(g, move.reg, gva_is_64bit(g) ? 8 : 4, value);
	event_skip_to(g, move.rip);
}

void exit_cr_read(struct guest *g)
{
	uint32_t bytes;
	unsigned reg;

	if (__builtin_expect((!gva_code_quick(g, &bytes) && !gva_code_anew(g, &bytes)) ||
	                     (bytes & MOV_TO_CR3_MASK) != MOV_FROM_CR3, 0)) {
		cr_read_slowly(g);
		return;
	}
	reg = bytes >> 16 & 7;
	g->reg[reg] = rhz_vcpu_regs(g->mmu)->cr3;
	if (reg == REG_RSP)
		g->vmcb->rsp = g->reg[reg];
	event_skip_to(g, g->vmcb->rip + 3);
}

void exit_cr_assist(struct guest *g, uint64_t *info, uint64_t *next_rip)
{
	struct insn_operand memory;
	struct cr_insn insn;

	if (!decode(g, &insn))
		return;
	*next_rip = insn.rip;
	if (insn.opcode >= MOV_FROM_CR && insn.opcode <= MOV_TO_DR)
		*info = (insn.opcode & MOV_DR ? 0 : ASSIST_MOV) | insn.reg;
	else if (insn.opcode == GROUP7 && insn.modrm >> 6 != 3)
		*next_rip = insn_operand(g, 2, &memory) ? memory.rip : 0;
}

bool cr_move_again(struct guest *g)
{
	struct cr_insn insn;
	unsigned cr;

	if (!decode(g, &insn) || insn.opcode != MOV_TO_CR)
		return false;
	cr = insn.modrm >> 3 & 7u;
	if (cr != 3 && cr != 4)
		return false;
	g->vmcb->exit_info1 = 0;
	g->vmcb->exit_code = EXIT_CR_WRITE + cr;
	if (cr == 3)
		exit_cr3_write(g);
	else
		exit_cr_write(g);
	return true;
}
