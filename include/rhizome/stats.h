/* SPDX-License-Identifier: MIT */
/*
 * Statistics and trace events. Counters that KVM has carry KVM's names.
 */
#ifndef RHIZOME_STATS_H
#define RHIZOME_STATS_H

#include <rhizome/root.h>
#include <rhizome/types.h>

/* Per vCPU. Written by the thread that uses the vCPU; any thread may read. */
struct rhz_vcpu_stats {
	/* faults */
	uint64_t pf_taken;               /* faults handed to us */
	uint64_t pf_fixed;               /* ended by a new or better entry */
	uint64_t pf_guest;               /* reflected to the guest */
	uint64_t pf_emulate;             /* writes to tracked tables handed to the embedder */
	uint64_t pf_spurious;            /* the entry was good already */
	uint64_t pf_mmio_spte_created;
	uint64_t pf_mmio_cached;         /* MMIO answered from an entry, without a guest walk */
	uint64_t pf_retry, pf_no_memory;
	uint64_t prefetched;             /* neighbours filled */
	/* roots */
	uint64_t root_switches;          /* loads asked for: CR3, CR0, CR4, EFER, context */
	uint64_t root_current_reused;
	uint64_t root_cached_reused;
	uint64_t root_missed;
	uint64_t root_refound;           /* missed, but still known by frame and role */
	uint64_t root_built;             /* missed, and made anew */
	uint64_t root_evicted;           /* left the cache for want of room */
	uint64_t root_dropped;           /* left it for memory pressure or a slot change */
	uint64_t root_reused_at[RHZ_MAX_CACHED_ROOTS]; /* cached_reused by position */
	/* sync */
	uint64_t syncs_asked;            /* loads and flushes that had to look */
	uint64_t syncs_done;             /* ... and found a table on a list */
	uint64_t tables_synced;
	uint64_t entries_synced;         /* entries that differed */
	/* flushes */
	uint64_t invlpg;
	uint64_t guest_flushes;          /* invalidations wider than an address */
	uint64_t tlb_flush;              /* entries that asked for any flush */
	uint64_t flush_tag, flush_all, flush_address;
	uint64_t fresh_tags;             /* leases of a tag: flush_all, if there were none left */
	uint64_t stale_asked;            /* tags found stale at an entry: the guest invalidated */
	uint64_t stale_removed;          /* ... something was taken away from our tables */
	/* nested */
	uint64_t nested_entries, nested_exits;
	uint64_t nested_flush_unneeded;  /* flushes after these that have none of those reasons */
};

/* Per VM. Written under the VM's lock. */
struct rhz_vm_stats {
	uint64_t mmu_shadow_pages;       /* in use now */
	uint64_t mmu_shadow_zapped;
	uint64_t mmu_recycled;           /* zapped for want of quota */
	uint64_t mmu_unsync;             /* tables on lists now */
	uint64_t mmu_pte_write;          /* writes to tracked tables told to us */
	uint64_t mmu_flooded;            /* tables given up because of writes */
	uint64_t pages_4k, pages_2m, pages_1g; /* leaves now */
	uint64_t mmio_entries;           /* MMIO entries now */
	uint64_t large_split;            /* large leaves replaced by smaller ones */
	uint64_t rmap_nodes;             /* nodes in use now: mappings beyond a frame's first */
	uint64_t removals;               /* the counter D: entries weakened or taken away */
	uint64_t remote_tlb_flush;       /* kicks: other vCPUs made to leave, and waited for */
	uint64_t dirty_pages_logged;
	uint64_t pages_freed_after_flush;
};

enum rhz_event_kind {
	RHZ_EVENT_ROOT_SWITCH,   /* load: root, address CR3, value enum rhz_root_found; level: for
	                            a cached root its position */
	RHZ_EVENT_ROOT_BUILT,    /* address table, value role */
	RHZ_EVENT_ROOT_DROPPED,  /* root: leaves the cache, but not for want of room */
	RHZ_EVENT_ROOT_FREED,    /* address table, value role: left the cache, why ever */
	RHZ_EVENT_PAGE_FAULT,    /* address gva or gpa, value error code, level result */
	RHZ_EVENT_SET_SPTE,      /* address gpa, value the entry, level */
	RHZ_EVENT_GET_PAGE,      /* a shadow page is made: address table, value role, level */
	RHZ_EVENT_ZAP_PAGE,      /* ... and given up */
	RHZ_EVENT_UNSYNC_PAGE,   /* address table: joins a list */
	RHZ_EVENT_SYNC_PAGE,     /* address table: leaves it, value entries that differed */
	RHZ_EVENT_INVALIDATE,    /* address, value enum of the cause */
	RHZ_EVENT_FLUSH,         /* value enum rhz_flush, address tag */
};

struct rhz_event {
	enum rhz_event_kind kind;
	uint32_t vcpu; /* UINT32_MAX: none */
	uint32_t level;
	uint64_t address;
	uint64_t value;
	const struct rhz_root_key *root; /* of the two kinds above that say so, else null */
};

/* The kind's name in snake case ("root_switch"); never null. */
const char *rhz_event_name(enum rhz_event_kind kind);

#endif
