/* SPDX-License-Identifier: MIT */
/* The screen. It reads the control block alone, so that it works whatever went wrong. */
#include "svm/screen.h"

#include "cpu/console.h"
#include "cpu/end.h"
#include "exit/stats.h"
#include "svm/guest.h"

static void print_segment(const char *name, const struct vmcb_segment *segment)
{
	print("%s %04x %03x %08x %016lx\n", name, segment->selector, segment->attributes,
	      segment->limit, segment->base);
}

static void print_registers(const struct guest *g)
{
	const struct vmcb *v = g->vmcb;
	const uint64_t *r = g->reg;

	print("guest: rip %016lx rsp %016lx rflags %08lx cpl %u\n", v->rip, v->rsp, v->rflags,
	      v->cpl);
	print("rax %016lx rbx %016lx rcx %016lx rdx %016lx\n", r[REG_RAX], r[REG_RBX], r[REG_RCX],
	      r[REG_RDX]);
	print("rsi %016lx rdi %016lx rbp %016lx r8  %016lx\n", r[REG_RSI], r[REG_RDI], r[REG_RBP],
	      r[8]);
	print("r9  %016lx r10 %016lx r11 %016lx r12 %016lx\n", r[9], r[10], r[11], r[12]);
	print("r13 %016lx r14 %016lx r15 %016lx\n", r[13], r[14], r[15]);
	print("cr0 %016lx cr2 %016lx cr3 %016lx cr4 %08lx\n", v->cr0, v->cr2, v->cr3, v->cr4);
	print("efer %lx dr6 %lx dr7 %lx event %lx interrupted %lx\n", v->efer, v->dr6, v->dr7,
	      v->event, v->exit_interrupt);
}

void guest_screen(void)
{
	const struct guest *g = &guest;
	const struct vmcb *v = g->vmcb;
	const uint64_t exits = stats_exits(g);

	if (!v || !exits)
		return;
	print_registers(g);
	print_segment("cs", &v->cs);
	print_segment("ss", &v->ss);
	print_segment("ds", &v->ds);
	print_segment("es", &v->es);
	print_segment("fs", &v->fs);
	print_segment("gs", &v->gs);
	print_segment("tr", &v->tr);
	print("gdt %016lx %04x idt %016lx %04x\n", v->gdtr.base, v->gdtr.limit, v->idtr.base,
	      v->idtr.limit);
	print("asid %u nested cr3 %lx flush %u\n", v->asid, v->nested_cr3, v->tlb_control);
	if (g->in_l2)
		print("in its own guest; fs, gs and tr are of the hypervisor that runs it\n");
	for (uint64_t n = exits > LAST_EXITS ? exits - LAST_EXITS : 0; n < exits; n++) {
		const struct exit_record *exit = &g->last[n % LAST_EXITS];

		print("exit %lu: code %lx info %lx %lx rip %016lx\n", n, exit->code, exit->info1,
		      exit->info2, exit->rip);
	}
}

void guest_died(const struct guest *g, const char *reason)
{
	print("\nrhizome: the guest died: %s\n", reason);
	guest_screen();
	stats_print(g);
	end(END_DEAD, reason);
}
