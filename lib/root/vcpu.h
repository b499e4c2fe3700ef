/* SPDX-License-Identifier: MIT */
/*
 * A vCPU's own data: its contexts and its roots. Used by its thread alone, but for 'requests'.
 */
#ifndef RHZ_ROOT_VCPU_H
#define RHZ_ROOT_VCPU_H

#include "core/page.h"
#include "root/cache.h"

enum { LAST_OF_ASID = 16 };

/* What other threads may ask of a vCPU; honoured by its next rhz_vcpu_prepare. */
enum {
	REQUEST_GIVE_UP_ROOTS = 1 << 0, /* memory is short: let the cached roots go */
};

/*
 * One of the vCPU's contexts: registers, what they amount to, and the role of its roots. In that of
 * L1's nested tables the registers are those that govern these, CR3 being nCR3 or EPTP.
 */
struct context {
	struct rhz_regs regs;
	struct rhz_mode mode;
	union role role;
	uint32_t guest_asid;
	uint8_t levels;     /* of our tables */
	bool entered;       /* it has registers */
	/* A CR3 load is at most another table address: no PDPTE registers, no TLB unknown to us */
	bool quick;
	uint64_t cr3_mask;  /* the bits that address the top table */
	uint64_t cr3_reserved;
	uint64_t cr3_judged; /* both of these: what a load is compared by */
	uint64_t cr3_kept;  /* all but the no-flush flag, if it is one */
	uint64_t dirty;     /* the D bit of an entry; 0: there is none, and all count as dirty */
	const uint64_t *removed; /* of the VM, for its kind of tables */
	bool unseen;        /* tags hold translations by tables that the processor walks itself */
	const struct vcpu_walks *walks; /* of its mode's paging: root/walk.h */
	struct page *root;  /* the current one, or null */
	/*
	 * The key of the current root, and of the next one in all but the table. The table is
	 * NO_TABLE where more than that must be looked at; 'unusual' is then all ones, else 0.
	 */
	struct rhz_root_key key;
	uint64_t unusual;
	struct rhz_root_entry *entry; /* the current root's in the cache, or null */
};

/* No table lies there. */
#define NO_TABLE (~0ull)

/* The leaf table of the last fault, as long as 'unlinks' stands where it stood. */
struct leaf_table {
	struct page *page, *root;
	uint64_t run; /* of 2 MiB: the address's */
	uint64_t unlinks;
};

struct rhz_vcpu {
	struct rhz_vm *vm;
	uint32_t id;
	uint32_t requests;      /* REQUEST_*, with the lock; 'dooms' is raised with them */
	uint64_t dooms_seen;    /* vm->dooms when the roots were last looked through */
	struct context *now;    /* the current context ... */
	unsigned current;       /* ... and its enum rhz_context */
	unsigned space;         /* address space ... */
	struct space *guest;    /* ... and its slots */
	uint64_t last_spurious; /* the last fault's address, plus 1, if nothing was wrong; */
	uint32_t last_code;     /* its error code */
	struct leaf_table leaf_table; /* shadow/fill.h, direct/map.c */
	struct context context[RHZ_CONTEXTS];
	struct rhz_root_entry *entered; /* whose tag the last entry ran under */
	/* by guest ASID: which of its roots was current last, if that is known (root_alone) */
	struct rhz_root_entry *last_of_asid[LAST_OF_ASID];
	uint16_t flushes; /* how often all unseen tags went stale: root_catch_up */
	bool swift; /* the policy is plain, and nobody traces: the quickest switches may be */
	struct rhz_root_cache roots;
	struct rhz_vcpu_stats stats;
};

/* Takes the VM's lock on behalf of this vCPU; vm_unlock gives it back. */
RHZ_INLINE void vcpu_lock(struct rhz_vcpu *vcpu)
{
	vm_lock(vcpu->vm);
	vcpu->vm->self = vcpu;
}

RHZ_INLINE struct context *vcpu_context(struct rhz_vcpu *vcpu)
{
	return vcpu->now;
}

#endif
