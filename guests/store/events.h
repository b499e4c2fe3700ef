/* SPDX-License-Identifier: MIT */
/* Events of the store guest: counted and noted; an expected exception goes on where it is told. */
#ifndef GUESTS_STORE_EVENTS_H
#define GUESTS_STORE_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

enum { VECTOR_DB = 1, VECTOR_NMI = 2, VECTOR_BP = 3, VECTOR_UD = 6, VECTOR_GP = 13,
       VECTOR_PF = 14, VECTOR_SOFTWARE = 0x43, VECTOR_SELF = 0x40, VECTOR_STORM = 0x50,
       STORM_VECTORS = 8, EVENT_VECTORS = 128,
       TRAPS = 16 };
#define RFLAGS_TF (1ull << 8)

struct event_frame { uint64_t reg[15], vector, error_code, rip, cs, rflags, rsp, ss; };

struct events {
	unsigned of[EVENT_VECTORS];   /* how many came */
	struct event_frame last;      /* but of #DB */
	uint64_t cr2;                 /* at the last #PF */
	unsigned traps;               /* #DB: their rips and DR6 */
	uint64_t trap_rip[TRAPS], trap_dr6[TRAPS];
};
extern volatile struct events events;

/* Where a fault's handler returns to, once; 0: a fault ends the guest. */
extern volatile uint64_t event_resume;

/* Makes the IDT and turns the local APIC on. */
void events_init(void);
void events_clear(void);

/* Makes an interrupt, or an NMI, pending for this processor. */
void event_send(unsigned vector);
void event_send_self(void);
void event_send_nmi(void);

#endif
