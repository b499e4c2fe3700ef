/* SPDX-License-Identifier: MIT */
/* One event of a trace, whatever form the trace has. */
#ifndef LAB_EVENT_H
#define LAB_EVENT_H

#include <stdbool.h>
#include <stdint.h>

/* The numbers are those of the compact form: never change one, add at the end. */
enum lab_event_kind {
	LAB_EVENT_NEW_PGD = 1,      /* a request for a root; value: its table's address */
	LAB_EVENT_NESTED_ENTER = 2, /* L1 enters L2; value: nested_cr3, or what stands for it */
	LAB_EVENT_NESTED_EXIT = 3,  /* L2 exits to L1 */
	LAB_EVENT_CR3_WRITE = 4,    /* value: what the guest writes to CR3 */
	LAB_EVENT_MMU_LOAD = 5,     /* an MMU is loaded anew: a root is looked up or built */
	LAB_EVENT_SYNC_ROOTS = 6,   /* the roots' out-of-sync tables are re-read */
	LAB_EVENT_FREE_ROOTS = 7,   /* value: which, a bit for each root, 0 if not recorded */
	LAB_EVENT_TWO_DIMENSIONAL = 8, /* an exit that only nested or extended tables cause */
	LAB_EVENT_EXIT = 9,         /* any other exit from the guest */
	LAB_EVENT_ENTRY = 10,       /* the processor enters the guest */
	LAB_EVENT_PAGE_NEW = 11,    /* a shadow page is made; value: its frame; role: its level */
	LAB_EVENT_PAGE_FOUND = 12,  /* one is found again by frame and role; the same */
	LAB_EVENT_PAGE_ZAP = 13,    /* one is given up; the same */
	LAB_EVENT_INVALIDATE = 14,  /* the guest invalidates; value: the address, or all ones */
	LAB_EVENT_ROOT_GONE = 15,   /* a cached root left, but not for want of room; its key */
	LAB_EVENT_FLUSH = 16,       /* an entry flushes; value: the tag, 0 for all of them */
};
enum { LAB_EVENT_KINDS = 17 };

/* Why a root is asked for. */
enum lab_cause {
	LAB_CAUSE_UNKNOWN = 0,
	LAB_CAUSE_CR3 = 1,
	LAB_CAUSE_NESTED_ENTER = 2,
	LAB_CAUSE_NESTED_EXIT = 3,
	LAB_CAUSE_MODE = 4, /* CR0, CR4, EFER */
};
enum { LAB_CAUSES = 5 };

enum { LAB_NO_VCPU = UINT32_MAX };

struct lab_event {
	enum lab_event_kind kind;
	uint32_t task; /* thread number: a vCPU is a thread */
	uint32_t vm;   /* the thread's process, or any other number for its VM; 0: not known */
	uint32_t vcpu; /* the vCPU's number in its VM; LAB_NO_VCPU: not known */
	uint64_t time_ns;
	uint64_t value;
	/* The rest of a root's key, of NEW_PGD and ROOT_GONE; 0: not known. */
	uint64_t role;
	uint32_t guest_asid;
	uint8_t context;    /* enum rhz_context + 1 */
	uint8_t cause;      /* NEW_PGD: enum lab_cause */
	uint8_t answer;     /* NEW_PGD: enum rhz_root_found + 1, what the recorded cache did */
	bool nested_paging; /* NESTED_ENTER: L1 uses nested page tables for L2 */
};

#endif
