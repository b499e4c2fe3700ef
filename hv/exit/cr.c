/* SPDX-License-Identifier: MIT */
/* Control registers under shadow paging: MOV to and from CR0, CR3 and CR4. */
#include "cpu/features.h"
#include "cpu/x86.h"
#include "exit/event.h"
#include "exit/exit.h"
#include "exit/gva.h"
#include "svm/guest.h"
#include "svm/registers.h"
#include "svm/screen.h"

/* EXITINFO1 of a MOV where there are decode assists: valid, and the register [APM2 15.8.1]. */
#define ASSIST_MOV (1ull << 63)
#define ASSIST_REG 15u

enum { MOV_FROM_CR = 0x20, MOV_TO_CR = 0x22 }; /* the bytes behind 0F */

struct cr_move { unsigned reg; uint64_t rip; };

/* Finds the general register and the end of the MOV at rip; false: it is not there any more. */
static bool decode(struct guest *g, unsigned opcode, struct cr_move *move)
{
	const struct vmcb *vmcb = g->vmcb;
	const uint8_t *at;
	unsigned left, rex;

	if (features.decode_assists && vmcb->exit_info1 & ASSIST_MOV) {
		move->reg = vmcb->exit_info1 & ASSIST_REG;
		move->rip = vmcb->next_rip;
		return true;
	}
	at = gva_code(g, &left);
	if (!at || left < 4)
		return false;
	rex = at[0] >> 4 == 4 && gva_is_64bit(g);
	if (at[rex] != 0x0f || at[rex + 1] != opcode)
		return false;
	move->reg = (at[rex + 2] & 7u) | (rex & at[0]) << 3;
	move->rip = vmcb->rip + 3 + rex;
	return true;
}

static uint64_t operand(const struct guest *g, unsigned reg)
{
	return gva_is_64bit(g) ? g->reg[reg] : (uint32_t)g->reg[reg];
}

static __attribute__((noinline)) void cr3_write_slowly(struct guest *g)
{
	struct cr_move move;

	if (!decode(g, MOV_TO_CR, &move))
		return;
	if (registers_load_cr3(g, operand(g, move.reg)))
		event_skip_to(g, move.rip);
	else
		event_gp(g);
}

/* MOV to CR3 from one of the first eight registers in 64-bit code, its bytes as a number. */
#define MOV_TO_CR3 0x00d8220fu
#define MOV_TO_CR3_MASK 0x00f8ffffu

void exit_cr3_write(struct guest *g)
{
	uint32_t bytes;

	if (__builtin_expect(gva_code_quick(g, &bytes), 1) &&
	    __builtin_expect((bytes & MOV_TO_CR3_MASK) == MOV_TO_CR3, 1) &&
	    __builtin_expect(!rhz_vcpu_load_cr3(g->mmu, g->reg[bytes >> 16 & 7]), 1))
		event_skip_to(g, g->vmcb->rip + 3);
	else
		cr3_write_slowly(g); /* what failed did nothing, and fails again */
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

void exit_cr_write(struct guest *g)
{
	const uint32_t code = (uint32_t)g->vmcb->exit_code;
	const unsigned cr = code == EXIT_CR0_SEL_WRITE ? 0 : code - EXIT_CR_WRITE;
	struct cr_move move;

	if (!decode(g, MOV_TO_CR, &move))
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

void exit_cr_read(struct guest *g)
{
	const uint64_t value = read_cr(g, (uint32_t)g->vmcb->exit_code - EXIT_CR_READ);
	struct cr_move move;

	if (!decode(g, MOV_FROM_CR, &move))
		return;
	if (move.reg == REG_RSP)
		g->vmcb->rsp = value;
	g->reg[move.reg] = value;
	event_skip_to(g, move.rip);
}

bool cr_move_again(struct guest *g)
{
	unsigned left;
	const uint8_t *at = gva_code(g, &left);
	unsigned rex, cr;

	if (!at || left < 4)
		return false;
	rex = at[0] >> 4 == 4 && gva_is_64bit(g);
	cr = at[rex + 2] >> 3 & 7u;
	if (at[rex] != 0x0f || at[rex + 1] != MOV_TO_CR || (cr != 3 && cr != 4))
		return false;
	g->vmcb->exit_info1 = 0;
	g->vmcb->exit_code = EXIT_CR_WRITE + cr;
	if (cr == 3)
		exit_cr3_write(g);
	else
		exit_cr_write(g);
	return true;
}
