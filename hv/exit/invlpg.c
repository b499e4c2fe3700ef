/* SPDX-License-Identifier: MIT */
/* INVLPG and INVPCID under shadow paging, and the #UD and #GP that may be an INVPCID or MOV CR. */
#include "cpu/features.h"
#include "cpu/x86.h"
#include "exit/event.h"
#include "exit/exit.h"
#include "exit/gva.h"
#include "exit/insn.h"
#include "svm/guest.h"
#include "svm/registers.h"

static void flush(struct guest *g, enum rhz_flush flush, uint64_t gva)
{
	if (flush != RHZ_FLUSH_NONE)
		invlpga(gva, g->entry.tag);
}

/* INVLPG by one of the first eight registers as its address, in 64-bit code. */
static bool decode_quickly(struct guest *g, struct insn_operand *operand)
{
	uint32_t bytes;
	unsigned base;

	if ((!gva_code_quick(g, &bytes) && !gva_code_anew(g, &bytes)) ||
	    (bytes & 0xf8ffff) != 0x38010f)
		return false;
	base = bytes >> 16 & 7;
	*operand = (struct insn_operand){ g->reg[base], 0, g->vmcb->rip + 3 };
	return base != REG_RSP && base != REG_RBP; /* which mean a SIB byte, and rip */
}

void exit_invlpg(struct guest *g)
{
	struct insn_operand operand;

	if (features.decode_assists) /* [APM2 15.8.1] */
		operand = (struct insn_operand){ g->vmcb->exit_info1, 0, g->vmcb->next_rip };
	else if (!decode_quickly(g, &operand) && !insn_operand(g, 2, &operand))
		return;
	flush(g, rhz_vcpu_invlpg(g->mmu, (rhz_gva){ operand.gva }), operand.gva);
	event_skip_to(g, operand.rip);
}

/* [SDM2 INVPCID]: the type is in the register, PCID and address in 16 bytes of memory. */
void exit_invpcid(struct guest *g)
{
	struct insn_operand operand;
	uint64_t descriptor[2], type;
	enum rhz_flush wanted;

	if (g->vmcb->cpl != 0 || g->vmcb->rflags & RFLAGS_VM) {
		event_gp(g);
		return;
	}
	if (!insn_operand(g, 3, &operand))
		return;
	if (gva_read(g, operand.gva, 0, descriptor, sizeof(descriptor)) != GVA_OK)
		return;
	type = gva_is_64bit(g) ? g->reg[operand.reg] : (uint32_t)g->reg[operand.reg];
	if (rhz_vcpu_invpcid(g->mmu, type, descriptor[0], (rhz_gva){ descriptor[1] }, &wanted) !=
	    RHZ_LOAD_OK) {
		event_gp(g);
		return;
	}
	flush(g, wanted, descriptor[1]);
	event_skip_to(g, operand.rip);
}

void exit_ud(struct guest *g)
{
	if (features.guest.invpcid && insn_is_invpcid(g))
		exit_invpcid(g);
	else
		event_ud(g);
}

/* The processor refused a value that the guest may have: the MOV is done as if it had exited. */
void exit_gp(struct guest *g)
{
	const uint32_t error_code = (uint32_t)g->vmcb->exit_info1;

	if (error_code || g->vmcb->cpl != 0 || (g->vmcb->exit_interrupt & EVENT_VALID) ||
	    !cr_move_again(g))
		event_exception(g, VECTOR_GP, error_code);
}
