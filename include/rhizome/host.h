/* SPDX-License-Identifier: MIT */
/*
 * What an embedder provides: a list of callbacks, each with its contract, and what it must keep to.
 *
 * Memory. The library has no allocator. Objects (VM, vCPU, RAM, processor) are placed in memory
 * that the embedder hands over; page tables and, in pages too, the nodes of the reverse map come
 * from page_alloc. Nothing else is ever allocated.
 *
 * Lock. One lock per VM. Functions that need it take it by lock() and give it back by unlock();
 * each function says whether it does. The embedder calls none of them while holding it, except
 * from within callbacks, which are all called with the lock held and must call nothing back. A
 * vCPU is used by one thread at a time.
 *
 * Entering the guest. A vCPU announces that it is about to run (a flag of the embedder's own,
 * written with a full barrier), then calls rhz_vcpu_enter, and runs if that says so. kick() is
 * called with the lock held: it makes every vCPU of the set that announced itself leave the guest,
 * and returns when each has withdrawn the announcement that kick saw (it may make it anew at once).
 * A vCPU withdraws it at once when it leaves, before it waits for any lock. The set may hold the
 * vCPU of the thread that calls, which is out of the guest.
 */
#ifndef RHIZOME_HOST_H
#define RHIZOME_HOST_H

#include <rhizome/root.h>
#include <rhizome/types.h>

struct rhz_event;

/* Where a table page must lie. */
enum rhz_page_zone {
	RHZ_PAGE_ANYWHERE,
	RHZ_PAGE_BELOW_4G, /* a PAE root: CR3 has 32 bits outside long mode [SDM3 4.4.1] */
};

struct rhz_host {
	void *ctx; /* passed to every callback */

	/*
	 * One page of 4 KiB, aligned; its contents do not matter. Writes the address that the
	 * processor uses to *hpa and returns the one that we use; null if there is none.
	 */
	void *(*page_alloc)(void *ctx, enum rhz_page_zone zone, rhz_hpa *hpa);
	/* Takes a page back. No processor can reach it any more. */
	void (*page_free)(void *ctx, void *page, rhz_hpa hpa);

	/* Null if the VM is used by one thread. */
	void (*lock)(void *ctx);
	void (*unlock)(void *ctx);

	/* See "Entering the guest". Null if the VM has one vCPU. */
	void (*kick)(void *ctx, uint64_t vcpus);

	/*
	 * Null: no trace events. Called at the moments of enum rhz_event_kind, with the lock held
	 * except for RHZ_EVENT_FLUSH, which rhz_vcpu_enter tells.
	 */
	void (*trace)(void *ctx, const struct rhz_event *event);
};

/*
 * A physical processor's tags (ASIDs or VPIDs), shared by all VMs that run on it. Placed by the
 * embedder, one per processor; used by the vCPU that is entering on it.
 */
struct rhz_cpu {
	uint32_t id;
	uint32_t first_tag; /* 1 or more: 0 is the host's */
	uint32_t tags;      /* how many; 0: the processor has no tags, every switch flushes all */
	bool flush_by_tag;  /* one tag can be flushed alone (SVM FlushByAsid) */
	/* the library's: */
	uint64_t generation;
	uint32_t next_tag;
};

/* Fills in a processor. No errors: a tag range that is empty means a processor without tags. */
void rhz_cpu_init(struct rhz_cpu *cpu, uint32_t id, uint32_t first_tag, uint32_t tags,
                  bool flush_by_tag);

#endif
