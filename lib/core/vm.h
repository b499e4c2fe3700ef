/* SPDX-License-Identifier: MIT */
/*
 * The VM's own data: shadow pages, RAM, slots, the pool. Types and the smallest accessors; what is
 * done with them lives in page.c, rmap.c, entry.c, slot.c, flush.c.
 *
 *   slots (per address space)     gfn -> frame
 *   frames (all RAMs, counted)    frame -> reverse map: every leaf that maps it
 *   pages (shadow pages)          (frame, role) -> table; table's hpa -> page
 *   nodes                         links of reverse maps and parent lists beyond the first
 *
 * Everything refers to everything by 32-bit numbers, so that the bookkeeping stays small: a page
 * number has 20 bits, an entry is named by page number and index in 29.
 *
 * The VM's lock guards all of it, except: 'removed' and the heads of lists are also read by vCPUs
 * that load and enter without it (see api/vcpu.c on why that is sound).
 */
#ifndef RHZ_CORE_VM_H
#define RHZ_CORE_VM_H

#include <rhizome/vcpu.h>

#include "core/role.h"

enum {
	TABLE_ENTRIES = 512,
	PAGE_NIL = 0,          /* page numbers start at 1 */
	FRAME_NONE = 0,        /* frames too: a table outside every slot has none */
	SPARES = 8,            /* table pages kept ready; a fault needs at most 5 */
	NODE_RESERVE = 32,     /* nodes kept ready: a fault's links, its leaf and its neighbours */
	NODES_PER_CHUNK = RHZ_PAGE_SIZE / 8,
	FLOOD_WRITES = 5,      /* writes to a root's table, no load between: no table any more */
};

/* A reverse-map head or link. 0: empty. */
#define LINK_CHAIN (1u << 31)   /* the low bits are a node, else an entry */
#define LINK_TRACKED (1u << 30) /* heads of frames only: writes to this frame must come to us */
#define LINK_ID (LINK_TRACKED - 1)

struct node {
	uint32_t entry; /* page << 9 | index */
	uint32_t next;  /* link: the last node's next is an entry itself */
};

/* A page of nodes. */
struct chunk {
	struct node *node;
	uint64_t hpa; /* for page_free */
};

/* The list an out-of-sync table is on: none, a shared one, or the root's of that number. */
#define LIST_NONE 0u
#define LIST_SHARED UINT32_MAX
#define LIST_NESTED (UINT32_MAX - 1) /* the shared one of L1's nested tables */

enum {
	PAGE_DOOMED = 1 << 0, /* zapped while it was somebody's root: freed when released */
	PAGE_LIVE = 1 << 1,   /* in the hash */
	PAGE_ODD = 1 << 2,    /* leaf table with entries that may lack P or A: MMIO, not used yet */
};

struct page {
	uint64_t *table;
	uint64_t hpa;
	union role role;
	uint64_t used[TABLE_ENTRIES / 64]; /* entries that are not zero */
	uint32_t frame;       /* of the guest's table; direct: number of the run it maps */
	uint32_t hash_next;   /* same bucket of (frame); on the free and the dead list too */
	uint32_t hpa_next;    /* same bucket of hpa */
	uint32_t parents;     /* link: the entries that point here */
	uint32_t lru_prev, lru_next;
	uint32_t list;        /* LIST_* or a root */
	uint32_t list_next;
	union {
		uint32_t list_prev; /* leaf tables */
		uint32_t own_list;  /* roots: their own out-of-sync tables */
	};
	uint16_t refs;        /* cache entries, current ones included, that hold it as a root */
	uint8_t writes;       /* to a root's table, since it was last loaded; loads take no lock */
	uint8_t flags;
};

_Static_assert(sizeof(struct page) == 128, "a page's address is a shift away from its number");
_Static_assert(RHZ_MAX_VCPUS * RHZ_ROOT_ENTRIES < UINT16_MAX, "references are counted in 16 bits");

struct rhz_ram {
	uint64_t first_hfn; /* host frame number of its first frame */
	uint8_t *at;
	uint32_t first;     /* its frames are first .. first + count - 1 */
	uint32_t count;
	uint32_t *head;     /* reverse map, by frame */
	uint16_t *tracked_2m; /* tracked frames in each aligned 2 MiB of host memory */
	uint32_t *tracked_1g;
};

struct slot {
	uint64_t start, bytes; /* the same as gfn and pages, for readers of guest tables */
	uintptr_t base;        /* our address of a guest-physical one is base + that one */
	uint64_t gfn, pages;
	uint64_t first;     /* frame of its first page */
	int64_t to_hfn;     /* host frame number = gfn + to_hfn */
	uint8_t *at;
	uint64_t *dirty;    /* null: no log */
	uint8_t ram;
	uint8_t space;
	bool used;
	bool read_only;
	uint64_t offset;
};

