/* SPDX-License-Identifier: MIT */
/* Events whose handlers' stack lies in a table, and traps on and around stores to one. */
#include "mark/machine.h"
#include "store/events.h"
#include "store/store.h"

#define STACK (directory + TABLE_ENTRIES)
#define HOLE (WINDOW + (1ull << 38))

/* Instructions on the stack in the table; an expected fault goes on behind them. */
#define ON_STACK(instructions, ...) \
	__asm__ volatile("lea 1f(%%rip), %%rbx\n\tmov %%rbx, event_resume(%%rip)\n\t" \
	                 "mov %%rsp, %%rbx\n\tmov %0, %%rsp\n\t" instructions \
	                 "\n1:\n\tmov %%rbx, %%rsp\n\tmovq $0, event_resume(%%rip)" \
	                 : : "r"(STACK), ##__VA_ARGS__ : "rax", "rbx", "memory", "cc")

static void check_event(unsigned vector, uint64_t error_code, const char *what)
{
	unsigned others = 0;

	for (unsigned i = 0; i < EVENT_VECTORS; i++)
		others += i != vector && events.of[i];
	check(events.of[vector] == 1 && !others, what);
	check(events.last.error_code == error_code, "its error code");
	check(events.last.rsp == (uint64_t)STACK && events.last.cs == 8 &&
	      events.last.ss == 16 && !(events.last.rflags & RFLAGS_TF), "its frame");
	events_clear();
}

/* Where the instruction ends, or begins. */
static volatile uint64_t behind __attribute__((used));

void check_deliveries(void)
{
	events_clear();
	ON_STACK("lea 2f(%%rip), %%rax\n\tmov %%rax, behind(%%rip)\n\tint3\n2:");
	check(events.last.rip == behind, "INT3: rip");
	check_event(VECTOR_BP, 0, "INT3");
	ON_STACK("lea 2f(%%rip), %%rax\n\tmov %%rax, behind(%%rip)\n\tint $0x43\n2:");
	check(events.last.rip == behind, "INT n: rip");
	check_event(VECTOR_SOFTWARE, 0, "INT n");
	ON_STACK("lea 2f(%%rip), %%rax\n\tmov %%rax, behind(%%rip)\n2:\n\tud2");
	check(events.last.rip == behind, "#UD: rip");
	check_event(VECTOR_UD, 0, "#UD");
	ON_STACK("lea 2f(%%rip), %%rax\n\tmov %%rax, behind(%%rip)\n2:\n\tmov %1, %%gs",
	         "d"(0xfff8));
	check(events.last.rip == behind, "#GP: rip");
	check_event(VECTOR_GP, 0xfff8, "#GP");
	ON_STACK("mov (%1), %%rax", "d"(HOLE));
	check(events.cr2 == HOLE, "#PF: CR2");
	check_event(VECTOR_PF, 0, "#PF");
	ON_STACK("push %1\n\tpopq (%1)", "d"(HOLE));
	check(events.cr2 == HOLE && events.of[VECTOR_PF] == 1, "#PF of a POP");
	events_clear();
	event_send_self();
	ON_STACK("sti\n\tnop\n\tnop\n\tcli");
	check_event(VECTOR_SELF, 0, "an interrupt");
	event_send_self();
	ON_STACK("sti\n\tpush $0\n\tpush $0\n\tcli");
	check(events.of[VECTOR_SELF] == 1, "an interrupt among pushes");
	events_clear();
	ON_STACK("mov 0x20(%1), %%eax\n\tmov %%eax, 0x310(%1)\n\tmovl $0x4400, 0x300(%1)\n\t"
	         "jmp 2f\n2:\n\tnop\n\tnop", "d"(0xfee00000ull));
	check_event(VECTOR_NMI, 0, "an NMI");
	for (unsigned i = 0; i < 50; i++) {
		event_send_nmi();
		ON_STACK("push $0\n\tpush $0\n\tjmp 2f\n2:\n\tpush $0\n\tpush $0");
	}
	check(events.of[VECTOR_NMI] == 50, "fifty NMIs among pushes");
	events_clear();
	check(slot_reads() == 1, "the directory maps after all that");
}

/* ---- the guest's own traps ---- */

/* Instructions with TF set; the traps' addresses are looked at through labels. */
#define TRAPPED(instructions, ...) \
	__asm__ volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\t" instructions "\n\t" \
	                 "pushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq" __VA_ARGS__)

static void check_traps_at(unsigned first, unsigned count, const uint64_t *rip, const char *what)
{
	bool same = events.traps >= first + count;

	for (unsigned i = 0; same && i < count; i++)
		same = events.trap_rip[first + i] == rip[i] && events.trap_dr6[first + i] == 0x4000;
	check(same, what);
	events_clear();
}

void check_traps(void)
{
	uint64_t *at = directory + TABLE_ENTRIES / 2, *to = at, *base = at, rip[4], count = 3;
	uint64_t pushed;

	events_clear();
	TRAPPED("mov %%rax, (%[at])\n1:\n\tnop\n2:\n\tlea 1b(%%rip), %[a]\n\tlea 2b(%%rip), %[b]",
	        : [a] "=&r"(rip[0]), [b] "=&r"(rip[1]) : [at] "r"(at) : "memory", "cc", "rax");
	check_traps_at(0, 2, rip, "TF at a MOV to a table");
	TRAPPED("push $0\n\tpopq (%[at])\n1:\n\tnop\n2:\n\tlea 1b(%%rip), %[a]\n\t"
	        "lea 2b(%%rip), %[b]",
	        : [a] "=&r"(rip[0]), [b] "=&r"(rip[1]) : [at] "r"(at) : "memory", "cc");
	check_traps_at(1, 2, rip, "TF at a POP to a table");
	TRAPPED("1:\n\trep stosq\n2:\n\tnop\n\tlea 1b(%%rip), %[a]\n\tlea 2b(%%rip), %[b]",
	        : [a] "=&r"(rip[0]), [b] "=&r"(rip[2]), "+D"(to), "+c"(count) : "a"(0)
	        : "memory", "cc");
	rip[1] = rip[0];
	check(to == at + 3 && count == 0, "REP STOSQ with TF: registers");
	check_traps_at(0, 3, rip, "TF at each element of REP STOSQ");
	/* PUSHF with TF set shows it */
	TRAPPED("mov %%rsp, %%rbx\n\tmov %[at], %%rsp\n\tpushfq\n\tmov %%rbx, %%rsp",
	        : : [at] "r"(at + 8) : "memory", "cc", "rbx");
	pushed = at[7];
	check(pushed & RFLAGS_TF, "PUSHF with TF set");
	events_clear();
	/* a data breakpoint on an entry, by a plain store and by another */
	__asm__ volatile("mov %0, %%dr0\n\tmov %1, %%dr7" : : "r"(base), "r"(0x00090402ull));
	__asm__ volatile("movq $0, (%0)\n\tnop" : : "r"(base) : "memory");
	check(events.traps == 1 && (events.trap_dr6[0] & 0x400f) == 1, "a breakpoint at a MOV");
	events_clear();
	__asm__ volatile("push $0\n\tpopq (%0)\n\tnop" : : "r"(base) : "memory");
	check(events.traps == 1 && (events.trap_dr6[0] & 0x400f) == 1, "a breakpoint at a POP");
	events_clear();
	__asm__ volatile("mov %0, %%dr7" : : "r"(0x400ull));
}
