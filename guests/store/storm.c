/* SPDX-License-Identifier: MIT */
/*
 * A storm of interrupts whose delivery always faults: before each burst IDT and stack are led to
 * other frames by entries with A clear, which no shadow table holds. Every interrupt is counted.
 */
#include "mark/machine.h"
#include "store/events.h"
#include "store/store.h"

enum { ROUNDS = 400, IDT_PAGE = 0, STACK_PAGE = 2, STORM_PAGES = 4 };

struct __attribute__((packed)) table_register { uint16_t limit; uint64_t base; };

/* The page's other frame, as if nobody had used it yet. */
static void move_page(const struct space *storm, unsigned page)
{
	storm->pte[page] = ((storm->pte[page] ^ PTE_OTHER_FRAME) & ~PTE_USED) | PTE_NEW;
	invlpg(WINDOW + (uint64_t)page * PAGE_BYTES);
}

static void take_all(uint64_t stack)
{
	__asm__ volatile("mov %%rsp, %%rbx\n\tmov %0, %%rsp\n\tsti\n\tnop\n\tnop\n\tcli\n\t"
	                 "mov %%rbx, %%rsp" : : "r"(stack) : "rbx", "memory", "cc");
}

static bool all_came(unsigned rounds)
{
	bool all = true;

	for (unsigned i = 0; i < EVENT_VECTORS; i++) {
		const bool ours = i - VECTOR_STORM < STORM_VECTORS;

		all &= events.of[i] == (ours ? rounds : 0);
	}
	return all;
}

void check_storm(void)
{
	const uint64_t frames = pages_alloc(STORM_PAGES, 2);
	const struct space storm = space_make(STORM_PAGES, frames, PTE_USED);
	struct table_register before, idtr;
	unsigned rounds = 0;

	__asm__ volatile("sidt %0" : "=m"(before));
	for (unsigned i = 0; i < 2 * PAGE_BYTES / 8; i++)
		((uint64_t *)frames)[i] = ((uint64_t *)before.base)[i % (PAGE_BYTES / 16)];
	idtr = (struct table_register){ before.limit, WINDOW + IDT_PAGE * PAGE_BYTES };
	events_clear();
	write_cr3(storm.root);
	__asm__ volatile("lidt %0" : : "m"(idtr));
	while (rounds < ROUNDS && all_came(rounds)) {
		move_page(&storm, IDT_PAGE);
		move_page(&storm, STACK_PAGE);
		for (unsigned i = 0; i < STORM_VECTORS; i++)
			event_send(VECTOR_STORM + i);
		take_all(WINDOW + (STACK_PAGE + 1) * PAGE_BYTES);
		rounds++;
	}
	check(rounds == ROUNDS && all_came(rounds), "every interrupt of a storm came once");
	__asm__ volatile("lidt %0" : : "m"(before));
	write_cr3(space.root);
	events_clear();
}