struct space {
	struct slot *hint;             /* the slot found last, or the VM's empty one */
	struct slot *slots;            /* the VM's */
	unsigned count;
	bool uniform;                  /* all at one distance from host memory */
	uint16_t order[RHZ_MAX_SLOTS]; /* slots by gfn */
};

struct rhz_vm {
	struct rhz_vm_config config;
	struct rhz_host host;
	/* D: raised when an entry is weakened or taken away; [1]: of a page for nested tables */
	uint64_t removed[2];
	uint64_t kicked;         /* stats.removals at the last kick: nothing older is in any TLB */
	uint64_t unlinks;        /* raised when a link to a table is taken away */
	uint64_t dooms;          /* raised when a root held is zapped: vCPUs look through theirs */
	uint32_t shared_list[2]; /* out-of-sync tables of more than one root; [1]: nested ones */
	uint32_t generation;     /* of the slots: MMIO entries carry its low bits */
	uint64_t kicks;          /* how often others were made to leave and may have stored */
	bool kick_wanted;        /* other vCPUs must leave before the lock is given back */
	uint64_t vcpus_made;     /* set of vCPU numbers in use */
	struct rhz_vcpu *vcpu[RHZ_MAX_VCPUS];
	/* Under pressure: gives up a cached root of the vCPU at hand; false if none (root/). */
	bool (*give_up_root)(struct rhz_vm *vm);
	struct rhz_vcpu *self;   /* the vCPU on whose behalf the lock is held, or null */

	struct page *page;       /* [0] unused */
	uint32_t *bucket;        /* by frame */
	uint32_t *hpa_bucket;
	unsigned hash_shift;
	uint32_t page_free;      /* numbers never used or given back */
	uint32_t pages_fresh;    /* numbers ever used */
	uint32_t pages_used;     /* counted against the quota: live, doomed and dead ones */
	uint32_t dead;           /* zapped, waiting for the flush */
	uint32_t dead_count;
	uint32_t roots_held;     /* pages that are somebody's root */
	uint32_t lru_newest, lru_oldest;
	struct { void *at; uint64_t hpa; } spare[SPARES];
	unsigned spares;

	struct chunk *chunk;
	uint32_t chunks, chunks_most, node_free, nodes_free;

	unsigned rams;
	uint32_t frames;         /* of all RAMs; numbers 1 .. frames */
	struct rhz_ram ram[RHZ_MAX_RAMS];
	struct slot slot[RHZ_MAX_SLOTS];
	struct rhz_mode mode[ROLE_MODES]; /* what an entry of a page means, by role_mode */
	struct slot no_slot;
	uint64_t nx;             /* PTE_NX if the processor has it */
	uint8_t formats;         /* bits of enum role_format: of which guest tables were shadowed */
	bool formats_differ;     /* it is more than one */
	uint8_t nested_levels;   /* of our tables for L1's nested ones; 0: there are none */
	struct rhz_ept_mode ept_mode[2][2]; /* the same for ROLE_EPT4 and ROLE_EPT5, no_ad */
	struct space space[RHZ_MAX_ADDRESS_SPACES];
	struct rhz_vm_stats stats;
};

RHZ_INLINE struct page *page_at(const struct rhz_vm *vm, uint32_t number)
{
	return &vm->page[number];
}

RHZ_INLINE uint32_t page_number(const struct rhz_vm *vm, const struct page *page)
{
	return (uint32_t)(page - vm->page);
}

RHZ_INLINE uint32_t entry_id(const struct rhz_vm *vm, const struct page *page, unsigned index)
{
	return page_number(vm, page) << 9 | index;
}

RHZ_INLINE bool option(const struct rhz_vm *vm, unsigned no)
{
	return vm->config.options & no;
}

/* For the embedder's and the host's own calls; a vCPU's take it by vcpu_lock (root/vcpu.h). */
RHZ_INLINE void vm_lock(struct rhz_vm *vm)
{
	if (vm->host.lock)
		vm->host.lock(vm->host.ctx);
	vm->self = NULL;
}

void trace_emit(struct rhz_vm *vm, enum rhz_event_kind kind, unsigned level, uint64_t address,
                uint64_t value);

RHZ_INLINE void trace(struct rhz_vm *vm, enum rhz_event_kind kind, unsigned level,
                      uint64_t address, uint64_t value)
{
	if (__builtin_expect(vm->host.trace != NULL, 0))
		trace_emit(vm, kind, level, address, value);
}

#endif
